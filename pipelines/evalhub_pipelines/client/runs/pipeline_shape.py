"""Which tasks a compiled pipeline has, and which benchmarks each of them runs: read off the pipeline itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Kind = Literal["fingerprint", "test_data", "benchmark", "collect", "aggregate", "gate", "group", "other"]
"""What a task does; a group is a sub-pipeline of benchmarks."""

_PACKAGE = "evalhub_components."


@dataclass(frozen=True)
class Member:
    """A benchmark that a task runs.

    Attributes:
        index: the position in the plan.
    """

    index: int
    provider_id: str
    benchmark_id: str
    slug: str

    @property
    def title(self) -> str:
        """Return the name that people know it by."""
        return f"{self.provider_id} / {self.benchmark_id}"


@dataclass(frozen=True)
class Task:
    """A task of a pipeline.

    Attributes:
        path: name of the task, behind those of the groups that it is in: `benchmarks-0.collect`.
        title: its name on the dashboard.
        members: the benchmarks it runs, several in a batch; none for other kinds.
        template: what Argo's template of its pods is called; of a group, of its driver's pod.
    """

    path: str
    title: str
    kind: Kind
    members: tuple[Member, ...]
    template: str

    @property
    def name(self) -> str:
        """Return what Kubeflow Pipelines calls the task in a run's details."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Shape:
    """The tasks of a pipeline, in the order in which people read them: fingerprint, benchmarks by index, gate.

    Attributes:
        name: of the pipeline.
        defaults: of its inputs, which a run need not repeat.
    """

    name: str
    tasks: tuple[Task, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_evaluation(self) -> bool:
        """Return whether this is a pipeline of an evaluation."""
        return any(task.members for task in self.tasks)


def of(pipeline_spec: Mapping[str, Any]) -> Shape:
    """Return the shape of a pipeline.

    Args:
        pipeline_spec: the pipeline as JSON, as the API has it in a version or a run: alone, or with its settings for
            Kubernetes beside it.
    """
    nested = pipeline_spec.get("pipeline_spec")
    spec: Mapping[str, Any] = nested if isinstance(nested, Mapping) else pipeline_spec
    platforms = pipeline_spec.get("platform_spec", {}).get("platforms", {}) if nested else {}
    settings = platforms.get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    root = spec.get("root", {})
    inputs = root.get("inputDefinitions", {}).get("parameters", {})
    return Shape(
        name=str(spec.get("pipelineInfo", {}).get("name", "")),
        tasks=tuple(sorted(_tasks(spec, root, "", settings), key=_order)),
        defaults={name: given["defaultValue"] for name, given in inputs.items() if "defaultValue" in given},
    )


def _tasks(
    spec: Mapping[str, Any], component: Mapping[str, Any], prefix: str, settings: Mapping[str, Any]
) -> Iterator[Task]:
    for name, task in component.get("dag", {}).get("tasks", {}).items():
        path, title = prefix + name, str(task.get("taskInfo", {}).get("name") or name)
        called = spec.get("components", {}).get(task.get("componentRef", {}).get("name"), {})
        if "dag" in called:
            yield Task(path, title, "group", (), "system-dag-driver")
            yield from _tasks(spec, called, f"{path}.", settings)
            continue
        label = str(called.get("executorLabel", ""))
        executor = spec.get("deploymentSpec", {}).get("executors", {}).get(label, {})
        members = _members(task)
        kind = "benchmark" if members else _kind(executor.get("container", {}).get("command", []))
        yield Task(path, title, kind, members, _template(task, settings.get(label, {})))


def _members(task: Mapping[str, Any]) -> tuple[Member, ...]:
    """Return the benchmarks in a task's `task`, which is a constant of the pipeline."""
    given = task.get("inputs", {}).get("parameters", {}).get("task", {}).get("runtimeValue", {}).get("constant")
    try:
        found = json.loads(given)
        entries = found if isinstance(found, list) else [found]
        return tuple(
            Member(entry["index"], entry["provider_id"], entry["benchmark_id"], entry["slug"]) for entry in entries
        )
    except (TypeError, ValueError, KeyError):
        return ()  # somebody else's task


def _kind(command: list[str]) -> Kind:
    """Return what a container does: ours are started as modules of the package."""
    module = command[-1].removeprefix(_PACKAGE) if command else ""
    return next((kind for kind in get_args(Kind) if kind == module), "other")


def _template(task: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return the template of a task's pods (backend/src/v2/compiler/argocompiler/container.go)."""
    name = "retry-system-container-impl" if "retryPolicy" in task else "system-container-impl"
    if "podMetadata" not in settings:
        return name
    metadata = settings["podMetadata"]
    return f"metadata-{len(metadata.get('annotations', {}))}-{len(metadata.get('labels', {}))}-{name}"


def _order(task: Task) -> tuple[int, int, str]:
    stage = {"fingerprint": 0, "test_data": 1, "group": 2, "benchmark": 3, "collect": 4, "aggregate": 5, "gate": 6}
    return stage.get(task.kind, 7), min((member.index for member in task.members), default=0), task.path
