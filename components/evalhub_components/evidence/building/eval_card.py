"""`eval-card.json`: a run on one page, as EvalHub's EvaluationCard 1.0 has it (`pkg/cards` of eval-hub).

EvalHub's keys keep their names and meanings. What it has no key for stands beside them, where its readers, which pass
over keys they do not know, lose nothing. What is not known is left out.
"""

from __future__ import annotations

from typing import Any

from evalhub_components import canonical
from evalhub_components.run_directory import LoadedRun, instant
from evalhub_components.schema.plan import BenchmarkTask, effective_examples
from evalhub_components.schema.results import BenchmarkResults
from evalhub_components.schema.verdict import BenchmarkTest, Verdict

VERSION = "1.0"

_NAMES_OF_SECRETS = {source: {"secret_ref"} for source in ("s3", "git", "hf")}
_OF_THE_VERDICT = {
    *("verdict", "reasons", "limited", "decided"),
    *("score", "score_se", "score_bounds", "interval", "probability"),
}
# response headers and the answers themselves stay in fingerprint.json; its digest covers the answers
_OBSERVED = ("model", "system_fingerprints")
_ERROR_CODES = {"failed": "benchmark_failed", "missing": "results_missing", "completed": "no_score"}


def eval_card(run: LoadedRun, verdict: Verdict) -> dict[str, Any]:
    """Return the card of a judged run as JSON values; nothing but the run's own documents enters it."""
    record = run.record
    return {
        "card_version": VERSION,
        "schema_version": VERSION,
        "metadata": _known(
            evaluation_job_id=record.job_id,
            created_at=_time(record.started_at),
            updated_at=_time(run.completed_at()),
            run_id=record.run_id,
            name=record.name,
            created_by={"name": "evalhub-kfp", "version": record.package_version, "engine": record.engine},
        ),
        "context": _context(run),
        "results": _results(run, verdict),
    }


def _context(run: LoadedRun) -> dict[str, Any]:
    record, header = run.record, run.plan.header
    return _known(
        model=_known(url=record.model_url, name=record.model_name, digest=record.model_digest),
        fingerprint=_fingerprint(run),
        judge=_known(**record.judge.asked().as_json()) if record.judge else None,
        environment={"declared": record.declared_environment, "observed": _observed(run)},
        collection_id=header.collection_id,
        collection_version=header.collection_version,
        plan_digest=record.plan_digest,
        criteria={
            "threshold": header.threshold,
            "threshold_source": header.threshold_source,
            "gate_mode": header.gate_mode,
            "confidence": header.confidence,
        },
        num_examples=record.num_examples,
        benchmarks=[_benchmark(run, task) for task in run.plan.tasks],
    )


def _fingerprint(run: LoadedRun) -> dict[str, Any] | None:
    found = run.fingerprint
    if found is None:
        return None
    return _known(digest=found.digest(), identity=found.identity, answers=found.answers, missing=found.missing)


def _observed(run: LoadedRun) -> dict[str, Any]:
    said = run.fingerprint.observed if run.fingerprint else {}
    return {name: said[name] for name in _OBSERVED if name in said and _is_canonical(said[name])}


def _benchmark(run: LoadedRun, task: BenchmarkTask) -> dict[str, Any]:
    score, results = task.primary_score, _results_of(run, task.index)
    data = task.test_data_ref
    return _known(
        id=task.benchmark_id,
        provider_id=task.provider_id,
        parameters=task.parameters,
        primary_score={
            "metric": score.metric,
            "lower_is_better": score.lower_is_better,
            "range": list(score.range),
        },
        pass_criteria={"threshold": _threshold(task)} if task.threshold else None,
        weight=task.weight,
        required=task.required,
        benchmark_index=task.index,
        task_digest=run.plan.header.task_digests[task.index],
        num_few_shot=task.num_few_shot,
        num_examples=effective_examples(task, run.record.num_examples),
        dataset_size=task.dataset_size,
        seed=task.seed,
        timeout=task.timeout,
        max_error_rate=task.max_error_rate,
        test_data_ref=data.model_dump(mode="json", exclude_none=True, exclude=_NAMES_OF_SECRETS) if data else None,
        data_digests=dict(results.data_digests) or None if results else None,
    )


def _results(run: LoadedRun, verdict: Verdict) -> dict[str, Any]:
    overall = None
    if verdict.score is not None:
        overall = {"score": verdict.score, "threshold": verdict.threshold, "pass": verdict.verdict == "pass"}
    message = _message(f"verdict_{verdict.verdict}", verdict.reasons[0]) if verdict.reasons else None
    return _known(
        status=_known(state=verdict.state, message=message),
        benchmarks=[
            _outcome(run, task, test, verdict) for task, test in zip(run.plan.tasks, verdict.benchmarks, strict=True)
        ],
        collection={"test": overall} if overall else None,
        verdict=verdict.model_dump(mode="json", include=_OF_THE_VERDICT, exclude_none=True),
    )


def _outcome(run: LoadedRun, task: BenchmarkTask, test: BenchmarkTest, verdict: Verdict) -> dict[str, Any]:
    results, folder = _results_of(run, task.index), run.folders.get(task.index)
    metrics = results.metrics if results else {}
    status: str = test.status
    if status == "missing":  # EvalHub knows no such state
        status = "cancelled" if verdict.state == "cancelled" else "failed"
    return _known(
        id=task.benchmark_id,
        provider_id=task.provider_id,
        status=status,
        error_message=_message(_ERROR_CODES[test.status], test.reason) if test.score is None else None,
        metrics={name: metric.value for name, metric in metrics.items()} or None,
        additional_info=_known(
            benchmark_index=task.index,
            started_at=_time(results.started_at) if results else None,
            completed_at=_time(results.completed_at) if results else None,
            num_requested=test.num_requested,
            num_evaluated=test.num_evaluated,
            num_errors=test.num_errors if test.status == "completed" else test.num_errors or None,
            stderr={name: metric.stderr for name, metric in metrics.items() if metric.stderr is not None} or None,
            normalized_score=test.normalized_score,
            normalized_se=test.se,
            se_source=test.se_source,
            threshold_source=test.threshold_source,
            reason=test.reason,
        ),
        artifacts={"folder": f"benchmarks/{folder.name}"} if folder else None,
        test=_test(task, test),
    )


def _test(task: BenchmarkTask, test: BenchmarkTest) -> dict[str, Any] | None:
    if test.score is None or test.passed is None:
        return None
    return {"primary_score": test.score, "threshold": _threshold(task), "pass": test.passed}


def _threshold(task: BenchmarkTask) -> float | None:
    """Return the benchmark's threshold in the metric's units, as EvalHub compares it, whatever scale it came on."""
    if task.threshold is None or task.threshold.source != "collection":
        return task.threshold.value if task.threshold else None
    low, high = task.primary_score.range
    share = 1 - task.threshold.value if task.primary_score.lower_is_better else task.threshold.value
    return float(f"{low + share * (high - low):.12g}")  # 1 - 0.7 is 0.3 to a reader


def _results_of(run: LoadedRun, index: int) -> BenchmarkResults | None:
    outcome = run.outcomes.get(index)
    return outcome.results if outcome else None


def _message(code: str, text: str) -> dict[str, Any]:
    return {"message": text, "message_code": code}


def _time(timestamp: str | None) -> str | None:
    """Return a time as EvalHub writes it, to the second; None for what is no time."""
    moment = instant(timestamp) if timestamp else None
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


def _is_canonical(value: Any) -> bool:
    try:
        canonical.dumps(value)
    except (ValueError, RecursionError):
        return False
    return True


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
