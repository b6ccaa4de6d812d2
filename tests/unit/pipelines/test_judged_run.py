"""The verdict of a finished run under other criteria: which result answers for which benchmark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.collection import Collection
from evalhub_components.schema.plan import EvaluationPlan
from evalhub_components.schema.provider import Provider
from evalhub_components.schema.results import BenchmarkResults, MetricValue
from evalhub_components.schema.run import RunRecord
from evalhub_pipelines import resolution
from evalhub_pipelines.judged_run import judged

PROVIDER = Provider.model_validate(
    {
        "id": "p",
        "takes_others": True,
        "benchmarks": [{"id": name, "primary_score": {"metric": "acc"}} for name in "abc"],
    }
)
DATA = {"test_data_ref": {"pvc": {"claim_name": "data", "sub_path": "v1"}}}
OTHER_DATA = {"test_data_ref": {"pvc": {"claim_name": "data", "sub_path": "v2"}}}
OWN = {"id": "unlisted", "primary_score": {"metric": "acc"}}


def a_plan(*entries: dict[str, Any], threshold: float = 0.5, max_error_rate: float = 0.0) -> EvaluationPlan:
    benchmarks = [{"provider_id": "p", **entry} for entry in entries]
    keys = {"id": "c", "pass_criteria": {"threshold": threshold}, "benchmarks": benchmarks}
    keys["execution"] = {"max_error_rate": max_error_rate}
    return resolution.resolve(Collection.model_validate(keys), {"p": PROVIDER})


@pytest.fixture
def finished(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a finished run of `plan` with these scores; None is a benchmark without results."""

    def finished(plan: EvaluationPlan, *scores: float | None, state: str = "completed") -> Path:
        record = RunRecord(
            run_id="20260101-000000-abcdef",
            job_id="0" * 32,
            name=None,
            plan_digest=plan.header.digest(),
            model_url="http://127.0.0.1:8000/v1",
            model_name="m",
            declared_environment={},
            num_examples=None,
            tags=[],
            experiment_name="c",
            experiment_tags={},
            package_version="0.1.0",
            engine="process",
            state=state,  # type: ignore[arg-type]
            started_at="2026-01-01T00:00:00Z",
            completed_at=None,
        )
        atomic.write_json(tmp_path / "run.json", record.as_json())
        atomic.write_json(tmp_path / "plan.json", plan.as_json())
        for task, score in zip(plan.tasks, scores, strict=True):
            if score is not None:
                results = BenchmarkResults(
                    provider_id=task.provider_id,
                    benchmark_id=task.benchmark_id,
                    benchmark_index=task.index,
                    task_digest=task.digest(),
                    status="completed",
                    metrics={"acc": MetricValue(value=score)},
                    num_evaluated=10,
                    started_at="2026-01-01T00:00:00Z",
                    completed_at="2026-01-01T00:01:00Z",
                )
                atomic.write_json(tmp_path / "benchmarks" / task.slug / "results.json", results.as_json())
        return tmp_path

    return finished


def scores(directory: Path, plan: EvaluationPlan) -> list[float | None]:
    return [test.score for test in judged(directory, plan).verdict.benchmarks]


def test_other_thresholds_and_weights_use_the_same_results(finished: Callable[..., Path]) -> None:
    directory = finished(a_plan({"id": "a"}, {"id": "b"}), 0.9, 0.5)
    assert judged(directory).verdict.verdict == "pass"
    assert judged(directory, a_plan({"id": "a"}, {"id": "b"}, threshold=0.8)).verdict.verdict == "fail"
    weighted = judged(directory, a_plan({"id": "a", "weight": 9}, {"id": "b"}, threshold=0.8)).verdict
    assert (weighted.verdict, weighted.score) == ("pass", pytest.approx(0.86))


def test_results_follow_their_benchmarks_into_another_order(finished: Callable[..., Path]) -> None:
    directory = finished(a_plan({"id": "a"}, {"id": "b"}, {"id": "c"}), 0.1, 0.2, 0.3)
    assert scores(directory, a_plan({"id": "c"}, {"id": "a"})) == [0.3, 0.1]


def test_benchmark_that_did_not_run_makes_the_verdict_an_error(finished: Callable[..., Path]) -> None:
    directory = finished(a_plan({"id": "a"}), 0.9)
    verdict = judged(directory, a_plan({"id": "a"}, {"id": "b"})).verdict
    assert verdict.verdict == "error"
    assert [test.status for test in verdict.benchmarks] == ["completed", "missing"]


def test_other_criteria_are_told_with_the_verdict_of_the_run_itself(finished: Callable[..., Path]) -> None:
    plan = a_plan({"id": "a"}, threshold=0.8)
    directory = finished(plan, 0.7)
    found = judged(directory, a_plan({"id": "a"}, threshold=0.5))
    assert (found.verdict.verdict, found.own) == ("pass", "fail")
    assert found.publication is not None
    assert found.publication.warnings == ["judged again under other criteria; the run's own verdict is fail"]
    assert judged(directory, plan) == judged(directory)
    assert judged(directory).own is None


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({}, {"parameters": {"shots": 5}}),
        ({}, {"num_examples": 5}),
        (DATA, OTHER_DATA),
        (DATA, {}),
        ({}, DATA),
        (OWN, {**OWN, "judge": True}),
    ],
    ids=["parameters", "examples", "other data", "no data any more", "data where there was none", "judged by a model"],
)
def test_other_work_is_not_the_same_benchmark(
    finished: Callable[..., Path], before: dict[str, Any], now: dict[str, Any]
) -> None:
    directory = finished(a_plan({"id": "a", **before}), 0.9)
    verdict = judged(directory, a_plan({"id": "a", **now})).verdict
    assert verdict.verdict == "error"
    assert [(test.status, test.score) for test in verdict.benchmarks] == [("missing", None)]


def test_fewer_lost_examples_allowed_than_there_are_make_a_benchmark_failed(finished: Callable[..., Path]) -> None:
    directory = finished(a_plan({"id": "a"}, max_error_rate=0.5), 0.9)
    lost(directory, status="completed")
    assert judged(directory, a_plan({"id": "a"}, threshold=0.1, max_error_rate=0.5)).verdict.verdict == "pass"
    assert judged(directory, a_plan({"id": "a"}, max_error_rate=0.4)).verdict.verdict == "pass"
    verdict = judged(directory, a_plan({"id": "a"}, max_error_rate=0.01)).verdict
    assert (verdict.verdict, verdict.state) == ("error", "failed")
    (test,) = verdict.benchmarks
    assert (test.status, test.score) == ("failed", None)
    assert "40 of 100 examples (40 %) had errors, more than max_error_rate 0.01 allows" in test.reason


def test_more_lost_examples_allowed_do_not_bring_back_a_failed_benchmark(finished: Callable[..., Path]) -> None:
    directory = finished(a_plan({"id": "a"}, max_error_rate=0.01), 0.9)
    lost(directory, status="failed", reason="too many had errors")
    verdict = judged(directory, a_plan({"id": "a"}, max_error_rate=0.9)).verdict
    assert verdict.verdict == "error"
    assert [(test.status, test.score) for test in verdict.benchmarks] == [("failed", None)]


def lost(directory: Path, **keys: Any) -> None:
    """Write down that 40 of 100 requests of the only benchmark were lost."""
    path = directory / "benchmarks" / "000-a" / "results.json"
    counts = {"num_requested": 100, "num_evaluated": 60, "num_errors": 40}
    atomic.write_json(path, {**atomic.read_json(path), **counts, **keys})


def test_benchmark_listed_twice_keeps_its_two_results(finished: Callable[..., Path]) -> None:
    directory = finished(a_plan({"id": "a"}, {"id": "a"}), 0.2, 0.8)
    assert scores(directory, a_plan({"id": "a", "weight": 5}, {"id": "a"})) == [0.2, 0.8]


def test_one_result_serves_two_criteria(finished: Callable[..., Path]) -> None:
    directory = finished(a_plan({"id": "a"}), 0.6)
    verdict = judged(directory, a_plan({"id": "a"}, {"id": "a", "pass_criteria": {"threshold": 0.7}})).verdict
    assert [test.passed for test in verdict.benchmarks] == [True, False]


def test_missing_result_stays_missing_under_other_criteria(finished: Callable[..., Path]) -> None:
    directory = finished(a_plan({"id": "a"}, {"id": "b"}), 0.9, None)
    assert scores(directory, a_plan({"id": "b"}, {"id": "a"})) == [None, 0.9]


def test_results_of_another_task_are_not_carried_over(finished: Callable[..., Path]) -> None:
    directory = finished(a_plan({"id": "a"}), 0.9)
    path = directory / "benchmarks" / "000-a" / "results.json"
    atomic.write_json(path, {**atomic.read_json(path), "task_digest": "sha256:" + "0" * 64})
    assert scores(directory, a_plan({"id": "a"})) == [None]


def test_cancelled_run_is_judged_as_cancelled(finished: Callable[..., Path]) -> None:
    plan = a_plan({"id": "a"}, {"id": "b"})
    directory = finished(plan, 0.9, None, state="cancelled")
    assert judged(directory).verdict.state == judged(directory, plan).verdict.state == "cancelled"


def test_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvalHubError, match=r"run\.json: no such file"):
        judged(tmp_path)
