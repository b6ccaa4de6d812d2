"""The parameters of a run: what an evaluation and its surroundings say of a pipeline's inputs, by their names."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from pydantic import Field

from evalhub_components.errors import InvalidDocument, Problem
from evalhub_components.schema.document import Document, Positive, SecretName, matching
from evalhub_components.schema.evaluation import EvaluationConfig
from evalhub_pipelines import documents, evaluation
from evalhub_pipelines.client.runs import run_description
from evalhub_pipelines.evaluation import Evaluation

LIMIT = 10_000
"""Bytes of all parameters of a run together (MaxParameterBytes of kubeflow/pipelines)."""

RECORD = "give --push-to or --mlflow-uri, or exports.oci in an eval.yaml"
"""How a run is made to record its verdict where it can be read."""

PUSHED = "give --push-to, or exports.oci in an eval.yaml"
"""How a run is made to push its evidence."""

_MODEL = ("model_url", "model_name")
_JUDGE = ("judge_url", "judge_name")
_ADDRESSES = ("model_url", "judge_url", "mlflow_uri", "oci_host")


ServiceAccountName = Annotated[
    str,
    matching(
        r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z",
        "the name of a service account (lower-case letters, digits, '-' and '.')",
    ),
]
"""An empty one is none: Kubeflow Pipelines would take its own default in its place."""


class Surroundings(Document):
    """What an eval.yaml does not say of a run on a cluster.

    Attributes:
        num_examples: goes before the eval.yaml's.
        ca_config_map: name of the config map with CA certificates.
        service_account: that the pods have; it and the next are no inputs of a pipeline.
        image_pull_secrets: names of the secrets that images are pulled with.
    """

    num_examples: Positive | None = None
    mlflow_uri: (
        Annotated[
            str,
            matching(
                r"^https?://[^\s@?#]+\Z",
                "an http or https address that pods reach, without query, user and password "
                "(credentials belong in a secret: --mlflow-secret)",
            ),
        ]
        | None
    ) = None
    mlflow_secret: SecretName | None = None
    ca_config_map: (
        Annotated[
            str,
            matching(
                r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z",
                "the name of a config map (lower-case letters, digits, '-' and '.')",
            ),
        ]
        | None
    ) = None
    service_account: ServiceAccountName | None = Field(default=None, exclude=True)
    image_pull_secrets: tuple[SecretName, ...] = Field(default=(), exclude=True)


def of(found: Evaluation, **surroundings: Any) -> dict[str, Any]:
    """Return the parameters of a run of the pipeline that `found` compiles to.

    Args:
        found: of an eval.yaml, or with a model named otherwise.
        surroundings: keys of `Surroundings`.

    Raises:
        InvalidDocument: with everything that is missing, too large, or cannot be kept on a cluster.
    """
    judged = any(task.judge for task in found.plan.tasks)
    values = evaluation.pipeline_defaults(found.config)
    if not judged:
        values = {name: value for name, value in values.items() if not name.startswith("judge_")}
    return checked(values, found.config, _MODEL + (_JUDGE if judged else ()), surroundings)


def checked(
    values: Mapping[str, Any],
    config: EvaluationConfig | None,
    required: Collection[str],
    surroundings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return `values` with those of the surroundings, when Kubeflow Pipelines can take them.

    Args:
        config: that the values are from.
        required: names without which nothing starts.

    Raises:
        InvalidDocument: with every problem.
    """
    problems: list[Problem] = []
    around: dict[str, Any] = {}
    try:
        given = {name: value for name, value in surroundings.items() if value is not None}
        around = documents.validate(given, Surroundings, "arguments").model_dump(exclude_none=True)
    except InvalidDocument as error:
        problems += error.problems
    found = {**values, **around}
    problems += [Problem(name, _missing(name)) for name in required if not found.get(name)]
    if config and config.experiment and config.experiment.required:
        what = "is not supported on a cluster: there MLflow is no condition of a run (leave it out)"
        problems.append(Problem("experiment.required", what))
    for name, value in found.items():
        text = str(value)
        if "{{" in text:
            problems.append(Problem(name, "must not contain {{: Kubeflow Pipelines takes it for a placeholder"))
        if text and max(text) > run_description.WIDEST:
            what = "must not contain characters such as emoji: Kubeflow Pipelines starts the run, and cannot keep it"
            problems.append(Problem(name, what))
    sizes = {name: len(json.dumps({name: value})) for name, value in found.items()}
    if sum(sizes.values()) > LIMIT:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
        listed = ", ".join(f"{name} {sizes[name]}" for name in largest)
        what = f"have {sum(sizes.values())} bytes and may have {LIMIT} (the largest: {listed})"
        problems.append(Problem("parameters of the run", what))
    if problems:
        raise InvalidDocument(problems)
    return found


def notes(found: Evaluation, parameters: Mapping[str, Any]) -> list[str]:
    """Return what somebody who runs this on a cluster should know: what is kept elsewhere, and what cannot work."""
    config = found.config
    said = []
    if config:
        kept = [key for key in ("name", "description", "tags") if getattr(config, key)]
        if kept:
            said.append(f"{', '.join(kept)}: kept with the run in Kubeflow, and not in its evidence and MLflow")
        if config.model.environment:
            said.append("model.environment: is not kept: the evidence of a run on a cluster holds nothing declared")
        if config.judge and not any(task.judge for task in found.plan.tasks):
            said.append("judge: no benchmark of this plan asks it")
    return said + unreachable(parameters)


def mlflow_page(uri: str, experiment: str) -> str:
    """Return the page of MLflow that finds an experiment by its name."""
    return f"{uri.rstrip('/')}/#/experiments?experimentSearchFilter={quote(experiment, safe='')}"


def unreachable(parameters: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with addresses: none that keeps the verdict, or one that means something else in a pod."""
    said = []
    if not (parameters.get("oci_host") or parameters.get("mlflow_uri")):
        said.append(f"its verdict will be nowhere that it can be read from ({RECORD})")
    for name in _ADDRESSES:
        address = str(parameters.get(name, ""))
        host = urlsplit(address if "://" in address else f"//{address}").hostname or ""
        if host == "localhost" or host.startswith("127.") or host == "::1":
            said.append(f"{name}: {address}: in a cluster that is the pod itself, not this machine")
    return said


def _missing(name: str) -> str:
    of, _, key = name.partition("_")
    return f"is missing (give --{of}-{key}, or {of}.{key} in an eval.yaml)"
