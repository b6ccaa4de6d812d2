"""What can be done to a run: cancel it, let what failed run again, delete its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from evalhub_components.errors import EvalHubError
from evalhub_pipelines.client.failures import Refused
from evalhub_pipelines.client.runs import run_state
from evalhub_pipelines.client.runs.run_state import RunState, Step

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection


class Cancellation(NamedTuple):
    """What became of the wish to cancel.

    Attributes:
        state: of the run before.
        is_new: false when it was over, or being cancelled, already.
    """

    state: RunState
    is_new: bool


class Retry(NamedTuple):
    """A run that goes on.

    Attributes:
        state: of the run before.
        again: the steps that had not succeeded, which run now; empty where the server told nothing of tasks.
    """

    state: RunState
    again: tuple[Step, ...]

    @property
    def is_gate_alone(self) -> bool:
        """Return whether nothing is evaluated again: the verdict was there, and its gate says it once more."""
        return bool(self.again) and all(step.kind == "gate" for step in self.again)


class Deletion(NamedTuple):
    """A run without its record.

    Attributes:
        state: of the run before.
        evidence: where its evidence was to be pushed: a reference; None where its inputs name no registry.
    """

    state: RunState
    evidence: str | None


def cancel(connection: Connection, run_id: str) -> Cancellation:
    """Cancel a run, and return without waiting until its pods are gone. A run that is over stays as it is.

    Raises:
        NotFound: there is no such run.
        EvalHubError: the server cannot be asked, or refuses.
    """
    state = _read(connection, run_id)
    if state.is_over or state.is_cancelling:
        return Cancellation(state, False)
    try:
        connection.runs.run_service_terminate_run(run_id)
    except Refused:
        state = _read(connection, run_id)
        if state.is_over or state.is_cancelling:
            return Cancellation(state, False)  # it ended in between
        raise
    return Cancellation(state, True)


def retry(connection: Connection, run_id: str) -> Retry:
    """Let a run go on that failed or was cancelled: only what had not succeeded runs, with the same parameters.

    Raises:
        NotFound: there is no such run.
        EvalHubError: it goes on, or nothing of it failed, or the server cannot be asked, or refuses.
    """
    state = run_state.read(connection, run_id)
    if not state.is_over:
        raise EvalHubError(f"run {run_id}: is {_word(state)} (a run is retried when it is over)")
    if state.state == "completed":
        raise EvalHubError(f"run {run_id}: is completed, nothing of it failed (submit it again for another run)")
    if state.is_archived:
        raise EvalHubError(
            f"run {run_id}: is in the archive (restore it on the dashboard: {connection.run_page(run_id)})"
        )
    connection.runs.run_service_retry_run(run_id)
    return Retry(state, tuple(step for step in state.steps if step.state != "completed" and step.kind != "group"))


def delete(connection: Connection, run_id: str, *, force: bool = False) -> Deletion:
    """Delete a run's record at Kubeflow Pipelines; its evidence, MLflow's runs and its artifacts stay.

    Args:
        force: cancel a run that goes on, and delete it then.

    Raises:
        NotFound: there is no such run.
        EvalHubError: it goes on, or the server cannot be asked, or refuses.
    """
    # with the pipeline, whose defaults may name the registry
    state = run_state.read(connection, run_id)
    if not state.is_over:
        if not force:
            first = "wait until it is over" if state.is_cancelling else "cancel it first"
            raise EvalHubError(f"run {run_id}: is {_word(state)} ({first}, or use --force)")
        cancel(connection, run_id)
    connection.runs.run_service_delete_run(run_id)
    return Deletion(state, _evidence(state))


def _read(connection: Connection, run_id: str) -> RunState:
    return run_state.of(run_state.get(connection, run_id))


def _word(state: RunState) -> str:
    return "being cancelled" if state.is_cancelling else state.state


def _evidence(state: RunState) -> str | None:
    host, repository = (str(state.parameters.get(name) or "") for name in ("oci_host", "oci_repository"))
    return f"{host}/{repository}:run-{state.run_id}" if host and repository else None
