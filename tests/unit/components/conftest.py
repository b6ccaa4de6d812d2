"""Run directories to judge, written as the steps of a run write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.schema.plan import (
    BenchmarkTask,
    EvaluationPlan,
    PlanExecution,
    PlanHeader,
    ResolvedScore,
    ResolvedThreshold,
    TaskRequest,
)
from evalhub_components.schema.results import BenchmarkResults, MetricValue
from evalhub_components.schema.run import Fingerprint, RunRecord, job_id

WriteRun = Callable[..., Path]


def a_task(index: int, name: str, **changes: Any) -> BenchmarkTask:
    fields: dict[str, Any] = {
        "index": index,
        "slug": f"{index:03d}-{name}",
        "provider_id": "lm_evaluation_harness",
        "benchmark_id": name,
        "primary_score": ResolvedScore(metric="acc", lower_is_better=False, range=(0, 1), range_overflow="error"),
        "threshold": ResolvedThreshold(value=0.5, source="benchmark"),
        "weight": 1.0,
        "required": False,
        "parameters": {},
        "num_few_shot": 0,
        "num_examples": None,
        "dataset_size": 4,
        "seed": 1234,
        "timeout": 600,
        "max_error_rate": 0.0,
        "test_data_ref": None,
        "hardware": None,
    }
    return BenchmarkTask(**{**fields, **changes})


def a_plan(tasks: Sequence[BenchmarkTask]) -> EvaluationPlan:
    header = PlanHeader(
        collection_id="quick",
        collection_version="1.2",
        threshold=0.6,
        threshold_source="collection",
        gate_mode="point",
        confidence=0.95,
        execution=PlanExecution(batch=None, max_parallel=None, retries=0, cache=False),
        runtimes={},
        task_digests=[task.digest() for task in tasks],
    )
    return EvaluationPlan(header=header, tasks=list(tasks))


def a_record(plan: EvaluationPlan, **changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "run_id": "r-20260102",
        "job_id": job_id(plan.header.digest(), "http://localhost:1/v1", "tiny", None),
        "name": "nightly",
        "plan_digest": plan.header.digest(),
        "model_url": "http://localhost:1/v1",
        "model_name": "tiny",
        "declared_environment": {"engine": "vllm"},
        "num_examples": None,
        "tags": ["ci"],
        "experiment_name": "quick",
        "experiment_tags": {"team": "blue"},
        "package_version": "0.1.0",
        "engine": "process",
        "state": "running",
        "started_at": "2026-01-02T03:00:00Z",
        "completed_at": None,
    }
    return RunRecord(**{**fields, **changes})


def a_result(plan: EvaluationPlan, index: int, **changes: Any) -> BenchmarkResults:
    task = plan.tasks[index]
    fields: dict[str, Any] = {
        "provider_id": task.provider_id,
        "benchmark_id": task.benchmark_id,
        "benchmark_index": index,
        "task_digest": task.digest(),
        "status": "completed",
        "metrics": {"acc": MetricValue(value=0.75, stderr=0.25)},
        "num_requested": 4,
        "num_evaluated": 4,
        "data_digests": {"data.jsonl": "sha256:" + "ab" * 32},
        "started_at": "2026-01-02T03:00:00Z",
        "completed_at": f"2026-01-02T03:04:{index % 60:02d}Z",
    }
    return BenchmarkResults(**{**fields, **changes})


def write_task(folder: Path, plan: EvaluationPlan, index: int, results: BenchmarkResults | str | None) -> None:
    task = plan.tasks[index]
    (folder / "raw").mkdir(parents=True)
    request = TaskRequest(
        task=task,
        task_digest=task.digest(),
        model_url="http://localhost:1/v1",
        model_name="tiny",
        fingerprint=None,
        num_examples=None,
        test_data_digest=None,
        task_key="sha256:" + "0" * 64,
    )
    (folder / "task.json").write_text(json.dumps(request.as_json()))
    environment = {
        "python": {"version": "3.12.1"},
        "os": {"distribution": "Debian"},
        "hardware": {"cpus": 2, "cpu": "x"},
    }
    (folder / "environment.json").write_text(json.dumps(environment))
    (folder / "log.txt").write_text("done\n")
    (folder / "raw" / "out.json").write_text(json.dumps({"index": index}))
    if isinstance(results, BenchmarkResults):
        (folder / "results.json").write_text(json.dumps(results.as_json()))
        lines = [json.dumps({"id": str(n), "score": 1.0 if n else 0.0}) for n in range(4)]
        (folder / "samples.jsonl").write_text("\n".join(lines) + "\n")
    elif results is not None:
        (folder / "results.json").write_text(results)


@pytest.fixture
def write_run() -> WriteRun:
    """Write a run directory whose benchmarks all scored 0.75 against 0.5, unless `results` says otherwise."""

    def write(
        path: Path,
        *,
        benchmarks: Sequence[str] = ("arc", "gsm8k", "mmlu"),
        results: Mapping[int, BenchmarkResults | str | dict[str, Any] | None] | None = None,
        tasks: Mapping[int, dict[str, Any]] | None = None,
        record: dict[str, Any] | None = None,
    ) -> Path:
        plan = a_plan([a_task(n, name, **(tasks or {}).get(n, {})) for n, name in enumerate(benchmarks)])
        path.mkdir(parents=True)
        (path / "plan.json").write_text(json.dumps(plan.as_json()))
        (path / "run.json").write_text(json.dumps(a_record(plan, **(record or {})).as_json()))
        fingerprint = Fingerprint(
            model_url="http://localhost:1/v1",
            model_name="tiny",
            identity="sha256:" + "1" * 64,
            answers=None,
            observed={},
            missing=["answers"],
        )
        (path / "fingerprint.json").write_text(json.dumps(fingerprint.as_json()))
        for index, task in enumerate(plan.tasks):
            given = (results or {}).get(index, {})
            outcome = a_result(plan, index, **given) if isinstance(given, dict) else given
            write_task(path / "benchmarks" / task.slug, plan, index, outcome)
        return path

    return write
