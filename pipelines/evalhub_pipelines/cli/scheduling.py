"""`evalhub-kfp schedule`: recurring runs of Kubeflow Pipelines."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalhub_pipelines.cli import connecting, options, output

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection

_WORDS = {
    "created": "created",
    "replaced": "replaced",
    "resumed": "resumed, as its file says",
    "paused": "paused, as its file says",
    "unchanged": "unchanged",
}


@click.group()
def schedule() -> None:
    """keep recurring runs on Kubeflow Pipelines as files say"""


@schedule.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="say what would be done, and change nothing")
@click.option(
    "--cluster-time-zone",
    metavar="ZONE",
    envvar="KF_PIPELINES_TIME_ZONE",
    default="UTC",
    help="time zone that the installation reads schedules in, else $KF_PIPELINES_TIME_ZONE",
)
@options.images
@options.catalog
@options.output_format
@connecting.connection
def apply(
    connection: Connection,
    file: Path,
    dry_run: bool,
    cluster_time_zone: str,
    image: tuple[str, ...],
    image_lock: Path | None,
    image_pull_secret: tuple[str, ...],
    private_host: tuple[str, ...],
    catalog_dir: Path | None,
    form: str,
) -> None:
    """make the schedules on the server what FILE says

    A schedule is known by its name; what FILE does not name is left alone. Paused ones are resumed, unless FILE says
    enabled: false.
    """
    from evalhub_pipelines import chosen_images
    from evalhub_pipelines.catalog import Catalog
    from evalhub_pipelines.client.scheduling import schedules

    applied = schedules.apply(
        connection,
        file,
        catalog=catalog_dir,
        images=chosen_images.of(image, image_lock, Catalog.of(catalog_dir)),
        image_pull_secrets=image_pull_secret,
        private_hosts=private_host,
        cluster_time_zone=cluster_time_zone,
        dry_run=dry_run,
    )
    if form != "table":
        output.emit([one.as_json() for one in applied], form)
        return
    for one in applied:
        would = "would be " if dry_run and one.action != "unchanged" else ""
        coming = f", next {_shown(one.next_times[0])}" if one.next_times else ""
        click.echo(f"{one.name}: {would}{_WORDS[one.action]}{coming}")
        for note in one.notes:
            click.echo(f"{one.name}: note: {output.clean(note)}")


@schedule.command("list")
@options.output_format
@connecting.connection
def list_schedules(connection: Connection, form: str) -> None:
    """list the schedules that were applied"""
    from evalhub_pipelines.client.scheduling import schedules

    found = schedules.all_schedules(connection)
    if form != "table":
        output.emit([one.as_json() for one in found], form)
        return
    columns = ["name", "state", "cron", "time zone", "next", "last run", "collection", "model"]
    output.table(
        columns,
        [
            [
                one.name,
                one.state,
                one.cron,
                one.time_zone,
                _shown(one.next_times[0]) if one.next_times else "-",
                one.runs[0].run.state if one.runs else "-",
                one.collection,
                one.model,
            ]
            for one in found
        ],
    )
    for one in found:
        _warn(one.name, one.warnings)


def _of_one(function: Callable[..., None]) -> click.Command:
    """Make a command about the schedule NAME."""
    name = function.__name__.replace("_", "-")
    return schedule.command(name)(click.argument("name")(connecting.connection(function)))


@_of_one
@options.output_format
def describe(connection: Connection, name: str, form: str) -> None:
    """show the schedule NAME: its next times, last runs and parameters"""
    from evalhub_pipelines.client.scheduling import schedules

    one = schedules.describe(connection, name)
    if form != "table":
        output.emit(one.as_json(), form)
        return
    rows = {
        "name": one.name,
        "state": one.state,
        "cron": f"{one.cron} (the second first)",
        "time zone": one.time_zone,
        "start": one.start and _shown(one.start),
        "end": one.end and _shown(one.end),
        "collection": f"{one.collection} version {one.version}",
        "version": one.pipeline_version_id,
        "service account": one.service_account,
        "applied by": one.owner,
    }
    output.table(["key", "value"], [[key, value] for key, value in rows.items() if value])
    click.echo("\nnext times")
    for time in one.next_times:
        click.echo(f"  {_shown(time)}")
    if not one.next_times:
        click.echo("  none")
    click.echo("\nparameters of its runs")
    output.table(["name", "value"], [[key, value] for key, value in sorted(one.parameters.items())])
    click.echo("\nlast runs")
    output.table(
        ["run", "state", "due", "name"],
        [[own.run.run_id, own.run.state, _shown(own.due) if own.due else "-", own.run.name] for own in one.runs],
    )
    _warn(name, one.warnings)


@_of_one
def pause(connection: Connection, name: str) -> None:
    """start no more runs of the schedule NAME until it is resumed, or applied"""
    from evalhub_pipelines.client.scheduling import schedules

    was_enabled = schedules.pause(connection, name)
    click.echo(f"{name}: {'paused' if was_enabled else 'was paused already'} (enabled: false in its file keeps it so)")


@_of_one
def resume(connection: Connection, name: str) -> None:
    """start runs of the schedule NAME again, from its next time on"""
    from evalhub_pipelines.client.scheduling import schedules

    was_paused = schedules.resume(connection, name)
    click.echo(f"{name}: {'resumed' if was_paused else 'was not paused'}")


@_of_one
@click.option("--force", is_flag=True, help="also while a run of it goes on; the run is left alone")
def delete(connection: Connection, name: str, force: bool) -> None:
    """delete the schedule NAME; its runs stay on record"""
    from evalhub_pipelines.client.scheduling import schedules

    running = schedules.delete(connection, name, force=force)
    click.echo(f"{name}: deleted")
    for run_id in running:
        click.echo(f"{name}: its run {run_id} goes on ({output.command('evalhub-kfp', 'cancel', run_id)} ends it)")


@_of_one
@options.output_format
def run_now(connection: Connection, name: str, form: str) -> None:
    """start a run of the schedule NAME now, with its version and parameters"""
    from evalhub_pipelines.client.scheduling import schedules

    started = schedules.run_now(connection, name)
    if form != "table":
        output.emit(started.as_json(), form)
        return
    for key, value in started.as_json().items():
        if value:
            click.echo(f"{key.replace('_', ' '):<14} {output.clean(value)}")


def _shown(moment: datetime.datetime) -> str:
    """Return a moment in its own zone, and in UTC where that is another."""
    utc = f"{moment.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"
    return utc if not moment.utcoffset() else f"{moment:%Y-%m-%d %H:%M:%S %Z} ({utc})"


def _warn(name: str, warnings: Iterable[str]) -> None:
    for warning in warnings:
        click.echo(f"warning: {name}: {output.clean(warning)}", err=True)
