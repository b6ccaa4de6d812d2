"""The schedules on the server, and the changes that its API has for them: make, disable, enable once, delete.

There is no update, so a schedule is replaced: the new one is made disabled, the others of its name are disabled and
deleted, and then it is enabled. So there are never two enabled, and whoever is interrupted leaves something that the
next one to replace it sweeps away. The newest is the one that counts. A schedule that was disabled is never enabled
again, because Kubeflow Pipelines would at once start the run that was due meanwhile (its no_catchup skips all but
the last); a copy of it begins with the next time.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_pipelines.client import creation, paging
from evalhub_pipelines.client.runs import run_state
from evalhub_pipelines.client.runs.run_state import RunState
from evalhub_pipelines.client.scheduling import schedule_record
from evalhub_pipelines.client.scheduling.schedule_record import ScheduleRecord

if TYPE_CHECKING:
    from kfp_server_api import V2beta1RecurringRun

    from evalhub_pipelines.client.connection import Connection

PAGE = 200

START_LEAD = datetime.timedelta(seconds=1)
"""How much before its start a schedule's start_time is: what is due at start_time itself would not be started."""


class Overtaken(EvalHubError):
    """Somebody else replaced the same schedule at the same time, and has the last word."""


@dataclass(frozen=True)
class Kept:
    """A schedule of ours on the server.

    Attributes:
        body: what a copy of it is made of.
    """

    id: str
    record: ScheduleRecord
    enabled: bool
    created_at: datetime.datetime
    body: Mapping[str, Any]

    @property
    def cron(self) -> str:
        """Return its six fields."""
        return str(self.body["trigger"]["cron_schedule"]["cron"])

    @property
    def end(self) -> datetime.datetime | None:
        """Return when it ends, None for never."""
        return self._times.get("end_time")

    @property
    def start(self) -> datetime.datetime | None:
        """Return when it begins, None where it has begun."""
        sent = self._times.get("start_time")
        return sent and sent + START_LEAD

    @property
    def _times(self) -> Mapping[str, datetime.datetime]:
        return self.body["trigger"]["cron_schedule"]  # type: ignore[no-any-return]

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters of its runs."""
        return dict(self.body["runtime_config"]["parameters"])


class OwnRun(NamedTuple):
    """A run that a schedule started.

    Attributes:
        due: the time that it was started for, None where the server does not tell.
    """

    run: RunState
    due: datetime.datetime | None


def all_of(connection: Connection) -> tuple[dict[str, list[Kept]], set[str]]:
    """Return our schedules by name, the newest of a name last, and the names of those that are not ours.

    Raises:
        EvalHubError: the server cannot be asked, or refuses.
    """
    ours: dict[str, list[Kept]] = {}
    others: set[str] = set()
    for found in _listed(connection):
        record = schedule_record.parse(found.description)
        # the dashboard clones descriptions too, and a clone may have another kind of trigger
        has_cron = bool(found.trigger and found.trigger.cron_schedule)
        if record is None or record.schedule != found.display_name or not has_cron:
            others.add(found.display_name)
        else:
            ours.setdefault(record.schedule, []).append(_kept(found, record))
    for kept in ours.values():
        kept.sort(key=lambda one: (one.record.generation, one.created_at, one.id))
    return dict(sorted(ours.items())), others


def named(connection: Connection, name: str) -> list[Kept]:
    """Return our schedules of that name, the newest last.

    Raises:
        NotFound: there is none.
    """
    ours, others = all_of(connection)
    if name in ours:
        return ours[name]
    known = f" (there are: {', '.join(ours)})" if ours else ""
    theirs = f"schedule {name}: is none of `evalhub-kfp schedule apply` (look for it on the dashboard)"
    raise NotFound(theirs if name in others else f"schedule {name}: does not exist{known}")


def replace(
    connection: Connection, body: Mapping[str, Any], record: ScheduleRecord, known: Sequence[Kept], *, enabled: bool
) -> tuple[str, list[RunState]]:
    """Return the id of a new schedule in the place of all others of its name, and the runs that others still have.

    Args:
        body: of the request, without its mode and description.
        record: its words.
        known: those of its name, as far as is known.

    Raises:
        Overtaken: somebody else has replaced it at the same time.
        EvalHubError: the server cannot be asked, or refuses; doing it again goes on.
    """
    service, name = connection.recurring_runs, body["display_name"]
    generation = max((one.record.generation for one in known), default=0) + 1
    words = dataclasses.replace(record, generation=generation).text()
    made = service.recurring_run_service_create_recurring_run(
        recurring_run={**body, "description": words, "mode": "DISABLE"}
    )
    kept = named(connection, name)
    if kept[-1].id != made.recurring_run_id:
        delete(connection, made.recurring_run_id)
        raise Overtaken(f"schedule {name}: somebody else applied it at the same time, and that counts (apply it again)")
    try:
        running = [run for other in kept[:-1] for run in retire(connection, other)]
        if enabled:
            service.recurring_run_service_enable_recurring_run(made.recurring_run_id)
    except NotFound:
        raise Overtaken(f"schedule {name}: somebody else replaced it meanwhile (apply it again)") from None
    except EvalHubError as error:
        error.args = (f"{error}; schedule {name} may start nothing until this is done again",)
        raise
    return str(made.recurring_run_id), running


def copy_of(kept: Kept) -> dict[str, Any]:
    """Return what a copy of a schedule is made of; a start that has passed would at once start the run due last."""
    body = dict(kept.body)
    cron = dict(body["trigger"]["cron_schedule"])
    if kept.start and kept.start <= datetime.datetime.now(datetime.UTC):
        del cron["start_time"]
    return {**body, "trigger": {"cron_schedule": cron}}


def disable(connection: Connection, kept: Kept) -> None:
    """Disable a schedule; one that is gone counts as disabled."""
    with suppress(NotFound):
        connection.recurring_runs.recurring_run_service_disable_recurring_run(kept.id)


def retire(connection: Connection, kept: Kept) -> list[RunState]:
    """Disable a schedule and delete it, unless it has runs that go on: they are returned.

    On older servers they would end with it (kubeflow/pipelines#7421).
    """
    disable(connection, kept)  # whatever it was a moment ago
    running = active_runs(connection, kept)
    if not running:
        delete(connection, kept.id)
    return running


def delete(connection: Connection, schedule_id: str) -> None:
    """Delete a schedule, whatever it is doing; one that is gone counts as deleted, and its runs go on."""
    with suppress(NotFound):
        # a run that began in this moment goes on
        connection.recurring_runs.recurring_run_service_delete_recurring_run(schedule_id, propagation_policy="ORPHAN")


def runs_of(connection: Connection, kept: Kept, limit: int) -> list[OwnRun]:
    """Return the newest runs of a schedule, the newest first."""
    answer = connection.runs.run_service_list_runs(
        filter=creation.equals("recurring_run_id", kept.id),
        sort_by="created_at desc",
        page_size=limit,
        **connection.place,
    )
    return [
        OwnRun(run_state.of(run), run.scheduled_at if _is_time(run.scheduled_at) else None) for run in answer.runs or []
    ]


def active_runs(connection: Connection, kept: Kept) -> list[RunState]:
    """Return the runs of a schedule that are not over; its concurrency is 1, so that they are among the newest."""
    return [own.run for own in runs_of(connection, kept, limit=20) if not own.run.is_over]


def _listed(connection: Connection) -> Iterator[V2beta1RecurringRun]:
    ask = connection.recurring_runs.recurring_run_service_list_recurring_runs
    for page in paging.pages(lambda token: ask(page_token=token, page_size=PAGE, **connection.place)):
        yield from page.recurring_runs or []


def _kept(found: V2beta1RecurringRun, record: ScheduleRecord) -> Kept:
    cron = found.trigger.cron_schedule
    times = {"start_time": cron.start_time, "end_time": cron.end_time}
    reference = found.pipeline_version_reference
    body = {
        "display_name": found.display_name,
        "pipeline_version_reference": {
            "pipeline_id": reference.pipeline_id,
            "pipeline_version_id": reference.pipeline_version_id,
        },
        "runtime_config": {"parameters": dict(found.runtime_config.parameters or {})},
        "trigger": {"cron_schedule": {"cron": cron.cron, **{key: at for key, at in times.items() if _is_time(at)}}},
        "max_concurrency": found.max_concurrency,
        "no_catchup": found.no_catchup,
        "experiment_id": found.experiment_id,
        "service_account": found.service_account,
    }
    return Kept(
        found.recurring_run_id,
        record,
        found.status == "ENABLED",
        found.created_at,
        {key: value for key, value in body.items() if value is not None},
    )


def _is_time(moment: datetime.datetime | None) -> bool:
    # servers write the beginning of 1970 for none
    return moment is not None and moment.year > 1970
