"""Measures how fast a model behind an OpenAI-compatible endpoint answers, with GuideLLM."""

from __future__ import annotations

import time

import guidellm_process
import guidellm_scenario
from guidellm_parameters import Parameters, parse
from guidellm_report import Counts, Report

from evalhub_components.adapter import FrameworkAdapter, JobCallbacks, JobPhase, JobResults, JobSpec, JobStatusUpdate
from evalhub_components.errors import EvalHubError

_HINTS = {
    "itl_ms": "answers of one token have no time between tokens: ask for longer ones",
    "ttft_ms": "only answers that come piece by piece have a first token: leave stream on",
}
"""Why a metric may be missing."""


class GuideLLMAdapter(FrameworkAdapter):
    """One process of guidellm a benchmark: two at once would measure each other."""

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
        environ = guidellm_process.environment(config, parameters)
        scenario = guidellm_scenario.write(config, parameters)
        each = scenario.requests
        total = None if each is None else each * parameters.num_strategies

        def progress(strategy: int, ended: int) -> None:
            done = ended if each is None else min(each * strategy + ended, each * parameters.num_strategies)
            enter(JobPhase.RUNNING_EVALUATION, done, total)

        # a service account's token is read anew for every request: see guidellm_launch
        key = None if config.credentials.token_file else config.credentials.api_key
        begun = time.monotonic()
        guidellm_process.ask(config, parameters)
        progress(0, 0)
        guidellm_process.run(scenario.file, environ, config.work_dir, parameters.patience, progress, key)
        seconds = time.monotonic() - begun
        enter(JobPhase.POST_PROCESSING)
        report = Report.read(scenario.report, parameters.num_strategies, each)
        counts = report.counts
        lost = _lost(counts, by_time=each is None)
        requested = counts.evaluated + lost
        _check(config, parameters, report, counts, lost)
        peak = report.peak()
        results = JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=report.metrics(peak),
            num_examples_evaluated=counts.evaluated,
            num_examples_requested=requested,
            num_errors=lost,
            duration_seconds=seconds,
            samples=report.samples(peak, config.primary_score.metric),
            data_digests=scenario.data_digests,
            usage={**report.usage(), "seconds": report.seconds},
            environment={
                **report.facts(peak),
                "requests": counts._asdict(),
                "lost_requests": report.explain() or None,
                "worker_processes": int(environ["GUIDELLM__MAX_WORKER_PROCESSES"]),
            },
        )
        enter(JobPhase.COMPLETED)
        return results


def _lost(counts: Counts, by_time: bool) -> int:
    """Return the requests that should have been measured and were not; time always cuts some off, which is no error."""
    return counts.errored + counts.missing + (0 if by_time else counts.incomplete)


def _check(config: JobSpec, parameters: Parameters, report: Report, counts: Counts, lost: int) -> None:
    """Refuse a report that holds no score.

    Raises:
        EvalHubError: nothing, or less than `max_error_rate` allows, was measured, or not what decides.
    """
    where, why = config.benchmark_id, report.explain()
    because = f": {why}" if why else ""
    said = f"{counts.errored} failed, {counts.incomplete} were cut off, {counts.missing} were never sent"
    if counts.evaluated == 0:
        raise EvalHubError(f"{where}: no request was answered ({said}){because}")
    total = counts.evaluated + lost
    if lost / total > config.max_error_rate:
        raise EvalHubError(
            f"{where}: {lost} of {total} requests are lost ({said}), "
            f"more than max_error_rate {config.max_error_rate:g} allows{because}"
        )
    # without it the best of the others would stand for all
    silent = [
        number
        for number, strategy in enumerate(report.strategies)
        if not strategy["metrics"]["request_totals"]["successful"]
    ]
    if silent or len(report.strategies) != parameters.num_strategies:
        raise EvalHubError(
            f"{where}: {len(report.strategies) - len(silent)} of {parameters.num_strategies} loads were measured"
        )
    metric = config.primary_score.metric
    if metric not in (names := [one.metric_name for one in report.metrics(report.peak())]):
        hint = _HINTS.get(metric.partition("_")[2], "the server reports no token counts: set parameters.tokenizer")
        known = ", ".join(names) or "none"
        raise EvalHubError(f"{where}: nothing was measured for {metric} (measured: {known}; {hint})")
