"""The verdict: a pure function of the plan and of what its tasks left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from evalhub_components.errors import EvalHubError
from evalhub_components.schema.plan import EvaluationPlan, is_limited
from evalhub_components.schema.verdict import BenchmarkTest, Decision, JobState, Verdict
from evalhub_components.scoring.benchmark_score import TaskOutcome, examine, normalized_threshold
from evalhub_components.scoring.comparison import reaches
from evalhub_components.scoring.overall_score import decide, weighted_mean

__all__ = ["TaskOutcome", "judge"]


def judge(
    plan: EvaluationPlan,
    outcomes: Mapping[int, TaskOutcome],
    *,
    num_examples: int | None = None,
    cancelled: bool = False,
) -> Verdict:
    """Return the verdict of a run.

    Args:
        plan: what was to be done, and the criteria.
        outcomes: by the task's index; a task without one left no results.
        num_examples: the run's own limit on examples a benchmark.
        cancelled: the run was ended before its time.

    Raises:
        EvalHubError: the plan contradicts itself, or nothing in it has a weight.
    """
    header = plan.header
    digests = [task.digest() for task in plan.tasks]
    if digests != header.task_digests:
        raise EvalHubError("plan: its tasks are not the ones its header lists (resolve it again from its collection)")
    if not any(task.weight > 0 for task in plan.tasks):
        raise EvalHubError("plan: no benchmark has a weight above 0 (weight 0 is advisory, so nothing would decide)")
    tests = [
        examine(task, digest, outcomes.get(task.index), confidence=header.confidence, cancelled=cancelled)
        for task, digest in zip(plan.tasks, digests, strict=True)
    ]
    overall = weighted_mean(tests)
    decision: Decision
    decision, why = decide(overall, header)
    decided: Literal["pass", "fail"] | None = None
    missed = [
        f"{test.slug} is required and misses its threshold: {test.reason}"
        for test in tests
        if test.required and test.score is not None and not test.passed
    ]
    lacking = [test for test in tests if (test.weight > 0 or test.required) and test.score is None]
    reasons = [*missed, why]
    if lacking:
        if missed or decision == "fail":
            decided = "fail"
        elif decision == "pass" and not _could_miss(plan, lacking):
            decided = "pass"
        stands = (
            f"decided: {decided} whatever the missing scores are"
            if decided
            else "undecided: the missing scores can change it"
        )
        reasons = [f"{test.slug} has {test.reason}" for test in lacking]
        reasons += [f"{stands} ({'; '.join(missed or [why])})"]
        decision = "error"
    elif missed:
        decision = "fail"
    return Verdict(
        verdict=decision,
        reasons=reasons,
        state="cancelled" if cancelled else _state(tests),
        collection_id=header.collection_id,
        collection_version=header.collection_version,
        plan_digest=header.digest(),
        score=overall.value,
        score_se=overall.se,
        interval=overall.interval(header.confidence),
        probability=overall.probability(header.threshold),
        threshold=header.threshold,
        threshold_source=header.threshold_source,
        gate_mode=header.gate_mode,
        confidence=header.confidence,
        score_bounds=overall.bounds if overall.value is None else None,
        decided=decided,
        limited=any(is_limited(task, num_examples) for task in plan.tasks if task.weight > 0 or task.required),
        benchmarks=tests,
    )


def _could_miss(plan: EvaluationPlan, lacking: Sequence[BenchmarkTest]) -> bool:
    """Return whether a missing score at the worst end of its range would miss a required threshold."""
    missing = {test.benchmark_index for test in lacking}
    thresholds = [normalized_threshold(task) for task in plan.tasks if task.required and task.index in missing]
    return any(threshold is None or not reaches(0.0, threshold) for threshold in thresholds)


def _state(tests: Sequence[BenchmarkTest]) -> JobState:
    completed = sum(test.status == "completed" for test in tests)
    if completed == len(tests):
        return "completed"
    return "partially_failed" if completed else "failed"
