"""The score of one benchmark: what its results are worth, and how that compares with the benchmark's own threshold."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evalhub_components.schema.plan import BenchmarkTask, ResolvedScore
from evalhub_components.schema.results import BenchmarkResults, Sample
from evalhub_components.schema.verdict import BenchmarkTest
from evalhub_components.scoring import standard_error
from evalhub_components.scoring.comparison import TOLERANCE, in_words, reaches, shown


@dataclass(frozen=True)
class TaskOutcome:
    """What one task left."""

    results: BenchmarkResults
    samples: Sequence[Sample] = ()


class _NoScoreError(Exception):
    """There is no score; the message says why."""


def examine(
    task: BenchmarkTask, digest: str, outcome: TaskOutcome | None, *, confidence: float, cancelled: bool
) -> BenchmarkTest:
    """Return how a benchmark did.

    Args:
        task: what was to be done.
        digest: of the task; results of any other task are no evidence for it.
        outcome: None when the task left no results.
        confidence: of one-sided bounds.
        cancelled: the run was ended before its time.
    """
    definition, threshold = task.primary_score, task.threshold
    results = outcome.results if outcome is not None and outcome.results.task_digest == digest else None
    score = normalized = passed = None
    error = standard_error.StandardError(None, "none")
    try:
        if outcome is None:
            raise _NoScoreError(
                "the run was cancelled before there were results" if cancelled else "there are no results"
            )
        if results is None:
            raise _NoScoreError(
                f"the results are of another task ({outcome.results.task_digest}, the plan has {digest})"
            )
        score = _score(results, definition)
        normalized = min(1.0, max(0.0, _normalized(score, definition)))
        stderr = results.metrics[definition.metric].stderr
        error = standard_error.estimate(score, stderr, outcome.samples, definition.range, confidence)
        passed, reason = _against_threshold(task, score, normalized)
    except _NoScoreError as problem:
        reason = f"no score: {problem}"
    fields: dict[str, Any] = {
        "benchmark_index": task.index,
        "slug": task.slug,
        "provider_id": task.provider_id,
        "benchmark_id": task.benchmark_id,
        "metric": definition.metric,
        "lower_is_better": definition.lower_is_better,
        "range": definition.range,
        "status": "missing" if results is None else results.status,
        "score": score,
        "normalized_score": normalized,
        "threshold": None if threshold is None else threshold.value,
        "threshold_source": None if threshold is None else threshold.source,
        "pass": passed,
        "weight": task.weight,
        "required": task.required,
        "se": error.value,
        "se_source": error.source,
        "num_requested": None if results is None else results.num_requested,
        "num_evaluated": None if results is None else results.num_evaluated,
        "num_errors": 0 if results is None else results.num_errors,
        "reason": reason if task.weight > 0 or task.required else f"advisory: {reason}",
    }
    return BenchmarkTest(**fields)


def normalized_threshold(task: BenchmarkTask) -> float | None:
    """Return the benchmark's own threshold on the scale where 1 is best, None when it has none."""
    if task.threshold is None:
        return None
    value = task.threshold.value
    return value if task.threshold.source == "collection" else _normalized(value, task.primary_score)


def _score(results: BenchmarkResults, definition: ResolvedScore) -> float:
    """Return the primary metric in its own units.

    Raises:
        _NoScoreError: there is none, or what there is cannot be one.
    """
    name = definition.metric
    if results.status != "completed":
        raise _NoScoreError(f"failed: {results.reason or 'no reason was given'}")
    if results.num_evaluated == 0:
        raise _NoScoreError(f"no example was evaluated ({results.num_errors} errors)")
    if name not in results.metrics:
        raise _NoScoreError(f"metric missing: {name!r} is not among {reprlib.repr(sorted(results.metrics))}")
    value = results.metrics[name].value
    try:
        score = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        score = math.inf
    if math.isnan(score):
        raise _NoScoreError(f"{name} is not a number: {reprlib.repr(value)}")
    if math.isinf(score):
        raise _NoScoreError(f"{name} is infinite")
    if definition.range_overflow == "error" and not -TOLERANCE <= _normalized(score, definition) <= 1 + TOLERANCE:
        low, high = definition.range
        percent = (low, high) == (0, 1) and 1 < score <= 100
        hint = "percent? declare range: [0, 100]" if percent else "declare its range, or range_overflow: clip"
        raise _NoScoreError(f"{name} {shown(score)} is out of range [{shown(low)}, {shown(high)}] ({hint})")
    return score


def _normalized(value: float, definition: ResolvedScore) -> float:
    """Return `value`, in the metric's units, on the scale where 0 is the worst end of its range and 1 the best."""
    low, high = definition.range
    share = (value - low) / (high - low)
    return 1 - share if definition.lower_is_better else share


def _against_threshold(task: BenchmarkTask, score: float, normalized: float) -> tuple[bool | None, str]:
    """Return whether the benchmark reaches its own threshold, and the comparison in words.

    They are compared on the scale that the threshold is on. In the metric's units a wide range must not make the
    tolerance wide: of a perplexity in [0, 1e9] it would be one.
    """
    needed, definition = normalized_threshold(task), task.primary_score
    if task.threshold is None or needed is None:
        return None, f"{shown(score)}, no threshold"
    if task.threshold.source != "collection":
        value, (low, high) = task.threshold.value, definition.range
        sign = -1 if definition.lower_is_better else 1
        passed = reaches(sign * score, sign * value, TOLERANCE * min(1.0, high - low))
        return passed, in_words(score, value, passed, definition.lower_is_better)
    passed = reaches(normalized, needed)
    words = in_words(normalized, needed, passed)
    same_scale = definition.range == (0, 1) and not definition.lower_is_better
    return passed, words if same_scale else f"{words} (normalised from {shown(score)})"
