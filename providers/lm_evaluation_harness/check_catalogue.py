"""Compare provider.yaml with the installed lm-eval package and print one line per difference.

    PYTHONPATH=../../components python check_catalogue.py [provider.yaml ...]

Run it with the Python of the provider's own environment. The exit status is 1 when a difference is not acknowledged in
the benchmark's `agent` notes (under the key that ACKNOWLEDGED_BY names), 2 when a file cannot be read, else 0.
"""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import lm_eval.api.registry as registry  # type: ignore[import-not-found,import-untyped,unused-ignore]
import lm_eval.tasks  # type: ignore[import-not-found,import-untyped,unused-ignore]

from evalhub_components.framework import catalogue_check
from evalhub_components.framework.catalogue_check import Acknowledged, Benchmarks

HERE = Path(__file__).resolve().parent
OWN_TASKS = HERE / "tasks"

ACKNOWLEDGED_BY = {
    "id": "missing_in_package",
    "metric": "metrics_differ",
    "direction": "direction_differs",
    "few-shot": "few_shot_differs",
}
"""The kinds of difference that may be acknowledged, each with the key of the `agent` notes that does it."""

# What a task without `process_results` can report, whatever its metric_list says (ConfigurableTask.process_results).
_POSSIBLE = {
    "loglikelihood": {"perplexity", "acc"},
    "loglikelihood_rolling": {"word_perplexity", "byte_perplexity", "bits_per_byte"},
    "multiple_choice": {
        *("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "f1", "mcc", "brier_score", "likelihood"),
    },
}
_GROUP_KEYS = {"group", "group_alias", "task", "tag", "aggregate_metric_list", "metadata"}


class Reported(NamedTuple):
    """What a task or group reports.

    Attributes:
        metrics: (metric, filter) as in lm-eval's `acc,none`, in the task's own order -> whether higher is better.
        shots: the few-shot examples of its tasks, unless told otherwise.
        problem: why the metrics are unknown or the group has none.
    """

    metrics: dict[tuple[str, str], bool]
    shots: frozenset[int]
    problem: str | None = None

    def names(self) -> dict[str, bool]:
        """Return the names the adapter reports -> whether higher is better.

        `acc,none` becomes `acc`; any other filter stays in the name, and the first one answers to the bare name too.
        """
        named = {metric if kind == "none" else f"{metric},{kind}": up for (metric, kind), up in self.metrics.items()}
        for (metric, _), up in self.metrics.items():
            named.setdefault(metric, up)
        return named


class Package:
    """The tasks, groups and tags of the installed lm-eval, and ours beside them."""

    def __init__(self) -> None:
        own = [str(OWN_TASKS)] if OWN_TASKS.is_dir() else None
        self.index: dict[str, Any] = lm_eval.tasks.TaskManager(include_path=own).task_index

    def reported(self, name: str) -> Reported:
        """Return what running `name` reports, read from its YAML without loading any data."""
        entry = self.index[name]
        config = dict(entry.cfg or {})
        match entry.kind.name:
            case "TAG":
                members = [self.reported(task) for task in sorted(entry.tags)]
                problem = f"is a tag of {len(members)} tasks, which have no score in common"
                return Reported({}, frozenset().union(*(m.shots for m in members)), problem)
            case "GROUP":
                return _aggregated(config, list(self._leaves(name, {})))
            case _:
                return _task(config)

    def _leaves(self, name: str, overrides: dict[str, Any]) -> Iterator[Reported]:
        entry = self.index.get(name)
        if entry is None:  # a task defined inside its group
            yield _task(overrides)
        elif entry.kind.name == "TAG":
            for task in sorted(entry.tags):
                yield from self._leaves(task, overrides)
        elif entry.kind.name == "GROUP":
            yield from self._members(entry.cfg, overrides)
        else:
            yield _task({**(entry.cfg or {}), **overrides})

    def _members(self, group: dict[str, Any], overrides: dict[str, Any]) -> Iterator[Reported]:
        passed_on = {key: value for key, value in group.items() if key not in _GROUP_KEYS} | overrides
        for member in group.get("task") or []:
            if isinstance(member, str):
                yield from self._leaves(member, passed_on)
            elif "group" in member and member["group"] not in self.index:
                yield from self._members(member, passed_on)
            else:
                own = {key: value for key, value in member.items() if key not in _GROUP_KEYS}
                yield from self._leaves(member.get("group") or member["task"], passed_on | own)


def _aggregated(group: dict[str, Any], tasks: list[Reported]) -> Reported:
    shots = frozenset().union(*(task.shots for task in tasks))
    wanted = group.get("aggregate_metric_list") or []
    metrics: dict[tuple[str, str], bool] = {}
    for aggregate in [wanted] if isinstance(wanted, dict) else wanted:
        filters = aggregate.get("filter_list")
        chosen = [filters] if isinstance(filters, str) else filters
        for key, up in itertools.chain.from_iterable(task.metrics.items() for task in tasks):
            if key[0] == aggregate["metric"] and (chosen is None or key[1] in chosen):
                metrics.setdefault(key, up)
    if metrics:
        return Reported(metrics, shots)
    sums_up = ", ".join(aggregate["metric"] for aggregate in wanted) or "nothing"
    return Reported({}, shots, f"is a group that sums up {sums_up}, which none of its {len(tasks)} tasks reports")


def _task(config: dict[str, Any]) -> Reported:
    shots = frozenset({int(config.get("num_fewshot") or 0)})
    if "class" in config:
        return _python_task(str(config["class"]), shots)
    filters = [each["name"] for each in config.get("filter_list") or []] or ["none"]
    output = config.get("output_type") or "generate_until"
    listed = config.get("metric_list")
    if listed is None:
        listed = [{"metric": metric} for metric in registry.DEFAULT_METRIC_REGISTRY[output]]
    metrics: dict[str, bool] = {}
    for each in listed:
        up = each.get("higher_is_better")
        for metric in _metric_names(each):
            if "process_results" in config or metric in _POSSIBLE.get(output, {metric}):
                metrics[metric] = bool(registry.is_higher_better(metric) if up is None else up)
    return Reported({(metric, kind): up for kind in filters for metric, up in metrics.items()}, shots)


def _metric_names(listed: dict[str, Any]) -> list[str]:
    metric = str(listed["metric"])
    if "/" not in metric:
        return [metric]
    function = metric.rpartition(".")[2]  # `!function utils.f` arrives as the path of utils and the name of f
    if function == "pass_at_k":  # returns a dictionary, one metric for each k
        k = listed.get("k", [])
        return [f"pass@{each}" for each in ([k] if isinstance(k, int) else k)]
    return [function]


def _python_task(path: str, shots: frozenset[int]) -> Reported:
    root = Path(lm_eval.tasks.__file__).parent
    file, _, name = path.rpartition(".")
    module = ".".join(("lm_eval", "tasks", *Path(file).relative_to(root).parts))
    try:
        task_class = getattr(importlib.import_module(module), name)
    except ImportError as error:
        return Reported({}, shots, f"is a Python task that cannot be read here: {error}")
    task = task_class.__new__(task_class)  # its __init__ downloads the data
    return Reported({(metric, "none"): bool(up) for metric, up in task.higher_is_better().items()}, shots)


def differences(package: Package, benchmarks: Benchmarks) -> Iterator[str]:
    """Yield every difference between provider.yaml's benchmarks and the package."""
    known: set[str] = set()
    for own, benchmark in benchmarks.items():
        names = [own, *benchmark.get("aliases", [])]
        known.update(names)
        notes = benchmark.get("agent") or {}
        for kind, text in _of_benchmark(benchmark, next((n for n in names if n in package.index), None), package):
            note = notes.get(ACKNOWLEDGED_BY.get(kind, ""))
            line = f"{own}: {kind}: {text}"
            yield Acknowledged(line, note) if note else line
    for name, entry in package.index.items():
        if entry.yaml_path and Path(entry.yaml_path).is_relative_to(OWN_TASKS) and name not in known:
            where = Path(entry.yaml_path).relative_to(HERE)
            yield f"{name}: id: is a task of ours that provider.yaml does not offer ({where})"


def _of_benchmark(benchmark: dict[str, Any], name: str | None, package: Package) -> Iterator[tuple[str, str]]:
    if name is None:
        yield "id", "is no task, group or tag of the package"
        return
    if ACKNOWLEDGED_BY["id"] in (benchmark.get("agent") or {}):
        yield "note", f"is in the package after all: remove agent.{ACKNOWLEDGED_BY['id']}"
    reported = package.reported(name)
    if reported.shots and (shots := benchmark.get("num_few_shot", 0)) not in reported.shots:
        yield "few-shot", f"num_few_shot is {shots}, the package says {_either(map(str, sorted(reported.shots)))}"
    if reported.problem:
        yield "metric", reported.problem
        return
    offered = reported.names()
    primary = benchmark.get("primary_score") or {}
    for metric in dict.fromkeys([*benchmark.get("metrics", []), *([primary["metric"]] if primary else [])]):
        if metric not in offered:
            yield "metric", f"{metric} is not reported ({_either(offered)})"
    if primary and primary["metric"] in offered:
        lower, up = bool(primary.get("lower_is_better", False)), offered[primary["metric"]]
        if lower == up:
            text = f"lower_is_better is {lower}, the package says higher_is_better {up}"
            yield "direction", f"{primary['metric']}: {text}"


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)


if __name__ == "__main__":
    sys.exit(catalogue_check.main(partial(differences, Package()), HERE, sys.argv[1:], packages=["lm-eval"]))
