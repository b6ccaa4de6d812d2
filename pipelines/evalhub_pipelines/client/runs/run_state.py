"""What a run is doing, benchmark by benchmark, in EvalHub's words."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_components.schema.verdict import JobState
from evalhub_pipelines.client.failures import NotTheApi
from evalhub_pipelines.client.runs import pipeline_shape
from evalhub_pipelines.client.runs.pipeline_shape import Kind, Shape, Task
from evalhub_pipelines.client.runs.workflow_nodes import Nodes

if TYPE_CHECKING:
    from kfp_server_api import V2beta1Run

    from evalhub_pipelines.client.connection import Connection

OVER = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"})
"""States of Kubeflow Pipelines that nothing follows but a retry."""

_STATES: Mapping[str | None, JobState] = {
    "PENDING": "pending",
    "RUNNING": "running",
    "PAUSED": "running",
    "CANCELING": "running",
    "SUCCEEDED": "completed",
    "FAILED": "failed",
    "CANCELED": "cancelled",
    "SKIPPED": "cancelled",
}


@dataclass(frozen=True)
class Step:
    """One benchmark of a run, or another task of it.

    Attributes:
        name: what Kubeflow Pipelines calls the task; benchmarks of one batch share it.
        title: its name for people.
        provider_id: of a benchmark; None for other tasks, as are the next two.
        index: the position in the plan.
        state: `completed` says that the task ended, not that its benchmark succeeded: that is in the verdict.
        pods: names that its pods have or had, the newest last; empty until there is one, and where they are unknown.
        error: why it failed, as far as the server says so.
        path: name of the task behind those of the groups that it is in.
    """

    name: str
    title: str
    kind: Kind
    provider_id: str | None
    benchmark_id: str | None
    index: int | None
    state: JobState
    pods: tuple[str, ...] = ()
    error: str | None = None
    path: str = ""


@dataclass(frozen=True)
class RunState:
    """A run as the server last told of it.

    Attributes:
        name: its display name.
        state: never `partially_failed`: which benchmarks failed is in the verdict. A red run is `failed`, though all
            that failed may be its gate.
        kfp_state: what the server calls it.
        is_over: whether nothing more happens by itself.
        finished_at: None while it goes on.
        error: what the server says of it.
        parameters: of the run, by name of the pipeline's input; with the pipeline's defaults where those are known.
        steps: empty where the server told nothing of tasks, as in lists.
        is_archived: whether it was put away; a run may go on in the archive.
        is_cancelling: whether somebody has cancelled it and it is not over.
        workflow: name of the Argo workflow, once it has started.
    """

    run_id: str
    name: str
    state: JobState
    kfp_state: str
    is_over: bool
    created_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    error: str | None
    description: str | None
    parameters: Mapping[str, Any]
    experiment_id: str | None
    steps: tuple[Step, ...]
    pipeline_id: str | None = None
    pipeline_version_id: str | None = None
    recurring_run_id: str | None = None
    is_archived: bool = False
    is_cancelling: bool = False
    workflow: str | None = None

    @property
    def benchmarks(self) -> tuple[Step, ...]:
        """Return the steps that are benchmarks, by index."""
        return tuple(step for step in self.steps if step.index is not None)

    def step(self, kind: Kind) -> Step | None:
        """Return the first step of a kind."""
        return next((step for step in self.steps if step.kind == kind), None)


def read(connection: Connection, run_id: str, shape: Shape | None = None) -> RunState:
    """Return what a run is doing.

    Args:
        shape: of its pipeline, from `shape`, when it was read before: it spares a request.

    Raises:
        NotFound: there is no such run.
        EvalHubError: the server cannot be reached, or refuses.
    """
    run = get(connection, run_id)
    return of(run, shape or shape_of(connection, run))


def get(connection: Connection, run_id: str, timeout: float | None = None) -> V2beta1Run:
    """Return a run as the API has it, by one request.

    Args:
        timeout: seconds that the answer may take, where that is less than the connection's.

    Raises:
        NotFound: there is no such run.
        EvalHubError: the server cannot be reached, or refuses.
    """
    if not run_id.strip():
        raise EvalHubError("the id of the run is empty (evalhub-kfp list shows ids)")
    limits = None
    if timeout is not None and timeout < connection.timeout:
        limits = (min(timeout, connection.connect_timeout), timeout)
    try:
        found = connection.runs.run_service_get_run(run_id, _request_timeout=limits)
    except NotFound:
        where = connection.endpoint
        raise NotFound(f"run {run_id}: does not exist at {where}, or no more (evalhub-kfp list shows runs)") from None
    if (found.run_id or "").casefold() != run_id.casefold():
        what = "another run" if found.run_id else "no run"
        raise NotTheApi(f"run {run_id}: {connection.endpoint} answers with {what} (is it Kubeflow Pipelines?)")
    return found


def newest(connection: Connection) -> str:
    """Return the id of the run that was made last, in the connection's namespace where it has one.

    Raises:
        NotFound: there is no run.
        EvalHubError: the server cannot be reached, or refuses.
    """
    found = connection.runs.run_service_list_runs(page_size=1, sort_by="created_at desc", **connection.place).runs
    if not found:
        place = f" in namespace {connection.namespace}" if connection.namespace else ""
        raise NotFound(f"{connection.endpoint}: there is no run{place}")
    return str(found[0].run_id)


def shape_of(connection: Connection, run: V2beta1Run) -> Shape | None:
    """Return the shape of a run's pipeline; None when the server does not have the pipeline any more.

    Raises:
        EvalHubError: the server cannot be reached, or refuses.
    """
    if run.pipeline_spec:
        return pipeline_shape.of(run.pipeline_spec)
    reference = run.pipeline_version_reference
    if not (reference and reference.pipeline_id and reference.pipeline_version_id):
        return None
    try:
        version = connection.pipelines.pipeline_service_get_pipeline_version(
            reference.pipeline_id, reference.pipeline_version_id
        )
    except NotFound:
        return None
    return pipeline_shape.of(version.pipeline_spec or {})


def unknown(run_id: str) -> RunState:
    """Return a run of which nobody has told more than its id."""
    from kfp_server_api import V2beta1Run

    return of(V2beta1Run(run_id=run_id))


def of(run: V2beta1Run, shape: Shape | None = None, *, was_cancelling: bool = False) -> RunState:
    """Return what a run of the API says; without its shape the steps have the server's names, and no benchmarks.

    Args:
        was_cancelling: whether the caller saw it being cancelled, which the run itself may not say when it is over.
    """
    kfp_state = run.state or "RUNTIME_STATE_UNSPECIFIED"
    details = (run.run_details and run.run_details.task_details) or []
    state = _STATES.get(kfp_state, "pending")
    if state == "failed" and (was_cancelling or _was_cancelled(run)):
        state = "cancelled"
    over = kfp_state in OVER
    nodes = Nodes(details)
    tasks = shape.tasks if shape else nodes.tasks()
    reference = run.pipeline_version_reference
    config = run.runtime_config
    return RunState(
        run_id=run.run_id,
        name=run.display_name or run.run_id,
        state=state,
        kfp_state=kfp_state,
        is_over=over,
        created_at=run.created_at,
        finished_at=run.finished_at if over and run.finished_at and run.finished_at.year > 1970 else None,
        error=(run.error and run.error.message) or None,
        description=run.description or None,
        parameters={**(shape.defaults if shape else {}), **((config and config.parameters) or {})},
        experiment_id=run.experiment_id or None,
        steps=tuple(step for task in tasks for step in _steps(task, nodes, state, over)) if details or shape else (),
        pipeline_id=reference.pipeline_id if reference else None,
        pipeline_version_id=reference.pipeline_version_id if reference else None,
        recurring_run_id=run.recurring_run_id or None,
        is_archived=run.storage_state == "ARCHIVED",
        is_cancelling=kfp_state == "CANCELING",
        workflow=nodes.workflow,
    )


def _was_cancelled(run: V2beta1Run) -> bool:
    """Return whether a failed run was cancelled: Argo has one word for both, but was it cancelled just before?"""
    history = [entry.state for entry in run.state_history or []]
    return history[-2:] == ["CANCELING", "FAILED"]


def _steps(task: Task, nodes: Nodes, run_state: JobState, over: bool) -> Iterator[Step]:
    """Yield a task's steps: one for each of its benchmarks."""
    node, driver = nodes.find(task), nodes.driver(task)
    pods = nodes.pods(task)
    error = (node and node.error and node.error.message) or None
    if node is not None and node.state:
        state = _STATES.get(node.state, "pending")
    elif driver is not None and driver.state == "FAILED":
        state, pods, error = "failed", (nodes.driver_pod(task),), "it could not be prepared: its driver failed"
    else:
        state = "pending"
    if (over and state in ("pending", "running")) or (run_state == "cancelled" and state == "failed"):
        state = "cancelled"  # what was running when a run was cancelled is reported as failed
    if state == "failed" and error is None and len(pods) > 1:
        error = f"failed {len(pods)} times"
    for member in task.members or (None,):
        yield Step(
            name=task.name,
            title=member.title if member else task.title,
            kind=task.kind,
            provider_id=member.provider_id if member else None,
            benchmark_id=member.benchmark_id if member else None,
            index=member.index if member else None,
            state=state,
            pods=pods,
            error=error,
            path=task.path,
        )
