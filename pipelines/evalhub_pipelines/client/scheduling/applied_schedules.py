"""Schedule files applied: what a file says is what is on the server."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evalhub_components.errors import EvalHubError
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.client.runs.run_state import RunState
from evalhub_pipelines.client.scheduling import kept_schedules, time_zones, wanted_schedules
from evalhub_pipelines.client.scheduling.kept_schedules import Kept
from evalhub_pipelines.client.scheduling.schedule_record import ScheduleRecord
from evalhub_pipelines.client.scheduling.wanted_schedules import Wanted
from evalhub_pipelines.client.submitting import experiments, pipeline_versions

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection

Action = Literal["created", "replaced", "resumed", "paused", "unchanged"]


@dataclass(frozen=True)
class Applied:
    """What became of a schedule of a file.

    Attributes:
        action: what was done, or would be.
        recurring_run_id: None where nothing was made.
        next_times: at which its next runs start, in its time zone; empty where it is paused.
        notes: what whoever applied it should know.
    """

    name: str
    action: Action
    recurring_run_id: str | None
    time_zone: str
    next_times: tuple[datetime.datetime, ...]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "next_times": [time.isoformat() for time in self.next_times], "notes": list(self.notes)}


def apply(
    connection: Connection,
    path: str | Path,
    *,
    catalog: Path | None = None,
    images: Mapping[str, str] | None = None,
    image_pull_secrets: tuple[str, ...] = (),
    private_hosts: tuple[str, ...] = (),
    cluster_time_zone: str = "UTC",
    dry_run: bool = False,
    environ: Mapping[str, str] | None = None,
) -> list[Applied]:
    """Make the schedules on the server what a file says, and return what was done; the rest is left alone.

    Whoever is interrupted applies the file again.

    Args:
        path: of a schedule file.
        catalog: folder with `collections/` and `providers/` over the built-in ones.
        images: references by provider id, and by `components`, in place of the catalogue's.
        image_pull_secrets: names of secrets with registry credentials for the images.
        private_hosts: names of hosts in the cluster or beside it that test data may come from by git.
        cluster_time_zone: that the installation reads schedules in.
        dry_run: change nothing.
        environ: for `${VAR}` in the file and its evaluations; the process's environment by default.

    Raises:
        InvalidDocument: with every problem of the file and what it names; nothing was sent.
        Overtaken: somebody else applied the same schedule at the same time.
        EvalHubError: the server cannot be asked, or refuses.
    """
    try:
        time_zones.find(cluster_time_zone)
    except ValueError as error:
        raise EvalHubError(f"--cluster-time-zone: {error}") from None
    wanted = wanted_schedules.read(
        Path(path),
        Catalog.of(catalog),
        images or {},
        (image_pull_secrets, private_hosts),
        cluster_time_zone,
        os.environ if environ is None else environ,
    )
    ours, others = kept_schedules.all_of(connection)
    for one in wanted:
        if one.schedule.name in others:
            what = f"schedule {one.schedule.name}: there is one already that nobody applied (rename it, or delete that)"
            raise EvalHubError(what)
    versions = [pipeline_versions.find(connection, one.pipeline.name, one.pipeline.version) for one in wanted]
    # what cannot be compiled is known before anything is changed
    texts = [None if version else one.pipeline.text() for one, version in zip(wanted, versions, strict=True)]
    applied = []
    for one, version, text in zip(wanted, versions, texts, strict=True):
        experiment = experiments.find(connection, one.experiment)
        if not dry_run:
            experiment = experiment or experiments.make(connection, one.experiment)
            pipeline = one.pipeline
            # a schedule before this one may have uploaded it
            version = version or pipeline_versions.find(connection, pipeline.name, pipeline.version)
            version = version or pipeline_versions.upload(
                connection, pipeline.name, pipeline.version, text or "", pipeline.title, pipeline.description
            )
        request = wanted_schedules.request_of(one, version, experiment) if version and experiment else None
        applied.append(_applied(connection, one, request, ours.get(one.schedule.name, []), dry_run))
    return applied


def _applied(
    connection: Connection,
    one: Wanted,
    request: tuple[dict[str, Any], ScheduleRecord] | None,
    kept: list[Kept],
    dry_run: bool,
) -> Applied:
    """Bring one schedule to what is wanted; `request` is None where something that it needs is not made yet."""
    schedule, newest = one.schedule, kept[-1] if kept else None
    same = newest is not None and request is not None and newest.record.digest == request[1].digest
    action: Action
    if newest is None:
        action = "created"
    elif not same:
        action = "replaced"
    elif newest.enabled == schedule.enabled:
        action = "unchanged"
    else:
        action = "resumed" if schedule.enabled else "paused"
    made = newest.id if newest and action in ("unchanged", "paused") else None
    running: list[RunState] = []
    if not dry_run and request is not None:
        if newest and action in ("unchanged", "paused"):
            if action == "paused":
                kept_schedules.disable(connection, newest)
            running = [run for other in kept[:-1] for run in kept_schedules.retire(connection, other)]
        else:
            made, running = kept_schedules.replace(connection, *request, kept, enabled=schedule.enabled)
    notes = [*one.notes, *(f"run {run.run_id} of the schedule as it was goes on" for run in running)]
    return Applied(schedule.name, action, made, schedule.time_zone, one.times if schedule.enabled else (), tuple(notes))
