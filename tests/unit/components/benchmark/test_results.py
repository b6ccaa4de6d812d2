"""What counts as a score is decided in one pure place; the process around it is tested elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_components import canonical
from evalhub_components.benchmark import results
from evalhub_components.schema.plan import BenchmarkTask
from evalhub_components.schema.results import BenchmarkResults

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(codec="utf-8"), max_size=5)
)


@pytest.fixture(scope="module")
def judge(a_task: Any) -> Any:
    def completed(max_error_rate: float = 0, **changes: Any) -> BenchmarkResults:
        task = BenchmarkTask.model_validate(a_task(0, max_error_rate=max_error_rate))
        payload: dict[str, Any] = {
            "metrics": [{"name": "acc", "value": 0.5, "stderr": None}],
            "num_examples_requested": 10,
            "num_examples_evaluated": 10,
            "num_errors": 0,
            "data_digests": {},
            "usage": {},
        }
        return results.completed(
            task,
            task.digest(),
            payload | changes,
            started_at="2026-01-01T00:00:00Z",
            completed_at="2026-01-01T00:00:01Z",
        )

    return completed


@given(value=VALUES, other=VALUES, stderr=VALUES)
def test_only_a_finite_number_completes_and_everything_can_be_written(
    judge: Any, value: object, other: object, stderr: object
) -> None:
    metrics = [{"name": "acc", "value": value, "stderr": stderr}, {"name": "f1", "value": other, "stderr": stderr}]
    found = judge(metrics=metrics)
    finite = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    assert found.status == ("completed" if finite else "failed")
    assert bool(found.reason) != finite
    again = BenchmarkResults.model_validate_json(canonical.dumps(found.as_json()))
    assert (again.status, again.reason, again.metrics.keys()) == (found.status, found.reason, found.metrics.keys())
    if finite:
        assert found.metrics["acc"].value == pytest.approx(value)


@given(total=st.integers(1, 1000), errors=st.integers(0, 1000), percent=st.integers(0, 100))
def test_errors_are_allowed_up_to_the_rate_exactly(judge: Any, total: int, errors: int, percent: int) -> None:
    errors = min(errors, total)
    found = judge(
        max_error_rate=percent / 100, num_errors=errors, num_examples_requested=total, num_examples_evaluated=total
    )
    assert found.status == ("completed" if 100 * errors <= percent * total else "failed")
    assert found.num_errors == errors


@given(evaluated=st.integers(-5, 20), requested=st.one_of(st.none(), st.integers(0, 20)))
def test_examples_that_are_missing_are_errors(judge: Any, evaluated: int, requested: int | None) -> None:
    found = judge(num_examples_evaluated=evaluated, num_examples_requested=requested)
    complete = evaluated > 0 and (requested is None or evaluated >= requested)
    assert found.status == ("completed" if complete else "failed")


def test_more_examples_than_requested_are_no_error(judge: Any) -> None:
    found = judge(num_examples_requested=5, num_examples_evaluated=10)
    assert (found.status, found.num_errors) == ("completed", 0)
