"""The external data of benchmarks on this machine: each source is fetched once, whoever reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evalhub_components import canonical
from evalhub_components.schema.plan import BenchmarkTask
from evalhub_pipelines import directories, steps
from evalhub_pipelines.processes import Listener


def source_of(task: BenchmarkTask) -> str:
    """Return what tells the source of a task's data from others; empty for a task without."""
    return canonical.digest(task.test_data_ref.as_json()) if task.test_data_ref else ""


def fetched(tasks: Sequence[BenchmarkTask], directory: Path, listener: Listener) -> dict[int, Path]:
    """Return the folder with the external data of every task that has some, by index.

    Args:
        tasks: whose data is wanted.
        directory: of the run, which keeps what is fetched.
        listener: is told of every source.

    Raises:
        EvalHubError: a source refuses, has no such data, or there is no such secret.
    """
    found: dict[str, Path] = {}
    for task in tasks:
        ref, key = task.test_data_ref, source_of(task)
        if ref is None or key in found:
            continue
        listener({"event": "stage", "stage": "data", "message": f"fetching the data of {task.benchmark_id}"})
        source = ref.s3 or ref.git or ref.hf
        name = source.secret_ref if source else None
        secret = directories.secret(name, f"{task.benchmark_id}: test_data_ref.secret_ref") if name else None
        found[key] = steps.test_data(ref, secret, directory / "test_data" / key.removeprefix("sha256:")[:16])
    return {task.index: found[source_of(task)] for task in tasks if task.test_data_ref is not None}
