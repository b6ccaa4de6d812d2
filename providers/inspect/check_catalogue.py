"""Compare provider.yaml with the installed inspect packages and the adapter, and print one line per difference.

    PYTHONPATH=../../components python check_catalogue.py [provider.yaml ...]

Run it with the Python of the provider's own environment. Tasks of packages that it does not have cannot be compared;
those benchmarks must be marked as unverified. The exit status is 1 when there is a difference, 2 when a file cannot
be read, else 0.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from inspect_tasks import TASKS, Known

from evalhub_components.framework import catalogue_check
from evalhub_components.framework.catalogue_check import Benchmarks

HERE = Path(__file__).resolve().parent


def differences(benchmarks: Benchmarks) -> Iterator[str]:
    """Yield what the catalogue says and the packages, or the adapter, do not know."""
    sizes = _sizes("inspect_evals")
    for name, said in benchmarks.items():
        known = TASKS.get(name)
        if known is None:
            yield f"{name}: id: the adapter does not know it"
            continue
        primary = said.get("primary_score", {}).get("metric")
        if primary not in said.get("metrics", []):
            yield f"{name}: primary_score: {primary} decides and is not among the metrics"
        if bool(said.get("judge")) is not known.judge:
            yield f"{name}: judge: {'needs one' if known.judge else 'needs none'}"
        unverified = "unverified" in (said.get("agent") or {})
        if unverified is not bool(known.package):
            yield f"{name}: unverified: {'was never run' if known.package else 'runs in every test'}"
        yield from _task(name, said, known, sizes)


def _task(name: str, said: dict[str, Any], known: Known, sizes: dict[str, int | None]) -> Iterator[str]:
    if known.data:
        if not (HERE / "tasks" / known.task.partition("@")[0]).is_file():
            yield f"{name}: task: there is no tasks/{known.task.partition('@')[0]}"
        size = len((HERE / "data" / known.data).read_text("utf-8").splitlines())
        if said.get("dataset_size") != size:
            yield f"{name}: dataset_size: data/{known.data} has {size} examples"
    elif known.package == "inspect_evals":
        if known.task not in sizes:
            yield f"{name}: task: the package has no {known.task}"
        elif said.get("dataset_size") != sizes[known.task]:
            yield f"{name}: dataset_size: {known.task} has {sizes[known.task]} examples"


def _sizes(package: str) -> dict[str, int | None]:
    """Return the tasks of a package with the examples each says it has, without importing it, which takes long."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    found: dict[str, int | None] = {}
    for path in Path(spec.origin).parent.glob("*/eval.yaml"):
        for task in yaml.safe_load(path.read_text("utf-8")).get("tasks") or []:
            found[task["name"]] = task.get("dataset_samples")
    return found


if __name__ == "__main__":
    sys.exit(
        catalogue_check.main(differences, HERE, sys.argv[1:], packages=["inspect-ai", "inspect-evals"], known=TASKS)
    )
