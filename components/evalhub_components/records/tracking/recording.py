"""What MLflow is to hold of a run: plain data within MLflow's limits, made without MLflow."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, Literal

from evalhub_components import atomic, canonical
from evalhub_components.errors import EvalHubError
from evalhub_components.records.tracking.limits import (
    DATASET_DIGEST,
    DATASET_NAME,
    DATASET_SOURCE,
    EXPERIMENT_NAME,
    PARAM_VALUE,
    PARAMS,
    RUN_NAME,
    TAG_VALUE,
    cut,
    cut_all,
    metric_names,
    told_apart,
)
from evalhub_components.run_directory import LoadedRun, instant
from evalhub_components.schema.document import Document
from evalhub_components.schema.plan import BenchmarkTask, effective_examples
from evalhub_components.schema.verdict import BenchmarkTest, Verdict
from evalhub_components.scoring.comparison import shown
from evalhub_components.scoring.judgement import TaskOutcome

RUN_ID = "evalhub.run_id"
"""The tag that finds the MLflow run of an evaluation."""

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]


class DatasetRecording(Document):
    """The data a benchmark read."""

    name: str
    digest: str
    source: str


class RunRecording(Document):
    """One MLflow run.

    Attributes:
        key: tag and value that find the run again, so that a repeated step adds nothing.
        task_run_id: the run that Kubeflow Pipelines made for the task that ran the benchmark.
        started, ended: in milliseconds since 1970; `ended` is also the time of every metric, so that a metric logged
            twice stays one.
    """

    key: tuple[str, str]
    task_run_id: str | None = None
    name: str
    status: RunStatus
    started: int
    ended: int
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    dataset: DatasetRecording | None = None


class Recording(Document):
    """A run of an evaluation: a parent with the decision, and a child per benchmark.

    Attributes:
        task_run_id: the run that Kubeflow Pipelines made for the task that records; the recording joins its tree.
        artifacts: text files of the parent, by name.
    """

    schema_version: Literal[1] = 1
    task_run_id: str | None = None
    experiment: str
    experiment_tags: dict[str, str]
    parent: RunRecording
    children: list[RunRecording]
    artifacts: dict[str, str]


def record(
    run: LoadedRun,
    verdict: Verdict,
    *,
    report: str,
    evidence_digest: str,
    evidence_reference: str | None,
    html: str | None = None,
    commit: str | None = None,
    task_run_id: str | None = None,
) -> Recording:
    """Return what MLflow is to hold of a judged run.

    Args:
        run: as loaded.
        verdict: of this run.
        report: Markdown, the parent's note.
        evidence_digest: of the evidence's index.
        evidence_reference: where the evidence is, None when it is nowhere but in this step.
        html: the report as a page.
        commit: of the repository that the run was started for.
        task_run_id: the run that Kubeflow Pipelines made for this task, None where it makes none.
    """
    started = _milliseconds(run.record.started_at)
    ended = _milliseconds(run.completed_at() or run.record.started_at)
    # MLflow takes names of tags as it takes those of metrics
    own = cut_all(run.record.experiment_tags, TAG_VALUE)
    parent = RunRecording(
        key=(RUN_ID, run.record.run_id),
        name=cut(run.record.name or f"{verdict.collection_id} {run.record.model_name}", RUN_NAME),
        status=_parent_status(verdict),
        started=started,
        ended=ended,
        tags={
            **({"mlflow.source.git.commit": cut(commit, TAG_VALUE)} if commit else {}),
            **own,
            **_decision(run, verdict),
            "evalhub.evidence_digest": evidence_digest,
            **({"evalhub.evidence_reference": evidence_reference} if evidence_reference else {}),
            "mlflow.note.content": cut(report, TAG_VALUE),
        },
        params={},
        metrics=_gate_metrics(verdict),
    )
    pages = {"report.html": html} if html is not None else {}
    return Recording(
        task_run_id=task_run_id,
        experiment=cut(run.record.experiment_name, EXPERIMENT_NAME),
        experiment_tags=own,
        parent=parent,
        children=[
            _child(run, run.plan.tasks[test.benchmark_index], test, (started, ended)) for test in verdict.benchmarks
        ],
        artifacts={"verdict.json": canonical.dumps(verdict.as_json()).decode(), "report.md": report, **pages},
    )


def _decision(run: LoadedRun, verdict: Verdict) -> dict[str, str]:
    record = run.record
    facts = {
        "verdict": verdict.verdict,
        "reason": verdict.reasons[0] if verdict.reasons else "",
        "score": None if verdict.score is None else shown(verdict.score),
        "threshold": shown(verdict.threshold),
        "state": verdict.state,
        "limited": str(verdict.limited).lower(),
        "collection": f"{verdict.collection_id}@{verdict.collection_version}",
        "plan_digest": verdict.plan_digest,
        "job_id": record.job_id,
        "model_name": record.model_name,
        "model_url": record.model_url,
        "model_digest": record.model_digest,
        "fingerprint": run.fingerprint.digest() if run.fingerprint else "none",
        "judge_name": record.judge.name if record.judge else None,
        "judge_url": record.judge.url if record.judge else None,
        "judge_fingerprint": record.judge.fingerprint if record.judge else None,
        "tags": ",".join(record.tags) or None,
        "engine": record.engine,
    }
    tags = {f"evalhub.{name}": cut(value, TAG_VALUE) for name, value in facts.items() if value is not None}
    # the tag by which Kubeflow Pipelines finds its own runs
    return tags | ({"kfp.pipeline_run_id": record.run_id} if record.engine == "kfp" else {})


def _child(run: LoadedRun, task: BenchmarkTask, test: BenchmarkTest, when: tuple[int, int]) -> RunRecording:
    outcome = run.outcomes.get(task.index)
    results = outcome.results if outcome else None
    completed = results is not None and test.score is not None
    tags = {
        "evalhub.benchmark_id": task.benchmark_id,
        "evalhub.provider_id": task.provider_id,
        "evalhub.benchmark_index": str(task.index),
        "evalhub.task_digest": run.plan.header.task_digests[task.index],
        "evalhub.status": test.status,
        "evalhub.reason": test.reason,
        "evalhub.pass": "none" if test.passed is None else str(test.passed).lower(),
    }
    return RunRecording(
        key=("evalhub.task_key", f"{run.record.run_id}/{task.index}"),
        task_run_id=_task_run_id(run, task) if run.record.engine == "kfp" else None,
        name=cut(task.slug, RUN_NAME),
        status="FINISHED" if completed else "FAILED",
        started=_milliseconds(results.started_at, when[0]) if results else when[0],
        ended=_milliseconds(results.completed_at, when[1]) if results else when[1],
        tags=cut_all(tags, TAG_VALUE),
        params=_params(run, task),
        metrics=_benchmark_metrics(test, outcome),
        dataset=_dataset(task, outcome),
    )


def _params(run: LoadedRun, task: BenchmarkTask) -> dict[str, str]:
    facts: dict[str, Any] = {
        "num_few_shot": task.num_few_shot,
        "num_examples": effective_examples(task, run.record.num_examples),
        "seed": task.seed,
        "weight": task.weight,
        "required": task.required,
        "metric": task.primary_score.metric,
        "lower_is_better": task.primary_score.lower_is_better,
        "range": list(task.primary_score.range),
        "threshold": task.threshold.value if task.threshold else None,
        "threshold_source": task.threshold.source if task.threshold else None,
    }
    given = {f"parameters.{key}": value for key, value in task.parameters.items()}
    # what decides comes first, and the rest as far as one request goes
    first = dict(list((facts | given).items())[:PARAMS])
    return cut_all({key: _text(value) for key, value in first.items() if value is not None}, PARAM_VALUE)


def _benchmark_metrics(test: BenchmarkTest, outcome: TaskOutcome | None) -> dict[str, float]:
    """Return all numbers of a benchmark; what the framework named as we name ours gets a number behind its name."""
    ours = {
        "evalhub/score": test.score,
        "evalhub/normalized_score": test.normalized_score,
        "evalhub/se": test.se,
        "evalhub/num_evaluated": test.num_evaluated,
        "evalhub/num_errors": None if test.score is None else test.num_errors,  # nobody counted what failed as a whole
    }
    found: dict[str, float] = {name: float(value) for name, value in ours.items() if value is not None}
    if outcome is None:
        return found
    reported, usage = outcome.results.metrics, outcome.results.usage
    names, used = metric_names(reported), metric_names(usage)
    rows: list[tuple[str, Any]] = list(found.items())
    rows += [(names[name], metric.value) for name, metric in reported.items()]
    rows += [(f"{names[name]}_stderr", metric.stderr) for name, metric in reported.items()]
    rows += [(f"usage/{used[name]}", value) for name, value in usage.items()]
    numbers = [(name, number) for name, value in rows if (number := _number(value)) is not None]
    return dict(zip(told_apart([name for name, _ in numbers]), (number for _, number in numbers), strict=True))


def _number(value: Any) -> float | None:
    """Return a finite number as MLflow holds it, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _gate_metrics(verdict: Verdict) -> dict[str, float]:
    gate = {
        "gate/score": verdict.score,
        "gate/score_se": verdict.score_se,
        "gate/threshold": verdict.threshold,
        "gate/pass": float(verdict.verdict == "pass"),
    }
    metrics = {name: value for name, value in gate.items() if value is not None}
    # a collection may have a benchmark twice
    times = Counter(test.benchmark_id for test in verdict.benchmarks)
    tests = {(test.benchmark_id if times[test.benchmark_id] == 1 else test.slug): test for test in verdict.benchmarks}
    for label, name in metric_names(tests).items():
        score = tests[label].score
        if score is not None:
            metrics.setdefault(f"{name if name != 'gate' else tests[label].slug}/score", score)
    return metrics


def _dataset(task: BenchmarkTask, outcome: TaskOutcome | None) -> DatasetRecording | None:
    digests = outcome.results.data_digests if outcome else {}
    if not digests:
        return None
    only = next(iter(digests.values())) if len(digests) == 1 else canonical.digest(digests)
    return DatasetRecording(
        name=f"{task.provider_id}/{task.benchmark_id}"[:DATASET_NAME],
        digest=only.removeprefix("sha256:")[:DATASET_DIGEST],
        source=json.dumps(digests, sort_keys=True)[:DATASET_SOURCE],
    )


def _parent_status(verdict: Verdict) -> RunStatus:
    """Return how the run ended; that a model fails its gate is a result, not a failure of the run."""
    if verdict.state == "cancelled":
        return "KILLED"
    return "FAILED" if verdict.verdict == "error" else "FINISHED"


def _task_run_id(run: LoadedRun, task: BenchmarkTask) -> str | None:
    """Return the MLflow run that the benchmark's task was given, as it wrote it down."""
    if task.index not in run.folders:
        return None
    try:
        found = atomic.read_json(run.folders[task.index] / "environment.json").get("mlflow_run_id")
    except (EvalHubError, AttributeError, RecursionError):
        return None
    return found if isinstance(found, str) and re.fullmatch(r"[0-9a-f]{32}", found) else None


def _milliseconds(timestamp: str, otherwise: int = 0) -> int:
    moment = instant(timestamp)
    return int(moment.timestamp() * 1000) if moment else otherwise


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
