"""What a comparison needs to know of one run, small and flat: the run itself may be gone afterwards."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalhub_components import canonical
from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.plan import BenchmarkTask, effective_examples
from evalhub_components.schema.results import BenchmarkResults
from evalhub_components.schema.run import RunRecord
from evalhub_components.schema.verdict import BenchmarkTest, Verdict

Facts = Mapping[str, str]
"""Texts by what they are about; nested documents have keys such as `hardware.cpu`."""

# frameworks and servers say what they like: these bounds keep reading it harmless
_MAX_BYTES = 4 * 2**20
_MAX_FACTS = 5000
_MAX_DEPTH = 12

# what differs between any two requests or tasks says nothing of the server or the machine
_OF_ONE_ANSWER = re.compile(
    r"headers\.(date|age|connection|keep-alive|content-length|expires|last-modified|etag|cf-ray|transfer-encoding"
    r"|.*(request-id|correlation-id|trace|span|ratelimit|-ms$|-time$|duration).*)"
)
# data and seed are facts of their own, and what was measured is no circumstance of it
_OF_ONE_TASK = re.compile(
    r"schema_version|seed|data_digests(\..*)?|pod(\..*)?|accelerators\[\d+\]\.uuid|measurements([.\[].*)?"
)
# the rest of a benchmark's environment comes from its framework
_OF_THE_MACHINE = re.compile(r"(hardware|accelerators|os|python|packages|image|package_version)([.\[].*)?")


@dataclass(frozen=True)
class BenchmarkFacts:
    """One benchmark of a run.

    Attributes:
        same: what makes it the same benchmark in another run, the strictest first: equal work judged by an equal
            metric; equal work; an equal id of an equal provider.
        data: digest over the digests of everything that was read; None when they are not known.
        sample_ids: digest over the ids of the samples; None without samples.
        settings: of the plan.
        machine: what it ran on; None when that is not on record.
        framework: what the framework said of itself and of the settings in effect; None when it said nothing, as one
            that failed.
    """

    task: BenchmarkTask
    test: BenchmarkTest
    same: tuple[str, ...]
    data: str | None
    sample_ids: str | None
    settings: Facts
    machine: Facts | None
    framework: Facts | None


@dataclass(frozen=True)
class RunFacts:
    """One run.

    Attributes:
        name: as whoever compares it named it.
        fingerprint: digest that stands for the model; None without one.
        groups: what is known of the run as a whole, by what it is about; None for what is not known.
    """

    name: str
    record: RunRecord
    verdict: Verdict
    fingerprint: str | None
    groups: Mapping[str, Facts | None]
    benchmarks: tuple[BenchmarkFacts, ...]


def facts_of(name: str, run: LoadedRun, verdict: Verdict) -> RunFacts:
    """Return what a comparison needs to know of `run`.

    Args:
        name: what the run is to be called.
        run: as loaded; the files of its benchmarks are read.
        verdict: of this run.
    """
    record, header, fingerprint = run.record, run.plan.header, run.fingerprint
    observed = flattened(fingerprint.observed) if fingerprint else None
    groups: dict[str, Facts | None] = {
        "model": flattened({"name": record.model_name, "url": record.model_url, "digest": record.model_digest}),
        "judge": flattened(record.judge.asked().as_json()) if record.judge else {},
        "fingerprint": {
            "identity": fingerprint.identity if fingerprint else "none",
            "answers": (fingerprint.answers if fingerprint else None) or "none",
        },
        "server": {key: text for key, text in observed.items() if not _OF_ONE_ANSWER.fullmatch(key)}
        if observed is not None
        else None,
        "declared": flattened(record.declared_environment),
        "": {
            "collection": header.collection_id,
            "collection version": header.collection_version,
            "plan": record.plan_digest,
            "threshold": _text(header.threshold),
            "gate": f"{header.gate_mode}, confidence {header.confidence:g}",
            "examples limit": _text(record.num_examples) if record.num_examples else "none",
            "engine": record.engine,
            "evalhub-kfp": record.package_version,
        },
    }
    benchmarks = tuple(_benchmark(run, run.plan.tasks[test.benchmark_index], test) for test in verdict.benchmarks)
    return RunFacts(name, record, verdict, fingerprint.digest() if fingerprint else None, groups, benchmarks)


def flattened(value: Any) -> dict[str, str]:
    """Return the leaves of JSON values as texts, by their path: `{"a": {"b": [1]}}` becomes `{"a.b[0]": "1"}`.

    What is null says as much as what is absent, and is left out.
    """
    return {path: text for (path, text), _ in zip(_leaves(value, "", _MAX_DEPTH), range(_MAX_FACTS), strict=False)}


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth and isinstance(value, dict) and value:
        for key in sorted(value, key=str):
            yield from _leaves(value[key], f"{path}.{key}" if path else str(key), depth - 1)
    elif depth and isinstance(value, list) and value:
        for position, item in enumerate(value):
            yield from _leaves(item, f"{path}[{position}]", depth - 1)
    elif value is not None:
        yield path, _text(value)


def _benchmark(run: LoadedRun, task: BenchmarkTask, test: BenchmarkTest) -> BenchmarkFacts:
    outcome, folder = run.outcomes.get(task.index), run.folders.get(task.index)
    results = outcome.results if outcome else None
    ids = sorted(sample.id for sample in outcome.samples) if outcome else []
    environment = _environment(run.record, folder)
    of_the_machine = {key: text for key, text in environment.items() if _OF_THE_MACHINE.fullmatch(key)}
    completed = results is not None and results.status == "completed"
    of_the_framework = {key: text for key, text in environment.items() if completed and key not in of_the_machine}
    known = [task.provider_id, task.benchmark_id]
    work = [*known, task.parameters, task.num_few_shot, task.seed]
    metric = [task.primary_score.metric, task.primary_score.lower_is_better]
    return BenchmarkFacts(
        task=task,
        test=test,
        same=tuple(_text(key) for key in ([*work, *metric], work, known)),
        data=_data(results, folder),
        sample_ids=canonical.digest(ids) if ids else None,
        settings=_settings(task, run.record.num_examples),
        machine=of_the_machine or None,
        framework=of_the_framework or None,
    )


def _settings(task: BenchmarkTask, run_limit: int | None) -> Facts:
    limit, score, threshold = effective_examples(task, run_limit), task.primary_score, task.threshold
    return {
        "metric": score.metric + (" (lower is better)" if score.lower_is_better else ""),
        "range": f"{score.range[0]:g} to {score.range[1]:g}",
        "threshold of the benchmark": f"{threshold.value:g} (of the {threshold.source})" if threshold else "none",
        "weight": f"{task.weight:g}{', required' if task.required else ''}",
        "few-shot": "the framework's own" if task.num_few_shot is None else str(task.num_few_shot),
        "seed": str(task.seed),
        "examples": "all" if limit is None else f"at most {limit}",
        "errors allowed": f"{task.max_error_rate:g}",
        **flattened({"parameters": task.parameters or None}),
        **flattened({"test data": task.test_data_ref.as_json() if task.test_data_ref else None}),
    }


def _data(results: BenchmarkResults | None, folder: Path | None) -> str | None:
    """Return one digest over all data, whatever its files were called on that machine."""
    if results is None or results.status != "completed":
        return None
    digests = sorted(results.data_digests.values())
    fetched = _read(folder, "task.json").get("test_data_digest")
    if isinstance(fetched, str):
        digests.append(fetched)
    return digests[0] if len(digests) == 1 else canonical.digest(digests) if digests else None


def _environment(record: RunRecord, folder: Path | None) -> Facts:
    """Return what is on record of how results came about; the model's address in it is no difference of its own."""
    said = _read(folder, "environment.json")
    server = record.model_url.removesuffix("/v1")
    return {
        key: text.replace(server, "<model url>")
        for key, text in (flattened(said) if said else {}).items()
        if not _OF_ONE_TASK.fullmatch(key)
    }


def _read(folder: Path | None, name: str) -> dict[str, Any]:
    """Return a JSON object that a benchmark left, empty when there is none to read."""
    path = folder / name if folder else None
    try:
        if path is None or path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return {}
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    try:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    except RecursionError:
        return "nested too deeply"
