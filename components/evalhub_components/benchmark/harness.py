"""Runs the benchmarks of one task: whatever happens to the framework, every one of them leaves results.

KFP keeps no artifacts of failed tasks (kubeflow/pipelines#12425), so a failure is written down instead of raised.
"""

from __future__ import annotations

import errno
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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalhub_components import credentials, environment
from evalhub_components.adapter import JobSpec, JudgeModel, ModelCredentials, ModelEndpoint, PrimaryMetric
from evalhub_components.benchmark import external_data, process, results
from evalhub_components.benchmark.facts import facts
from evalhub_components.benchmark.memory import MemoryWatch
from evalhub_components.benchmark.process import AdapterProcess
from evalhub_components.benchmark.settings import Settings, Terminated
from evalhub_components.benchmark.task_folder import TaskFolder
from evalhub_components.credentials import JUDGE_SECRET
from evalhub_components.redaction import Redaction
from evalhub_components.schema.plan import BenchmarkTask, TaskRequest
from evalhub_components.schema.results import BenchmarkResults

logger = logging.getLogger(__name__)

Report = Callable[[dict[str, Any]], None]
_TICK = 0.1  # seconds between looks at clock, memory and process
_LONGEST_REASON = 2000  # characters


@dataclass
class _Entry:
    """One benchmark on its way to results.

    Attributes:
        payload: the results that the adapter handed in.
        failure: why it handed in none.
        done: whether `results.json` is there.
    """

    task: BenchmarkTask
    task_digest: str
    folder: TaskFolder
    spec: JobSpec
    started: float = 0.0
    started_at: str = ""
    payload: dict[str, Any] | None = None
    failure: str | None = None
    done: bool = False

    def start(self) -> None:
        self.started, self.started_at = time.monotonic(), _now()


@dataclass
class _Attempt:
    """One process that runs some of the benchmarks.

    Attributes:
        merged: whether the adapter runs them together, so that none can be blamed alone.
        current: the one that runs, or the first of those that run together.
        limit: seconds since `current.started` that the process may go on.
        reason: why it ended before its time.
    """

    entries: list[_Entry]
    process: AdapterProcess
    current: _Entry
    limit: float
    merged: bool = False
    reason: str | None = None

    def entry(self, index: int | None) -> _Entry:
        return next((entry for entry in self.entries if entry.task.index == index), self.current)

    def begun(self) -> list[_Entry]:
        """Return the benchmarks in whose folders this process may have written."""
        return self.entries if self.merged else self.entries[: self.entries.index(self.current) + 1]


class Harness:
    """Runs a list of tasks of one provider."""

    def __init__(self, settings: Settings, report: Report) -> None:
        self._settings = settings
        self._credentials = credentials.read(asked_with=settings.auth)
        judge = settings.judge
        endpoint = ModelEndpoint(judge.url, judge.name) if judge else None
        of_judge = credentials.read(JUDGE_SECRET, settings.judge_auth) if endpoint else ModelCredentials()
        self._judge = JudgeModel(endpoint, of_judge) if endpoint else None
        # Kubeflow Pipelines may give every task a login at MLflow
        login = [os.environ.get(name) for name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD")]
        self._known = (self._credentials, of_judge)
        keys = [secret for known in self._known for secret in (known.api_key, known.hf_token)]
        self._redaction = Redaction([*keys, *login])
        self._report = report
        self._memory = MemoryWatch()
        self._data = external_data.read(settings.test_data)
        self._environment = environment.capture() | ({"test_data": self._data.facts} if self._data.facts else {})
        # the run that Kubeflow Pipelines made for this task: `aggregate` puts the results there; no adapter names one
        self._environment |= {"mlflow_run_id": os.environ.get("MLFLOW_RUN_ID") or None}
        self._work = Path(tempfile.mkdtemp(prefix="evalhub-"))
        process.adopt_orphans()

    def run(self, tasks: Sequence[BenchmarkTask]) -> None:
        """Run `tasks`, several in one start of the framework where the adapter can.

        Raises:
            Terminated: asked to stop; what was finished is kept.
        """
        try:
            entries = left = [self._prepared(task) for task in tasks]
            # a group that failed as a whole is tried again one by one, within the same time
            deadline = time.monotonic() + sum(task.timeout for task in tasks)
            alone = False
            while left:
                merged = self._attempt(left[:1] if alone else left, deadline)
                alone = alone or merged
                left = [entry for entry in entries if not entry.done]
        finally:
            shutil.rmtree(self._work, ignore_errors=True)

    def _prepared(self, task: BenchmarkTask) -> _Entry:
        settings = self._settings
        folder = TaskFolder(settings.results / task.slug, self._redaction)
        work = self._work / task.slug
        work.mkdir()
        request = TaskRequest.of(
            task,
            model_url=settings.model_url,
            model_name=settings.model_name,
            fingerprint=settings.fingerprint,
            run_limit=settings.num_examples,
            test_data_digest=self._data.digest,
            judge=settings.judge,
        )
        folder.prepare(request)
        spec = JobSpec(
            # a pipeline knows none when it is compiled
            id=settings.job_id or request.task_digest.removeprefix("sha256:")[:32],
            provider_id=task.provider_id,
            benchmark_id=task.benchmark_id,
            benchmark_index=task.index,
            model=ModelEndpoint(settings.model_url, settings.model_name),
            parameters=task.parameters,
            primary_score=PrimaryMetric(task.primary_score.metric, task.primary_score.lower_is_better),
            work_dir=work,
            raw_dir=folder.raw,
            seed=task.seed,
            timeout=task.timeout,
            max_error_rate=task.max_error_rate,
            num_examples=request.num_examples,
            num_few_shot=task.num_few_shot,
            test_data=settings.test_data,
            credentials=self._credentials,
            judge=self._judge if task.judge else None,
        )
        entry = _Entry(task, request.task_digest, folder, spec)
        self._tell(entry, "initializing")
        return entry

    def _attempt(self, entries: list[_Entry], deadline: float) -> bool:
        """Run `entries` in one process; finish at least one of them, or return True: they ran merged."""
        for entry in entries:
            entry.start()
        left = _left(deadline)
        # a group gets half of the time there is, so that the other half is left to find out who is to blame
        limit = left / 2 if len(entries) > 1 else min(entries[0].task.timeout, left)
        specs = [entry.spec for entry in entries]
        adapter = AdapterProcess(self._settings.adapter_file, specs, self._work / "batch.log")
        attempt = _Attempt(entries, adapter, entries[0], limit)
        try:
            self._follow(attempt, deadline)
        finally:
            adapter.end()
            self._learn_tokens()
            for event in adapter.events(0):  # what it said before, and nobody heard yet
                self._handle(event, attempt, deadline)
            adapter.close()
            for entry in attempt.begun():
                if entry.payload is not None or entry.failure is not None:
                    self._finish(entry, attempt)
                entry.folder.clean_again()
        if attempt.merged:
            self._start_afresh([entry for entry in entries if not entry.done], attempt)
        elif not attempt.current.done:
            attempt.current.failure = attempt.reason or "the adapter returned no results"
            self._finish(attempt.current, attempt)
        return attempt.merged

    def _follow(self, attempt: _Attempt, deadline: float) -> None:
        """Handle what the process says until it ends, or has to be ended.

        Raises:
            Terminated: asked to stop.
        """
        while True:
            events = attempt.process.events(_TICK)
            self._learn_tokens()
            for event in events:
                self._handle(event, attempt, deadline)
            if attempt.process.status is not None:
                attempt.reason = attempt.reason or process.death(attempt.process.status)
                return
            if self._settings.stopping:
                number = self._settings.stopping[0]
                raise Terminated(number.name, 128 + number)
            if self._settings.ends_with_stdin and _stdin_is_closed():
                raise Terminated("the end of the run that started it", 128 + signal.SIGTERM)
            if time.monotonic() - attempt.current.started > attempt.limit:
                attempt.reason = f"timed out after {attempt.limit:.3g} s (raise its timeout, or lower num_examples)"
                return
            if exceeded := self._memory.exceeded():
                attempt.reason = exceeded
                return

    def _handle(self, event: dict[str, Any], attempt: _Attempt, deadline: float) -> None:
        kind, entry = event["event"], attempt.entry(event.get("index"))
        if kind == "mode":
            attempt.merged = event["merged"]
        elif kind == "token":
            self._redaction.add(event["token"])
        elif kind == "start":
            attempt.current, attempt.limit = entry, min(entry.task.timeout, _left(deadline))
            entry.start()
        elif kind == "status" and not entry.done:
            self._tell(entry, event["phase"], event["completed"], event["total"])
        elif kind == "results":
            entry.payload = entry.payload or event["results"]
            if attempt.merged:
                self._finish(entry, attempt)
        elif kind == "failure":
            entry.failure = event["reason"]
        elif kind == "end":
            self._finish(entry, attempt)
            entry.started = time.monotonic()  # keeping the files is not its time
            attempt.process.go_ahead()
        elif kind == "crash":
            attempt.reason = event["reason"]

    def _learn_tokens(self) -> None:
        """Note the tokens there are by now: an adapter tells of those it reads, a program that it starts does not."""
        self._redaction.add(*(known.key() for known in self._known))

    def _start_afresh(self, entries: list[_Entry], attempt: _Attempt) -> None:
        """Remove what a failed group left of `entries`, before each is run alone."""
        if entries:
            reason = self._redaction.text(attempt.reason or "")
            logger.warning("tasks=%d together=failed next=one by one reason=%s", len(entries), reason)
        for entry in entries:
            entry.folder.empty()
            shutil.rmtree(entry.spec.work_dir, ignore_errors=True)
            entry.spec.work_dir.mkdir(parents=True)

    def _tell(self, entry: _Entry, phase: str | None, completed: int | None = None, total: int | None = None) -> None:
        self._report(
            {
                "event": "status",
                "index": entry.task.index,
                "slug": entry.task.slug,
                "phase": self._redaction.text(phase) if phase else None,
                "completed": completed,
                "total": total,
            }
        )

    def _finish(self, entry: _Entry, attempt: _Attempt) -> None:
        """Keep what the benchmark left; whatever that is, it has results then."""
        if entry.done:
            return
        payload = self._redaction.document(entry.payload)
        found = self._results(entry, payload)
        try:
            if attempt.merged or attempt.reason:
                entry.folder.append_log(attempt.process.log)
            refused = entry.folder.clean()
            if refused and found.status == "completed":
                payload, found = None, self._failed(entry, refused)
            entry.folder.keep(found, facts(self._environment, payload, found.data_digests, entry.task.seed))
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            what = "the disk is full" if full else "its files cannot be kept"
            attempt.reason = f"{what}: {error.strerror} ({error.filename or entry.folder.path})"
            attempt.process.end()
            if attempt.merged:
                entry.payload = None  # any of those that run together may be to blame
                return
            found = self._failed(entry, attempt.reason)
            entry.folder.make_room()
            shutil.rmtree(entry.spec.work_dir, ignore_errors=True)
            entry.folder.clean()
            entry.folder.keep(found, facts(self._environment, None, found.data_digests, entry.task.seed))
        entry.done = True
        seconds = time.monotonic() - entry.started
        self._report(
            {
                "event": "finished",
                "index": entry.task.index,
                "slug": entry.task.slug,
                "status": found.status,
                "reason": found.reason,
                "seconds": round(seconds, 3),
            }
        )
        name = f"{entry.task.provider_id}/{entry.task.benchmark_id}"
        logger.info("task=%s status=%s seconds=%.1f", name, found.status, seconds)

    def _results(self, entry: _Entry, payload: dict[str, Any] | None) -> BenchmarkResults:
        if payload is None:
            return self._failed(entry, entry.failure or "the adapter returned no results")
        try:
            found = results.completed(
                entry.task, entry.task_digest, payload, started_at=entry.started_at, completed_at=_now()
            )
        except Exception as error:  # an adapter may hand in anything
            said = " ".join(str(error).split())
            return self._failed(entry, f"the adapter's results are not usable: {type(error).__name__}: {said}")
        return found.model_copy(update={"data_digests": {**found.data_digests, **self._data_digests()}})

    def _failed(self, entry: _Entry, reason: str) -> BenchmarkResults:
        # redacted before it is cut: half a secret would not be recognised
        shown = self._redaction.text(reason).encode("utf-8", "replace").decode()[:_LONGEST_REASON]
        found = results.failed(entry.task, entry.task_digest, shown, started_at=entry.started_at, completed_at=_now())
        return found.model_copy(update={"data_digests": self._data_digests()})

    def _data_digests(self) -> dict[str, str]:
        return {f"test_data/{name}": digest for name, digest in self._data.files.items()}


def stdout_report(event: dict[str, Any]) -> None:
    """Print an event as one JSON line: the pod's log shows it, and a local run draws its progress from it."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _left(deadline: float) -> float:
    """Return the seconds until `deadline`, and one at least: a benchmark that is late still gets its try."""
    return max(1.0, deadline - time.monotonic())


def _stdin_is_closed() -> bool:
    readable, _, _ = select.select([0], [], [], 0)
    return bool(readable) and not os.read(0, 4096)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
