"""Runs of every kind, written as the steps of a run write them, for the reports that people read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalhub_components.run_directory import LoadedRun, load
from evalhub_components.schema.plan import (
    BenchmarkTask,
    EvaluationPlan,
    PlanExecution,
    PlanHeader,
    ResolvedScore,
    ResolvedThreshold,
)
from evalhub_components.schema.results import BenchmarkResults, MetricValue
from evalhub_components.schema.run import Fingerprint, Publication, RunRecord, job_id

MODEL_URL = "http://localhost:8000/v1"
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>'\"><svg onload=alert(3)>&lt;b&gt;</style></pre>{{7*7}}"
    "javascript:alert(4) https://user:hunter2@evil.example/ \u202egpj.exe\u2066\x1b[31m\x00\n]]>-->"
)


@dataclass
class Entry:
    """A benchmark and what came of it; `correct` of `size` examples, or the reason why there is no score."""

    name: str
    correct: int = 0
    size: int = 100
    reason: str | None = None
    samples: bool = True
    metrics: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    log: str = "loading data\nasking the model\ndone\n"


def write_run(
    path: Path, entries: Sequence[Entry], *, record: dict[str, Any] | None = None, header: dict[str, Any] | None = None
) -> LoadedRun:
    """Write a run directory and return it as loaded."""
    tasks = [_task(index, entry) for index, entry in enumerate(entries)]
    plan = EvaluationPlan(
        header=PlanHeader(
            **{
                "collection_id": "release-gate",
                "collection_version": "2.1",
                "threshold": 0.7,
                "threshold_source": "collection",
                "gate_mode": "point",
                "confidence": 0.95,
                "execution": PlanExecution(batch=None, max_parallel=None, retries=0, cache=False),
                "runtimes": {},
                "task_digests": [task.digest() for task in tasks],
                **(header or {}),
            }
        ),
        tasks=tasks,
    )
    path.mkdir(parents=True)
    _write(path / "plan.json", plan.as_json())
    _write(path / "run.json", _record(plan, record or {}).as_json())
    fingerprint = Fingerprint(
        model_url=MODEL_URL, model_name="granite-8b", identity="sha256:" + "1f" * 32, answers=None, observed={}
    )
    _write(path / "fingerprint.json", fingerprint.as_json())
    for task, entry in zip(plan.tasks, entries, strict=True):
        _write_benchmark(path / "benchmarks" / task.slug, task, entry)
    return load(path)


def _task(index: int, entry: Entry) -> BenchmarkTask:
    fields = {
        "index": index,
        "slug": f"{index:03d}-benchmark" if set(entry.name) & set("<>/\n") else f"{index:03d}-{entry.name}"[:60],
        "provider_id": "lm_evaluation_harness",
        "benchmark_id": entry.name,
        "primary_score": ResolvedScore(metric="acc"),
        "threshold": ResolvedThreshold(value=0.6, source="benchmark"),
        "num_few_shot": 5,
        "dataset_size": entry.size,
        "seed": 1234,
        "parameters": {"apply_chat_template": True},
        **entry.task,
    }
    return BenchmarkTask(**fields)


def _record(plan: EvaluationPlan, changes: dict[str, Any]) -> RunRecord:
    fields = {
        "run_id": "20260102-030000-5bf551",
        "job_id": job_id(plan.header.digest(), MODEL_URL, "granite-8b", None),
        "name": "nightly",
        "plan_digest": plan.header.digest(),
        "model_url": MODEL_URL,
        "model_name": "granite-8b",
        "declared_environment": {"engine": "vllm 0.11", "quantization": "fp8"},
        "num_examples": None,
        "tags": ["nightly"],
        "experiment_name": "release-gate",
        "experiment_tags": {},
        "package_version": "0.1.0",
        "engine": "process",
        "state": "running",
        "started_at": "2026-01-02T03:00:00Z",
        "completed_at": None,
    }
    return RunRecord(**{**fields, **changes})


def _write_benchmark(folder: Path, task: BenchmarkTask, entry: Entry) -> None:
    (folder / "raw").mkdir(parents=True)
    (folder / "log.txt").write_text(entry.log)
    environment = {
        "framework": {"name": "lm-eval", "version": "0.4.9"},
        "python": {"version": "3.12.11"},
        "os": {"distribution": "Debian GNU/Linux 12"},
        "hardware": {"cpus": 16, "cpu": "AMD EPYC 9354"},
        "image": {"reference": "registry.example/evalhub/lm-eval:0.1.0", "digest": "sha256:" + "9c" * 32},
    }
    _write(folder / "environment.json", environment)
    score = entry.correct / entry.size
    metrics = {"acc": MetricValue(value=score), "acc_norm": MetricValue(value=score * 0.98, stderr=0.021)}
    results = BenchmarkResults(
        provider_id=task.provider_id,
        benchmark_id=task.benchmark_id,
        benchmark_index=task.index,
        task_digest=task.digest(),
        status="failed" if entry.reason else "completed",
        reason=entry.reason,
        metrics={} if entry.reason else {**metrics, **entry.metrics},
        num_requested=entry.size,
        num_evaluated=None if entry.reason else entry.size,
        data_digests={"test.jsonl": "sha256:" + "ab" * 32},
        started_at="2026-01-02T03:00:05Z",
        completed_at=f"2026-01-02T03:{4 + task.index % 50:02d}:17Z",
        usage={}
        if entry.reason
        else {"requests": entry.size, "prompt_tokens": 412.0 * entry.size, "completion_tokens": 61.0 * entry.size}
        | {"seconds": 0.9 * entry.size},
    )
    _write(folder / "results.json", results.as_json())
    if entry.samples and not entry.reason:
        samples = (json.dumps({"id": str(n), "score": float(n < entry.correct)}) for n in range(entry.size))
        (folder / "samples.jsonl").write_text("\n".join(samples) + "\n")


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document))


def _passing(path: Path) -> LoadedRun:
    return write_run(path, [Entry("gsm8k", 83), Entry("arc_challenge", 78), Entry("mmlu_pro", 142, 200)])


def _failing(path: Path) -> LoadedRun:
    entries = [
        Entry("gsm8k", 81),
        Entry("arc_challenge", 74, task={"weight": 2.0}),
        Entry("ifeval", 52, task={"weight": 2.0, "required": True}),
        Entry("mmlu_pro", 55, 200, task={"threshold": ResolvedThreshold(value=0.5, source="collection")}),
        Entry(
            "toxicity_rate",
            4,
            50,
            task={"primary_score": ResolvedScore(metric="acc", lower_is_better=True), "weight": 0.0}
            | {"threshold": ResolvedThreshold(value=0.05, source="provider")},
        ),
        Entry("humaneval", 60, 164, task={"threshold": None}, samples=False),
    ]
    return write_run(path, entries)


def _long_names(path: Path) -> LoadedRun:
    names = ["arithmetic", "word_problems", "comparison", "reasoning", "refusal", "sycophancy"]
    entries = [
        Entry(f"quickstart_{name}", 20 + 10 * number, task={"required": name in ("refusal", "word_problems")})
        for number, name in enumerate(names)
    ]
    return write_run(path, entries)


def _error(path: Path) -> LoadedRun:
    log = "".join(f"INFO step {n} of 40: asking the model\n" for n in range(40))
    log += "ERROR the server closed the connection\n"
    entries = [
        Entry("gsm8k", 81),
        Entry("arc_challenge", reason="42 of 100 examples got no usable answer: 42 x HTTP 503", log=log),
        Entry("mmlu_pro", 160, 200),
    ]
    return write_run(path, entries)


def _inconclusive(path: Path) -> LoadedRun:
    entries = [Entry("gsm8k", 36, 50), Entry("arc_challenge", 37, 50)]
    return write_run(path, entries, header={"gate_mode": "assured"}, record={"num_examples": 50})


def _many(path: Path) -> LoadedRun:
    entries = [
        Entry(
            f"mmlu_subject_{n:03d}",
            40 + (n * 37) % 60,
            task={"required": n % 50 == 7, "weight": 0.0 if n % 9 == 4 else 1.0 + n % 3},
            metrics={f"metric_{k}": MetricValue(value=k / 10, stderr=0.01) for k in range(8)},
        )
        for n in range(200)
    ]
    return write_run(path, entries)


def _hostile(path: Path) -> LoadedRun:
    task = {"provider_id": HOSTILE, "parameters": {HOSTILE: HOSTILE}, "slug": "000-x\"><script>'"}
    metric = ResolvedScore(metric=HOSTILE)
    entries = [
        Entry(HOSTILE, 30, task={**task, "primary_score": metric, "required": True}, metrics={HOSTILE: {"value": 0.3}}),
        Entry("x" * 5000, 80, metrics={"w" * 3000: {"value": HOSTILE * 30}}),
        Entry("hostile/reason", reason=HOSTILE * 20, log=HOSTILE * 20 + "\n" + "y" * 9000),
    ]
    record = {"name": HOSTILE, "model_name": HOSTILE, "declared_environment": {HOSTILE: HOSTILE}, "tags": [HOSTILE]}
    return write_run(path, entries, record=record, header={"collection_id": HOSTILE, "collection_version": HOSTILE})


RUNS: dict[str, Callable[[Path], LoadedRun]] = {
    "passing": _passing,
    "failing": _failing,
    "long names": _long_names,
    "error": _error,
    "inconclusive": _inconclusive,
    "many": _many,
    "hostile": _hostile,
}
"""Functions that write a run of a kind into a folder."""


def published(run: LoadedRun) -> Publication:
    """Return where the records of `run` could have gone."""
    digest = "sha256:" + "e5" * 32
    return Publication(
        evidence_digest=digest,
        evidence_reference=f"registry.example/evals/granite:run-{run.record.run_id}@{digest}",
        evidence_address=f"registry.example/evals/granite@{digest}",
        evidence_pushed=True,
        evidence_key_id="sha256:" + "d4" * 32,
        mlflow_tracking_uri="https://mlflow.example",
        mlflow_experiment_id="4",
        mlflow_run_id="f00dfeed",
    )
