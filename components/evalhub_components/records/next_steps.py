"""What to do after a verdict: the few things that a reader who did not make the run can do about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from evalhub_components.records.wording import LIMITED, outcome
from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.verdict import BenchmarkTest, Verdict
from evalhub_components.scoring.comparison import shown

_NAMED = 3


class Step(NamedTuple):
    """One thing to do.

    Attributes:
        text: a sentence.
        command: its words, where a command does it.
    """

    text: str
    command: tuple[str, ...] = ()


def next_steps(run: LoadedRun, verdict: Verdict, *, local: bool) -> list[Step]:
    """Return what to do about a verdict, the first thing first.

    Args:
        run: as loaded.
        verdict: of this run.
        local: whether whoever reads this has the run directory; commands name it.
    """
    steps = {"pass": _passed, "fail": _failed, "inconclusive": _inconclusive, "error": _without}[verdict.verdict]
    found = steps(run, verdict, local)
    if verdict.limited:
        found.append(Step(f"{LIMITED} Run it without a limit on examples before relying on it."))
    return found


def _passed(run: LoadedRun, verdict: Verdict, local: bool) -> list[Step]:
    failed = [test for test in verdict.benchmarks if test.passed is False]
    if not failed:
        return []
    return [Step(f"Nothing blocks this model. {_listed(failed)} missed a threshold without deciding the verdict.")]


def _failed(run: LoadedRun, verdict: Verdict, local: bool) -> list[Step]:
    required = [test for test in verdict.benchmarks if test.required and test.passed is False]
    steps = [
        Step(f"Start with {test.benchmark_id}: it is required, and misses its threshold ({test.reason}).")
        for test in required[:_NAMED]
    ]
    if verdict.score is not None and verdict.score < verdict.threshold:
        lost = sorted((test for test in verdict.benchmarks if _loss(test) > 0), key=_loss, reverse=True)
        most = [f"{test.benchmark_id} ({shown(_loss(test) / _weights(verdict), 2)})" for test in lost[:_NAMED]]
        steps.append(
            Step(
                f"The overall score is {shown(verdict.threshold - verdict.score, 2)} below its threshold. "
                f"What costs it most: {', '.join(most)}."
            )
        )
    named = required[0] if required else max(verdict.benchmarks, key=_loss)
    folder = f"benchmarks/{named.slug}"
    steps.append(
        Step(f"Look at what the model got wrong: {folder}/samples.jsonl, and the framework's own {folder}/raw/.")
    )
    if local:
        steps.append(
            Step("See what changed since a run that passed.", ("evalhub-kfp", "compare", "RUN", str(run.path)))
        )
    return steps


def _inconclusive(run: LoadedRun, verdict: Verdict, local: bool) -> list[Step]:
    without = [test for test in verdict.benchmarks if test.weight > 0 and test.se is None]
    if without:
        return [
            Step(
                f"{_listed(without)} gave no standard error, and gate mode {verdict.gate_mode} needs one from every "
                "benchmark that counts. Use a benchmark with scores of single samples, or gate mode point."
            )
        ]
    if verdict.score is None or verdict.interval is None:
        return []
    distance = abs(verdict.score - verdict.threshold)
    width = verdict.score - verdict.interval[0]
    text = f"The score is {shown(distance, 2)} from the threshold, and uncertain by {shown(width, 2)}."
    if distance * 100 > width:
        factor = math.ceil((width / distance) ** 2 * 10) / 10
        return [Step(f"{text} About {shown(factor, 3)} times as many examples would decide it, if the score stays.")]
    return [Step(f"{text} No number of examples is likely to decide it.")]


def _without(run: LoadedRun, verdict: Verdict, local: bool) -> list[Step]:
    lacking = [test for test in verdict.benchmarks if outcome(test) == "error"]
    steps = [
        Step(f"Cure why {test.benchmark_id} has no score: {_why(test)}. Its log is benchmarks/{test.slug}/log.txt.")
        for test in lacking[:_NAMED]
    ]
    if len(lacking) > _NAMED:
        steps.append(Step(f"{len(lacking) - _NAMED} more benchmarks have no score; their reasons are below."))
    if local:
        again = ("evalhub-kfp", "run", "--resume", str(run.path))
        return [*steps, Step("Then go on with the run: what is finished stays.", again)]
    return [*steps, Step("Then start the run again; no score was ever made up for a missing one.")]


def _why(test: BenchmarkTest) -> str:
    return test.reason.removeprefix("no score: ").rstrip(".")


def _loss(test: BenchmarkTest) -> float:
    """Return how much of the overall score this benchmark costs, times the sum of the weights."""
    return 0.0 if test.normalized_score is None else test.weight * (1 - test.normalized_score)


def _weights(verdict: Verdict) -> float:
    return sum(test.weight for test in verdict.benchmarks) or 1.0


def _listed(tests: Sequence[BenchmarkTest]) -> str:
    names = [test.benchmark_id for test in tests[:_NAMED]]
    more = f" and {len(tests) - _NAMED} more" if len(tests) > _NAMED else ""
    return f"{', '.join(names)}{more}"
