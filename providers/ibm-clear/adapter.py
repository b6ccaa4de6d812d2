"""Has a judge score the steps of agents, or single responses, and find what goes wrong in them, with IBM's CLEAR."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

import clear_report
import clear_steps
from clear_parameters import Kind, Parameters, parse
from clear_report import Judged
from clear_steps import Step

from evalhub_components.adapter import (
    FrameworkAdapter,
    JobCallbacks,
    JobPhase,
    JobResults,
    JobSpec,
    JobStatusUpdate,
)
from evalhub_components.errors import EvalHubError
from evalhub_components.framework import program, surroundings
from evalhub_components.framework.ledger import Ledger, usage_of
from evalhub_components.framework.relay import Relay
from evalhub_components.schema.results import Sample

HERE = Path(__file__).resolve().parent
BUNDLED = {"traces": HERE / "data" / "traces", "responses": HERE / "data" / "responses.jsonl"}

_QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # otherwise fetched from the web at every start
_REQUESTS_PER_STEP = 3  # a judgement, its summary, and which of the issues are in it
_RUN = "run"


class ClearAdapter(FrameworkAdapter):
    """One process of clear a benchmark: it keeps its settings and results in files named after models."""

    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        """Run one benchmark.

        Raises:
            EvalHubError: it cannot be run or scored, with the reason.
        """

        def enter(phase: JobPhase, done: int | None = None, total: int | None = None) -> None:
            update = JobStatusUpdate(phase=phase, completed_steps=done, total_steps=total)
            callbacks.report_status(update, benchmark_index=config.benchmark_index)

        enter(JobPhase.INITIALIZING)
        kind, parameters = parse(config.benchmark_id, config.parameters)
        keys = {"tries": parameters.max_retries, "request_timeout": float(parameters.request_timeout)}
        begun = time.monotonic()
        enter(JobPhase.LOADING_DATA)
        place = _place(config, parameters, kind)
        steps = _steps(config, parameters, kind, place)
        steps = steps[: config.num_examples]
        silent = [step for step in steps if parameters.regenerate or not step.response]
        total = len(silent) + _REQUESTS_PER_STEP * len(steps)
        relays: dict[str, Relay] = {}

        def progress(_: Ledger) -> None:
            answered = sum(relay.ledger.answered for relay in relays.values())
            enter(JobPhase.RUNNING_EVALUATION, min(answered, total), total)

        with ExitStack() as stack:
            relays["judge"] = judge = stack.enter_context(Relay.of_judge(config, listen=progress, **keys))
            if silent:
                relays["model"] = stack.enter_context(Relay.of(config, listen=progress, **keys))
            for relay in relays.values():
                relay.check()
            if silent:
                found = clear_steps.answered(relays["model"], config.model.name, silent, parameters)
                by_id = {step.id: step for step in found}
                steps = [by_id.get(step.id, step) for step in steps]
                _check_responses(config, relays["model"], steps)
            asked = [step for step in steps if not step.failure]
            settings = _settings(config, parameters, kind, asked)
            end = _run(config, kind, settings, judge)
            enter(JobPhase.POST_PROCESSING)
            good = _good(config, relays, parameters, steps, asked, end)
            seconds = time.monotonic() - begun
            results = JobResults(
                id=config.id,
                benchmark_id=config.benchmark_id,
                benchmark_index=config.benchmark_index,
                model_name=config.model.name,
                results=clear_report.metrics(good, of_traces=kind == "traces"),
                num_examples_evaluated=len(good),
                num_examples_requested=len(steps),
                num_errors=len(steps) - len(good),
                duration_seconds=seconds,
                samples=_samples(config, good),
                data_digests=_digests(place),
                usage=usage_of(**{name: relay.ledger for name, relay in relays.items()}),
                environment={
                    "framework": {"name": "clear-eval", "version": metadata.version("clear-eval")},
                    "seed": config.seed,
                    "settings": parameters.as_json(),
                    "responses": {"generated": len(silent), "given": len(steps) - len(silent)},
                    "judge": config.judge.endpoint.name if config.judge else None,
                    "lost_requests": {name: why for name, one in relays.items() if (why := one.ledger.explain())}
                    or None,
                },
            )
        enter(JobPhase.COMPLETED)
        return results


def _place(config: JobSpec, parameters: Parameters, kind: Kind) -> Path:
    """Return the folder of traces or the file of rows.

    Raises:
        EvalHubError: there is none.
    """
    where = f"{config.benchmark_id}: parameters.data"
    if parameters.data is None:
        if config.test_data is None:
            if parameters.traces != "csv":
                raise EvalHubError(f"{where}: is missing (the folder with the traces)")
            return BUNDLED[kind]
        if kind == "traces":
            return config.test_data
        files = sorted(config.test_data.rglob("*.jsonl"))
        if len(files) != 1:
            raise EvalHubError(f"{where}: the data of test_data_ref holds {len(files)} files *.jsonl (name one)")
        return files[0]
    path = Path(parameters.data)
    if not path.is_absolute():
        if config.test_data is None:
            what = "is relative, and there is no data that it could be in (name an absolute path, or set test_data_ref)"
            raise EvalHubError(f"{where}: {parameters.data} {what}")
        path = config.test_data / path
    if not (path.is_dir() if kind == "traces" else path.is_file()):
        raise EvalHubError(f"{where}: {parameters.data}: there is no such {'folder' if kind == 'traces' else 'file'}")
    return path


def _steps(config: JobSpec, parameters: Parameters, kind: Kind, place: Path) -> list[Step]:
    """Return what is to be judged; traces of a tracer go through clear's own preprocessing first."""
    if kind == "responses":
        return clear_steps.responses(config.benchmark_id, place)
    if parameters.traces != "csv":
        folder = config.work_dir / "preprocessed"
        settings = {
            "input_dir": str(place),
            "output_dir": str(folder),
            "agent_framework": parameters.agent_framework,
            "observability_framework": parameters.traces,
        }
        file = _written(config.work_dir / "preprocess.json", settings)
        environ = surroundings.variables(config.work_dir, own=_QUIET)
        argv = [sys.executable, str(HERE / "clear_launch.py"), "preprocess", str(file)]
        end = program.run(argv, environ=environ, folder=config.work_dir)
        if not folder.is_dir() or not any(folder.glob("*.csv")):
            raise EvalHubError(f"{config.benchmark_id}: clear makes no steps of these traces: {end.last_words}")
        place = folder
    return clear_steps.traces(config.benchmark_id, place)


def _settings(config: JobSpec, parameters: Parameters, kind: Kind, steps: Sequence[Step]) -> dict[str, Any]:
    """Return clear's configuration, and write the data that it names."""
    assert config.judge is not None
    data = config.work_dir / "data"
    clear_steps.write(steps, data, one_file=kind == "responses")
    patience = parameters.max_retries * (parameters.request_timeout + 60)
    judge: dict[str, Any] = {"max_tokens": parameters.judge_max_tokens, "timeout": patience, "max_retries": 0}
    if parameters.judge_body:
        judge["extra_body"] = parameters.judge_body
    shared = {
        "provider": "openai",
        "inference_backend": "litellm",
        "eval_model_name": config.judge.endpoint.name,
        "eval_model_params": judge,
        "max_workers": parameters.num_concurrent,
        "evaluation_criteria": parameters.evaluation_criteria,
        "predefined_issues": parameters.predefined_issues,
        "issues_format": parameters.issues_format,
        "high_score_threshold": parameters.high_score_threshold,
        "max_shortcomings": parameters.max_issues,
        "run_name": _RUN,
        # it would keep what came of the first requests in a file that it removes in the end
        "checkpoint_every": 0,
    }
    if kind == "traces":
        own: dict[str, Any] = {"data_dir": str(data), "results_dir": str(config.raw_dir), "from_raw_traces": False}
        return {**shared, **own, "overwrite": True, "run_step_by_step": True, "run_full_trajectory": False}
    referenced = all(step.columns["ground_truth"] for step in steps)
    if parameters.use_references and not referenced:
        raise EvalHubError(f"{config.benchmark_id}: parameters.use_references: not every row has a reference")
    return {
        **shared,
        "task": "general",
        "perform_generation": False,
        "resume_enabled": False,
        "is_reference_based": referenced if parameters.use_references is None else parameters.use_references,
        "data_path": str(data / "rows.csv"),
        "output_dir": str(config.raw_dir / _RUN),
        "input_columns": ["id"],
    }


def _run(config: JobSpec, kind: Kind, settings: dict[str, Any], judge: Relay) -> program.End:
    """Run clear to its end, or until no answer of the judge can be had."""
    file = _written(config.work_dir / "clear.json", settings)
    environ = surroundings.variables(config.work_dir, own=_QUIET)
    environ |= {"OPENAI_BASE_URL": judge.url, "OPENAI_API_BASE": judge.url, "OPENAI_API_KEY": judge.token}
    return program.run(
        [sys.executable, str(HERE / "clear_launch.py"), kind, str(file)],
        environ=environ,
        folder=config.work_dir,
        stop=lambda: judge.ledger.is_hopeless,
    )


def _written(path: Path, settings: dict[str, Any]) -> Path:
    path.write_text(json.dumps(settings), "utf-8")
    return path


def _check_responses(config: JobSpec, model: Relay, steps: Sequence[Step]) -> None:
    """Refuse to go on where the responses alone are too few, so that no judge is paid for nothing."""
    failures = [step.failure for step in steps if step.failure]
    if len(failures) > config.max_error_rate * len(steps) or len(failures) == len(steps):
        raise EvalHubError(
            f"{config.benchmark_id}: {len(failures)} of {len(steps)} steps have no response, more than max_error_rate "
            f"{config.max_error_rate:g} allows: {model.ledger.explain() or failures[0]}"
        )


def _good(
    config: JobSpec,
    relays: dict[str, Relay],
    parameters: Parameters,
    steps: Sequence[Step],
    asked: Sequence[Step],
    end: program.End,
) -> list[Judged]:
    """Return the steps with a score and issues.

    Raises:
        EvalHubError: they are too few, or nobody knows their issues.
    """
    where, judge = config.benchmark_id, relays["judge"].ledger
    judged = clear_report.read(config.raw_dir / _RUN)
    known = {step.id for step in asked}
    if stray := [step.id for step in judged if step.id not in known]:
        raise EvalHubError(f"{where}: clear judged what it was not given: {', '.join(stray[:3])}")
    good = [step for step in judged if not step.failure]
    missing = len(asked) - len(judged)
    failures = [f"{step.id}: {step.failure}" for step in judged if step.failure]
    lost = len(steps) - len(good)
    if not good or lost > config.max_error_rate * len(steps):
        kinds = [f"{len(steps) - len(asked)} without a response" if len(steps) > len(asked) else ""]
        kinds += [f"{len(failures)} without a judgement" if failures else "", f"{missing} missing" if missing else ""]
        ended = "was stopped" if end.status is None else f"ended with status {end.status}"
        reasons = [judge.explain(), *failures[:1], f"clear {ended}: {end.last_words}" if missing else ""]
        raise EvalHubError(
            f"{where}: {lost} of {len(steps)} steps have no score ({', '.join(filter(None, kinds))}), more than "
            f"max_error_rate {config.max_error_rate:g} allows: {'; '.join(filter(None, reasons))}"
        )
    guesses = not parameters.predefined_issues
    if guesses and judge.lost and clear_report.unlisted(config.raw_dir / _RUN, parameters.high_score_threshold):
        # clear goes on without a list, and finds nothing of it anywhere
        raise EvalHubError(f"{where}: the judge could not be asked which issues there are: {judge.explain()}")
    return good


def _samples(config: JobSpec, good: Sequence[Judged]) -> list[Sample] | None:
    if config.primary_score.metric != "average_score":
        return None
    found = [
        Sample(
            id=step.id,
            score=step.score if step.score is not None else 0.0,
            cluster=step.trace or None,
            details={"issues": len(step.issues), **({"agent": step.agent} if step.agent else {})},
        )
        for step in good
    ]
    return sorted(found, key=lambda sample: sample.id)


def _digests(place: Path) -> dict[str, str]:
    files = sorted(path for path in place.iterdir() if path.is_file()) if place.is_dir() else [place]
    return {path.name: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files}
