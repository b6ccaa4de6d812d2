"""Runs tasks of Inspect against an OpenAI-compatible endpoint."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING, Any

import inspect_tasks
from inspect_parameters import parse

from evalhub_components.adapter import FrameworkAdapter, JobCallbacks, JobPhase, JobResults, JobSpec, JobStatusUpdate
from evalhub_components.errors import EvalHubError
from evalhub_components.framework import surroundings
from evalhub_components.framework.ledger import usage_of
from evalhub_components.framework.relay import Relay

if TYPE_CHECKING:
    from inspect_results import Results


class InspectAdapter(FrameworkAdapter):
    """Runs inspect inside this process, one benchmark after the other."""

    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        """Run one benchmark.

        Raises:
            EvalHubError: it cannot be run or scored, with the reason.
        """
        begun = time.monotonic()

        def enter(phase: JobPhase, done: int | None = None, total: int | None = None) -> None:
            update = JobStatusUpdate(phase=phase, completed_steps=done, total_steps=total)
            callbacks.report_status(update, benchmark_index=config.benchmark_index)

        enter(JobPhase.INITIALIZING)
        parameters = parse(config.benchmark_id, config.parameters)
        chosen = inspect_tasks.choose(config.benchmark_id, parameters, config.test_data)
        keys: dict[str, Any] = {"tries": parameters.tries, "request_timeout": float(parameters.request_timeout)}
        with contextlib.ExitStack() as stack:
            needed = chosen.judge or config.judge is not None
            judge = stack.enter_context(Relay.of_judge(config, **keys)) if needed else None
            relay = stack.enter_context(Relay.of(config, **keys))
            relay.check()
            if judge:
                judge.check()
            own = {"INSPECT_DISPLAY": "none", "XDG_DATA_HOME": str(config.work_dir / "data")}
            # inspect asks no hub, and tasks that do say so by what they load
            stack.enter_context(surroundings.applied(config.work_dir, own=own, hub=True))
            _tell(config, judge)
            # inspect would have the model under test grade itself
            nobody = stack.enter_context(Relay.of(config, **keys))
            nobody.ledger.fatal = "the task asks a judge (say judge: true in its entry, and name a judge)"
            import inspect_results
            import inspect_run

            logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for every request says nothing
            log = inspect_run.run(
                config,
                parameters,
                chosen,
                relay,
                judge,
                nobody,
                lambda done, total: enter(JobPhase.RUNNING_EVALUATION, done, total),
            )
            lost, judge_lost = relay.ledger.explain(), judge.ledger.explain() if judge else ""
            if nobody.ledger.lost:
                raise EvalHubError(f"{config.benchmark_id}: {nobody.ledger.explain()}")
        enter(JobPhase.POST_PROCESSING)
        results = inspect_results.Results(config.benchmark_id, log, lost or judge_lost)
        failures = results.failures()
        metric = config.primary_score.metric
        _check(config, results, failures)
        unscored = results.unscored(metric)
        errors = len(failures) + unscored
        measured = results.metrics(metric)
        seconds = time.monotonic() - begun
        found = JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=measured,
            num_examples_evaluated=results.requested - errors,
            num_examples_requested=results.requested,
            num_errors=errors,
            duration_seconds=seconds,
            samples=results.scores(metric),
            data_digests=chosen.digests,
            usage=usage_of(model=relay.ledger, judge=judge.ledger if judge else None),
            environment={
                **results.facts(),
                "task": {**chosen.facts, "args": chosen.args},
                "judge": config.judge.endpoint.name if judge and config.judge else None,
                "seed": config.seed,
                "settings": parameters.as_json(),
                "lost_requests": lost or None,
                "lost_judge_requests": judge_lost or None,
                "failures": dict(sorted(failures.items())[:100]) or None,
            },
        )
        enter(JobPhase.COMPLETED)
        return found


def _tell(config: JobSpec, judge: Relay | None) -> None:
    """Set what tasks take from the environment."""
    if config.credentials.hf_token:
        os.environ["HF_TOKEN"] = config.credentials.hf_token
    if judge:
        # tasks that take a judge by its name
        os.environ.update(JUDGE_BASE_URL=judge.url, JUDGE_API_KEY=judge.token)


def _check(config: JobSpec, results: Results, failures: dict[str, str]) -> None:
    """Refuse a log whose score would be one of too few examples.

    Raises:
        EvalHubError: more have no score than `max_error_rate` allows, or none has one, or one has one wrongly.
    """
    errors = len(failures) + results.unscored(config.primary_score.metric)
    said = f"{config.benchmark_id}: {errors} of {results.requested} examples have no score"
    reasons = sorted(failures.values(), key=lambda reason: "not asked" in reason)
    because = f": {reasons[0]}" if reasons else ""
    if not results.requested or errors >= results.requested:
        raise EvalHubError(said + because)
    if errors / results.requested > config.max_error_rate:
        raise EvalHubError(f"{said}, more than max_error_rate {config.max_error_rate:g} allows{because}")
    if swallowed := results.swallowed():
        what = f"{len(swallowed)} examples were scored although a request of theirs was lost"
        raise EvalHubError(f"{config.benchmark_id}: {what}: {results.lost}")
