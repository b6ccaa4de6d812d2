"""The Argo workflow behind a run of Kubeflow Pipelines 2.17, as the API tells of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import kfp_models

NEVER = "1970-01-01T00:00:00Z"
"""What the real server writes as the end of a run that goes on."""

FINISHED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}

Record = dict[str, Any]


class Workflow:
    """The Argo workflow of a run, as a run's details tell of it.

    They have no ids of nodes and no names of pods: only children are named by the node's id, which Argo makes of its
    full name, and `failed_main_jobs` are pods. A node that was never started has no state.
    """

    def __init__(self, run: Record, pipeline: Record, now: str) -> None:
        spec: Record = pipeline.get("pipeline_spec", pipeline)
        self.run, self.spec, self.now = run, spec, now
        platforms = pipeline.get("platform_spec", {}).get("platforms", {})
        self.settings = platforms.get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
        self.name = f"{spec.get('pipelineInfo', {}).get('name', 'workflow')}-{run['run_id'][:5]}"
        self.nodes: dict[str, Record] = {node["_path"]: node for node in run["run_details"]["task_details"]}

    def move(self, name: str, state: str, pods: bool, failed_attempts: int) -> None:
        path = next((path for path in self._paths(self.spec.get("root", {})) if f".{path}".endswith(f".{name}")), name)
        task, is_group = self._task(path)
        self._node("", self.name, "RUNNING", ["root-driver"])
        self._node("root-driver", "root-driver", "SUCCEEDED", ["root"])
        self._node("root", "root", "RUNNING", [])
        above = path.rpartition(".")[0]
        if above and f"root.{above}" not in self.nodes:
            self.move(above, "RUNNING", pods, 0)
        place = f"root.{path}"
        title = path.rpartition(".")[2]
        omitted = state == "OMITTED"
        self._node(f"{place}-driver", f"{title}-driver", state if omitted else "SUCCEEDED", [place])
        if is_group or omitted or not pods:
            self._node(place, title, state, [])
            return
        self._node(place, title, state, [f"{place}.executor"])
        attempts = [f"{place}.executor({number})" for number in range(failed_attempts + 1)]
        if "retryPolicy" not in task:
            self._node(f"{place}.executor", "executor", state, [])
            return
        self._node(f"{place}.executor", "executor", state, attempts)
        if failed := attempts if state == "FAILED" else attempts[:-1]:
            jobs = [f"{self.name}-{self._template(task)}-{self.id(each).rpartition('-')[2]}" for each in failed]
            self.nodes[f"{place}.executor"]["executor_detail"] = {"failed_main_jobs": jobs}
        for number, attempt in enumerate(attempts):
            self._node(attempt, f"executor({number})", state if number == failed_attempts else "FAILED", [])

    def end(self, state: str) -> None:
        """Close the nodes around all tasks."""
        for path in ("", "root"):
            if path in self.nodes and state in FINISHED:
                self._node(path, self.nodes[path]["display_name"], state, None)
        # the server has them in the order of ids that are chance
        self.run["run_details"]["task_details"] = sorted(self.nodes.values(), key=lambda node: str(node["task_id"]))

    def id(self, path: str) -> str:
        if not path:
            return self.name
        digest = 0x811C9DC5
        for byte in f"{self.name}.{path}".encode():
            digest = (digest ^ byte) * 0x01000193 % 2**32
        return f"{self.name}-{digest}"

    def _node(self, path: str, title: str, state: str, children: list[str] | None) -> None:
        if state != "OMITTED":
            assert not kfp_models.problems(state, "V2beta1RuntimeState", path)
        made = {
            "run_id": self.run["run_id"],
            "task_id": str(uuid.uuid4()),
            "display_name": title,
            "create_time": self.run["created_at"],
            "start_time": self.now,
            "state_history": [],
            "_path": path,
        }
        node = self.nodes.setdefault(path, made)
        status = {} if state == "OMITTED" else {"state": state}
        if node.get("state") != status.get("state") or not node["state_history"]:
            node["state_history"].append({"update_time": self.now, **status})
        node.pop("state", None)
        node |= {**status, "end_time": self.now if state in FINISHED or not status else NEVER}
        if children:
            node["child_tasks"] = [{"pod_name": self.id(child)} for child in children]

    def _template(self, task: Record) -> str:
        """The name of the template of a task's pods, which depends on how many annotations and labels they have."""
        component = self.spec["components"][task["componentRef"]["name"]]
        metadata = self.settings.get(component["executorLabel"], {}).get("podMetadata")
        counts = [len(metadata.get(key, {})) for key in ("annotations", "labels")] if metadata else []
        return "-".join(["metadata", *map(str, counts), ""] if counts else [""]) + "retry-system-container-impl"

    def _paths(self, component: Record) -> Iterator[str]:
        for name, task in component.get("dag", {}).get("tasks", {}).items():
            yield name
            below = self.spec.get("components", {}).get(task.get("componentRef", {}).get("name"), {})
            yield from (f"{name}.{path}" for path in self._paths(below))

    def _task(self, path: str) -> tuple[Record, bool]:
        """A task of the pipeline, and whether it is a pipeline itself; nothing of one that is not in it."""
        component, task = self.spec.get("root", {}), {}
        for name in path.split("."):
            task = component.get("dag", {}).get("tasks", {}).get(name, {})
            component = self.spec.get("components", {}).get(task.get("componentRef", {}).get("name"), {})
        return task, "dag" in component
