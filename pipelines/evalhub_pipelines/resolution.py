"""Resolution: a collection and its providers become a frozen plan. Pure: no files, network, clock or environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from evalhub_components.errors import InvalidDocument, Problem
from evalhub_components.schema.collection import BenchmarkConfig, Collection, Execution, Gate, HardwareConfig
from evalhub_components.schema.evaluation import EvaluationConfig
from evalhub_components.schema.plan import (
    BenchmarkTask,
    EvaluationPlan,
    PlanExecution,
    PlanHeader,
    ResolvedScore,
    ResolvedThreshold,
)
from evalhub_components.schema.provider import Benchmark, KubernetesRuntime, PassCriteria, PrimaryScore, Provider
from evalhub_pipelines.documents import near, validate

DEFAULT_THRESHOLD = 0.5
DEFAULT_SEED = 42
DEFAULT_TIMEOUT = 3600
DEFAULT_RETRIES = 2
TOLERANCE = 1e-9


def resolve(
    collection: Collection,
    providers: Mapping[str, Provider],
    *,
    pass_criteria: PassCriteria | None = None,
    gate: Gate | None = None,
    execution: Execution | None = None,
    seed: int | None = None,
    hardware_config: HardwareConfig | None = None,
) -> EvaluationPlan:
    """Return the plan of `collection`; what the job says (keyword arguments) goes before what the collection says.

    Args:
        providers: every provider that the collection names, by id.

    Raises:
        InvalidDocument: with every problem: unknown provider or benchmark, no primary score, a threshold outside its
            range, a required benchmark without a threshold, no benchmark with weight.
    """
    problems: list[Problem] = []
    settings = _merged(Execution, execution, collection.execution)
    tasks = []
    for index, entry in enumerate(collection.benchmarks):
        where = f"collection {collection.id}: benchmarks[{index}]"
        benchmark = _benchmark(entry, providers, where, problems)
        if benchmark is None:
            continue
        score = _primary_score(entry, benchmark, where, problems)
        if score is None:
            continue
        threshold = _threshold(entry, benchmark, collection, score, where, problems)
        if entry.required and threshold is None:
            what = "is required and so must have a threshold (add pass_criteria: {threshold: ...})"
            problems.append(Problem(where, what))
        tasks.append(
            BenchmarkTask(
                index=index,
                slug=slug(index, benchmark.id),
                # what it is called here, whatever alias the collection has for it
                provider_id=providers[entry.provider_id].id,
                benchmark_id=benchmark.id,
                primary_score=score,
                threshold=threshold,
                weight=entry.weight,
                required=entry.required,
                parameters=entry.parameters,
                num_few_shot=benchmark.num_few_shot,
                num_examples=entry.num_examples or collection.num_examples,
                dataset_size=benchmark.dataset_size,
                seed=DEFAULT_SEED if seed is None else seed,
                timeout=entry.timeout or settings.timeout or DEFAULT_TIMEOUT,
                max_error_rate=settings.max_error_rate or 0.0,
                test_data_ref=entry.test_data_ref,
                hardware=_hardware(hardware_config, entry.hardware_config, collection.hardware_config),
                judge=benchmark.judge if entry.judge is None else entry.judge,
            )
        )
    if not any(entry.weight > 0 for entry in collection.benchmarks):
        what = "no benchmark has a weight above 0 (weight 0 is advisory, so nothing would decide)"
        problems.append(Problem(f"collection {collection.id}: benchmarks", what))
    overall, source = _overall_threshold(collection, pass_criteria, problems)
    if problems:
        raise InvalidDocument(problems)
    resolved_gate = gate or collection.gate or Gate()
    header = PlanHeader(
        collection_id=collection.id,
        collection_version=collection.version,
        threshold=overall,
        threshold_source=source,  # type: ignore[arg-type]
        gate_mode=resolved_gate.mode,
        confidence=resolved_gate.confidence,
        execution=PlanExecution(
            batch=settings.batch,
            max_parallel=settings.max_parallel,
            retries=DEFAULT_RETRIES if settings.retries is None else settings.retries,
            cache=bool(settings.cache),
        ),
        runtimes={
            provider.id: provider.runtime.k8s or KubernetesRuntime()
            for provider in sorted(providers.values(), key=lambda provider: provider.id)
            if any(task.provider_id == provider.id for task in tasks)
        },
        task_digests=[task.digest() for task in tasks],
    )
    return EvaluationPlan(header=header, tasks=tasks)


def resolve_job(config: EvaluationConfig, collection: Collection, providers: Mapping[str, Provider]) -> EvaluationPlan:
    """Return the plan of an eval.yaml for `collection`, which has its overrides already (`collection_of`)."""
    return resolve(
        collection,
        providers,
        pass_criteria=config.pass_criteria,
        gate=config.gate,
        execution=config.execution,
        seed=config.seed,
        hardware_config=config.hardware_config,
    )


def collection_of(config: EvaluationConfig, collection: Collection | None) -> Collection:
    """Return the collection an eval.yaml runs: the one it names with its overrides merged in, or one of its benchmarks.

    The n-th override of a benchmark goes to the n-th entry of that benchmark; `parameters` are merged key by key.

    Raises:
        InvalidDocument: an override names a benchmark that the collection does not have.
    """
    if collection is None or config.collection is None:
        # a threshold of the job is about the whole; entries without their own fall back to their provider's
        return Collection(id=slug_text(config.name or "benchmarks"), benchmarks=config.benchmarks)
    entries = [entry.model_dump(by_alias=False, exclude_unset=True) for entry in collection.benchmarks]
    unused = list(range(len(entries)))
    problems = []
    for position, override in enumerate(config.collection.benchmarks):
        where = f"collection.benchmarks[{position}]"
        name = override.get("id", override.get("benchmark_id"))
        if not isinstance(name, str):
            problems.append(Problem(f"{where}.id", f"must name a benchmark of collection {collection.id}"))
            continue
        provider = override.get("provider_id")
        target = next(
            (i for i in unused if entries[i]["id"] == name and provider in (None, entries[i]["provider_id"])), None
        )
        if target is None:
            known = [entry["id"] for entry in entries]
            what = f"further benchmark {name!r}" if name in known else f"benchmark {name!r}{near(name, known)}"
            problems.append(Problem(where, f"collection {collection.id} has no {what}"))
            continue
        unused.remove(target)
        merged = {**entries[target], **{key: value for key, value in override.items() if key != "benchmark_id"}}
        own = override.get("parameters") or {}
        merged["parameters"] = {**entries[target].get("parameters", {}), **own} if isinstance(own, dict) else own
        try:
            validate(merged, BenchmarkConfig, where)
        except InvalidDocument as error:
            problems += [Problem(p.where.replace(f"{where}: ", f"{where}."), p.what) for p in error.problems]
        entries[target] = merged
    if problems:
        raise InvalidDocument(problems)
    return collection.model_copy(update={"benchmarks": [BenchmarkConfig.model_validate(entry) for entry in entries]})


def slug(index: int, benchmark_id: str) -> str:
    """Return `<index:03d>-<benchmark id>`, at most 60 characters of `[a-z0-9.-]`."""
    return f"{index:03d}-{slug_text(benchmark_id)}"[:60].rstrip("-.")


def slug_text(text: str) -> str:
    """Return `text` in lower case with everything outside `[a-z0-9.-]` as `-`, at most 60 characters."""
    return re.sub(r"[^a-z0-9.-]", "-", text.lower()).strip("-.")[:60].rstrip("-.") or "x"


def _benchmark(
    entry: BenchmarkConfig, providers: Mapping[str, Provider], where: str, problems: list[Problem]
) -> Benchmark | None:
    provider = providers.get(entry.provider_id)
    if provider is None:
        hint = near(entry.provider_id, providers)
        problems.append(Problem(f"{where}.provider_id", f"there is no provider {entry.provider_id!r}{hint}"))
        return None
    benchmark = provider.benchmark(entry.id)
    if benchmark is None and provider.takes_others and entry.primary_score is not None:
        return Benchmark(id=entry.id)
    if benchmark is None:
        hint = near(entry.id, [name for b in provider.benchmarks for name in (b.id, *b.aliases)])
        more = "; one that it does not list brings a primary_score" if provider.takes_others else ""
        problems.append(Problem(f"{where}.id", f"provider {provider.id} has no benchmark {entry.id!r}{hint}{more}"))
    return benchmark


def _primary_score(
    entry: BenchmarkConfig, benchmark: Benchmark, where: str, problems: list[Problem]
) -> ResolvedScore | None:
    """Return the entry's primary score; what it leaves out comes from the provider's definition of the same metric."""
    own, default = entry.primary_score, benchmark.primary_score
    if own is None and default is None:
        what = f"benchmark {benchmark.id!r} has no primary score (add primary_score: {{metric: ...}})"
        problems.append(Problem(where, what))
        return None
    named = own or default
    assert named is not None
    inherited = default if default is not None and default.metric == named.metric else PrimaryScore(metric=named.metric)
    known = {*benchmark.metrics, *([default.metric] if default else [])}
    if benchmark.metrics and named.metric not in known:
        hint = near(named.metric, sorted(known)) or f" (it has {', '.join(sorted(known))})"
        what = f"{benchmark.id} has no metric {named.metric!r}{hint}"
        problems.append(Problem(f"{where}.primary_score.metric", what))
        return None
    merged = _merged(PrimaryScore, named, inherited)
    return ResolvedScore(
        metric=named.metric,
        lower_is_better=bool(merged.lower_is_better),
        range=merged.range or (0.0, 1.0),
        range_overflow=merged.range_overflow or "error",
    )


def _threshold(
    entry: BenchmarkConfig,
    benchmark: Benchmark,
    collection: Collection,
    score: ResolvedScore,
    where: str,
    problems: list[Problem],
) -> ResolvedThreshold | None:
    """Return the most specific threshold: the entry's, the collection's (normalised), the provider's."""
    default = benchmark.primary_score
    if entry.pass_criteria is not None:
        found = ResolvedThreshold(value=entry.pass_criteria.threshold, source="benchmark")
    elif collection.pass_criteria is not None:
        return ResolvedThreshold(value=collection.pass_criteria.threshold, source="collection")
    elif benchmark.pass_criteria is not None and (default is None or default.metric == score.metric):
        # a provider's threshold is about its own metric, not about another one that an entry chose
        found = ResolvedThreshold(value=benchmark.pass_criteria.threshold, source="provider")
    else:
        return None
    low, high = score.range
    if not low - TOLERANCE <= found.value <= high + TOLERANCE:
        hint = "; percent? declare range: [0, 100]" if (low, high) == (0, 1) and 1 < found.value <= 100 else ""
        what = f"must be within the range [{low:g}, {high:g}] of {score.metric}, got {found.value:g}{hint}"
        problems.append(Problem(f"{where}.pass_criteria.threshold", what))
    return found


def _overall_threshold(
    collection: Collection, pass_criteria: PassCriteria | None, problems: list[Problem]
) -> tuple[float, str]:
    for source, criteria in (("collection", collection.pass_criteria), ("job", pass_criteria)):
        if criteria is not None and not 0 <= criteria.threshold <= 1:
            where = f"collection {collection.id}: pass_criteria" if source == "collection" else "pass_criteria"
            what = f"must be within [0, 1] (scores are normalised, 1 is best), got {criteria.threshold:g}"
            problems.append(Problem(f"{where}.threshold", what))
    if pass_criteria is not None:
        return pass_criteria.threshold, "job"
    if collection.pass_criteria is not None:
        return collection.pass_criteria.threshold, "collection"
    return DEFAULT_THRESHOLD, "default"


def _merged(model: Any, first: Any, second: Any) -> Any:
    """Return a `model` with the keys of `first` that are set, then those of `second`."""
    values = {}
    for document in (second, first):
        if document is not None:
            values.update({name: value for name, value in document if value is not None})
    return model(**values)


def _hardware(*configs: HardwareConfig | None) -> HardwareConfig | None:
    found = [config for config in configs if config is not None]
    if not found:
        return None
    merged: HardwareConfig = found[-1]
    for config in reversed(found[:-1]):
        merged = merged.model_copy(update={name: getattr(config, name) for name in config.model_fields_set})
    return merged
