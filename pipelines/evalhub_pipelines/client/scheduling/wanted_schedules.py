"""What the schedules of a file ask of the server: resolved, and as the requests that make them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalhub_components import canonical
from evalhub_components.errors import InvalidDocument, Problem
from evalhub_pipelines import evaluation
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.client.runs import run_description
from evalhub_pipelines.client.scheduling import kept_schedules, schedule_file, schedule_times, time_zones
from evalhub_pipelines.client.scheduling.schedule_file import Schedule
from evalhub_pipelines.client.scheduling.schedule_record import ScheduleRecord
from evalhub_pipelines.client.submitting import inputs, pipeline_source
from evalhub_pipelines.client.submitting.pipeline_source import Pipeline
from evalhub_pipelines.client.submitting.pipeline_versions import Version
from evalhub_pipelines.evaluation import Evaluation
from evalhub_pipelines.manifests.tenant import RUNNER

SCHEDULED_TIME = "[[ScheduledTime]]"
"""What Kubeflow Pipelines is to replace by the moment that a run was due, in UTC, as 20260131020000."""

_KEYS = {"mlflow_uri": "mlflow.uri", "mlflow_secret": "mlflow.secret_ref"}
"""What a schedule calls parameters of its runs."""


@dataclass(frozen=True)
class Wanted:
    """A schedule of a file.

    Attributes:
        parameters: of its runs.
        record: its own words, as yet without a digest.
        notes: what whoever applies it should know.
    """

    schedule: Schedule
    pipeline: Pipeline
    parameters: Mapping[str, Any]
    record: ScheduleRecord
    notes: tuple[str, ...]

    @property
    def experiment(self) -> str:
        """Return the name of the experiment of its runs, chosen as for a run that is submitted."""
        return self.schedule.experiment or self.parameters.get("experiment_name") or self.pipeline.collection_id

    @property
    def times(self) -> tuple[datetime.datetime, ...]:
        """Return its next times."""
        return times_of(self.schedule)


def read(
    path: Path,
    catalog: Catalog,
    images: Mapping[str, str],
    secrets_and_hosts: tuple[tuple[str, ...], tuple[str, ...]],
    cluster_time_zone: str,
    environ: Mapping[str, str],
) -> list[Wanted]:
    """Return what a file says.

    Raises:
        InvalidDocument: with every problem of every schedule.
    """
    wanted: list[Wanted] = []
    problems: list[Problem] = []
    now = datetime.datetime.now(datetime.UTC)
    for where, schedule in schedule_file.read(path, environ=environ).items():
        try:
            time_zones.check_honoured(schedule.time_zone, cluster_time_zone)
        except ValueError as error:
            problems.append(Problem(f"{where}: time_zone", str(error)))
        ended = bool(schedule.end and schedule.end <= now)
        if not ended and not times_of(schedule):
            problems.append(Problem(f"{where}: end", f"is before the next time of cron, got {schedule.end}"))
        try:
            found = schedule_file.evaluation_of(schedule, path.parent, catalog, environ)
            server = schedule.mlflow.model_dump(exclude_none=True) if schedule.mlflow else {}
            parameters = inputs.of(
                found,
                mlflow_uri=server.get("uri"),
                mlflow_secret=server.get("secret_ref"),
                ca_config_map=schedule.ca_config_map,
                image_pull_secrets=list(secrets_and_hosts[0]),
            )
        except InvalidDocument as error:
            problems += [_placed(problem, where) for problem in error.problems]
            continue
        pipeline = pipeline_source.of_evaluation(found, images, *secrets_and_hosts)
        record = ScheduleRecord(
            schedule=schedule.name,
            digest="",
            time_zone=schedule.time_zone,
            collection=pipeline.collection_id,
            version=pipeline.collection_version,
            model=str(parameters["model_name"]),
            owner=run_description.owner_of(environ) or "",
        )
        notes = [f"ended at {schedule.end}: it starts nothing"] if ended else []
        notes += [*_notes(found, parameters), *pipeline.notes]
        parameters["scheduled_time"] = SCHEDULED_TIME
        wanted.append(Wanted(schedule, pipeline, parameters, record, tuple(notes)))
    if problems:
        raise InvalidDocument(problems)
    return wanted


def _notes(found: Evaluation, parameters: Mapping[str, Any]) -> list[str]:
    """Return what is to be known of runs that Kubeflow Pipelines itself starts: they have its names, and no words."""
    config = evaluation.need_config(found)
    lost = [key for key in ("description", "tags") if getattr(config, key)]
    said = [f"{', '.join(lost)}: runs of a schedule have none"] if lost else []
    bare = config.model_copy(update={"name": None, "description": None, "tags": []})
    return said + inputs.notes(replace(found, config=bare), parameters)


def _placed(problem: Problem, where: str) -> Problem:
    """Return a problem with its place in the file, unless it is one of another file."""
    key = problem.where.removeprefix("arguments: ")
    if ": " in key:
        return problem
    return Problem(f"{where}: {_KEYS.get(key, key)}", problem.what)


def times_of(schedule: Schedule) -> tuple[datetime.datetime, ...]:
    """Return the next times of a schedule."""
    return schedule_times.coming(schedule.cron, schedule.time_zone, schedule.start, schedule.end)


def request_of(one: Wanted, version: Version, experiment_id: str) -> tuple[dict[str, Any], ScheduleRecord]:
    """Return the request that makes a schedule, without its mode and description, and its words with their digest."""
    schedule = one.schedule
    body: dict[str, Any] = {
        "display_name": schedule.name,
        "pipeline_version_reference": version.reference,
        "runtime_config": {"parameters": dict(one.parameters)},
        "max_concurrency": "1",
        "no_catchup": True,
        "experiment_id": experiment_id,
        "service_account": schedule.service_account or RUNNER,
    }
    times = {"start_time": schedule.start, "end_time": schedule.end}
    decides = {
        **body,
        "cron": schedule.cron,
        "time_zone": schedule.time_zone,
        **{name: at.isoformat() for name, at in times.items() if at},
    }
    if schedule.start and schedule.start <= datetime.datetime.now(datetime.UTC):
        # it would at once start the run that was due last since then
        del times["start_time"]
    elif schedule.start:
        times["start_time"] = schedule.start - kept_schedules.START_LEAD
    trigger = {"cron": schedule.cron, **{name: at for name, at in times.items() if at}}
    return {**body, "trigger": {"cron_schedule": trigger}}, replace(one.record, digest=canonical.digest(decides))
