"""The schedules of a namespace: apply a file, see what they are doing, pause, resume, delete and run them now."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from evalhub_components.errors import EvalHubError
from evalhub_pipelines.client.runs import run_description
from evalhub_pipelines.client.runs.run_description import RunDescription
from evalhub_pipelines.client.scheduling import kept_schedules, schedule_times
from evalhub_pipelines.client.scheduling.applied_schedules import Applied as Applied
from evalhub_pipelines.client.scheduling.applied_schedules import apply as apply
from evalhub_pipelines.client.scheduling.kept_schedules import Kept, OwnRun
from evalhub_pipelines.client.scheduling.wanted_schedules import SCHEDULED_TIME
from evalhub_pipelines.client.submitting import inputs, new_run

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection

_MOMENTS = ("start", "end", "created_at")

RUNS = 10
"""How many of its runs a schedule is described with."""


@dataclass(frozen=True)
class ScheduleState:
    """A schedule on the server.

    Attributes:
        state: `replaced` is an older one of its name, deleted by the next `apply` when its last run is over.
        cron: six fields, the second first.
        next_times: at which its next runs start, in its time zone; empty unless it is enabled.
        collection, version, model: what its runs evaluate; the plan is in the name of the version.
        parameters: of its runs.
        runs: its newest runs, the newest first.
        warnings: what is not as it should be.
    """

    name: str
    recurring_run_id: str
    state: Literal["enabled", "paused", "replaced"]
    cron: str
    time_zone: str
    start: datetime.datetime | None
    end: datetime.datetime | None
    next_times: tuple[datetime.datetime, ...]
    collection: str
    version: str
    model: str
    owner: str
    created_at: datetime.datetime
    experiment_id: str
    service_account: str | None
    pipeline_id: str
    pipeline_version_id: str
    parameters: Mapping[str, Any]
    runs: tuple[OwnRun, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        moments = {key: at.isoformat() if at else None for key, at in found.items() if key in _MOMENTS}
        runs = [
            {
                "run_id": own.run.run_id,
                "name": own.run.name,
                "state": own.run.state,
                "scheduled_time": own.due.isoformat() if own.due else None,
                "created_at": own.run.created_at.isoformat() if own.run.created_at else None,
                "finished_at": own.run.finished_at.isoformat() if own.run.finished_at else None,
            }
            for own in self.runs
        ]
        times = [time.isoformat() for time in self.next_times]
        return {**found, **moments, "next_times": times, "runs": runs, "warnings": list(self.warnings)}


@dataclass(frozen=True)
class Started:
    """A run that a schedule was made to start now.

    Attributes:
        dashboard: where it is shown.
        mlflow: where it will be in MLflow, None where it is not logged.
        scheduled_time: what it has for the moment that it was due, in UTC.
    """

    run_id: str
    name: str
    dashboard: str
    mlflow: str | None
    scheduled_time: str

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def all_schedules(connection: Connection) -> list[ScheduleState]:
    """Return the schedules that were applied, by name, and those that they replaced while a run of them goes on.

    Raises:
        EvalHubError: the server cannot be asked, or refuses.
    """
    ours, _ = kept_schedules.all_of(connection)
    return [
        _state(one, kept, kept_schedules.runs_of(connection, one, 1))
        for kept in ours.values()
        for one in reversed(kept)
    ]


def describe(connection: Connection, name: str) -> ScheduleState:
    """Return a schedule with its newest runs.

    Raises:
        NotFound: there is none of that name.
        EvalHubError: the server cannot be asked, or refuses.
    """
    kept = kept_schedules.named(connection, name)
    return _state(kept[-1], kept, kept_schedules.runs_of(connection, kept[-1], RUNS))


def pause(connection: Connection, name: str) -> bool:
    """Start no more runs of a schedule until it is resumed or applied, and return whether it was enabled.

    A run that goes on is left alone.

    Raises:
        NotFound: there is none of that name.
        EvalHubError: the server cannot be asked, or refuses.
    """
    kept = kept_schedules.named(connection, name)
    for one in kept:
        # also those that are said to be disabled: the server's record of that lags behind its controller's
        kept_schedules.disable(connection, one)
    return any(one.enabled for one in kept)


def resume(connection: Connection, name: str) -> bool:
    """Start runs of a schedule again from its next time on, and return whether it was paused.

    Raises:
        NotFound: there is none of that name.
        Overtaken: somebody else replaced it at the same time.
        EvalHubError: the server cannot be asked, or refuses.
    """
    kept = kept_schedules.named(connection, name)
    newest = kept[-1]
    if newest.enabled:
        return False
    if newest.end and newest.end <= datetime.datetime.now(datetime.UTC):
        raise EvalHubError(f"schedule {name}: ended at {newest.end} (give it a later end in its file, and apply that)")
    kept_schedules.replace(connection, kept_schedules.copy_of(newest), newest.record, kept, enabled=True)
    return True


def delete(connection: Connection, name: str, *, force: bool = False) -> list[str]:
    """Delete a schedule, and return the ids of its runs that go on.

    Runs stay on record, and so does the version of the pipeline.

    Args:
        force: also while a run of it goes on.

    Raises:
        NotFound: there is none of that name.
        EvalHubError: a run goes on, the server cannot be asked, or refuses.
    """
    kept = kept_schedules.named(connection, name)
    running = _running(connection, name, kept, force)
    if not force:
        for one in kept:
            kept_schedules.disable(connection, one)
        # one may have begun in between
        running = _running(connection, name, kept, force)
    for one in kept:
        kept_schedules.delete(connection, one.id)
    return running


def run_now(connection: Connection, name: str, *, environ: Mapping[str, str] = os.environ) -> Started:
    """Start a run of a schedule now, as it would start one: same version, parameters and service account.

    It runs beside a run of the schedule, and does not belong to it: deleting the schedule leaves it alone.

    Args:
        environ: says who starts it.

    Raises:
        NotFound: there is no schedule of that name.
        EvalHubError: the server cannot be asked, or refuses.
    """
    newest = kept_schedules.named(connection, name)[-1]
    now = datetime.datetime.now(datetime.UTC)
    # as Kubeflow Pipelines writes the time of a run that was due
    moment = now.strftime("%Y%m%d%H%M%S")
    record = newest.record
    description = RunDescription(
        collection=record.collection,
        version=record.version,
        model=_model(newest),
        owner=run_description.owner_of(environ),
        submission=new_run.token(),
        description=f"schedule {name}, started by hand",
    )
    kept = ("pipeline_version_reference", "experiment_id", "service_account")
    body = {
        **{key: newest.body[key] for key in kept if key in newest.body},
        "display_name": f"{name} {now:%Y-%m-%d %H:%M:%S}",
        "description": description.text(),
        "runtime_config": {"parameters": _at(newest.parameters, moment)},
    }
    run_id = new_run.start(connection, body)
    uri, experiment = (newest.parameters.get(key) for key in ("mlflow_uri", "experiment_name"))
    mlflow = inputs.mlflow_page(uri, experiment or record.collection) if uri else None
    return Started(run_id, body["display_name"], connection.run_page(run_id), mlflow, moment)


def _model(one: Kept) -> str:
    return one.record.model or str(one.parameters.get("model_name", ""))


def _at(parameters: Mapping[str, Any], moment: str) -> dict[str, Any]:
    return {name: moment if value == SCHEDULED_TIME else value for name, value in parameters.items()}


def _running(connection: Connection, name: str, kept: list[Kept], force: bool) -> list[str]:
    """Return the runs that go on; without force they are an error."""
    running = [run.run_id for one in kept for run in kept_schedules.active_runs(connection, one)]
    if running and not force:
        raise EvalHubError(
            f"schedule {name}: its run {', '.join(running)} goes on (wait for it, or cancel it; pause stops further "
            "ones; --force deletes the schedule, and lets the run go on)"
        )
    return running


def _state(one: Kept, kept: list[Kept], runs: list[OwnRun]) -> ScheduleState:
    record, newest = one.record, one is kept[-1]
    state: Literal["enabled", "paused", "replaced"] = "replaced"
    if newest:
        state = "enabled" if one.enabled else "paused"
    warnings: list[str] = []
    times: tuple[datetime.datetime, ...] = ()
    if not newest and one.enabled:
        warnings.append("is enabled though there is a newer one: an apply was interrupted (apply the file again)")
    try:
        if one.enabled:
            times = schedule_times.coming(one.cron, record.time_zone, one.start, one.end)
        astray = schedule_times.astray(one.cron, record.time_zone, [own.due for own in runs if own.due])
    except ValueError as error:  # a time zone that this machine does not know
        warnings.append(f"time_zone: {error}")
        astray = None
    if astray:
        warnings.append(
            f"started a run that was due at {astray:%Y-%m-%d %H:%M:%S} UTC, which is no time of {one.cron} in "
            f"{record.time_zone}: the installation's time zone is another (apply with --cluster-time-zone)"
        )
    reference = one.body["pipeline_version_reference"]
    return ScheduleState(
        name=record.schedule,
        recurring_run_id=one.id,
        state=state,
        cron=one.cron,
        time_zone=record.time_zone,
        start=one.start,
        end=one.end,
        next_times=times,
        collection=record.collection,
        version=record.version,
        model=_model(one),
        owner=record.owner,
        created_at=one.created_at,
        experiment_id=one.body["experiment_id"],
        service_account=one.body.get("service_account"),
        pipeline_id=reference["pipeline_id"],
        pipeline_version_id=reference["pipeline_version_id"],
        parameters=one.parameters,
        runs=tuple(runs),
        warnings=tuple(warnings),
    )
