"""`evalhub-kfp list`, `cancel`, `retry`, `delete` and `logs`: runs on Kubeflow Pipelines."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import click

from evalhub_pipelines.cli import connecting, output

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evalhub_pipelines.client.connection import Connection
    from evalhub_pipelines.client.runs.run_list import RunPage
    from evalhub_pipelines.client.runs.run_logs import Line
    from evalhub_pipelines.client.runs.run_state import Step

_STATES = ["pending", "running", "completed", "failed", "cancelled", "partially_failed"]


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> datetime.datetime | None:
    """Return the moment that a date is, or that was a duration ago; a date without a time zone is one of here."""
    from pydantic import TypeAdapter, ValidationError

    from evalhub_components.schema.document import Seconds

    if value is None:
        return None
    try:
        if not value.isdigit():  # 20261101 is a date
            ago = TypeAdapter[int](Seconds).validate_python(value)
            return datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=ago)
    except ValidationError:
        pass
    try:
        return datetime.datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(f"must be a duration such as 12h or 7d, or a date, got {value!r}") from None


@click.command("list", short_help="list runs on Kubeflow Pipelines")
@click.option("--state", type=click.Choice(_STATES), metavar="STATE", help=f"{', '.join(_STATES[:-1])}")
@click.option("--name", metavar="TEXT", help="text in the name of the run")
@click.option("--tag", metavar="TAG", help="tag of the evaluation")
@click.option("--experiment", metavar="NAME", help="experiment of Kubeflow Pipelines")
@click.option("--owner", metavar="NAME", help="who submitted it")
@click.option("--since", metavar="WHEN", callback=_moment, help="made within a duration such as 7d, or since a date")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, metavar="N", help="runs at most")
@click.option("--offset", type=click.IntRange(0), default=0, metavar="N", help="runs to leave out before")
@connecting.connection
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "yaml"]), default="table", help="form of the output"
)
def list_runs(connection: Connection, form: str, **wanted: Any) -> None:
    """list the runs of a namespace, the newest first

    Runs of other pipelines are listed too, without a collection. `failed` are runs whose gate was red as well as those
    that did not get so far; `results` tells which benchmarks failed. Archived runs are left out.
    """
    from evalhub_pipelines.client.runs import run_list

    found = run_list.list_runs(connection, **wanted)
    if form != "table":
        output.emit([run.as_json() for run in found.runs], form)
    else:
        _show(found)
    if found.has_more:
        click.echo(f"there are more: --offset {wanted['offset'] + wanted['limit']}", err=True)


def _show(found: RunPage) -> None:
    few = output.is_narrow(110)
    columns = ["run", "name", "state", "created", *([] if few else ["collection", "owner"])]
    rows = [
        [
            run.state.run_id,
            run.state.name,
            "cancelling" if run.state.is_cancelling else run.state.state,
            run.state.created_at.astimezone().strftime("%Y-%m-%d %H:%M") if run.state.created_at else "-",
            *([] if few else [run.said.collection or "-", run.said.owner or "-"]),
        ]
        for run in found.runs
    ]
    output.table(columns, rows)


@click.command(short_help="cancel a run on Kubeflow Pipelines")
@click.argument("run", metavar="RUN")
@connecting.connection
def cancel(run: str, connection: Connection) -> None:
    """cancel a run, and return without waiting until its pods are gone

    A cancelled run has no verdict. `retry` goes on with it. A run that is over already stays as it is, with status 0.
    """
    from evalhub_pipelines.client.runs import run_actions

    done = run_actions.cancel(connection, run)
    if done.is_new:
        click.echo(f"run {run} is being cancelled")
        click.echo(f"          see when it is: {output.command('evalhub-kfp', 'status', run, '--watch')}")
    elif done.state.is_over:
        click.echo(f"run {run} is over already: {done.state.state}")
    else:
        click.echo(f"run {run} is being cancelled already")


@click.command(short_help="let what failed of a run run again")
@click.argument("run", metavar="RUN")
@connecting.connection
def retry(run: str, connection: Connection) -> None:
    """let a run go on that failed or was cancelled: only tasks that had not succeeded run

    The run keeps its id and parameters: its verdict, evidence and MLflow run are recorded under that id, once. A
    benchmark whose framework failed is no failed task: its results say so, and only another run evaluates it again.
    """
    from evalhub_pipelines.client.runs import run_actions

    done = run_actions.retry(connection, run)
    click.echo(f"run {run} goes on")
    for step in done.again:
        click.echo(f"  {output.clean(step.title)}")
    if done.is_gate_alone:
        why = "nothing is evaluated again, and the verdict is what it was (submit it again for another run)"
        click.echo(f"warning: only its gate runs again: {why}", err=True)
    click.echo(f"          watch it: {output.command('evalhub-kfp', 'status', run, '--watch')}")


@click.command(short_help="delete the record of a run on Kubeflow Pipelines")
@click.argument("run", metavar="RUN")
@click.option("--force", is_flag=True, help="cancel a run that goes on, and delete it then")
@connecting.connection
def delete(run: str, force: bool, connection: Connection) -> None:
    """delete the record of a run at Kubeflow Pipelines, without asking

    Its evidence in a registry, its runs in MLflow and its artifacts in the object store are not touched.
    """
    from evalhub_pipelines.client.runs import run_actions

    done = run_actions.delete(connection, run, force=force)
    click.echo(f"run {run} is deleted at Kubeflow Pipelines (it was {done.state.state})")
    if done.evidence:
        click.echo(f"evidence  if it was pushed, it is still at {output.clean(done.evidence)}")
    else:
        click.echo("evidence  its inputs name no registry; its artifacts are still in the object store, under its id")


@click.command(short_help="print the logs of a run's tasks")
@click.argument("run", metavar="RUN")
@click.argument("task", metavar="[TASK]", required=False)
@click.option("-f", "--follow", is_flag=True, help="go on until the task is over")
@click.option("--tail", type=click.IntRange(1), metavar="N", help="only the last lines of each pod")
@connecting.connection
def logs(run: str, task: str | None, follow: bool, tail: int | None, connection: Connection) -> None:
    """print the logs of a task: of every pod it had, the first one first

    TASK is a benchmark's id, slug or number, the name of a task, or aggregate, gate or fingerprint. Without it the logs
    of all that failed are printed, or, when nothing did, the names of the tasks.

    Exit status: 0 printed, 2 error: nobody gives a log any more, among others.
    """
    from evalhub_pipelines.client.runs import run_logs, run_state

    if follow and task is None:
        raise click.UsageError("name the task to follow")
    if follow:
        _print(run_logs.logs(connection, run, task, tail=tail, follow=True))
        return
    state = run_state.read(connection, run)
    steps = run_logs.chosen(state, task)
    if steps:
        _print(run_logs.of_steps(connection, state, steps, tail))
        return
    if not state.steps:
        click.echo(f"nothing is known of the tasks of run {run} (it is {state.state})")
        return
    click.echo(f"nothing of run {run} failed (it is {state.state}); its tasks are:")
    _show_steps(state.steps)


def _show_steps(steps: Sequence[Step]) -> None:
    rows = [[step.benchmark_id or step.name, step.kind, step.state] for step in steps if step.kind != "group"]
    output.table(["task", "kind", "state"], rows)


def _print(lines: Iterable[Line]) -> None:
    """Print logs as they come, each under the name of its pod; what a stranger wrote does not steer a terminal."""
    import sys

    shown = None
    is_terminal = sys.stdout.isatty()
    for line in lines:
        if (line.task, line.pod) != shown:
            click.echo(f"{'' if shown is None else chr(10)}==> {output.clean(line.task)}, pod {line.pod} <==", err=True)
            shown = line.task, line.pod
        click.echo(_harmless(line.text) if is_terminal else line.text)


def _harmless(text: str) -> str:
    """Return a line as a terminal can show it: without escape sequences, tabs apart without control characters."""
    last = click.unstyle(text).rpartition("\r")[2]  # a progress bar writes over itself
    return "".join(character if character.isprintable() else " " for character in last.expandtabs())
