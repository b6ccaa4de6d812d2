"""The tree of runs that Kubeflow Pipelines makes: a run for the pipeline, and below it one for each task.

Since 2.17 its driver makes a task's run, with no tag but that of the parent, its launcher logs the task's inputs and
numbers there and ends it, and its API server ends the pipeline's (kubeflow/pipelines, KEP-12862). What an evaluation
has to say goes into those runs; a second tree beside them would show every number twice.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from evalhub_components.records.tracking.recording import Recording, RunRecording
from evalhub_components.records.tracking.runs import PARENT, Runs
from evalhub_components.records.tracking.tree import Place, Tree

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_DEPTH = 5  # of pipelines within pipelines
_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def find(client: MlflowClient, recording: Recording) -> tuple[Tree | None, str | None]:
    """Return the pipeline's tree; None where there is none, with a warning where there should be one."""
    if not recording.task_run_id:
        return None, None
    own = _run(client, recording.task_run_id)
    root = _run(client, own.data.tags.get(PARENT)) if own else None
    if own is None or root is None:
        what = f"the MLflow run {recording.task_run_id} of this task" if own is None else "its parent"
        return None, f"{what} is not there, so this evaluation has a tree of its own and not Kubeflow Pipelines' one"
    finder = _Finder(client, root, recording)
    return Tree(finder.runs, str(root.info.run_id), finder.places(), foreign=True), None


class _Finder:
    def __init__(self, client: MlflowClient, root: Run, recording: Recording) -> None:
        self.runs = Runs(client, str(root.info.experiment_id))
        self._client = client
        self._root = root
        self._recording = recording
        self._below = {str(run.info.run_id): run for run in self.runs.find(f"tags.`{PARENT}` = '{root.info.run_id}'")}

    def places(self) -> dict[str, Place]:
        """Return where each benchmark is recorded, by the value of its key."""
        children = self._recording.children
        known = self._known()
        tasks = {child.key[1]: self._task(child) for child in children}
        benchmarks = Counter(str(run.info.run_id) for run in tasks.values() if run)
        root_id = str(self._root.info.run_id)
        places = {}
        for child in children:
            key, task = child.key[1], tasks[child.key[1]]
            if task and benchmarks[str(task.info.run_id)] == 1:
                places[key] = Place(str(task.info.run_id), root_id, foreign=True, params=task.data.params)
            else:
                # several benchmarks of one task are runs below that task's
                places[key] = Place(known.get(key), str(task.info.run_id) if task else root_id)
        return places

    def _known(self) -> dict[str, str]:
        """Return the ids of the runs that an earlier attempt made, by the value of their key."""
        key, value = self._recording.parent.key
        if self._root.data.tags.get(key) != value or not self._recording.children:
            return {}
        name = self._recording.children[0].key[0]
        found = self.runs.find(f"tags.`{name}` LIKE '{value}/%'")
        return {run.data.tags[name]: str(run.info.run_id) for run in found}

    def _task(self, child: RunRecording) -> Run | None:
        """Return the run of the task that ran a benchmark: by the id the task was given, else by the task's name.

        Of a cached task the id is one in another tree, and an image without this package writes none down.
        """
        given = child.task_run_id
        if given and given != self._recording.task_run_id and (run := self._within(given)):
            return run
        wanted = _plain(f"benchmark-{child.name}")
        found = [run for run in self._below.values() if _plain(run.info.run_name or "") == wanted]
        return found[0] if len(found) == 1 else None

    def _within(self, run_id: str) -> Run | None:
        """Return the run when it is somewhere below the pipeline's."""
        found = run = self._below.get(run_id) or _run(self._client, run_id)
        for _ in range(_DEPTH):
            parent = run.data.tags.get(PARENT) if run else None
            if parent == self._root.info.run_id:
                return found
            run = (self._below.get(parent) or _run(self._client, parent)) if parent else None
        return None


def _run(client: MlflowClient, run_id: str | None) -> Run | None:
    """Return a run, None when it is not there or deleted."""
    from mlflow.exceptions import MlflowException

    if not run_id:
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in _NOT_THERE:
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
