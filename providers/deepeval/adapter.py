"""Scores what a model behind an OpenAI-compatible endpoint says with deepeval's metrics."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import deepeval_answers
import deepeval_cases
import deepeval_results
from deepeval_benchmarks import BENCHMARKS
from deepeval_cases import Case
from deepeval_parameters import parse

from evalhub_components.adapter import FrameworkAdapter, JobCallbacks, JobPhase, JobResults, JobSpec, JobStatusUpdate
from evalhub_components.errors import EvalHubError
from evalhub_components.framework import surroundings
from evalhub_components.framework.ledger import usage_of
from evalhub_components.framework.relay import Relay

_OWN = {
    "DEEPEVAL_TELEMETRY_OPT_OUT": "1",
    "DEEPEVAL_UPDATE_WARNING_OPT_IN": "0",
    "DEEPEVAL_NO_INSPECT_PROMPT": "1",
    "DEEPEVAL_DISABLE_DOTENV": "1",
    # time limits and tries are the relay's
    "DEEPEVAL_DISABLE_TIMEOUTS": "1",
    "DEEPEVAL_RETRY_MAX_ATTEMPTS": "1",
}


class DeepEvalAdapter(FrameworkAdapter):
    """Runs deepeval inside this process, one benchmark after the other."""

    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        """Have test cases answered and judged.

        Raises:
            EvalHubError: it cannot be run or scored, with the reason.
        """
        begun = time.monotonic()
        steps = 0

        def enter(phase: JobPhase, done: int | None = None, total: int | None = None) -> None:
            update = JobStatusUpdate(phase=phase, completed_steps=done, total_steps=total)
            callbacks.report_status(update, benchmark_index=config.benchmark_index)

        def step() -> None:
            # every test case is answered, unless its output was recorded, and judged
            nonlocal steps
            steps += 1
            enter(JobPhase.RUNNING_EVALUATION, steps, sum(1 if case.recorded else 2 for case in cases))

        enter(JobPhase.LOADING_DATA)
        benchmark = BENCHMARKS.get(config.benchmark_id)
        if benchmark is None:
            raise EvalHubError(f"{config.benchmark_id}: is no benchmark of deepeval (known: {', '.join(BENCHMARKS)})")
        parameters = parse(config.benchmark_id, config.parameters)
        data = deepeval_cases.load(config.benchmark_id, parameters.data, config.test_data, benchmark)
        cases = data.cases[: config.num_examples]
        keys: dict[str, Any] = {"tries": parameters.tries, "request_timeout": float(parameters.request_timeout)}
        with contextlib.ExitStack() as stack:
            judge = stack.enter_context(Relay.of_judge(config, **keys)) if benchmark.judge else None
            relay = stack.enter_context(Relay.of(config, **keys))
            if judge:
                judge.check()
            if not all(case.recorded for case in cases):
                relay.check()
            cases = deepeval_answers.answered(cases, parameters, benchmark.prompt, config.model.name, relay, step)
            failures = {case.id: case.failure or "the output is empty" for case in cases if not case.has_output}
            _check(failures, cases, config)

            stack.enter_context(surroundings.applied(config.work_dir, own=_OWN))
            _forget_its_service()
            import deepeval_judging
            import deepeval_metrics

            # a line for every request says nothing
            for name in ("httpx", "httpx2", "deepeval.evaluate.execute.e2e"):
                logging.getLogger(name).setLevel(logging.WARNING)
            model = None
            if judge and config.judge:
                model = deepeval_judging.Judge(config.judge.endpoint.name, judge.url, judge.token)
            judged = deepeval_judging.judged(
                [case for case in cases if case.has_output],
                deepeval_metrics.MAKE[config.benchmark_id](model, parameters),
                deepeval_metrics.READ[config.benchmark_id],
                parameters.concurrency,
                config.raw_dir,
                step,
            )
            lost = relay.ledger.explain(), judge.ledger.explain() if judge else ""
        enter(JobPhase.POST_PROCESSING)
        for each in judged:
            if each.failure:
                # the relay's words on a lost request are in the exception's text
                failures[each.case.id] = f"not judged: {each.failure.removeprefix('Error code: 400 - ')}"
        _check(failures, cases, config)
        good = [each for each in judged if not each.failure]
        seconds = time.monotonic() - begun
        results = JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=deepeval_results.metrics(benchmark, good),
            num_examples_evaluated=len(good),
            num_examples_requested=len(cases),
            num_errors=len(failures),
            duration_seconds=seconds,
            samples=deepeval_results.samples(good),
            data_digests=data.digests,
            usage=usage_of(model=relay.ledger, judge=judge.ledger if judge else None),
            environment={
                **deepeval_results.facts(config, benchmark, parameters, cases),
                "lost_requests": lost[0] or None,
                "lost_judge_requests": lost[1] or None,
                "failures": dict(sorted(failures.items())) or None,
            },
        )
        enter(JobPhase.COMPLETED)
        return results


def _forget_its_service() -> None:
    """With a key of its maker's service deepeval sends every test case there."""
    for name in [name for name in os.environ if name.startswith("CONFIDENT_")]:
        del os.environ[name]


def _check(failures: dict[str, str], cases: Sequence[Case], config: JobSpec) -> None:
    """Refuse a benchmark whose score would be one of too few test cases.

    Raises:
        EvalHubError: more have no score than `max_error_rate` allows, or none has one.
    """
    if not failures:
        return
    said = f"{config.benchmark_id}: {len(failures)} of {len(cases)} test cases have no score"
    # what was not asked any more tells nothing of the cause
    reasons = sorted(failures.values(), key=lambda reason: "not asked" in reason)
    if len(failures) / len(cases) > config.max_error_rate:
        raise EvalHubError(f"{said}, more than max_error_rate {config.max_error_rate:g} allows: {reasons[0]}")
    if len(failures) == len(cases):
        raise EvalHubError(f"{said}: {reasons[0]}")
