"""Runs tasks of Hugging Face's LightEval, and such of one's own, against an OpenAI-compatible endpoint."""

from __future__ import annotations

import time
from pathlib import Path

import lighteval_launch
from lighteval_benchmarks import OWN_TASKS, RUNS_CODE, tasks_of
from lighteval_parameters import ELSEWHERE, Parameters

from evalhub_components.adapter import FrameworkAdapter, JobCallbacks, JobPhase, JobResults, JobSpec, JobStatusUpdate
from evalhub_components.errors import EvalHubError
from evalhub_components.framework.ledger import Ledger, usage_of
from evalhub_components.framework.parameters import parse
from evalhub_components.framework.relay import Relay

_HERE = Path(__file__).resolve().parent
_SAMPLING_TEMPERATURE = 0.7  # for tasks that ask several times, which greedy answers would make pointless


class LightevalAdapter(FrameworkAdapter):
    """One pipeline of LightEval a benchmark; those of a process share its slow start."""

    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        """Run one benchmark.

        Raises:
            EvalHubError: it cannot be run or scored, with the reason.
        """
        parameters = parse(Parameters, config.benchmark_id, config.parameters, ELSEWHERE)
        try:
            return _run(config, parameters, callbacks)
        except EvalHubError as error:
            where = f"{config.benchmark_id}: "
            raise EvalHubError(str(error) if str(error).startswith(where) else f"{where}{error}") from error


def _run(config: JobSpec, parameters: Parameters, callbacks: JobCallbacks) -> JobResults:
    total: int | None = None

    def enter(phase: JobPhase, done: int | None = None) -> None:
        update = JobStatusUpdate(phase=phase, completed_steps=done, total_steps=total)
        callbacks.report_status(update, benchmark_index=config.benchmark_index)

    def listen(ledger: Ledger) -> None:
        if total is not None:
            enter(JobPhase.RUNNING_EVALUATION, min(ledger.answered + len(ledger.lost), total))

    enter(JobPhase.INITIALIZING)
    names = tasks_of(config.benchmark_id, parameters.task)
    if any(name.startswith(RUNS_CODE) for name in names) and not parameters.confirm_run_unsafe_code:
        raise EvalHubError("executes code that the model wrote (parameters.confirm_run_unsafe_code: true lets it)")
    custom = _tasks_file(config, parameters, names)
    shots = parameters.num_fewshot if parameters.num_fewshot is not None else config.num_few_shot or 0
    started = time.monotonic()
    with Relay.of(
        config,
        tries=parameters.max_retries,
        request_timeout=parameters.request_timeout,
        listen=listen,
    ) as relay:
        relay.check()
        enter(JobPhase.LOADING_DATA)
        lighteval_launch.prepare(config.work_dir, config.credentials.hf_token)
        # after what LightEval reads at import is set, and not at all when there is nobody to ask
        with lighteval_launch.importing():
            from lighteval_client import EndpointModel
            from lighteval_report import Report
            from lighteval_run import Run, model_config
            from lighteval_tasks import Tasks

        tasks = Tasks(names, shots, custom, parameters.multilingual)
        temperature = parameters.temperature
        if temperature is None:
            temperature = _SAMPLING_TEMPERATURE if tasks.answers_per_question > 1 else 0.0
        settings = model_config(
            config.model.name, relay.url, relay.token, parameters, config.seed, temperature, config.work_dir
        )
        model = EndpointModel(settings, config.model.name)
        run = Run(tasks, parameters, model, config.raw_dir, config.num_examples)
        total = run.num_requests

        def explain() -> str:
            return relay.ledger.explain() or ", ".join(f"{n} x {why}" for why, n in run.why_lost.most_common(3))

        def check() -> None:
            enter(JobPhase.POST_PROCESSING)
            if not run.num_lost:
                return
            reason = explain()
            if run.num_lost == run.num_requested:
                raise EvalHubError(f"no request was answered: {reason}")
            if run.num_lost / run.num_requested > config.max_error_rate:
                raise EvalHubError(
                    f"{run.num_lost} of {run.num_requested} examples got no answer, "
                    f"more than max_error_rate {config.max_error_rate:g} allows: {reason}"
                )

        enter(JobPhase.RUNNING_EVALUATION, 0)
        report = Report(run.finish(check), tasks, run.commits())
        lost_requests = explain() or None
    seconds = time.monotonic() - started
    results = JobResults(
        id=config.id,
        benchmark_id=config.benchmark_id,
        benchmark_index=config.benchmark_index,
        model_name=config.model.name,
        results=report.metrics(),
        num_examples_evaluated=run.num_requested - run.num_lost,
        num_examples_requested=run.num_requested,
        num_errors=run.num_lost,
        duration_seconds=seconds,
        samples=report.samples(config.primary_score.metric),
        data_digests=report.data_digests(),
        usage=usage_of(model=relay.ledger),
        environment={
            **report.facts(),
            # LightEval shuffles by numbers of its own, so that a limit takes the same examples in every run
            "seeds": {"request": config.seed, "documents": 42, "lighteval": 1234},
            "settings": {
                **parameters.model_dump(mode="json"),
                "custom_tasks": custom.name if custom else None,
                "num_fewshot": shots,
                "temperature": temperature,
                "max_samples": config.num_examples,
            },
            "lost_requests": lost_requests,
        },
    )
    enter(JobPhase.COMPLETED)
    return results


def _tasks_file(config: JobSpec, parameters: Parameters, names: tuple[str, ...]) -> Path | None:
    """Return the file of tasks that LightEval does not bring."""
    if parameters.custom_tasks is None:
        return _HERE / "tasks" / "quickstart.py" if set(names) & set(OWN_TASKS) else None
    file = (config.test_data or Path()) / parameters.custom_tasks
    if not file.is_absolute():
        raise EvalHubError(
            f"parameters.custom_tasks: {parameters.custom_tasks!r} is relative "
            "(write an absolute path, or one inside the data of test_data_ref)"
        )
    if not file.is_file():
        raise EvalHubError(f"parameters.custom_tasks: {file} is not a file")
    return file
