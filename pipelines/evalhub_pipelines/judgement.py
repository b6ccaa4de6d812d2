"""The verdict of a finished run, computed again, under the criteria it ran with or under others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evalhub_components import run_directory
from evalhub_components.schema.plan import BenchmarkTask, EvaluationPlan
from evalhub_components.schema.verdict import Verdict
from evalhub_components.scoring import judgement

_SAME_WORK = ("provider_id", "benchmark_id", "parameters", "num_examples", "num_few_shot", "seed")


def judge(directory: Path, plan: EvaluationPlan | None = None) -> Verdict:
    """Return the verdict of the run in `directory`; nothing is written.

    Args:
        directory: a run directory.
        plan: other criteria. A benchmark of it is judged by the result of the same work in the run; one without such
            a result counts as missing.

    Raises:
        EvalHubError: `directory` is no run.
    """
    run = run_directory.load(directory)
    if plan is None:
        return run.judge()
    outcomes = _transferred(run.plan.tasks, run.outcomes, plan.tasks)
    cancelled = run.record.state == "cancelled"
    return judgement.judge(plan, outcomes, num_examples=run.record.num_examples, cancelled=cancelled)


def _transferred(
    old: list[BenchmarkTask], outcomes: Mapping[int, judgement.TaskOutcome], new: list[BenchmarkTask]
) -> dict[int, judgement.TaskOutcome]:
    """Return the outcomes under the indices and digests of `new`, each used once where work is listed twice."""
    found: dict[int, judgement.TaskOutcome] = {}
    unused = list(old)
    for task in new:
        match = next((t for t in unused if all(getattr(t, key) == getattr(task, key) for key in _SAME_WORK)), None)
        if match is None:
            # the same work under two criteria: one result serves both
            match = next((t for t in old if all(getattr(t, key) == getattr(task, key) for key in _SAME_WORK)), None)
        else:
            unused.remove(match)
        outcome = outcomes.get(match.index) if match is not None else None
        if match is None or outcome is None:
            continue
        results = outcome.results
        if results.task_digest == match.digest():
            results = results.model_copy(update={"benchmark_index": task.index, "task_digest": task.digest()})
        found[task.index] = judgement.TaskOutcome(results, outcome.samples)
    return found
