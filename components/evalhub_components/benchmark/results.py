"""From what an adapter returned to `results.json`: what counts as a score, and what makes a benchmark failed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from evalhub_components.schema.plan import BenchmarkTask
from evalhub_components.schema.results import BenchmarkResults, MetricValue


def completed(
    task: BenchmarkTask, task_digest: str, payload: Mapping[str, Any], *, started_at: str, completed_at: str
) -> BenchmarkResults:
    """Return the results of an adapter that returned; `failed` with a reason when they are no evidence.

    They are no evidence without the primary metric as a finite number, when nothing was evaluated, or when more
    examples than `max_error_rate` allows had errors or are missing.

    Raises:
        ValueError: they are no results at all.
    """
    metrics = {
        str(metric["name"]): MetricValue(value=_value(metric["value"]), stderr=_finite(metric["stderr"]))
        for metric in payload["metrics"]
    }
    requested = _count(payload, "num_examples_requested") if payload["num_examples_requested"] is not None else None
    evaluated = _count(payload, "num_examples_evaluated")
    errors = max(_count(payload, "num_errors"), requested - evaluated if requested is not None else 0)
    reason = _no_score(task, payload["metrics"]) or not_enough(task, requested, evaluated, errors)
    return BenchmarkResults(
        provider_id=task.provider_id,
        benchmark_id=task.benchmark_id,
        benchmark_index=task.index,
        task_digest=task_digest,
        status="failed" if reason else "completed",
        reason=reason,
        metrics=metrics,
        num_requested=requested,
        num_evaluated=evaluated,
        num_errors=errors,
        data_digests=payload["data_digests"],
        started_at=started_at,
        completed_at=completed_at,
        usage={name: float(value) for name, value in payload["usage"].items() if _finite(value) is not None},
    )


def failed(
    task: BenchmarkTask, task_digest: str, reason: str, *, started_at: str, completed_at: str
) -> BenchmarkResults:
    """Return the results of a benchmark that has no score, with the reason."""
    return BenchmarkResults(
        provider_id=task.provider_id,
        benchmark_id=task.benchmark_id,
        benchmark_index=task.index,
        task_digest=task_digest,
        status="failed",
        reason=reason,
        started_at=started_at,
        completed_at=completed_at,
    )


def _no_score(task: BenchmarkTask, metrics: list[dict[str, Any]]) -> str | None:
    primary = task.primary_score.metric
    values = {str(metric["name"]): metric["value"] for metric in metrics}
    if primary not in values:
        return f"primary metric {primary!r} is missing (the framework reported: {', '.join(values) or 'none'})"
    value = values[primary]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"primary metric {primary!r} is not a number: {value!r}"
    if _finite(value) is None:
        return f"primary metric {primary!r} is not a finite number: {value}"
    return None


def not_enough(task: BenchmarkTask, requested: int | None, evaluated: int, errors: int) -> str | None:
    """Return why so many examples are too few for a score, None when they are not."""
    if evaluated <= 0:
        return "no example was evaluated"
    total = max(requested or 0, evaluated)
    if errors / total > task.max_error_rate:  # the quotient is rounded as the rate was when it was read
        rate = f"{errors} of {total} examples ({100 * errors / total:.3g} %) had errors"
        return f"{rate}, more than max_error_rate {task.max_error_rate:g} allows"
    return None


def _count(payload: Mapping[str, Any], name: str) -> int:
    number = _finite(payload[name])
    if number is None or not number.is_integer():
        raise ValueError(f"{name} must be a number of examples, got {payload[name]!r}")
    return int(number)


def _value(value: Any) -> bool | int | float | str | None:
    """Return `value` as JSON can hold it; NaN and infinity become null, which is no score either."""
    if isinstance(value, bool | str):
        return value
    number = _finite(value)
    return value if isinstance(value, int) and number is not None and abs(value) <= 2**53 else number


def _finite(value: Any) -> float | None:
    """Return `value` when it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
