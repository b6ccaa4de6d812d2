"""Runs that an installation has, the newest first: as few pages as are needed, filtered where the server can."""

from __future__ import annotations

import datetime
import heapq
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_components.schema.verdict import JobState
from evalhub_pipelines.client import paging
from evalhub_pipelines.client.connection import Connection
from evalhub_pipelines.client.failures import Refused
from evalhub_pipelines.client.runs import run_description, run_state
from evalhub_pipelines.client.runs.run_description import RunDescription
from evalhub_pipelines.client.runs.run_state import RunState
from evalhub_pipelines.client.scheduling import kept_schedules, schedule_record
from evalhub_pipelines.client.scheduling.schedule_record import ScheduleRecord
from evalhub_pipelines.client.submitting import experiments

if TYPE_CHECKING:
    from kfp_server_api import V2beta1Run

LARGEST_PAGE = 100
"""The server takes 200, but a run can be long: all of its tasks are in it."""

_FILTERED_PAGE = 50

KFP_STATES: dict[JobState, list[str]] = {
    "pending": ["PENDING", "RUNTIME_STATE_UNSPECIFIED"],
    "running": ["RUNNING", "PAUSED", "CANCELING"],
    "completed": ["SUCCEEDED"],
    "failed": ["FAILED"],
    # Argo says of a run that was cancelled that it failed: the state's history tells them apart
    "cancelled": ["CANCELED", "SKIPPED", "FAILED"],
}
"""States of Kubeflow Pipelines in which a run may be that has this state of EvalHub."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True)
class ListedRun:
    """A run as a list has it.

    Attributes:
        state: without steps.
        said: what its description says, else that of the schedule which started it; nothing for runs that other tools
            started.
        page: of the run on the dashboard.
    """

    state: RunState
    said: RunDescription
    page: str

    def as_json(self) -> dict[str, Any]:
        """Return the run as JSON values."""
        state, said = self.state, self.said
        return {
            "run_id": state.run_id,
            "name": state.name,
            "state": state.state,
            "kfp_state": state.kfp_state,
            "collection": said.collection,
            "collection_version": said.version,
            "model": said.model or state.parameters.get("model_name"),
            "owner": said.owner,
            "tags": list(said.tags),
            "git_commit": said.git_commit,
            "experiment_id": state.experiment_id,
            "recurring_run_id": state.recurring_run_id,
            "created_at": _timestamp(state.created_at),
            "finished_at": _timestamp(state.finished_at),
            "dashboard": self.page,
        }


class RunPage(NamedTuple):
    """Some runs.

    Attributes:
        has_more: whether others follow.
    """

    runs: list[ListedRun]
    has_more: bool


def list_runs(
    connection: Connection,
    *,
    state: str | None = None,
    name: str | None = None,
    tag: str | None = None,
    experiment: str | None = None,
    owner: str | None = None,
    since: datetime.datetime | None = None,
    limit: int = 20,
    offset: int = 0,
) -> RunPage:
    """Return runs of the namespace, the newest first; those in the archive are left out.

    Args:
        state: EvalHub's word: pending, running, completed, failed or cancelled.
        name: what is in the name of the run.
        tag: one of its tags.
        experiment: name or id of its experiment.
        owner: who submitted it.
        since: when it was made at the earliest.
        limit: how many at most.
        offset: how many to leave out before.

    Raises:
        EvalHubError: there is no such state or experiment, or the server cannot be asked, or refuses.
    """
    # as descriptions have them
    tag, owner = (run_description.one_line(text) if text else None for text in (tag, owner))
    wanted = _Wanted(_known(state), name, tag, owner, since)
    place = connection.place
    if experiment:
        place["experiment_id"] = _experiment_id(connection, experiment)
    # the one behind the last tells whether there are more; of a filtered page some may not fit
    size = min(max(limit + offset + 1, _FILTERED_PAGE if any(wanted) else 0), LARGEST_PAGE)
    found = islice(_matching(connection, wanted, place, size), offset, offset + limit + 1)
    runs = list(found)
    return RunPage(runs[:limit], len(runs) > limit)


class _Wanted(NamedTuple):
    state: JobState | None
    name: str | None
    tag: str | None
    owner: str | None
    since: datetime.datetime | None

    def filter(self, schedules: Sequence[str] = ()) -> str:
        """Return the server's filter, which lets all through that `fits` and perhaps some more.

        Args:
            schedules: whose runs are looked for, in place of runs that say themselves what is wanted.
        """
        found: list[dict[str, Any]] = [{"key": "storage_state", "operation": "NOT_EQUALS", "string_value": "ARCHIVED"}]
        texts = {"display_name": [self.name]}
        if schedules:
            values = {"values": list(schedules)}
            found.append({"key": "recurring_run_id", "operation": "IN", "string_values": values})
        else:
            texts["description"] = [_said("owner", self.owner), _said("tag", self.tag)]
        for key, wanted in texts.items():
            # the server's database takes some characters for wildcards, which lets more through, but `\\` for an escape
            for text in wanted:
                if text and "\\" not in text:
                    found.append({"key": key, "operation": "IS_SUBSTRING", "string_value": text})
        if self.state:
            values = {"values": KFP_STATES[self.state]}
            found.append({"key": "state", "operation": "IN", "string_values": values})
        if self.since:
            moment = _timestamp(self.since)
            found.append({"key": "created_at", "operation": "GREATER_THAN_EQUALS", "timestamp_value": moment})
        return json.dumps({"predicates": found})

    def fits(self, run: ListedRun) -> bool:
        """Return whether a run is one of those that were asked for."""
        return (
            self.state in (None, run.state.state)
            and (self.name or "").casefold() in run.state.name.casefold()
            and (not self.tag or self.tag in run.said.tags)
            and (not self.owner or self.owner == run.said.owner)
        )


def _matching(connection: Connection, wanted: _Wanted, place: dict[str, str], size: int) -> Iterator[ListedRun]:
    """Yield runs, asking for no more pages than are needed."""
    schedules, seen = _Schedules(connection), set[str]()
    filters = [wanted.filter()]
    # their runs have no description to be found by, and no tags
    if wanted.owner and not wanted.tag and (started := schedules.of(wanted.owner)):
        filters.append(wanted.filter(started))
    found = [_runs(connection, each, place, size) for each in filters]
    for run in heapq.merge(*found, key=lambda run: run.created_at, reverse=True):
        state = run_state.of(run)
        said = run_description.parse(state.description)
        if state.recurring_run_id and said.collection is None:
            said = schedules.said(state.recurring_run_id)
        listed = ListedRun(state, said, connection.run_page(state.run_id))
        if state.run_id not in seen and wanted.fits(listed):
            seen.add(state.run_id)
            yield listed


def _runs(connection: Connection, wanted: str, place: dict[str, str], size: int) -> Iterator[V2beta1Run]:
    ask = connection.runs.run_service_list_runs
    asked = {"page_size": size, "sort_by": "created_at desc", "filter": wanted, **place}
    for page in paging.pages(lambda token: ask(page_token=token, **asked)):
        yield from page.runs or []


class _Schedules:
    """What schedules say of the runs that the server starts for them, which have no description; each is asked once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, RunDescription] = {}

    def of(self, owner: str) -> list[str]:
        """Return the ids of the schedules that somebody applied, as far as they may be seen."""
        try:
            kept, _ = kept_schedules.all_of(self._connection)
        except (NotFound, Refused):
            return []
        schedules = [one for each in kept.values() for one in each]
        self._known |= {one.id: _of_schedule(one.record) for one in schedules}
        return [one.id for one in schedules if one.record.owner == owner]

    def said(self, recurring_run_id: str) -> RunDescription:
        """Return what is known of the runs of a schedule: nothing where it is gone, or somebody else's."""
        if recurring_run_id not in self._known:
            self._known[recurring_run_id] = self._read(recurring_run_id)
        return self._known[recurring_run_id]

    def _read(self, recurring_run_id: str) -> RunDescription:
        try:
            found = self._connection.recurring_runs.recurring_run_service_get_recurring_run(recurring_run_id)
        except (NotFound, Refused):
            return RunDescription()
        record = schedule_record.parse(found.description)
        return _of_schedule(record) if record else RunDescription()


def _of_schedule(record: ScheduleRecord) -> RunDescription:
    """Return what a schedule says of its runs."""
    return RunDescription(
        owner=record.owner or None,
        collection=record.collection or None,
        version=record.version or None,
        model=record.model or None,
    )


def _said(key: str, value: str | None) -> str | None:
    """Return the line of a run's description that says this."""
    return f"{key}: {value}" if value else None


def _known(state: str | None) -> JobState | None:
    if state is None:
        return None
    known = next((each for each in KFP_STATES if each == state), None)
    if known is None:
        hint = f"one of {', '.join(KFP_STATES)}"
        if state == "partially_failed":
            hint = "a run of which a part failed is failed; `results` shows which benchmarks those were"
        raise EvalHubError(f"state {state!r}: Kubeflow Pipelines has none that says this ({hint})")
    return known


def _experiment_id(connection: Connection, experiment: str) -> str:
    found = experiments.find(connection, experiment)
    if found:
        return found
    if _UUID.fullmatch(experiment):
        return experiment
    where = f" in namespace {connection.namespace}" if connection.namespace else ""
    raise EvalHubError(f"experiment {experiment!r}: there is none of that name{where} (case counts)")


def _timestamp(moment: datetime.datetime | None) -> str | None:
    """Return a moment in UTC, in whole seconds, as the server has them."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None
