"""The verdict of a run on Kubeflow Pipelines, from what the run itself recorded: its evidence, else its MLflow run.

The colour of a run says nothing of it: a gate's pod may be evicted after a pass, and a run without a gate is green.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from evalhub_components.errors import EvalHubError, NotFound, Tampered
from evalhub_components.schema.verdict import Decision, Verdict
from evalhub_pipelines.client.runs import recorded_evidence, recorded_tracking
from evalhub_pipelines.client.runs.recorded_evidence import Access
from evalhub_pipelines.client.runs.run_state import RunState, Step

if TYPE_CHECKING:
    from evalhub_components.evidence.reference import Reference
    from evalhub_components.records.tracking.finding import Found
    from evalhub_pipelines.client.connection import Connection
    from evalhub_pipelines.run_source import RunSource


@dataclass(frozen=True)
class RunRecord:
    """What a run recorded of itself.

    Attributes:
        source: what it was read from.
        where: that for people: the evidence by tag and digest, or the MLflow run.
        reason: the deciding one.
        evidence: reference as commands take it, pinned by digest; None when the evidence was not read.
        is_signed: True when the key that was asked for signed the evidence; None when nobody asked for one.
        full: the verdict with its benchmarks, from evidence only.
        notes: what was looked at in vain before.
    """

    run_id: str
    verdict: Decision
    source: Literal["evidence", "mlflow"]
    where: str
    reason: str = ""
    evidence: str | None = None
    is_signed: bool | None = None
    mlflow_uri: str | None = None
    mlflow_experiment_id: str | None = None
    mlflow_run_id: str | None = None
    full: Verdict | None = None
    notes: tuple[str, ...] = ()


def check(
    *,
    repository: str | None = None,
    mlflow_uri: str | None = None,  # taken as it is
    registry_secret: str | None = None,
    ca: Path | None = None,
    key: Path | str | None = None,
) -> None:
    """Refuse what no record can be read with; for those who wait hours before they read one.

    Args: as `find`, under the names of the options of `submit --wait` and `status`.

    Raises:
        EvalHubError: `repository` is none, or a file or secret is not there, or is something else.
        MissingExtra: the libraries are not installed.
    """
    if repository is not None:
        recorded_evidence.repository_of(repository)
    Access.of(registry_secret, ca, Path(key) if key is not None else None, "--pull-secret")


def find(
    connection: Connection,
    state: RunState,
    *,
    repository: str | None = None,
    mlflow_uri: str | None = None,
    registry_secret: str | None = None,
    ca: Path | None = None,
    key: Path | str | None = None,
) -> RunRecord:
    """Return the verdict that a run recorded.

    Its evidence has the tag `run-RUN_ID` in the run's repository, and counts when it is whole, is this run's, and its
    results come to its verdict. Where it cannot be read the MLflow run with the tag `evalhub.run_id` counts, if the
    step that recorded both did not fail; a pass does not, when the evidence should be there and is not.

    Args:
        connection: to the installation, for messages.
        state: of the run, which is over.
        repository: `host/repository` of the evidence as seen from here; by default where the run was told to push it.
        mlflow_uri: MLflow as seen from here; by default MLFLOW_TRACKING_URI, then what the run was told.
        registry_secret: name of the secret with `.dockerconfigjson`; by default Docker's own configuration is used.
        ca: file with the certificates that the registry's is checked with.
        key: file with the public key that must have signed the evidence; then MLflow, which is not signed, is not
            asked.

    Raises:
        EvalHubError: there is no verdict that can be relied on; with what was looked at, and the cure.
        MissingExtra: the libraries are not installed.
    """
    with opened(
        connection,
        state,
        repository=repository,
        mlflow_uri=mlflow_uri,
        registry_secret=registry_secret,
        ca=ca,
        key=key,
    ) as (record, _):
        return record


@contextmanager
def opened(
    connection: Connection,
    state: RunState,
    *,
    repository: str | None = None,
    mlflow_uri: str | None = None,
    registry_secret: str | None = None,
    ca: Path | None = None,
    key: Path | str | None = None,
    environ: Mapping[str, str] = os.environ,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[RunRecord, RunSource | None]]:
    """Yield what `find` returns, and the run in its evidence, whose files are gone when the block ends.

    Raises:
        EvalHubError, MissingExtra: as `find`.
    """
    if reason := _unjudged(state):
        raise EvalHubError(reason)
    access = Access.of(registry_secret, ca, Path(key) if key is not None else None)
    notes: list[str] = []
    pinned, is_missing = None, False
    try:
        pinned = _evidence(state, repository, access, notes)
    except NotFound as error:
        notes.append(str(error))
        is_missing = True
    if pinned is not None:
        # what is there counts, and only that: a record that was tampered with must not lead to a weaker one
        with recorded_evidence.opened(state, pinned, access) as source:
            yield _of_evidence(source, pinned, access), source
        return
    found = None
    if key is not None:
        notes.append("MLflow: was not asked, because what it holds is not signed")
    elif not _is_recorded(state):
        why = f"the step failed that records the verdict: evalhub-kfp logs {state.run_id} aggregate"
        notes.append(f"MLflow: was not asked, because {why}")
    else:
        found = _tracked(state, mlflow_uri, environ, sleep, notes)
    if found is not None and is_missing and found.tags[recorded_tracking.VERDICT] == "pass":
        # it was pushed, or that step had failed: whoever deletes evidence must not get more than it said
        notes.append(f"MLflow at {found.uri}: says pass, which does not count without the evidence that was pushed")
        found = None
    if found is None:
        raise EvalHubError(_unread(connection, state, notes))
    yield _of_tracking(state, found, notes), None


def _evidence(state: RunState, repository: str | None, access: Access, notes: list[str]) -> Reference | None:
    """Return the evidence by its digest; None, with a note, where it cannot be looked for.

    Raises:
        NotFound: it should be there, and is not.
        EvalHubError: `repository` is none, or what is there was changed.
    """
    try:
        tagged = recorded_evidence.reference(state, repository)
    except EvalHubError as error:
        if repository is not None:
            raise
        notes.append(f"evidence: {error}")
        return None
    if tagged is None:
        notes.append("evidence: the run pushed it nowhere that is known (oci_host and oci_repository are empty)")
        return None
    try:
        return replace(tagged, digest=recorded_evidence.resolved(tagged, access))
    except Tampered as error:
        # with the status of an error: nothing is known of the verdict
        raise EvalHubError(f"run {state.run_id}: its evidence {tagged} cannot be relied on: {error}") from None
    except NotFound:
        raise
    except EvalHubError as error:
        notes.append(str(error))
        return None


def _tracked(
    state: RunState,
    given: str | None,
    environ: Mapping[str, str],
    sleep: Callable[[float], None],
    notes: list[str],
) -> Found | None:
    """Return the MLflow run; None, with notes, where it cannot be found."""
    asked = list(recorded_tracking.addresses(state, given, environ))
    if not asked:
        notes.append("MLflow: the run logs to none, and none is named here (--tracking-uri, MLFLOW_TRACKING_URI)")
    for uri, why_not in asked:
        try:
            if why_not is None:
                return recorded_tracking.find(state, uri, sleep)
            notes.append(why_not)
        except EvalHubError as error:
            notes.append(str(error))
    return None


def _of_evidence(source: RunSource, pinned: Reference, access: Access) -> RunRecord:
    verdict = source.verdict
    return RunRecord(
        run_id=source.run.record.run_id,
        verdict=verdict.verdict,
        source="evidence",
        where=str(pinned),
        reason=verdict.reasons[0] if verdict.reasons else "",
        evidence=replace(pinned, tag=None).address,
        is_signed=True if access.signer else None,
        full=verdict,
    )


def _of_tracking(state: RunState, found: Found, notes: Sequence[str]) -> RunRecord:
    return RunRecord(
        run_id=state.run_id,
        verdict=cast("Decision", found.tags[recorded_tracking.VERDICT]),
        source="mlflow",
        where=f"run {found.run_id} of {found.uri}",
        reason=found.tags.get(recorded_tracking.REASON, ""),
        mlflow_uri=found.uri,
        mlflow_experiment_id=found.experiment_id,
        mlflow_run_id=found.run_id,
        notes=tuple(notes),
    )


def _unjudged(state: RunState) -> str | None:
    """Return why a run cannot have a verdict; None when it may have one."""
    at = f"run {state.run_id}"
    if not state.is_over:
        return f"{at}: is not over, so there is no verdict (wait for it: evalhub-kfp status {state.run_id} --watch)"
    if state.state == "cancelled":
        word = "was skipped" if state.kfp_state == "SKIPPED" else "was cancelled"
        return f"{at}: {word}, so there is no verdict"
    aggregate = state.step("aggregate")
    if state.benchmarks and (aggregate is None or aggregate.state not in ("completed", "failed")):
        return f"{at}: ended before its verdict ({_failed(state)})"
    return None


def _is_recorded(state: RunState) -> bool:
    """Return whether the step that records the verdict did all of it: it logs to MLflow also what it cannot push."""
    # its name tells where the pipeline is gone
    step = next((step for step in state.steps if "aggregate" in (step.kind, step.path)), None)
    return (step.state if step else state.state) == "completed"


def _failed(state: RunState) -> str:
    """Return which tasks of a run failed, with the command that shows why."""
    failed = [step for step in state.steps if step.state == "failed"]
    # a group fails because a task in it did
    first = next((step for step in failed if step.kind != "group"), failed[0] if failed else None)
    if first is None:
        return "which task failed is not known; its pods may have been deleted, or it ran out of time"
    more = len({step.path for step in failed if step.kind != "group"}) - 1
    others = f" and {more} more" if more > 0 else ""
    why = f": {first.error}" if first.error else ""
    return f"failed: {_named(first)}{others}{why}; see evalhub-kfp logs {state.run_id} {first.name}"


def _named(step: Step) -> str:
    return step.title if step.title == step.name else f"{step.title}, task {step.name}"


def _unread(connection: Connection, state: RunState, notes: Sequence[str]) -> str:
    """Return that there is no verdict, everything that was looked at, and what can be done."""
    colour = f"it is {state.state} on the dashboard, which is no verdict" if state.state != "failed" else _failed(state)
    lines = "".join(f"\n  {note}" for note in notes)
    return f"run {state.run_id}: its verdict cannot be read ({colour}; {connection.run_page(state.run_id)}){lines}"
