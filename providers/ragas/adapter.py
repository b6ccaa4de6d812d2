"""Scores answers of retrieval-augmented generation with the metrics of ragas."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import ragas_answers
import ragas_rows
from ragas_catalogue import METRICS
from ragas_parameters import Parameters, parse

from evalhub_components.adapter import (
    EvaluationResult,
    FrameworkAdapter,
    JobCallbacks,
    JobPhase,
    JobResults,
    JobSpec,
    JobStatusUpdate,
    ModelCredentials,
    ModelEndpoint,
)
from evalhub_components.errors import EvalHubError
from evalhub_components.framework import surroundings
from evalhub_components.framework.ledger import usage_of
from evalhub_components.framework.relay import Relay
from evalhub_components.schema.results import Sample

if TYPE_CHECKING:
    from ragas_scoring import Scored

_QUIET = {"RAGAS_DO_NOT_TRACK": "true"}
_REPORT_SECONDS = 1.0


class RagasAdapter(FrameworkAdapter):
    """Asks the model under test, then has ragas score in this very process."""

    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        """Run one benchmark.

        Raises:
            EvalHubError: it cannot be run or scored, with the reason.
        """

        def enter(phase: JobPhase, done: int | None = None, total: int | None = None) -> None:
            update = JobStatusUpdate(phase=phase, completed_steps=done, total_steps=total)
            callbacks.report_status(update, benchmark_index=config.benchmark_index)

        enter(JobPhase.INITIALIZING)
        parameters = parse(config.benchmark_id, config.parameters)
        assert parameters.metrics is not None
        enter(JobPhase.LOADING_DATA)
        file = ragas_rows.find(config.benchmark_id, parameters.data, config.test_data)
        rows = ragas_rows.read(config.benchmark_id, file, parameters.metrics, config.num_examples)
        wants_response = any("response" in METRICS[name].inputs for name in parameters.metrics)
        silent = [row for row in rows if row.response is None] if wants_response else []
        begun = time.monotonic()
        total, heard = len(silent) + len(rows), 0.0

        def progress(done: int) -> None:
            nonlocal heard
            if done == total or time.monotonic() - heard >= _REPORT_SECONDS:
                heard = time.monotonic()
                enter(JobPhase.RUNNING_EVALUATION, done, total)

        with ExitStack() as stack:
            relays = _relays(config, parameters, bool(silent), stack)
            stack.enter_context(surroundings.applied(config.work_dir, own=_QUIET))
            for relay in relays.values():
                relay.check()
            answers = {}
            if silent:
                answers = ragas_answers.ask(relays["model"], config.model.name, silent, parameters, progress)
                _check_answers(config, relays["model"], answers, len(rows))
            scored, hashes = _score(
                *(config, parameters, rows, answers, relays),
                lambda done: progress(len(silent) + done),
            )
            enter(JobPhase.POST_PROCESSING)
            good = _check(config, relays, scored)
            seconds = time.monotonic() - begun
            results = JobResults(
                id=config.id,
                benchmark_id=config.benchmark_id,
                benchmark_index=config.benchmark_index,
                model_name=config.model.name,
                results=_metrics(parameters.metrics, good),
                num_examples_evaluated=len(good),
                num_examples_requested=len(rows),
                num_errors=len(rows) - len(good),
                duration_seconds=seconds,
                samples=_samples(config, good),
                data_digests={file.name: f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"},
                usage=usage_of(**{name: relay.ledger for name, relay in relays.items()}),
                environment={
                    "framework": {"name": "ragas", "version": metadata.version("ragas")},
                    "metric_hashes": hashes,
                    "seed": config.seed,
                    "settings": parameters.as_json(),
                    "responses": {"generated": len(silent), "given": len(rows) - len(silent) if wants_response else 0},
                    "judge": config.judge.endpoint.name if config.judge else None,
                    "lost_requests": {name: why for name, one in relays.items() if (why := one.ledger.explain())}
                    or None,
                },
            )
        enter(JobPhase.COMPLETED)
        return results


def _relays(config: JobSpec, parameters: Parameters, asks_model: bool, stack: ExitStack) -> dict[str, Relay]:
    """Return the ways to the models that this benchmark asks, by what they are for."""
    assert parameters.metrics is not None
    keys = {"tries": parameters.max_retries, "request_timeout": float(parameters.request_timeout)}
    found: dict[str, Relay] = {}
    if asks_model:
        found["model"] = stack.enter_context(Relay.of(config, **keys))
    of_judge = any(METRICS[name].judge for name in parameters.metrics)
    embeds = any(METRICS[name].embeddings for name in parameters.metrics)
    if of_judge or (embeds and not parameters.embedding_url):
        found["judge"] = stack.enter_context(Relay.of_judge(config, **keys))
    if embeds and parameters.embedding_url:
        assert parameters.embedding_model is not None
        endpoint = ModelEndpoint(parameters.embedding_url, parameters.embedding_model)
        folder = config.work_dir / "embeddings"
        folder.mkdir()
        relay = Relay(endpoint, ModelCredentials(), folder, max_error_rate=config.max_error_rate, **keys)  # type: ignore[arg-type]
        found["embeddings"] = stack.enter_context(relay)
    return found


def _score(
    config: JobSpec,
    parameters: Parameters,
    rows: Sequence[ragas_rows.Row],
    answers: dict[str, ragas_answers.Answered],
    relays: dict[str, Relay],
    progress: Any,
) -> tuple[list[Scored], dict[str, str]]:
    """Return the scored rows and the digests of the metrics, and leave `raw/scores.jsonl`."""
    # importing ragas takes seconds, which nobody should wait for who cannot reach the model
    import ragas_scoring
    from ragas_metrics import Metrics, Server

    assert parameters.metrics is not None
    judge = embeddings = None
    if "judge" in relays:
        assert config.judge is not None
        judge = Server(relays["judge"].url, relays["judge"].token, config.judge.endpoint.name)
        embeddings = Server(judge.url, judge.token, parameters.embedding_model or judge.model)
    if "embeddings" in relays:
        relay = relays["embeddings"]
        embeddings = Server(relay.url, relay.token, parameters.embedding_model or "")
    patience = parameters.max_retries * (parameters.request_timeout + 60.0) + 60.0
    metrics = Metrics(config.benchmark_id, parameters, judge, embeddings, patience)
    scored = ragas_scoring.score(
        metrics,
        parameters.metrics,
        rows,
        answers,
        concurrency=parameters.num_concurrent,
        max_failed=config.max_error_rate * len(rows),
        progress=progress,
    )
    _keep(config.raw_dir / "scores.jsonl", scored)
    return scored, metrics.hashes()


def _keep(path: Path, scored: Sequence[Scored]) -> None:
    """Write what ragas only holds in memory: every row with its response, scores and judgements."""
    with path.open("w", encoding="utf-8") as file:
        for one in scored:
            document = {
                "id": one.row.id,
                "user_input": one.row.user_input,
                "retrieved_contexts": one.row.retrieved_contexts,
                "reference": one.row.reference,
                "response": one.response,
                "failure": one.failure or None,
                "metrics": {
                    name: {"value": score.value, "failure": score.failure or None, "judge": score.judge}
                    for name, score in sorted(one.scores.items())
                },
            }
            file.write(json.dumps(document, ensure_ascii=False) + "\n")


def _check_answers(config: JobSpec, relay: Relay, answers: dict[str, ragas_answers.Answered], total: int) -> None:
    """Refuse to go on where the answers alone are too few, so that no judge is paid for nothing."""
    failures = [answered.failure for answered in answers.values() if answered.failure]
    if len(failures) > config.max_error_rate * total:
        raise EvalHubError(
            f"{config.benchmark_id}: {len(failures)} of {total} rows have no answer, more than max_error_rate "
            f"{config.max_error_rate:g} allows: {relay.ledger.explain() or failures[0]}"
        )


def _check(config: JobSpec, relays: dict[str, Relay], scored: Sequence[Scored]) -> list[Scored]:
    """Return the rows that have a value of every metric.

    Raises:
        EvalHubError: they are too few.
    """
    good = [one for one in scored if not one.failure]
    bad = [one for one in scored if one.failure and one.failure != "was not scored"]
    if len(bad) > config.max_error_rate * len(scored) or not good:
        why = next((f"{name}: {lost}" for name, relay in relays.items() if (lost := relay.ledger.explain())), "")
        first = f"row {bad[0].row.id}: {bad[0].failure}"
        raise EvalHubError(
            f"{config.benchmark_id}: {len(bad)} of {len(scored)} rows have no score, more than max_error_rate "
            f"{config.max_error_rate:g} allows: {'; '.join(filter(None, [why, first]))}"
        )
    return good


def _metrics(names: Sequence[str], good: Sequence[Scored]) -> list[EvaluationResult]:
    values = {name: [_value(one, name) for one in good] for name in names}
    return [EvaluationResult(name, fmean(each), num_samples=len(each)) for name, each in values.items()]


def _samples(config: JobSpec, good: Sequence[Scored]) -> list[Sample] | None:
    metric = config.primary_score.metric
    if any(metric not in one.scores for one in good):
        return None
    found = [
        Sample(
            id=one.row.id,
            score=_value(one, metric),
            details={name: score.value for name, score in sorted(one.scores.items()) if name != metric} or None,
        )
        for one in good
    ]
    return sorted(found, key=lambda sample: sample.id)


def _value(scored: Scored, name: str) -> float:
    value = scored.scores[name].value
    assert value is not None
    return value
