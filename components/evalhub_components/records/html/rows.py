"""What the page shows of one benchmark: its line in the table, and what is folded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError
from evalhub_components.records import usage, wording
from evalhub_components.records.html import plot
from evalhub_components.records.html.texts import DIGEST, Fact, Room, document, listed, text
from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.plan import BenchmarkTask, effective_examples
from evalhub_components.schema.results import BenchmarkResults, MetricValue
from evalhub_components.schema.verdict import BenchmarkTest, Verdict
from evalhub_components.scoring.comparison import shown

_SOURCES = {"benchmark": "of this entry", "collection": "of the collection, normalised", "provider": "the provider's"}
_ERROR_SOURCES = {"samples": "from the scores of single examples", "provider": "the provider's own", "none": ""}
_TONES: dict[wording.Outcome, str] = {"pass": "pass", "fail": "fail", "error": "error", "scored": "scored"}
_LOG_BYTES = 16_384
_LONG = 4  # times the width of an ordinary text


class Metric(NamedTuple):
    """A metric as it was reported."""

    name: str
    value: str
    stderr: str
    primary: bool


class Row(NamedTuple):
    """One benchmark: its line in the table, and what is folded.

    Attributes:
        tone: how its outcome looks: pass, fail, error, scored or none.
    """

    anchor: str
    name: str
    provider: str
    outcome: str
    tone: str
    mark: str
    reason: str
    line: plot.Line
    score: str
    metric: str
    lower_is_better: bool
    threshold: str
    weight: str
    examples: str
    facts: list[Fact]
    metrics: list[Metric]
    more_metrics: int
    log: list[str]


def row(run: LoadedRun, verdict: Verdict, index: int, name: str, room: Room) -> Row:
    """Return the benchmark at position `index` of the verdict, called `name`."""
    test, task = verdict.benchmarks[index], run.plan.tasks[verdict.benchmarks[index].benchmark_index]
    outcome = wording.outcome(test)
    folder = run.folders.get(task.index)
    results = run.outcomes[task.index].results if task.index in run.outcomes else None
    metrics = _metrics(results, test, room) if results else []
    return Row(
        anchor=f"benchmark-{index}",
        name=text(name, room.width),
        provider=text(test.provider_id, room.width),
        outcome=outcome,
        tone=_TONES.get(outcome, "none"),
        mark=wording.mark(test),
        reason=text(test.reason, room.width),
        line=plot.benchmark(task, test, verdict.confidence),
        score="-" if test.score is None else shown(test.score),
        metric=text(test.metric, room.width),
        lower_is_better=test.lower_is_better,
        threshold=wording.threshold(test),
        weight=shown(test.weight),
        examples=wording.examples(test),
        facts=_facts(run, verdict, test, task, results, folder, room),
        metrics=metrics,
        more_metrics=len(results.metrics) - len(metrics) if results else 0,
        log=_log(folder, room) if test.score is None and folder else [],
    )


def _metrics(results: BenchmarkResults, test: BenchmarkTest, room: Room) -> list[Metric]:
    """Return the primary metric, then the others as they were reported."""
    names = sorted(results.metrics, key=lambda name: name != test.metric)[: room.listed]
    return [_metric(name, results.metrics[name], name == test.metric, room) for name in names]


def _metric(name: str, metric: MetricValue, primary: bool, room: Room) -> Metric:
    value = metric.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        words = shown(value)
    else:
        words = document(value, room.width)
    return Metric(text(name, room.width), words, "" if metric.stderr is None else shown(metric.stderr), primary)


def _facts(
    run: LoadedRun,
    verdict: Verdict,
    test: BenchmarkTest,
    task: BenchmarkTask,
    results: BenchmarkResults | None,
    folder: Path | None,
    room: Room,
) -> list[Fact]:
    found = [Fact("reason", (text(test.reason, _LONG * room.width),)), *_score(verdict, test)]
    if test.num_errors:
        found.append(Fact("examples without a usable answer", (str(test.num_errors),)))
    found.append(Fact("settings", (_settings(run, task),)))
    if task.parameters:
        found.append(Fact("parameters", (document(task.parameters, 2 * room.width),), code=True))
    if results:
        taken = [f"{name} {value}" for name, value in usage.facts(usage.in_run(run, task.index))[: room.listed]]
        when = f"{results.started_at} to {results.completed_at}" if results.started_at else ""
        found += [
            *([Fact("time", (text(when, room.width),))] if when else []),
            *([Fact("usage", (text(", ".join(taken), 2 * room.width),))] if taken else []),
            *_data(results.data_digests, room),
        ]
    if folder:
        found += _environment(folder, room)
        found.append(Fact("files", (text(f"benchmarks/{folder.name}/", room.width),), code=True))
    return found


def _score(verdict: Verdict, test: BenchmarkTest) -> list[Fact]:
    """Return how the benchmark's number becomes a part of the overall score."""
    found = []
    if test.score is not None and test.normalized_score is not None:
        low, high = test.range
        best = "lower is better" if test.lower_is_better else "higher is better"
        words = f"{shown(test.score)}, {best}, range {shown(low)} to {shown(high)}"
        found.append(Fact("score", (f"{words}; normalised {shown(test.normalized_score)}",)))
        error = "none" if test.se is None else f"{shown(test.se)}, {_ERROR_SOURCES[test.se_source]}"
        found.append(Fact("standard error (normalised)", (error,)))
    if test.threshold is not None and test.threshold_source:
        found.append(Fact("threshold", (f"{shown(test.threshold)} ({_SOURCES[test.threshold_source]})",)))
    if test.weight > 0:
        share = test.weight / sum(each.weight for each in verdict.benchmarks)
        found.append(Fact("weight", (f"{shown(test.weight)}, {shown(100 * share, 3)} % of the overall score",)))
    return found


def _settings(run: LoadedRun, task: BenchmarkTask) -> str:
    limit = effective_examples(task, run.record.num_examples)
    parts = [
        "all examples" if limit is None else f"at most {limit} examples",
        *([f"data set of {task.dataset_size}"] if task.dataset_size is not None else []),
        *([f"{task.num_few_shot} few-shot examples"] if task.num_few_shot is not None else []),
        f"seed {task.seed}",
        f"time-out {usage.duration(task.timeout)}",
    ]
    return ", ".join(parts)


def _data(digests: Mapping[str, str], room: Room) -> list[Fact]:
    lines = [f"{name} {digest}" for name, digest in sorted(digests.items())]
    return [Fact("data", tuple(listed(lines, room, room.width + DIGEST)), code=True)] if lines else []


def _environment(folder: Path, room: Room) -> list[Fact]:
    machine = wording.environment(folder)
    found = [Fact("environment", (text(machine, 2 * room.width),))] if machine else []
    try:
        image = atomic.read_json(folder / "environment.json").get("image") or {}
        names = [str(image[key]) for key in ("reference", "digest") if image.get(key)]
    except (EvalHubError, AttributeError, TypeError, RecursionError):
        names = []
    return [*found, *([Fact("image", tuple(text(name, room.width) for name in names), code=True)] if names else [])]


def _log(folder: Path, room: Room) -> list[str]:
    """Return the last lines of the benchmark's log."""
    path = folder / "log.txt"
    if not room.log_lines or path.is_symlink() or not path.is_file():
        return []
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _LOG_BYTES, 0))
            read = file.read(_LOG_BYTES)
    except OSError:
        return []
    lines = read.decode("utf-8", "replace").splitlines()
    # the first of them may lack its beginning, and with it what tells a secret from other text
    whole = lines[1:] if size > _LOG_BYTES else lines
    return [line for line in (text(line, room.width) for line in whole) if line][-room.log_lines :]
