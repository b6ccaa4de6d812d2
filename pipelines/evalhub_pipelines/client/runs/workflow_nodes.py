"""The nodes of the Argo workflow behind a run, as the run's details tell of them.

They come without their ids, and with their children's: `x-driver`, and `x` with `executor` below it for a task `x`, and
with retries `executor(0)`, `executor(1)`... below that. Names are unique but for a few, and Argo makes its ids of a
node's full name, so that children tell those apart. A node that was never started has no state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from evalhub_pipelines.client.runs.pipeline_shape import Task

if TYPE_CHECKING:
    from kfp_server_api import V2beta1PipelineTaskDetail


class Nodes:
    """The nodes of one workflow.

    Attributes:
        workflow: its name, once it has started.
    """

    def __init__(self, details: Sequence[V2beta1PipelineTaskDetail]) -> None:
        self.by_name: dict[str, list[V2beta1PipelineTaskDetail]] = defaultdict(list)
        self.by_child: dict[str, list[V2beta1PipelineTaskDetail]] = defaultdict(list)
        for node in details:
            self.by_name[node.display_name or ""].append(node)
            for child in _children(node):
                self.by_child[child].append(node)
        first = next(iter(self.by_child), None)
        self.workflow = first.rpartition("-")[0] if first else None

    def id(self, path: str) -> str:
        """Return the id that Argo gives a node: FNV-1a of its full name (workflow/v1alpha1, NodeID)."""
        digest = 0x811C9DC5
        for byte in f"{self.workflow}.root.{path}".encode():
            digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
        return f"{self.workflow}-{digest}"

    def find(self, task: Task) -> V2beta1PipelineTaskDetail | None:
        """Return the node of a task."""
        return self._named(task, task.name, f"{task.path}.executor")

    def driver(self, task: Task) -> V2beta1PipelineTaskDetail | None:
        """Return the node that prepared a task."""
        return self._named(task, f"{task.name}-driver", task.path)

    def _named(self, task: Task, name: str, child: str) -> V2beta1PipelineTaskDetail | None:
        found = self.by_name.get(name, [])
        if "." in task.path and task.kind != "benchmark":
            # several groups have a task of this name, such as `collect`
            wanted = self.id(child)
            found = [node for node in found if wanted in _children(node)]
        return found[0] if found else None

    def pods(self, task: Task) -> tuple[str, ...]:
        """Return the names of a task's pods (backend/src/common/util/workflow.go, RetrievePodName)."""
        executor, first = self.id(f"{task.path}.executor"), self.id(f"{task.path}.executor(0)")
        retried = next(iter(self.by_child.get(first, [])), None)
        if retried is None:
            started = executor in self.by_child and "retry-" not in task.template
            return (self._pod(executor, task.template),) if started else ()
        # the server itself names the pods that failed
        failed = (retried.executor_detail and retried.executor_detail.failed_main_jobs) or []
        template = failed[0].removeprefix(f"{self.workflow}-").rpartition("-")[0] if failed else task.template
        return tuple(self._pod(child, template) for child in _children(retried))

    def driver_pod(self, task: Task) -> str:
        """Return the name of the pod that prepared a task."""
        template = "system-dag-driver" if task.kind == "group" else "system-container-driver"
        return self._pod(self.id(f"{task.path}-driver"), template)

    def _pod(self, node_id: str, template: str) -> str:
        return f"{self.workflow}-{template}-{node_id.rpartition('-')[2]}"

    def tasks(self) -> Iterator[Task]:
        """Yield the tasks of a pipeline that nobody has any more, as far as the nodes tell of them."""
        for name in sorted(self.by_name):
            if f"{name}-driver" in self.by_name and name != "root":
                yield Task(name, name, "other", (), "system-container-impl")


def _children(node: V2beta1PipelineTaskDetail) -> list[str]:
    return [child.pod_name for child in node.child_tasks or [] if child.pod_name]
