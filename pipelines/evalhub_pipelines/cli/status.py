"""`evalhub-kfp status`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from evalhub_components.errors import EvalHubError
from evalhub_pipelines.cli import connecting, options, output, run_display, waiting

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection

_LONG = 300.0
"""Seconds of --timeout in which there is time to ask several times which run is the newest."""


@click.command(short_help="show what a run on Kubeflow Pipelines is doing, and its verdict")
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--watch", is_flag=True, help="show it until it is over, and exit with the verdict's status")
@connecting.connection
@waiting.options
@options.output_format
def status(run_id: str | None, watch: bool, connection: Connection, wanted: waiting.Wanted, form: str) -> None:
    """show the benchmarks of a run and, when it is over, the verdict that it recorded

    RUN is a run's id; without it the newest run of the namespace is shown.

    The verdict is read from the run's evidence, else from its MLflow run, never from its colour on the dashboard.

    Exit status: 0 when the state is known, whatever the verdict is. With --watch it is the verdict's, 2 when there is
    none to be read, and 124 when --timeout passed: the run goes on.
    """
    from evalhub_pipelines.client.runs import run_record, run_state

    if not watch and (wanted.reports or wanted.timeout is not None):
        raise click.UsageError("--report and --timeout are for --watch")
    if watch:
        run_record.check(**wanted.record)
    if run_id is None:  # an empty one is a mistake in a script
        hurried = wanted.timeout is not None and wanted.timeout < _LONG
        run_id = run_state.newest(connection.within(wanted.timeout) if hurried else connection)
    if watch:
        click.get_current_context().exit(int(waiting.follow(connection, run_id, wanted, form)))
    state = run_state.read(connection, run_id)
    record, problem = None, None
    if state.is_over:
        try:
            record = run_record.find(connection, state, **wanted.record)
        except EvalHubError as error:
            problem = str(error)
    with suppress(BrokenPipeError):
        if form != "table":
            output.emit(run_display.as_json(connection, state, record, problem), form)
            return
        run_display.show_state(connection, state)
        if record is not None:
            click.echo()
            run_display.show_record(record, key=waiting.text(wanted.record.get("key")))
            run_display.show_notes(state, record)
        elif problem is not None:
            click.echo(f"\nverdict   unknown\n{problem}")
