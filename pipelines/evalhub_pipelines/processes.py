"""The processes that run benchmarks on this machine: started, followed, started again and ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalhub_components import atomic
from evalhub_components.adapter import ModelCredentials
from evalhub_components.benchmark import external_data, results
from evalhub_components.benchmark.task_folder import TaskFolder
from evalhub_components.credentials import JUDGE_SECRET, MODEL_SECRET, SERVICE_ACCOUNT_TOKEN, token_file
from evalhub_components.errors import EvalHubError
from evalhub_components.redaction import Redaction
from evalhub_components.schema.plan import BenchmarkTask, TaskRequest
from evalhub_components.schema.run import Fingerprint, RunRecord
from evalhub_pipelines import containers, environments
from evalhub_pipelines.commands import Command
from evalhub_pipelines.containers import Container, Given

Listener = Callable[[dict[str, Any]], None]

_SECONDS_TO_END = 10


@dataclass(frozen=True)
class Work:
    """What every start of a framework in a run is given.

    Attributes:
        secret: folder with the model's credentials.
        retries: how often a process that died is started again.
        data: folder with the external data of a benchmark, by its index; a batch has the same.
        judge_secret: folder with the judge's credentials.
    """

    directory: Path
    record: RunRecord
    fingerprint: Fingerprint
    secret: Path | None
    retries: int
    data: Mapping[int, Path] = field(default_factory=dict)
    judge_secret: Path | None = None


class Pool:
    """Runs batches of benchmarks, a bounded number at once, and ends them all when it is interrupted."""

    def __init__(self, work: Work, commands: Mapping[str, Command | Container], listener: Listener) -> None:
        self._work = work
        self._commands = commands
        self._listener = listener
        self._stopping = threading.Event()
        self._running: set[subprocess.Popen[str]] = set()
        self._distrusted: set[Path] = set()
        self._tokens: set[str] = set()
        self._account = ModelCredentials(token_file=_token_file(work.record), noted=self._tokens.add)
        self._lock = threading.Lock()

    def run(self, batches: Sequence[Sequence[BenchmarkTask]], jobs: int) -> None:
        """Run every batch in a process of its own, at most `jobs` at once.

        Raises:
            EvalHubError: a provider's command cannot be started.
            KeyboardInterrupt: interrupted; no process is left.
        """
        with ThreadPoolExecutor(max_workers=jobs) as executor:
            try:
                futures = [executor.submit(self._run_batch, batch) for batch in batches]
                for future in wait(futures).done:
                    future.result()
            except KeyboardInterrupt:
                self._stop()
                raise

    def _stop(self) -> None:
        self._stopping.set()
        with self._lock:
            running = list(self._running)
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _run_batch(self, tasks: Sequence[BenchmarkTask]) -> None:
        """Run one start of a framework; when its process dies, each benchmark left undone is run alone."""
        end = self._start(tasks)
        left = self._left(tasks)
        # of several nobody knows which one is to blame, so that each gets a start of its own
        starts = self._work.retries if len(left) == 1 else max(self._work.retries, 1)
        self._tell_retry(end, left, starts)
        for task in left:
            for tried in range(starts):
                end = self._start([task])
                if not self._left([task]):
                    break
                self._tell_retry(end, [task], starts - tried - 1)
            else:
                self._give_up(task, end)

    def _left(self, tasks: Sequence[BenchmarkTask]) -> list[BenchmarkTask]:
        """Return those of `tasks` that are still to be run."""
        if self._stopping.is_set():
            return []
        benchmarks = self._work.directory / "benchmarks"
        return [task for task in tasks if not (benchmarks / task.slug / "results.json").is_file()]

    def _tell_retry(self, end: str, left: Sequence[BenchmarkTask], starts: int) -> None:
        if left and starts:
            again = f"starting it again for {len(left)} benchmark(s)" + (", one by one" if len(left) > 1 else "")
            message = f"{left[0].provider_id}: its process {end}; {again}"
            self._listener({"event": "stage", "stage": "retry", "message": message})

    def _give_up(self, task: BenchmarkTask, end: str) -> None:
        """Write down that `task` failed, as its process did not live to do."""
        self._account.key()
        redaction = Redaction([*_secrets(self._work.secret), *_secrets(self._work.judge_secret), *self._tokens])
        reason = redaction.text(f"its process {end}")
        path = self._work.directory / "benchmarks" / task.slug
        if path.is_symlink():
            path.unlink()
        folder = TaskFolder(path, redaction)
        # a full disk may be what ended it
        with contextlib.suppress(OSError):
            if not (path / "task.json").is_file():
                folder.prepare(_request(self._work, task))
            folder.clean_again()
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            found = results.failed(task, task.digest(), reason, started_at=now, completed_at=now)
            atomic.write_json(path / "results.json", found.as_json())
        self._listener(
            {"event": "finished", "index": task.index, "slug": task.slug, "status": "failed", "reason": reason}
        )

    def _start(self, tasks: Sequence[BenchmarkTask]) -> str:
        """Run `tasks` in one process and return how it ended."""
        if self._stopping.is_set():
            return "was not started"
        work, record = self._work, self._work.record
        command = self._commands[tasks[0].provider_id]
        data = work.data.get(tasks[0].index)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump([task.as_json() for task in tasks], file)
            file.flush()
            options = [
                *("--model-url", record.model_url),
                *("--model-name", record.model_name),
                *("--job-id", record.job_id),
                *("--fingerprint", work.fingerprint.digest()),
                *("--num-examples", str(record.num_examples or 0)),
            ]
            options += ["--model-auth", "service-account"] if record.model_service_account else []
            judged = any(task.judge for task in tasks)
            options += _judge_options(record) if judged else []
            judge_secret = work.judge_secret if judged else None
            by_account = record.model_service_account or (judged and record.judge and record.judge.service_account)
            token = self._account.token_file if by_account else None
            given = Given(Path(file.name), work.directory / "benchmarks", work.secret, data, judge_secret, token)
            if isinstance(command, Container):
                return self._in_container(command, tasks, given, options)
            argv = [*command.argv, "--task", f"@{given.task}", *options]
            argv += ["--test-data", str(data)] if data else []
            argv += ["--results", str(given.results), *command.suffix]
            environ = command.environ | ({MODEL_SECRET: str(work.secret)} if work.secret else {})
            environ |= {JUDGE_SECRET: str(judge_secret)} if judge_secret else {}
            environ |= {SERVICE_ACCOUNT_TOKEN: str(token)} if token else {}
            if (made := command.environment_of) is None:
                return _end(*self._follow(argv, environ, command.folder)[:2])
            return self._in_environment(made, argv, environ)

    def _in_environment(self, provider: Path, argv: list[str], environ: dict[str, str]) -> str:
        """Run `argv` in the provider's environment, which is made anew once when nothing starts in it."""
        if provider in self._distrusted:
            try:
                environments.python_of(provider, self._announce)
            except EvalHubError as error:
                return f"cannot be started: {error}"
        status, said, heard = self._follow(argv, environ, None)
        # with this status Python ends where a module cannot be imported; what the step itself finds wrong has another
        if status == 1 and not heard:
            with self._lock:
                known = provider in self._distrusted
                self._distrusted.add(provider)
            if not known:
                environments.distrust(provider)
        return _end(status, said)

    def _announce(self, sentence: str) -> None:
        self._listener({"event": "stage", "stage": "environment", "message": sentence})

    def _in_container(
        self, container: Container, tasks: Sequence[BenchmarkTask], given: Given, options: list[str]
    ) -> str:
        name = containers.new_name(self._work.record.run_id)
        with containers.lent(container, tasks, given) as lent:
            argv = containers.argv(container, name, tasks, lent, options)
            try:
                status, said, _ = self._follow(argv, dict(os.environ), None)
            finally:
                # an engine's client that had to be killed leaves its container running
                containers.remove(container.engine, name)
        return _end(containers.end(status), said)

    def _follow(self, argv: list[str], environ: dict[str, str], folder: Path | None) -> tuple[int, str, bool]:
        """Run a benchmark step, pass its events on, and return exit status, last words, and whether it had events."""
        heard = False
        with tempfile.TemporaryFile("w+", errors="replace") as errors:
            with self._lock:
                if self._stopping.is_set():
                    return 0, "", False
                try:
                    # a session of its own: Ctrl-C at the terminal is for this program, which ends its children in order
                    process = subprocess.Popen(
                        argv,
                        env=environ,
                        cwd=folder,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=errors,
                        text=True,
                        errors="replace",
                        start_new_session=True,
                    )
                except OSError as error:
                    raise EvalHubError(f"{argv[0]}: cannot be started ({error.strerror})") from None
                self._running.add(process)
            # the step ends when its standard input closes: should a listener raise, leaving the block closes it
            with process:
                assert process.stdout is not None
                # the step that notes every token may not live to take them out of what it leaves
                self._account.key()
                for line in process.stdout:
                    self._account.key()
                    event = _event(line)
                    if event is not None:
                        heard = True
                        self._listener(event)
                process.wait()
            with self._lock:
                self._running.discard(process)
            errors.seek(0)
            return process.returncode, errors.read(), heard


def _event(line: str) -> dict[str, Any] | None:
    """Return the event in a line of a step's output; a provider's own command may print what else it likes."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _request(work: Work, task: BenchmarkTask) -> TaskRequest:
    try:
        data = external_data.read(work.data.get(task.index)).digest
    except EvalHubError:
        data = None
    return TaskRequest.of(
        task,
        model_url=work.record.model_url,
        model_name=work.record.model_name,
        fingerprint=work.fingerprint.digest(),
        run_limit=work.record.num_examples,
        test_data_digest=data,
        judge=work.record.judge.asked() if work.record.judge else None,
    )


def _judge_options(record: RunRecord) -> list[str]:
    judge = record.judge
    if judge is None:
        return []
    found = ["--judge-url", judge.url, "--judge-name", judge.name]
    found += ["--judge-auth", "service-account"] if judge.service_account else []
    return [*found, "--judge-fingerprint", judge.fingerprint] if judge.fingerprint else found


def _token_file(record: RunRecord) -> Path | None:
    """Return the file with the token that the model or the judge is asked with; None where it is a key."""
    judge = record.judge
    return token_file() if record.model_service_account or (judge and judge.service_account) else None


def _secrets(folder: Path | None) -> list[str]:
    files = [folder / name for name in ("api-key", "hf-token")] if folder else []
    return [file.read_text("utf-8", "replace").strip() for file in files if file.is_file()]


def _end(status: int, said: str) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        return f"was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    last = " ".join(said[-500:].split())
    return f"exited with status {status}" + (f": {last}" if last and status else "")
