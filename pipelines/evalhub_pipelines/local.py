"""Runs a plan on this machine: the processes a cluster would start as pods, with the same argv, minus the images."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from evalhub_components import __version__, atomic, run_directory
from evalhub_components.errors import Cancelled, EvalHubError
from evalhub_components.evidence import layout
from evalhub_components.schema.evaluation import ExperimentConfig, JudgeConfig, ModelConfig
from evalhub_components.schema.exports import Exports
from evalhub_components.schema.plan import BenchmarkTask, EvaluationPlan
from evalhub_components.schema.run import RunRecord, job_id
from evalhub_components.schema.verdict import Verdict
from evalhub_pipelines import (
    containers,
    directories,
    judge_model,
    publishing,
    resuming,
    run_lock,
    settings,
    steps,
    task_data,
)
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.commands import Command, command_of, holds_a_password
from evalhub_pipelines.containers import Container
from evalhub_pipelines.processes import Listener, Pool, Work


@dataclass(frozen=True)
class Options:
    """How a plan is run on this machine.

    Attributes:
        output: parent of the run directory.
        jobs: tasks at once; None for the plan's own bound, else the number of cores.
        mlflow_uri: None turns tracking off.
        mlflow_required: an MLflow failure is an error.
        accept_fingerprint: resume although another model answers.
        engine: command of Docker or Podman, to run benchmarks in their providers' images; None for processes.
        listener: called with every event, from several threads.
    """

    output: Path = Path("runs")
    jobs: int | None = None
    mlflow_uri: str | None = None
    mlflow_required: bool = False
    accept_fingerprint: bool = False
    engine: str | None = None
    listener: Listener = field(default=lambda _: None)


class Unpublished(EvalHubError):
    """The run in `directory` was judged, but its records did not get where they should.

    Attributes:
        verdict: as in verdict.json.
    """

    def __init__(self, message: str, directory: Path, verdict: Verdict) -> None:
        super().__init__(message)
        self.directory = directory
        self.verdict = verdict


@dataclass(frozen=True)
class Finished:
    """A run that was judged."""

    directory: Path
    verdict: Verdict
    warnings: list[str]


def run(
    plan: EvaluationPlan,
    model: ModelConfig,
    catalog: Catalog,
    options: Options,
    *,
    name: str | None = None,
    tags: Sequence[str] = (),
    num_examples: int | None = None,
    experiment: ExperimentConfig | None = None,
    exports: Exports | None = None,
    judge: JudgeConfig | None = None,
) -> Finished:
    """Run `plan` against `model` in a new run directory; `judge` judges answers where a benchmark needs that.

    Raises:
        EvalHubError: the model does not answer, an environment cannot be made, or nothing could be judged.
        Cancelled: interrupted; the run directory can be resumed.
    """
    _check(plan, options)
    judge_model.check(plan, judge, options.listener)
    secret = _secret(model.auth.secret_ref if model.auth else None)
    by_account = bool(model.auth and model.auth.service_account)
    environ = publishing.environment(exports)
    subject = publishing.check(exports, environ, model.digest)
    try:
        options.listener({"event": "stage", "stage": "fingerprint"})
        fingerprint = steps.fingerprint(model.url, model.name, secret, service_account=by_account)
        asked = judge_model.asked(judge_model.recorded(judge), plan.tasks)
        commands = _commands(plan, plan.tasks, catalog, options)
    except KeyboardInterrupt:
        raise Cancelled("cancelled before the first benchmark; nothing was kept") from None
    digest = plan.header.digest()
    started = datetime.now(UTC)
    record = RunRecord(
        run_id=f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
        job_id=job_id(digest, model.url, model.name, num_examples, asked),
        name=name,
        plan_digest=digest,
        model_url=model.url,
        model_name=model.name,
        model_secret=model.auth.secret_ref if model.auth else None,
        model_service_account=by_account,
        model_digest=model.digest,
        judge=asked,
        subject=subject,
        exports=exports,
        declared_environment=model.environment,
        num_examples=num_examples,
        tags=list(tags),
        experiment_name=(experiment.name if experiment else None) or plan.header.collection_id,
        experiment_tags=experiment.tags if experiment else {},
        package_version=__version__,
        engine="container" if options.engine else "process",
        state="running",
        started_at=f"{started:%Y-%m-%dT%H:%M:%SZ}",
        completed_at=None,
    )
    directory = options.output.resolve() / record.run_id
    try:
        directory.mkdir(parents=True)
    except OSError as error:
        raise EvalHubError(f"{directory}: cannot be made ({error.strerror}; choose another --output)") from None
    with run_lock.held(directory) as lock:
        atomic.write_json(directory / "plan.json", plan.as_json())
        atomic.write_json(directory / "fingerprint.json", fingerprint.as_json())
        atomic.write_json(directory / "run.json", record.as_json())
        _remember(directory, catalog, options)
        options.listener({"event": "stage", "stage": "run", "message": f"run directory {directory}"})
        judge_secret = judge_model.secret(record.judge)
        work = Work(directory, record, fingerprint, secret, plan.header.execution.retries, judge_secret=judge_secret)
        return _execute(plan, plan.tasks, work, commands, options, environ, lock)


def resume(directory: Path, catalog: Catalog, options: Options) -> Finished:
    """Run again what has no completed result with the same task key, then judge anew.

    Raises:
        EvalHubError: `directory` is no run, is in use, or another model answers than before; or data cannot be looked
            at that a result was made of which would stand beside new ones.
        Cancelled: interrupted again.
    """
    directory = directory.resolve()
    run_directory.load(directory)  # a folder that is no run gets no lock file
    with run_lock.held(directory) as lock:
        loaded = run_directory.load(directory)
        record, plan = loaded.record, loaded.plan
        _check(plan, options)
        secret = _secret(record.model_secret)
        environ = publishing.environment(record.exports)
        publishing.check(record.exports, environ, record.model_digest)
        try:
            options.listener({"event": "stage", "stage": "fingerprint"})
            by_account = bool(record.model_service_account)
            now = steps.fingerprint(record.model_url, record.model_name, secret, service_account=by_account)
            fingerprint = resuming.same_model(loaded, now, options.accept_fingerprint)
            # another judge than before judges everything anew that is judged at all
            judge = judge_model.asked(record.judge, plan.tasks)
            if judge != record.judge:
                message = "another judge answers than before: what it judged is judged anew"
                options.listener({"event": "stage", "stage": "fingerprint", "message": message})
            record = record.model_copy(update={"judge": judge})
            left, data = resuming.left(replace(loaded, record=record), fingerprint, options.listener)
            commands = _commands(plan, left, catalog, options)
        except KeyboardInterrupt:
            raise Cancelled(f"{directory}: cancelled; it is as it was before") from None
        record = record.model_copy(update={"state": "running", "completed_at": None})
        atomic.write_json(directory / "run.json", record.as_json())
        # whatever happens now, neither an old result nor the record of its evidence must pass for a new one
        (directory / "publication.json").unlink(missing_ok=True)
        for task in left:
            (directory / "benchmarks" / task.slug / "results.json").unlink(missing_ok=True)
        atomic.write_json(directory / "fingerprint.json", fingerprint.as_json())
        _remember(directory, catalog, options)
        options.listener({"event": "resumed", "kept": len(plan.tasks) - len(left), "left": len(left)})
        judge_secret = judge_model.secret(record.judge)
        work = Work(directory, record, fingerprint, secret, plan.header.execution.retries, data, judge_secret)
        return _execute(plan, left, work, commands, options, environ, lock)


def batches(plan: EvaluationPlan, tasks: Sequence[BenchmarkTask]) -> list[list[BenchmarkTask]]:
    """Return `tasks` grouped into starts of a framework: by provider and data, or singly when the plan says `none`."""
    if plan.header.execution.batch == "none":
        return [[task] for task in tasks]
    groups: dict[tuple[str, str], list[BenchmarkTask]] = {}
    for task in tasks:
        groups.setdefault((task.provider_id, task_data.source_of(task)), []).append(task)
    return list(groups.values())


def _execute(
    plan: EvaluationPlan,
    tasks: Sequence[BenchmarkTask],
    work: Work,
    commands: Mapping[str, Command | Container],
    options: Options,
    environ: dict[str, str],
    lock: int,
) -> Finished:
    directory = work.directory
    jobs = options.jobs or plan.header.execution.max_parallel or os.cpu_count() or 1
    try:
        (directory / "benchmarks").mkdir(exist_ok=True)
        unseen = [task for task in tasks if task.index not in work.data]
        work = replace(work, data={**work.data, **task_data.fetched(unseen, directory, options.listener)})
        Pool(work, commands, options.listener).run(batches(plan, tasks), jobs)
        options.listener({"event": "stage", "stage": "aggregate"})
        warnings = steps.aggregate(
            directory,
            plan,
            work.record,
            mlflow_uri=options.mlflow_uri,
            mlflow_required=options.mlflow_required,
            environ=environ,
            lock=lock,
        )
    except KeyboardInterrupt:
        if _judged(directory) is not None:
            # a run with its evidence is finished, and its record must go on saying so
            raise Cancelled(_too_late(directory)) from None
        atomic.write_json(directory / "run.json", work.record.model_copy(update={"state": "cancelled"}).as_json())
        raise Cancelled(
            f"{directory}: cancelled; finished benchmarks are kept (go on with: evalhub-kfp run --resume {directory})"
        ) from None
    except EvalHubError as error:
        with contextlib.suppress(OSError):
            atomic.write_json(directory / "run.json", work.record.model_copy(update={"state": "failed"}).as_json())
        said = f"{error}\n{directory}: finished benchmarks are kept (go on with: evalhub-kfp run --resume {directory})"
        if (verdict := _judged(directory)) is not None:
            raise Unpublished(said, directory, verdict) from None
        raise EvalHubError(said) from None
    verdict = Verdict.model_validate(atomic.read_json(directory / "verdict.json"))
    return Finished(directory, verdict, warnings)


def _too_late(directory: Path) -> str:
    """Return what to tell of a run that was finished when somebody cancelled it."""
    said = f"{directory}: cancelled when verdict and evidence were there: the run is complete"
    warnings = atomic.read_json(directory / "publication.json").get("warnings", [])
    return "\n".join([f"{said} (its reports: evalhub-kfp report {directory})", *warnings])


def _remember(directory: Path, catalog: Catalog, options: Options) -> None:
    own = str(catalog.roots[0].resolve()) if len(catalog.roots) > 1 else None
    kept = settings.Settings(
        mlflow_uri=options.mlflow_uri, mlflow_required=options.mlflow_required, catalog=own, engine=options.engine
    )
    settings.write(directory, kept)


def _judged(directory: Path) -> Verdict | None:
    """Return the verdict in `directory` when it is that of the results there, and was to be published."""
    try:
        verdict = Verdict.model_validate(atomic.read_json(directory / "verdict.json"))
        atomic.read_json(directory / "publication.json")
        return verdict if run_directory.load(directory).judge() == verdict else None
    except (EvalHubError, ValueError):
        return None


def _commands(
    plan: EvaluationPlan, tasks: Sequence[BenchmarkTask], catalog: Catalog, options: Options
) -> Mapping[str, Command | Container]:
    """Return how each provider of `tasks` is started, making environments and pulling images that are missing."""

    def announce(sentence: str) -> None:
        options.listener({"event": "stage", "stage": "environment", "message": sentence})

    names = dict.fromkeys(task.provider_id for task in tasks)
    if options.engine:
        runtimes = plan.header.runtimes
        return {name: containers.container_of(name, runtimes[name], options.engine, announce) for name in names}
    return {name: command_of(catalog.provider(name), catalog.provider_directory(name), announce) for name in names}


def _secret(name: str | None) -> Path | None:
    return directories.secret(name, "model.auth.secret_ref") if name else None


def _check(plan: EvaluationPlan, options: Options) -> None:
    """Refuse what would fail only after the benchmarks were paid for."""
    layout.require_libraries()
    if options.mlflow_uri and holds_a_password(options.mlflow_uri):
        # it would be in the argv of a process, which everybody on the machine can read
        raise EvalHubError(
            "the MLflow address: must hold no password (set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD)"
        )
