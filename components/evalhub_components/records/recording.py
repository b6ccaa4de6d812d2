"""What MLflow is to hold of a run: plain data within MLflow's limits, made without MLflow."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from evalhub_components import canonical
from evalhub_components.run_directory import LoadedRun, instant
from evalhub_components.schema.document import Document
from evalhub_components.schema.plan import BenchmarkTask, effective_examples
from evalhub_components.schema.verdict import BenchmarkTest, Verdict
from evalhub_components.scoring.judgement import TaskOutcome

# MLflow's own limits, in characters
_TAG_VALUE = 8000
_PARAM_VALUE = 6000
_KEY = 250
_DATASET_DIGEST = 36
_DATASET_NAME = 500
_DATASET_SOURCE = 65535

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
        started, ended: in milliseconds since 1970; `ended` is also the time of every metric, so that a metric logged
            twice stays one.
    """

    key: tuple[str, str]
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
        artifacts: text files of the parent, by name.
    """

    schema_version: Literal[1] = 1
    experiment: str
    experiment_tags: dict[str, str]
    parent: RunRecording
    children: list[RunRecording]
    artifacts: dict[str, str]


def record(
    run: LoadedRun, verdict: Verdict, *, report: str, evidence_digest: str, evidence_reference: str | None
) -> Recording:
    """Return what MLflow is to hold of a judged run.

    Args:
        run: as loaded.
        verdict: of this run.
        report: Markdown, the parent's note.
        evidence_digest: of the evidence's index.
        evidence_reference: where the evidence is, None when it is nowhere but in this step.
    """
    started = _milliseconds(run.record.started_at)
    ended = _milliseconds(run.completed_at() or run.record.started_at)
    tags = {
        **{name: run.record.experiment_tags[key] for key, name in metric_names(run.record.experiment_tags).items()},
        "evalhub.verdict": verdict.verdict,
        "evalhub.reason": verdict.reasons[0] if verdict.reasons else "",
        "evalhub.state": verdict.state,
        "evalhub.limited": str(verdict.limited).lower(),
        "evalhub.collection": f"{verdict.collection_id}@{verdict.collection_version}",
        "evalhub.plan_digest": verdict.plan_digest,
        "evalhub.job_id": run.record.job_id,
        "evalhub.model_name": run.record.model_name,
        "evalhub.model_url": run.record.model_url,
        "evalhub.fingerprint": run.fingerprint.digest() if run.fingerprint else "none",
        "evalhub.evidence_digest": evidence_digest,
        **({"evalhub.evidence_reference": evidence_reference} if evidence_reference else {}),
        **({"evalhub.tags": ",".join(run.record.tags)} if run.record.tags else {}),
        "evalhub.engine": run.record.engine,
        "mlflow.note.content": report,
    }
    parent = RunRecording(
        key=(RUN_ID, run.record.run_id),
        name=run.record.name or f"{verdict.collection_id} {run.record.model_name}",
        status=_parent_status(verdict),
        started=started,
        ended=ended,
        tags=_cut(tags, _TAG_VALUE),
        params={},
        metrics=_gate_metrics(verdict),
    )
    return Recording(
        experiment=run.record.experiment_name,
        experiment_tags=run.record.experiment_tags,
        parent=parent,
        children=[
            _child(run, run.plan.tasks[test.benchmark_index], test, (started, ended)) for test in verdict.benchmarks
        ],
        artifacts={"verdict.json": canonical.dumps(verdict.as_json()).decode(), "report.md": report},
    )


def metric_names(originals: Mapping[str, Any]) -> dict[str, str]:
    """Return a name MLflow takes for each metric: `acc,none` -> `acc`, `pass@1` -> `pass_at_1`.

    Of several that would share a name, the later ones get a number.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for original in sorted(originals):
        stem = original.removesuffix(",none").replace(",", "/").replace("@", "_at_")
        stem = re.sub(r"[^A-Za-z0-9_./ -]", "_", stem)
        # MLflow reads a name as a path, and wants it in its shortest form
        parts = [part.strip() for part in stem.split("/") if part.strip(" .")]
        stem = "/".join(parts)[: _KEY - 12] or "metric"
        names[original] = next(
            name for name in (stem, *(f"{stem}_{n}" for n in range(2, len(originals) + 2))) if name not in taken
        )
        taken.add(names[original])
    return names


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
        name=task.slug,
        status="FINISHED" if completed else "FAILED",
        started=_milliseconds(results.started_at, when[0]) if results else when[0],
        ended=_milliseconds(results.completed_at, when[1]) if results else when[1],
        tags=_cut(tags, _TAG_VALUE),
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
    # one log_batch takes 100 parameters
    given = {f"parameters.{key}": value for key, value in list(task.parameters.items())[:80]}
    names = metric_names({**facts, **given})
    return _cut({names[key]: _text(value) for key, value in {**facts, **given}.items()}, _PARAM_VALUE)


def _benchmark_metrics(test: BenchmarkTest, outcome: TaskOutcome | None) -> dict[str, float]:
    metrics: dict[str, float] = {}
    if outcome is not None:
        reported = outcome.results.metrics
        names = metric_names(reported)
        for original, metric in reported.items():
            if isinstance(metric.value, int | float) and not isinstance(metric.value, bool):
                metrics[names[original]] = float(metric.value)
            if metric.stderr is not None:
                metrics[f"{names[original]}_stderr"] = metric.stderr
        for name, value in outcome.results.usage.items():
            metrics[f"usage/{metric_names({name: value})[name]}"] = value
    ours = {
        "evalhub/score": test.score,
        "evalhub/normalized_score": test.normalized_score,
        "evalhub/se": test.se,
        "evalhub/num_evaluated": test.num_evaluated,
        "evalhub/num_errors": test.num_errors,
    }
    return {**metrics, **{name: float(value) for name, value in ours.items() if value is not None}}


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
    shown = {(test.benchmark_id if times[test.benchmark_id] == 1 else test.slug): test for test in verdict.benchmarks}
    for label, name in metric_names(shown).items():
        score = shown[label].score
        if score is not None:
            metrics.setdefault(f"{name if name != 'gate' else shown[label].slug}/score", score)
    return metrics


def _dataset(task: BenchmarkTask, outcome: TaskOutcome | None) -> DatasetRecording | None:
    digests = outcome.results.data_digests if outcome else {}
    if not digests:
        return None
    only = next(iter(digests.values())) if len(digests) == 1 else canonical.digest(digests)
    return DatasetRecording(
        name=f"{task.provider_id}/{task.benchmark_id}"[:_DATASET_NAME],
        digest=only.removeprefix("sha256:")[:_DATASET_DIGEST],
        source=json.dumps(digests, sort_keys=True)[:_DATASET_SOURCE],
    )


def _parent_status(verdict: Verdict) -> RunStatus:
    """Return how the run ended; that a model fails its gate is a result, not a failure of the run."""
    if verdict.state == "cancelled":
        return "KILLED"
    return "FAILED" if verdict.verdict == "error" else "FINISHED"


def _milliseconds(timestamp: str, otherwise: int = 0) -> int:
    moment = instant(timestamp)
    return int(moment.timestamp() * 1000) if moment else otherwise


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(values: Mapping[str, str], limit: int) -> dict[str, str]:
    return {key[:_KEY]: value if len(value) <= limit else value[: limit - 1] + "…" for key, value in values.items()}
