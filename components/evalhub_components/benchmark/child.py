"""The process an adapter runs in: forked from the harness, in a session of its own, talking back through a pipe.

Forked, not started anew: the interpreter and pydantic are there already, which halves the cost of a small benchmark.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.util
import inspect
import io
import json
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evalhub_components import atomic, canonical
from evalhub_components.adapter import (
    FrameworkAdapter,
    JobCallbacks,
    JobResults,
    JobSpec,
    JobStatusUpdate,
    MLflowCallbacks,
    ModelCredentials,
    OCIArtifactResult,
    OCIArtifactSpec,
)
from evalhub_components.errors import EvalHubError

PENDING = "pending: published with the evidence of the run"
_PR_SET_PDEATHSIG = 1


class Forked(NamedTuple):
    """A child.

    Attributes:
        pid: its process id, and its process group's.
        events: the pipe that brings its events.
        go_ahead: the pipe through which it gets a byte whenever it may start its next benchmark.
    """

    pid: int
    events: int
    go_ahead: int


def fork(adapter_file: Path, specs: Sequence[JobSpec], log: Path) -> Forked:
    """Start a child that runs `specs`."""
    reading, writing = os.pipe()
    waiting, go_ahead = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    harness = os.getpid()
    pid = os.fork()
    if pid:
        os.close(writing)
        os.close(waiting)
        return Forked(pid, reading, go_ahead)
    status = 1
    try:
        os.close(reading)
        os.close(go_ahead)
        _separate(harness)
        _log_to(log)
        status = _run(adapter_file, specs, log, _Pipe(writing), waiting)
    finally:
        # whatever happened: the rest of the harness is not for this process to run
        os._exit(status)


def prctl(option: int, value: int) -> None:
    """Set a property of this process that only Linux has."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def _separate(harness: int) -> None:
    os.setsid()
    # when the harness is killed nobody is left to keep the results
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != harness:
        os._exit(1)
    # what the harness does on these signals is not what a framework should inherit
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # a process that is killed flushes nothing, and its last words are the ones that matter
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")


def _run(adapter_file: Path, specs: Sequence[JobSpec], log: Path, pipe: _Pipe, waiting: int) -> int:
    """Run `specs` and return the exit status."""
    try:
        specs = [_telling_tokens(spec, pipe) for spec in specs]
        callbacks = _Callbacks(pipe, specs)
        adapter = _load(adapter_file)
        merged = len(specs) > 1 and type(adapter).run_batch is not FrameworkAdapter.run_batch
        pipe.send(event="mode", merged=merged)
        if merged:
            os.chdir(specs[0].work_dir)
            for results in adapter.run_batch(specs, callbacks):
                callbacks.report_results(results)
        else:
            for spec in specs:
                _run_alone(adapter, spec, callbacks, pipe, log)
                # the next benchmark could take the disk that this one's results need
                if not os.read(waiting, 1):
                    return 1
        _flush()
    except BaseException as error:
        try:
            traceback.print_exc()
        finally:  # the log may be on a full disk
            pipe.send(event="crash", reason=_reason(error))
        return 1
    return 0


def _run_alone(adapter: FrameworkAdapter, spec: JobSpec, callbacks: _Callbacks, pipe: _Pipe, log: Path) -> None:
    _log_to(spec.raw_dir.parent / "log.txt")
    os.chdir(spec.work_dir)
    callbacks.current = spec
    pipe.send(event="start", index=spec.benchmark_index)
    try:
        callbacks.report_results(adapter.run_benchmark_job(spec, callbacks))
    except Exception as error:
        try:
            traceback.print_exc()
        finally:  # the log may be on a full disk
            pipe.send(event="failure", index=spec.benchmark_index, reason=_reason(error))
    # from here on nothing of this process is written into the benchmark's folder
    _log_to(log)
    os.chdir(log.parent)
    pipe.send(event="end", index=spec.benchmark_index)


def _telling_tokens(spec: JobSpec, pipe: _Pipe) -> JobSpec:
    """Return `spec` with credentials that tell the harness of every token, before anybody can write it down."""
    told: set[str] = set()

    def noted(token: str) -> None:
        if token not in told:
            pipe.send(event="token", token=token)
            told.add(token)

    def telling(known: ModelCredentials) -> ModelCredentials:
        return dataclasses.replace(known, noted=noted) if known.token_file else known

    judge = spec.judge
    if judge:
        judge = dataclasses.replace(judge, credentials=telling(judge.credentials))
    return dataclasses.replace(spec, credentials=telling(spec.credentials), judge=judge)


def _load(path: Path) -> FrameworkAdapter:
    """Return the adapter in the file at `path`; its folder becomes importable, as for a script."""
    sys.path.insert(0, str(path.parent))
    module_spec = importlib.util.spec_from_file_location("evalhub_provider_adapter", path)
    if module_spec is None or module_spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"{path}: there is no adapter (a provider's folder holds an adapter.py)")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    module_spec.loader.exec_module(module)
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, FrameworkAdapter)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
    if len(found) != 1:
        names = ", ".join(cls.__name__ for cls in found) or "none"
        raise TypeError(f"{path}: must define exactly one FrameworkAdapter, found {names}")
    adapter: FrameworkAdapter = found[0]()
    return adapter


class _Pipe:
    """The way back to the harness: one JSON document a line, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, **event: Any) -> None:
        text = json.dumps(event, default=_plain, ensure_ascii=False) + "\n"
        # half of a surrogate pair, which file names and broken answers can hold, is in no UTF-8
        left = memoryview(text.encode("utf-8", "replace"))
        with self._lock:
            while left:
                left = left[os.write(self._descriptor, left) :]


class _Callbacks(JobCallbacks):
    """Sends what the adapter reports to the harness."""

    def __init__(self, pipe: _Pipe, specs: Sequence[JobSpec]) -> None:
        self._pipe = pipe
        self._specs = {spec.benchmark_index: spec for spec in specs}
        self._reported: set[int] = set()
        self.current = specs[0]
        self.mlflow = _MLflowFiles()

    def report_status(self, update: JobStatusUpdate, *, benchmark_index: int | None = None) -> None:
        index = self.current.benchmark_index if benchmark_index is None else benchmark_index
        done, total = update.completed_steps, update.total_steps
        if done is None and update.progress is not None:
            done, total = round(100 * update.progress), 100
        self._pipe.send(event="status", index=index, phase=update.phase, completed=done, total=total)

    def create_oci_artifact(self, spec: OCIArtifactSpec) -> OCIArtifactResult:
        source = Path(spec.files_path).resolve()
        raw = self.current.raw_dir.resolve()
        if source.is_relative_to(raw):
            pass  # it is kept already
        elif source.is_dir():
            shutil.copytree(source, raw / source.name, dirs_exist_ok=True, ignore_dangling_symlinks=True)
        else:
            shutil.copy2(source, raw / source.name)
        return OCIArtifactResult(digest=PENDING, reference=PENDING)

    def report_results(self, results: JobResults) -> None:
        if not isinstance(results, JobResults):
            raise TypeError(f"the adapter returned a {type(results).__name__} (it must return JobResults)")
        spec = self._specs.get(results.benchmark_index)
        if spec is None:
            known = ", ".join(map(str, self._specs))
            raise ValueError(f"results for benchmark_index {results.benchmark_index} (it was asked to run {known})")
        if spec.benchmark_index in self._reported:
            return
        if results.samples is not None:
            with atomic.writer(spec.raw_dir.parent / "samples.jsonl") as file:
                for sample in results.samples:
                    file.write(canonical.dumps(sample.model_dump(mode="json", exclude_none=True)) + b"\n")
        fields = {
            field.name: getattr(results, field.name)
            for field in dataclasses.fields(results)
            if field.name not in ("results", "samples", "completed_at", "oci_artifact")
        }
        metrics = [
            {"name": result.metric_name, "value": result.metric_value, "stderr": result.stderr}
            for result in results.results
        ]
        self._pipe.send(event="results", index=spec.benchmark_index, results={**fields, "metrics": metrics})
        self._reported.add(spec.benchmark_index)


class _MLflowFiles(MLflowCallbacks):
    """`aggregate` logs what the adapter returns, so there is nothing to do and no run to name yet."""

    def save(self, results: JobResults, job_spec: JobSpec | None = None, artifacts: Any = None) -> str | None:
        return None


def _plain(value: Any) -> Any:
    """Return a JSON value for what frameworks put into results: numpy values, models, sets, paths, dates."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, set | frozenset) else str(value)


def _log_to(path: Path) -> None:
    _flush()
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # a framework may have closed it, or put something of its own there
        if isinstance(stream, io.TextIOWrapper) and not stream.closed:
            stream.flush()


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    # such a message is written for the person who reads it, and needs no class to be understood
    if text and isinstance(error, EvalHubError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
