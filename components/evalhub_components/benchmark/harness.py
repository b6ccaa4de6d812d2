"""Runs the benchmarks of one task: whatever happens to the framework, every one of them leaves results.

KFP keeps no artifacts of failed tasks (kubeflow/pipelines#12425), so a failure is written down instead of raised.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalhub_components import atomic, canonical, credentials, environment
from evalhub_components.adapter import JobSpec, ModelEndpoint, PrimaryMetric
from evalhub_components.benchmark import child, results
from evalhub_components.benchmark.memory import MemoryWatch
from evalhub_components.redaction import Redaction
from evalhub_components.schema.plan import BenchmarkTask, TaskRequest, effective_examples, task_key
from evalhub_components.schema.results import BenchmarkResults

logger = logging.getLogger(__name__)

Report = Callable[[dict[str, Any]], None]
_TICK = 0.1  # seconds between looks at clock, memory and process


class Terminated(Exception):
    """The step was asked to stop; unfinished benchmarks leave no results."""


@dataclass(frozen=True)
class Settings:
    """What a task gets from its command line.

    Attributes:
        fingerprint: of the model, as `schema.run.Fingerprint.digest` gives it; None when unknown.
        num_examples: the run's own limit on examples.
        results: folder that gets one folder a benchmark.
        ends_with_stdin: stop when standard input closes, because the run that holds its other end is gone.
        stopping: set by a signal handler when the step is to stop.
    """

    model_url: str
    model_name: str
    job_id: str
    fingerprint: str | None
    num_examples: int | None
    test_data: Path | None
    results: Path
    adapter_file: Path
    ends_with_stdin: bool = False
    stopping: list[str] = field(default_factory=list)


@dataclass
class _Entry:
    """One benchmark on its way to results."""

    task: BenchmarkTask
    task_digest: str
    folder: Path
    spec: JobSpec
    started: float = field(default_factory=time.monotonic)
    started_at: str = field(default_factory=lambda: _now())
    done: bool = False


class Harness:
    """Runs a list of tasks of one provider."""

    def __init__(self, settings: Settings, report: Report) -> None:
        self._settings = settings
        self._credentials = credentials.read()
        self._redaction = Redaction([self._credentials.api_key, self._credentials.hf_token])
        self._report = report
        self._memory = MemoryWatch()
        self._environment = environment.capture()
        self._test_data_digests = _tree_digests(settings.test_data) if settings.test_data else {}
        self._work = Path(tempfile.mkdtemp(prefix="evalhub-"))

    def run(self, tasks: Sequence[BenchmarkTask]) -> None:
        """Run `tasks`, several in one start of the framework where the adapter can.

        Raises:
            Terminated: asked to stop; what was finished is kept.
        """
        try:
            entries = [self._prepared(task) for task in tasks]
            # a group that failed as a whole is tried again one by one, within the same time
            deadline = time.monotonic() + sum(task.timeout for task in tasks)
            merged = self._attempt(entries, deadline, together=len(entries) > 1)
            while left := [entry for entry in entries if not entry.done]:
                self._attempt(left[:1] if merged else left, deadline, together=not merged and len(left) > 1)
        finally:
            shutil.rmtree(self._work, ignore_errors=True)

    def _prepared(self, task: BenchmarkTask) -> _Entry:
        settings = self._settings
        folder = settings.results / task.slug
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "raw").mkdir(parents=True)
        work = self._work / task.slug
        work.mkdir()
        task_digest = task.digest()
        examples = effective_examples(task, settings.num_examples)
        data_digest = canonical.digest(self._test_data_digests) if settings.test_data else None
        request = TaskRequest(
            task=task,
            task_digest=task_digest,
            model_url=settings.model_url,
            model_name=settings.model_name,
            fingerprint=settings.fingerprint,
            num_examples=examples,
            test_data_digest=data_digest,
            task_key=task_key(task_digest, examples, data_digest, settings.model_name, settings.fingerprint),
        )
        atomic.write_json(folder / "task.json", request.as_json())
        (folder / "log.txt").touch()
        spec = JobSpec(
            id=settings.job_id,
            provider_id=task.provider_id,
            benchmark_id=task.benchmark_id,
            benchmark_index=task.index,
            model=ModelEndpoint(settings.model_url, settings.model_name),
            parameters=task.parameters,
            primary_score=PrimaryMetric(task.primary_score.metric, task.primary_score.lower_is_better),
            work_dir=work,
            raw_dir=folder / "raw",
            seed=task.seed,
            timeout=task.timeout,
            max_error_rate=task.max_error_rate,
            num_examples=examples,
            num_few_shot=task.num_few_shot,
            test_data=settings.test_data,
            credentials=self._credentials,
        )
        return _Entry(task, task_digest, folder, spec)

    def _attempt(self, entries: list[_Entry], deadline: float, *, together: bool) -> bool:
        """Run `entries` in one child; return whether the adapter ran them merged, so that none can be blamed alone."""
        for entry in entries:
            entry.started, entry.started_at = time.monotonic(), _now()
            self._tell(entry, "initializing")
        watch = _Child(self._settings.adapter_file, [entry.spec for entry in entries], self._work / "batch.log")
        by_index = {entry.task.index: entry for entry in entries}
        merged, current, reason = False, entries[0], None
        # half of the time there is, so that the other half is left to find out who is to blame
        limit = (deadline - time.monotonic()) / 2 if together else min(entries[0].task.timeout, self._left(deadline))
        try:
            while True:
                for event in watch.events(_TICK):
                    kind = event["event"]
                    entry = by_index.get(event.get("index", current.task.index), current)
                    if kind == "mode":
                        merged = event["merged"]
                        if not merged:
                            limit = min(current.task.timeout, self._left(deadline))
                    elif kind == "start":
                        current, limit = entry, min(entry.task.timeout, self._left(deadline))
                        entry.started, entry.started_at = time.monotonic(), _now()
                    elif kind == "status" and not entry.done:
                        self._tell(entry, event["phase"], event["completed"], event["total"])
                    elif kind == "results" and not entry.done:
                        self._finish_with(entry, event["results"], watch.log if merged else None)
                    elif kind == "failure":
                        self._finish(entry, self._failed(entry, event["reason"]))
                    elif kind == "crash":
                        reason = event["reason"]
                if watch.ended is not None:
                    reason = reason or _death(watch.ended)
                    break
                if self._settings.ends_with_stdin and _stdin_is_closed():
                    raise Terminated("the end of the run that started it")
                if self._settings.stopping:
                    raise Terminated(self._settings.stopping[0])
                if time.monotonic() - current.started > limit:
                    reason = f"timed out after {current.task.timeout} s (raise its timeout, or lower num_examples)"
                    break
                if exceeded := self._memory.exceeded():
                    reason = exceeded
                    break
        finally:
            watch.end()
        if not merged and not current.done:
            self._finish(current, self._failed(current, reason or "the adapter returned no results"), watch.log)
        elif merged and all(entry.done for entry in entries):
            return False
        return merged

    def _left(self, deadline: float) -> float:
        return max(1.0, deadline - time.monotonic())

    def _tell(self, entry: _Entry, phase: str | None, completed: int | None = None, total: int | None = None) -> None:
        self._report(
            {
                "event": "status",
                "index": entry.task.index,
                "slug": entry.task.slug,
                "phase": phase,
                "completed": completed,
                "total": total,
            }
        )

    def _failed(self, entry: _Entry, reason: str) -> BenchmarkResults:
        return results.failed(
            entry.task,
            entry.task_digest,
            self._redaction.text(reason),
            started_at=entry.started_at,
            completed_at=_now(),
        )

    def _finish_with(self, entry: _Entry, payload: dict[str, Any], log: Path | None) -> None:
        found = results.completed(
            entry.task,
            entry.task_digest,
            self._redaction.document(payload),
            started_at=entry.started_at,
            completed_at=_now(),
        )
        self._finish(entry, found, log, payload)

    def _finish(
        self, entry: _Entry, found: BenchmarkResults, log: Path | None = None, payload: dict[str, Any] | None = None
    ) -> None:
        """Keep what the benchmark left: `results.json` last, because its presence says that all the rest is there."""
        try:
            self._keep(entry, found, log, payload or {})
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            # room for the results themselves: without them nobody learns why
            shutil.rmtree(entry.folder / "raw", ignore_errors=True)
            (entry.folder / "samples.jsonl").unlink(missing_ok=True)
            shutil.rmtree(self._work, ignore_errors=True)
            found = self._failed(entry, f"the disk is full: {error.strerror} ({error.filename})")
            self._keep(entry, found, None, {})
        entry.done = True
        seconds = time.monotonic() - entry.started
        self._report({"event": "finished", "index": entry.task.index, "slug": entry.task.slug, "status": found.status,
                      "reason": found.reason, "seconds": round(seconds, 3)})  # fmt: skip
        logger.info(
            "task=%s/%s status=%s seconds=%.1f", entry.task.provider_id, entry.task.benchmark_id, found.status, seconds
        )

    def _keep(self, entry: _Entry, found: BenchmarkResults, log: Path | None, payload: dict[str, Any]) -> None:
        if log is not None and log.is_file():
            with log.open("rb") as source, (entry.folder / "log.txt").open("ab") as target:
                shutil.copyfileobj(source, target)
        _drop_special_files(entry.folder)
        self._redaction.tree(entry.folder)
        data_digests = {**found.data_digests, **{f"test_data/{k}": v for k, v in self._test_data_digests.items()}}
        facts = {
            name: payload[name]
            for name in ("environment", "evaluation_metadata", "additional_info", "eval_card", "env_card")
            if payload.get(name)
        }
        framework = facts.pop("environment", {})
        record = {**self._environment, **framework, **facts, "data_digests": data_digests, "seed": entry.task.seed}
        atomic.write_json(entry.folder / "environment.json", _jsonable(self._redaction.document(record)))
        found = found.model_copy(update={"data_digests": data_digests, "redactions": self._redaction.count})
        self._redaction.count = 0
        atomic.write_json(entry.folder / "results.json", self._redaction.document(found.as_json()))


class _Child:
    """A running child: its events, its end, its process group."""

    def __init__(self, adapter_file: Path, specs: Sequence[JobSpec], log: Path) -> None:
        log.unlink(missing_ok=True)
        self.log = log
        self.pid, self._pipe = child.fork(adapter_file, specs, log)
        self._buffer = b""
        self.ended: int | None = None  # what waitpid says of the child

    def events(self, seconds: float) -> list[dict[str, Any]]:
        """Return the events that arrive within `seconds`; after the child's end, the ones that were left."""
        exited = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        # the pipe may stay open after the child's end, held by a process the framework left behind
        readable, _, _ = select.select([self._pipe], [], [], 0 if exited else seconds)
        while readable:
            chunk = os.read(self._pipe, 1 << 16)
            self._buffer += chunk
            if not chunk:
                exited = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT) is not None
                break
            readable, _, _ = select.select([self._pipe], [], [], 0)
        *lines, self._buffer = self._buffer.split(b"\n")
        if exited:
            self.end()
        return [json.loads(line) for line in lines]

    def end(self) -> None:
        """Kill whatever is left of the child's process group."""
        if self.ended is not None:
            return
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(self.pid, signal.SIGKILL)  # it had no time to become the leader of its group
        except PermissionError:
            pass  # macOS says so of a group of zombies
        _, self.ended = os.waitpid(self.pid, 0)
        os.close(self._pipe)


def _stdin_is_closed() -> bool:
    readable, _, _ = select.select([0], [], [], 0)
    return bool(readable) and not os.read(0, 4096)


def _death(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hint = " (out of memory?)" if number == signal.SIGKILL else ""
        return f"the adapter's process was ended by {signal.Signals(number).name}{hint}"
    return f"the adapter's process exited with status {os.waitstatus_to_exitcode(status)} before it returned results"


def _drop_special_files(folder: Path) -> None:
    """Remove links, sockets and pipes: evidence holds plain files only."""
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(parent) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                logger.info("file=%s kept=no reason=not a plain file", path)
                path.unlink()


def _tree_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 digest of every file under `folder`, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _jsonable(value: Any) -> Any:
    """Return `value` as canonical JSON can hold it: what is no JSON becomes text, a number out of range too."""
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    try:
        canonical.dumps(value)
    except ValueError:
        return str(value)
    return value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stdout_report(event: dict[str, Any]) -> None:
    """Print an event as one JSON line: the pod's log shows it, and a local run draws its progress from it."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()
