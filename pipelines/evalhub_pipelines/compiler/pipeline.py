"""The pipeline of a plan: a named task a benchmark, then aggregate, then gate.

The shape is what the KFP 2.17 backend runs: unrolled tasks (a loop drops retries, #12389), sub-pipelines of at most 25
(a DAG travels as one command-line argument), no list of artifacts between tasks, and nothing that may fail before the
gate, because nothing runs after a failure (#7330) and a failed task keeps no artifacts (#12425).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from evalhub_components.aggregate.component import PARAMETERS as AGGREGATE_INPUTS
from evalhub_components.aggregate.component import aggregate
from evalhub_components.benchmark.component import benchmark
from evalhub_components.collect.component import collect
from evalhub_components.fingerprint.component import fingerprint
from evalhub_components.gate.component import gate
from evalhub_components.schema import run_inputs
from evalhub_components.schema.collection import TestDataRef
from evalhub_components.schema.plan import BenchmarkTask, EvaluationPlan
from evalhub_components.test_data import addresses
from evalhub_components.test_data.component import test_data
from evalhub_pipelines.compiler import groups, pods
from evalhub_pipelines.images import COMPONENTS_IMAGE

# kfp knows `Optional[str]`, not `str | None`
_OptionalText: Any = Optional[str]  # noqa: UP045

INPUTS: dict[str, tuple[Any, Any, str]] = {
    "model_url": (str, None, "Base address of the model's OpenAI-compatible API, ending in /v1."),
    "model_name": (str, None, "The model's name at that address."),
    "model_secret": (
        _OptionalText,
        None,
        "Secret with the model's api-key, ca_cert and hf-token; none if it needs none.",
    ),
    "model_auth": (
        str,
        "secret",
        "secret: it is asked with the api-key of that secret, if there is one. service-account: with the token of the "
        "run's own service account, as a model on KServe with authentication wants it.",
    ),
    "num_examples": (
        int,
        0,
        "Examples a benchmark at most; 0 for no limit. Cutting it short marks the verdict limited.",
    ),
    "experiment_name": (str, "", "MLflow experiment; by default the collection's id."),
    "experiment_tags": (str, "", "Tags of the MLflow run, one key=value a line."),
    "mlflow_uri": (str, "", "MLflow tracking server; empty for none."),
    "mlflow_secret": (_OptionalText, None, "Secret with MLflow's token, or username and password."),
    "oci_host": (str, "", "Registry that gets the evidence, such as quay.io; empty for none."),
    "oci_repository": (str, "", "Repository in that registry, such as team/evaluations."),
    "oci_tag": (str, "", "Additional tag of the evidence, which moves with every run."),
    "registry_secret": (_OptionalText, None, "Secret of type kubernetes.io/dockerconfigjson for that registry."),
    "signing_secret": (
        _OptionalText,
        None,
        "Secret with the private.key that signs the evidence; none for unsigned.",
    ),
    "oci_annotations": (str, "", "Annotations of the evidence, one key=value a line."),
    "oci_subject": (
        str,
        "",
        "The model's image in the same repository, by tag or digest; the evidence refers to it.",
    ),
    "model_digest": (str, "", "Digest of the model's image, sha256:...; ties the evidence to it."),
    "ca_config_map": (
        _OptionalText,
        None,
        "Config map with CA certificates (ca-bundle.crt) of the model, MLflow and the registry.",
    ),
    "scheduled_time": (str, "", "When a recurring run was due; [[ScheduledTime]] in a schedule."),
}
"""Type, default and description of every pipeline input; a missing secret's name is None, because the KFP driver skips
the mount of None and fails on an empty string."""


JUDGE_INPUTS: dict[str, tuple[Any, Any, str]] = {
    "judge_url": (str, None, "Base address of the model that judges answers, ending in /v1."),
    "judge_name": (str, None, "The judge's name at that address."),
    "judge_secret": (_OptionalText, None, "Secret with the judge's api-key and ca_cert; none if it needs none."),
    "judge_auth": (str, "secret", "secret or service-account, as for the model."),
}
"""The inputs of a pipeline with benchmarks whose answers are judged by a model."""

GROUP_PORTS = {
    "model_url": "url",
    "model_name": "name",
    "model_auth": "auth",
    "model_secret": "secret",
    "num_examples": "examples",
    "ca_config_map": "ca",
}
"""What a sub-pipeline calls inputs of the pipeline: every task in it says each of these names twice."""


@dataclass(frozen=True)
class Options:
    """What a plan leaves to whoever compiles it.

    Attributes:
        components_image: of fingerprint, collect, aggregate and gate.
        image_pull_secrets: names of secrets with registry credentials for the images.
        defaults: of pipeline inputs, by name.
        private_hosts: names of hosts in the cluster or beside it that test data may come from by git.
    """

    components_image: str = COMPONENTS_IMAGE
    image_pull_secrets: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    private_hosts: tuple[str, ...] = ()


def pipeline(plan: EvaluationPlan, options: Options) -> BaseComponent:
    """Return the whole pipeline of `plan`."""
    header = plan.header
    judged = any(task.judge for task in plan.tasks)
    cut = groups.cut(groups.batches(plan))
    # made first: kfp defines no pipeline inside another
    made = [_group(plan, group, options, number) for number, group in enumerate(cut)] if len(cut) > 1 else []

    def build(inputs: dict[str, Any]) -> None:
        texts = {name: inputs[name] for name in run_inputs.TEXTS}
        probe = fingerprint(options.components_image)(
            **{name: inputs[name] for name in ("model_url", "model_name", "model_auth")}, **texts
        )
        pods.prepare(probe, "fingerprint", header.execution, options.image_pull_secrets, step="benchmark")
        pods.mount_model(probe, inputs)
        given = {key: inputs[key] for key in ("model_url", "model_name", "model_auth", "num_examples")}
        given |= {"fingerprint": probe.outputs["digest"]}
        if judged:
            judge = fingerprint(options.components_image, judge=True)(
                **{f"model_{name}": inputs[f"judge_{name}"] for name in ("url", "name", "auth")}, **texts
            )
            pods.prepare(
                judge, "fingerprint of the judge", header.execution, options.image_pull_secrets, step="benchmark"
            )
            pods.mount_judge(judge, inputs)
            pods.mount_ca(judge, inputs)
            given |= {name: inputs[name] for name in ("judge_url", "judge_name", "judge_auth")}
            given |= {"judge_fingerprint": judge.outputs["digest"]}
        results = _benchmarks(plan, cut, made, options, inputs, given)
        task = aggregate(options.components_image, len(results))(
            header=_constant(header.as_json()),
            # the driver puts the run's id into an input; the launcher leaves it as it is in an argument
            run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            fingerprint=probe.outputs["fingerprint"],
            **{name: inputs[name] for name in AGGREGATE_INPUTS if name not in ("header", "run_id")},
            **{f"results_{position}": output for position, output in enumerate(results)},
        )
        pods.prepare(task, "aggregate", header.execution, options.image_pull_secrets, step="aggregate")
        pods.mount_publishing(task, inputs)
        final = gate(options.components_image)(verdict=task.outputs["verdict"])
        pods.prepare(final, "gate", header.execution, options.image_pull_secrets, retries=0)

    description = (
        f"Collection {header.collection_id} version {header.collection_version}, plan {header.digest()}. "
        f"{len(plan.tasks)} benchmarks; passes when the weighted score reaches {header.threshold:g}."
    )
    if options.defaults:
        description += " The form's defaults, and perhaps its criteria, are those of an eval.yaml."
    known = {**INPUTS, **JUDGE_INPUTS} if judged else INPUTS
    ports = {name: (kind, options.defaults.get(name, value), text) for name, (kind, value, text) in known.items()}
    return _graph(f"evalhub-{header.collection_id}", ports, build, description)


def _benchmarks(
    plan: EvaluationPlan,
    cut: Sequence[Sequence[list[BenchmarkTask]]],
    made: Sequence[BaseComponent],
    options: Options,
    inputs: dict[str, Any],
    given: dict[str, Any],
) -> list[Any]:
    """Add the benchmark tasks, or their sub-pipelines when there are any, and return the results aggregate takes."""
    if not made:
        return _tasks(plan, cut[0], options, inputs, given)
    secrets: dict[str, Any] = {
        name: inputs[name] for name in ("model_secret", "ca_config_map", "judge_secret") if name in inputs
    }
    tasks: list[Any] = []
    for position, (group, component) in enumerate(zip(cut, made, strict=True)):
        taken: Mapping[str, Any] = component.component_spec.inputs or {}
        named = {GROUP_PORTS.get(name, name): value for name, value in {**given, **secrets}.items()}
        task = component(**{port: value for port, value in named.items() if port in taken})
        task.set_display_name(f"{group[0][0].provider_id} {position + 1} of {len(made)}")
        task.set_caching_options(plan.header.execution.cache)
        if plan.header.execution.max_parallel and tasks:
            task.after(tasks[-1])
        tasks.append(task)
    return [task.output for task in tasks]


def _group(
    plan: EvaluationPlan, batches: Sequence[list[BenchmarkTask]], options: Options, position: int
) -> BaseComponent:
    ports: dict[str, tuple[Any, Any, str]] = {port: INPUTS[name] for name, port in GROUP_PORTS.items()}
    ports["fingerprint"] = (str, None, "Digest of the model that answered.")
    if any(task.judge for batch in batches for task in batch):
        ports |= {**JUDGE_INPUTS, "judge_fingerprint": (str, None, "Digest of the judge that answered.")}

    def build(named: dict[str, Any]) -> Any:
        long = {port: name for name, port in GROUP_PORTS.items()}
        inputs = {long.get(port, port): value for port, value in named.items()}
        secrets = ("model_secret", "judge_secret", "ca_config_map")
        given = {name: value for name, value in inputs.items() if name not in secrets}
        results = _tasks(plan, batches, options, inputs, given)
        merged = collect(options.components_image, len(results))(
            **{f"results_{number}": output for number, output in enumerate(results)}
        )
        pods.prepare(merged, "collect", plan.header.execution, options.image_pull_secrets)
        return merged.outputs["results"]

    return _graph(f"benchmarks-{position}", ports, build, "", output=dsl.Artifact)


def _tasks(
    plan: EvaluationPlan,
    batches: Sequence[list[BenchmarkTask]],
    options: Options,
    inputs: dict[str, Any],
    given: dict[str, Any],
) -> list[Any]:
    """Add one task a batch and return their results; with `max_parallel` each waits for the one that many before it."""
    header = plan.header
    made: list[Any] = []
    fetched: dict[str, Any] = {}
    for batch in batches:
        first = batch[0]
        runtime = header.runtimes[first.provider_id]
        name = f"benchmark-{first.slug}" if len(batch) == 1 else f"benchmarks-{first.provider_id}-{first.index:03d}"
        title = name.replace("_", "-").replace(".", "-")
        ref = first.test_data_ref
        data: dict[str, Any] = {}
        if ref and not ref.pvc:
            data = {"test_data": _fetched(ref, fetched, plan, options, inputs)}
        judged = any(task.judge for task in batch)
        step = benchmark(
            str(runtime.image),
            name=title,
            entrypoint=runtime.entrypoint or (),
            test_data=None if ref is None else pods.DATA_MOUNT if ref.pvc else "",
            judge=judged,
        )
        mine = {name: value for name, value in given.items() if judged or not name.startswith("judge_")}
        task = step(task=_constant([entry.as_argument() for entry in batch]), **mine, **data)
        if ref:
            pods.mount_data(task, ref)
        pods.prepare(
            task,
            pods.title(batch),
            header.execution,
            options.image_pull_secrets,
            step="benchmark",
            cache=header.execution.cache,
        )
        pods.mount_model(task, inputs)
        if judged:
            pods.mount_judge(task, inputs)
        pods.configure(task, batch, runtime)
        if header.execution.max_parallel and len(made) >= header.execution.max_parallel:
            task.after(made[-header.execution.max_parallel])
        made.append(task)
    return [task.outputs["results"] for task in made]


def _fetched(
    ref: TestDataRef, fetched: dict[str, Any], plan: EvaluationPlan, options: Options, inputs: Mapping[str, Any]
) -> Any:
    """Return the data of `ref`, adding the task that fetches it for the first who asks."""
    argument = _constant(ref.model_dump(mode="json", exclude_none=True))
    if argument not in fetched:
        kind = next(name for name in ("s3", "git", "hf") if getattr(ref, name))
        task = test_data(options.components_image)(ref=argument)
        pods.prepare(
            task, f"test data from {kind}", plan.header.execution, options.image_pull_secrets, step="test-data"
        )
        pods.mount_data_secret(task, getattr(ref, kind).secret_ref)
        pods.mount_ca(task, inputs)
        if options.private_hosts:
            task.set_env_variable(addresses.ALLOWED, ",".join(options.private_hosts))
        fetched[argument] = task.outputs["test_data"]
    return fetched[argument]


def _graph(
    name: str,
    ports: Mapping[str, tuple[Any, Any, str]],
    build: Callable[[dict[str, Any]], Any],
    description: str,
    output: Any = None,
) -> BaseComponent:
    """Return the pipeline that `build` makes; kfp reads inputs off a signature and their texts off a docstring."""

    required = inspect.Parameter.empty
    parameters = [
        inspect.Parameter(
            port,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            annotation=annotation,
            default=required if default is None and annotation is str else default,
        )
        for port, (annotation, default, _) in ports.items()
    ]
    # Python wants parameters without a default first
    parameters.sort(key=lambda parameter: parameter.default is not required)

    def function(*channels: Any) -> Any:
        return build({parameter.name: channel for parameter, channel in zip(parameters, channels, strict=True)})

    function.__name__ = name
    function.__signature__ = inspect.Signature(parameters, return_annotation=output or None)  # type: ignore[attr-defined]
    function.__annotations__ = {port: ports[port][0] for port in ports} | ({"return": output} if output else {})
    texts = "".join(f"    {port}: {text}\n" for port, (_, _, text) in ports.items())
    function.__doc__ = f"{description}\n\nArgs:\n{texts}"
    made: BaseComponent = dsl.pipeline(name=name, description=description or None)(function)
    return made


def _constant(value: Any) -> str:
    """Return `value` as JSON that neither Argo nor KFP takes for a template: `{{` becomes its JSON escape."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).replace("{{", "\\u007b\\u007b")
