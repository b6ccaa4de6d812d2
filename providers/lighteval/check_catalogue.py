"""Compare provider.yaml with the installed LightEval and print one line per difference.

    PYTHONPATH=../../components python check_catalogue.py [provider.yaml ...]

Run it with the Python of the provider's own environment. The exit status is 1 when there is a difference, 2 when a
file cannot be read, else 0.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lighteval_launch
from lighteval_benchmarks import GROUPS, OWN_TASKS, tasks_of
from lighteval_names import short_names

from evalhub_components.framework import catalogue_check
from evalhub_components.framework.catalogue_check import Benchmarks

HERE = Path(__file__).resolve().parent


def differences(package: dict[str, Any], benchmarks: Benchmarks) -> Iterator[str]:
    """Yield every difference between provider.yaml's benchmarks and the tasks of the package, by their names."""
    for name, benchmark in benchmarks.items():
        tasks: list[Any] = []
        for task in tasks_of(name, None):
            members = [each for known, each in package.items() if known == task or known.startswith(f"{task}:")]
            tasks += members
            if not members:
                yield f"{name}: id: the package has no task {task}"
        if tasks:
            yield from (f"{name}: {problem}" for problem in _of_benchmark(benchmark, tasks))


def _of_benchmark(benchmark: dict[str, Any], tasks: list[Any]) -> Iterator[str]:
    reported = _reported(tasks[0])
    for task in tasks[1:]:
        other = _reported(task)
        reported = {metric: up for metric, up in reported.items() if metric in other}
    for metric in benchmark["metrics"]:
        if metric not in reported:
            yield f"metric: {metric} is not reported (known: {', '.join(reported)})"
    for metric in reported.keys() - set(benchmark["metrics"]):
        yield f"metric: {metric} is reported and not listed"
    primary = benchmark["primary_score"]
    if primary["metric"] not in reported:
        yield f"primary metric: {primary['metric']} is not reported (known: {', '.join(reported)})"
    elif primary["lower_is_better"] is reported[primary["metric"]]:
        yield f"direction: {primary['metric']} is better the other way"


def _reported(task: Any) -> dict[str, bool]:
    """Return the metrics of a task by the names the adapter reports -> whether higher is better."""
    found: dict[str, bool] = {}
    for metric in task.metrics:
        names = [metric.metric_name] if isinstance(metric.metric_name, str) else metric.metric_name
        for name in names:
            up = metric.higher_is_better
            found[name] = bool(up[name] if isinstance(up, dict) else up)
    short = short_names(set(found))
    return {short[name]: up for name, up in found.items()}


def _package() -> dict[str, Any]:
    """Return the tasks of the package, and ours beside them, by their names."""
    with tempfile.TemporaryDirectory() as folder:
        lighteval_launch.prepare(Path(folder), None)
        with lighteval_launch.importing():
            from lighteval_tasks import Registry
        found: dict[str, Any] = Registry.load_all_task_configs(str(HERE / "tasks" / "quickstart.py"))
    return found


if __name__ == "__main__":
    compared = partial(differences, _package())
    known = {*GROUPS, *OWN_TASKS}
    sys.exit(catalogue_check.main(compared, HERE, sys.argv[1:], packages=["lighteval"], known=known))
