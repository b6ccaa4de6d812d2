"""Runs a plan on this machine: the processes a cluster would start as pods, with the same argv, minus the images."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evalhub_components import __version__, atomic
from evalhub_components.aggregate import run_directory
from evalhub_components.credentials import MODEL_SECRET
from evalhub_components.errors import Cancelled, EvalHubError
from evalhub_components.schema.evaluation import ExperimentConfig, ModelConfig
from evalhub_components.schema.plan import BenchmarkTask, EvaluationPlan, TaskRequest, effective_examples, task_key
from evalhub_components.schema.provider import Provider
from evalhub_components.schema.results import BenchmarkResults
from evalhub_components.schema.run import Fingerprint, RunRecord, job_id
from evalhub_components.schema.verdict import Verdict
from evalhub_pipelines import directories, environments, run_lock
from evalhub_pipelines.catalog import Catalog

logger = logging.getLogger(__name__)

Listener = Callable[[dict[str, Any]], None]
_SENSITIVE = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|ACCESS_KEY|_KEY$|^MLFLOW_|^AWS_|^DOCKER_|^KUBE", re.IGNORECASE
)


@dataclass(frozen=True)
class Options:
    """How a plan is run on this machine.

    Attributes:
        output: parent of the run directory.
        jobs: tasks at once; None for the plan's own bound, else the number of cores.
        mlflow_uri: None turns tracking off.
        mlflow_required: an MLflow failure is an error.
        accept_fingerprint: resume although another model answers.
        listener: called with every event, from several threads.
    """

    output: Path = Path("runs")
    jobs: int | None = None
    mlflow_uri: str | None = None
    mlflow_required: bool = False
    accept_fingerprint: bool = False
    listener: Listener = field(default=lambda _: None)


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
) -> Finished:
    """Run `plan` against `model` in a new run directory.

    Raises:
        EvalHubError: the model does not answer, an environment cannot be made, or nothing could be judged.
        Cancelled: interrupted; the run directory can be resumed.
    """
    _refuse_test_data(plan)
    secret = _secret(model.auth.secret_ref if model.auth else None)
    options.listener({"event": "stage", "stage": "fingerprint"})
    fingerprint = _fingerprint(model.url, model.name, secret)
    commands = _commands(plan, catalog, options)
    digest = plan.header.digest()
    started = datetime.now(UTC)
    record = RunRecord(
        run_id=f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
        job_id=job_id(digest, model.url, model.name, num_examples),
        name=name,
        plan_digest=digest,
        model_url=model.url,
        model_name=model.name,
        model_secret=model.auth.secret_ref if model.auth else None,
        declared_environment=model.environment,
        num_examples=num_examples,
        tags=list(tags),
        experiment_name=(experiment.name if experiment else None) or plan.header.collection_id,
        experiment_tags=experiment.tags if experiment else {},
        package_version=__version__,
        engine="process",
        state="running",
        started_at=f"{started:%Y-%m-%dT%H:%M:%SZ}",
        completed_at=None,
    )
    directory = options.output.resolve() / record.run_id
    directory.mkdir(parents=True)
    with run_lock.held(directory):
        atomic.write_json(directory / "plan.json", plan.as_json())
        atomic.write_json(directory / "fingerprint.json", fingerprint.as_json())
        atomic.write_json(directory / "run.json", record.as_json())
        return _execute(directory, plan, record, fingerprint, secret, commands, options, plan.tasks)


def resume(directory: Path, catalog: Catalog, options: Options) -> Finished:
    """Run again what has no completed result with the same task key, then judge anew.

    Raises:
        EvalHubError: `directory` is no run, is in use, or another model answers than before.
        Cancelled: interrupted again.
    """
    directory = directory.resolve()
    loaded = run_directory.load(directory)
    with run_lock.held(directory):
        record, plan, before = loaded.record, loaded.plan, loaded.fingerprint
        secret = _secret(record.model_secret)
        options.listener({"event": "stage", "stage": "fingerprint"})
        now = _fingerprint(record.model_url, record.model_name, secret)
        if before is not None and now.digest() != before.digest():
            if not options.accept_fingerprint:
                what = "serves another model" if now.identity != before.identity else "answers otherwise"
                raise EvalHubError(
                    f"{directory}: {record.model_url} {what} than when the run began "
                    "(start a new run, or mix the results knowingly with --accept-fingerprint)"
                )
            now = before
        atomic.write_json(directory / "fingerprint.json", now.as_json())
        left = [task for task in plan.tasks if not _is_done(directory, task, record, now)]
        commands = _commands(plan, catalog, options) if left else {}
        record = record.model_copy(update={"state": "running", "completed_at": None})
        atomic.write_json(directory / "run.json", record.as_json())
        done = len(plan.tasks) - len(left)
        options.listener({"event": "resumed", "kept": done, "left": len(left)})
        return _execute(directory, plan, record, now, secret, commands, options, left)


def batches(plan: EvaluationPlan, tasks: Sequence[BenchmarkTask]) -> list[list[BenchmarkTask]]:
    """Return `tasks` grouped into starts of a framework: by provider, or one by one when the plan says `none`."""
    if plan.header.execution.batch == "none":
        return [[task] for task in tasks]
    groups: dict[str, list[BenchmarkTask]] = {}
    for task in tasks:
        groups.setdefault(task.provider_id, []).append(task)
    return list(groups.values())


@dataclass
class _Pool:
    """The processes that run, so that an interruption can end them."""

    stopping: threading.Event = field(default_factory=threading.Event)
    processes: set[subprocess.Popen[str]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def stop(self) -> None:
        self.stopping.set()
        with self.lock:
            running = list(self.processes)
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _execute(
    directory: Path,
    plan: EvaluationPlan,
    record: RunRecord,
    fingerprint: Fingerprint,
    secret: Path | None,
    commands: dict[str, _Command],
    options: Options,
    tasks: Sequence[BenchmarkTask],
) -> Finished:
    pool = _Pool()
    jobs = options.jobs or plan.header.execution.max_parallel or os.cpu_count() or 1
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ThreadPoolExecutor(max_workers=jobs) as executor:
            try:
                futures = [
                    executor.submit(
                        _run_batch, directory, plan, record, fingerprint, secret, commands, options, batch, pool
                    )
                    for batch in batches(plan, tasks)
                ]
                for future in wait(futures).done:
                    future.result()
            except KeyboardInterrupt:
                pool.stop()
                raise
        options.listener({"event": "stage", "stage": "aggregate"})
        warnings = _aggregate(directory, plan, record, options)
    except KeyboardInterrupt:
        atomic.write_json(directory / "run.json", record.model_copy(update={"state": "cancelled"}).as_json())
        raise Cancelled(
            f"{directory}: cancelled; finished benchmarks are kept (go on with --resume {directory})"
        ) from None
    finally:
        signal.signal(signal.SIGTERM, previous)
    verdict = Verdict.model_validate(atomic.read_json(directory / "verdict.json"))
    return Finished(directory, verdict, warnings)


@dataclass(frozen=True)
class _Command:
    """How a provider's benchmark step is started."""

    argv: list[str]
    environ: dict[str, str]


def _commands(plan: EvaluationPlan, catalog: Catalog, options: Options) -> dict[str, _Command]:
    """Return how each provider of the plan is started, making the environments that are missing."""
    found = {}
    for provider_id in dict.fromkeys(task.provider_id for task in plan.tasks):
        folder = catalog.provider_directory(provider_id)
        provider = catalog.provider(provider_id)
        if not (folder / "adapter.py").is_file() and not _local_command(provider):
            raise EvalHubError(f"{folder}: has neither adapter.py nor runtime.local.command, so it cannot run here")

        def announce(sentence: str) -> None:
            options.listener({"event": "stage", "stage": "environment", "message": sentence})

        argv = _local_command(provider)
        if not argv:
            argv = [str(environments.python_of(folder, announce)), "-m", "evalhub_components.benchmark"]
        environ = {key: value for key, value in os.environ.items() if not _SENSITIVE.search(key)}
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "EVALHUB_SECRETS", MODEL_SECRET):
            environ.pop(name, None)
        environ |= {
            "PYTHONPATH": str(environments.components_path()),
            "PYTHONNOUSERSITE": "1",
            "PYDANTIC_DISABLE_PLUGINS": "1",
            "EVALHUB_PROVIDER_DIR": str(folder.resolve()),
            "EVALHUB_LIFELINE": "stdin",
        }
        environ |= {
            variable.name: variable.value for variable in (provider.runtime.local.env if provider.runtime.local else [])
        }
        found[provider_id] = _Command(argv, environ)
    return found


def _local_command(provider: Provider) -> list[str]:
    command = provider.runtime.local.command if provider.runtime.local else None
    return command.split() if isinstance(command, str) else list(command or [])


def _run_batch(
    directory: Path,
    plan: EvaluationPlan,
    record: RunRecord,
    fingerprint: Fingerprint,
    secret: Path | None,
    commands: dict[str, _Command],
    options: Options,
    tasks: Sequence[BenchmarkTask],
    pool: _Pool,
) -> None:
    """Run one start of a framework; a process that dies is started again for what it left undone."""
    command = commands[tasks[0].provider_id]
    left = list(tasks)
    for _ in range(plan.header.execution.retries + 1):
        if pool.stopping.is_set():
            return
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump([task.as_json() for task in left], file)
            file.flush()
            argv = [
                *command.argv,
                *("--task", f"@{file.name}"),
                *("--model-url", record.model_url),
                *("--model-name", record.model_name),
                *("--job-id", record.job_id),
                *("--fingerprint", fingerprint.digest()),
                *("--num-examples", str(record.num_examples or 0)),
                *("--results", str(directory / "benchmarks")),
            ]
            environ = command.environ | ({MODEL_SECRET: str(secret)} if secret else {})
            said = _follow(argv, environ, options.listener, pool)
        left = [task for task in left if not (directory / "benchmarks" / task.slug / "results.json").is_file()]
        if not left or pool.stopping.is_set():
            return
        logger.warning("task=%s status=died left=%d %s", tasks[0].provider_id, len(left), said)
    for task in left:
        reason = f"its process died: {said}" if said else "its process died"
        options.listener(
            {"event": "finished", "index": task.index, "slug": task.slug, "status": "missing", "reason": reason}
        )


def _follow(argv: list[str], environ: dict[str, str], listener: Listener, pool: _Pool) -> str:
    """Run a benchmark step, pass its events on, and return the end of what it said on standard error."""
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        with pool.lock:
            if pool.stopping.is_set():
                return ""
            try:
                # a session of its own: Ctrl-C at the terminal is for this program, which ends its children in order
                process = subprocess.Popen(
                    argv,
                    env=environ,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    start_new_session=True,
                )
            except OSError as error:
                raise EvalHubError(f"{argv[0]}: cannot be started ({error.strerror})") from None
            pool.processes.add(process)
        assert process.stdout is not None
        for line in process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a provider's own command may print what it likes
            if isinstance(event, dict) and "event" in event:
                listener(event)
        process.wait()
        with pool.lock:
            pool.processes.discard(process)
        if process.stdin:
            process.stdin.close()
        errors.seek(0)
        return " ".join(errors.read()[-500:].split()) if process.returncode else ""


def _aggregate(directory: Path, plan: EvaluationPlan, record: RunRecord, options: Options) -> list[str]:
    """Judge, keep evidence and log; return what could not be published."""
    argv = [
        *(sys.executable, "-m", "evalhub_components.aggregate"),
        *("--header", json.dumps(plan.header.as_json())),
        *("--run", json.dumps(record.as_json())),
        *("--fingerprint", str(directory / "fingerprint.json")),
        *("--results", str(directory / "benchmarks")),
        *("--output", str(directory)),
    ]
    if options.mlflow_uri:
        argv += ["--mlflow-uri", options.mlflow_uri, *(["--mlflow-required"] if options.mlflow_required else [])]
    done = _step(argv, dict(os.environ))
    if done.returncode:
        raise EvalHubError(done.stderr.strip()[-2000:] or f"aggregate exited with {done.returncode}")
    published = atomic.read_json(directory / "publication.json")
    return list(published.get("warnings", []))


def _fingerprint(url: str, name: str, secret: Path | None) -> Fingerprint:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "fingerprint.json"
        argv = [
            *(sys.executable, "-m", "evalhub_components.fingerprint"),
            *("--model-url", url, "--model-name", name, "--output", str(output)),
        ]
        environ = dict(os.environ) | ({MODEL_SECRET: str(secret)} if secret else {})
        done = _step(argv, environ)
        if done.returncode:
            raise EvalHubError(done.stderr.strip()[-2000:] or f"fingerprint exited with {done.returncode}")
        return Fingerprint.model_validate(atomic.read_json(output))


def _step(argv: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environ = environ | {"PYDANTIC_DISABLE_PLUGINS": "1"}
    return subprocess.run(argv, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def _secret(name: str | None) -> Path | None:
    return directories.secret(name, "model.auth.secret_ref") if name else None


def _is_done(directory: Path, task: BenchmarkTask, record: RunRecord, fingerprint: Fingerprint) -> bool:
    """Return whether a completed result answers exactly what would be asked now."""
    folder = directory / "benchmarks" / task.slug
    try:
        request = TaskRequest.model_validate_json((folder / "task.json").read_bytes())
        found = BenchmarkResults.model_validate_json((folder / "results.json").read_bytes())
    except (OSError, ValidationError):
        return False
    examples = effective_examples(task, record.num_examples)
    key = task_key(task.digest(), examples, request.test_data_digest, record.model_name, fingerprint.digest())
    return found.status == "completed" and request.task_key == key


def _refuse_test_data(plan: EvaluationPlan) -> None:
    for task in plan.tasks:
        if task.test_data_ref is not None:
            raise EvalHubError(
                f"{task.benchmark_id}: test_data_ref is not yet supported by local runs (use local data)"
            )
