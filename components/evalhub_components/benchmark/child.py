"""The process an adapter runs in: forked from the harness, in a session of its own, talking back through a pipe.

Forked, not started anew: the interpreter and pydantic are there already, which halves the cost of a small benchmark.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from evalhub_components import atomic, canonical
from evalhub_components.adapter import (
    FrameworkAdapter,
    JobCallbacks,
    JobResults,
    JobSpec,
    JobStatusUpdate,
    MLflowCallbacks,
    OCIArtifactResult,
    OCIArtifactSpec,
)

PENDING = "pending: published with the evidence of the run"


def fork(adapter_file: Path, specs: Sequence[JobSpec], log: Path) -> tuple[int, int]:
    """Start a child that runs `specs`; return its process id (also its group's) and the pipe its events come through."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    os.close(reading)
    _main(adapter_file, specs, log, writing)


def _main(adapter_file: Path, specs: Sequence[JobSpec], log: Path, writing: int) -> NoReturn:
    os.setsid()
    _die_with_parent()
    # what the harness does on these signals is not what a framework should inherit
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _log_to(log)
    pipe = os.fdopen(writing, "w", encoding="utf-8")
    status = 1
    try:
        callbacks = _Callbacks(pipe, specs)
        adapter = _load(adapter_file)
        if len(specs) > 1 and type(adapter).run_batch is not FrameworkAdapter.run_batch:
            _send(pipe, event="mode", merged=True)
            os.chdir(specs[0].work_dir)
            for results in adapter.run_batch(specs, callbacks):
                callbacks.report_results(results)
        else:
            _send(pipe, event="mode", merged=False)
            for spec in specs:
                _run_alone(adapter, spec, callbacks, pipe)
        status = 0
    except BaseException as error:
        traceback.print_exc()
        _send(pipe, event="crash", reason=_reason(error))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        pipe.close()
        os._exit(status)


def _run_alone(adapter: FrameworkAdapter, spec: JobSpec, callbacks: _Callbacks, pipe: Any) -> None:
    _log_to(spec.raw_dir.parent / "log.txt")
    os.chdir(spec.work_dir)
    callbacks.current = spec
    _send(pipe, event="start", index=spec.benchmark_index)
    try:
        callbacks.report_results(adapter.run_benchmark_job(spec, callbacks))
    except Exception as error:
        traceback.print_exc()
        _send(pipe, event="failure", index=spec.benchmark_index, reason=_reason(error))


def _die_with_parent() -> None:
    """Have Linux kill this process when the harness is killed: nobody would be left to keep its results."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


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


class _Callbacks(JobCallbacks):
    """Sends what the adapter reports to the harness."""

    def __init__(self, pipe: Any, specs: Sequence[JobSpec]) -> None:
        self._pipe = pipe
        self._specs = {spec.benchmark_index: spec for spec in specs}
        self.current = specs[0]
        self.mlflow = _MLflowFiles()

    def report_status(self, update: JobStatusUpdate, *, benchmark_index: int | None = None) -> None:
        index = self.current.benchmark_index if benchmark_index is None else benchmark_index
        done, total = update.completed_steps, update.total_steps
        if done is None and update.progress is not None:
            done, total = round(100 * update.progress), 100
        _send(self._pipe, event="status", index=index, phase=update.phase, completed=done, total=total)

    def create_oci_artifact(self, spec: OCIArtifactSpec) -> OCIArtifactResult:
        source = Path(spec.files_path)
        target = self.current.raw_dir / source.name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)
        return OCIArtifactResult(digest=PENDING, reference=PENDING)

    def report_results(self, results: JobResults) -> None:
        spec = self._specs[results.benchmark_index]
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
        _send(self._pipe, event="results", index=spec.benchmark_index, results={**fields, "metrics": metrics})


class _MLflowFiles(MLflowCallbacks):
    """`aggregate` logs what the adapter returns, so there is nothing to do and no run to name yet."""

    def save(self, results: JobResults, job_spec: JobSpec | None = None) -> str | None:
        return None


def _send(pipe: Any, **event: Any) -> None:
    pipe.write(json.dumps(event, default=_plain) + "\n")
    pipe.flush()


def _plain(value: Any) -> Any:
    """Return a JSON value for what frameworks put into results: numpy scalars, paths, dates."""
    return value.item() if hasattr(value, "item") else str(value)


def _log_to(path: Path) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
