"""`evalhub-kfp report`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalhub_pipelines.cli import options, output

if TYPE_CHECKING:
    from evalhub_components.records.outputs import Output


@click.command(short_help="write the reports of a run again")
@click.argument("run", metavar="RUN_DIR|EVIDENCE")
@options.reports
@click.option("--mlflow-uri", metavar="URI", help="send what waits for MLflow here  [default: where it was to go]")
@options.registry
def report(
    run: str, reports: Sequence[Output], mlflow_uri: str | None, registry_secret: str | None, ca: Path | None
) -> None:
    """write report.md and report.html of a run directory again; of evidence, print report.md

    With --report only those are written. A step of GitHub Actions gets its summary and outputs as well. The verdict is
    the one that the run has: one that its results do not give is an error, not a report. A run that still waits for
    MLflow is sent there; where that fails it goes on waiting, which is a warning, or with --mlflow-uri an error.

    Exit status: 0 the reports are written, whatever the verdict is, 1 evidence was tampered with, 2 error.
    """
    from evalhub_components.records.ci import github
    from evalhub_components.records.report import render
    from evalhub_pipelines import late_reports, run_source

    with run_source.opened(run, registry_secret=registry_secret, ca=ca) as source:
        if source.directory is None and not reports and not mlflow_uri:
            click.echo(render(source.run, source.verdict), nl=False)
            if not github.is_wanted(os.environ):
                return
        done = late_reports.report(source, reports, mlflow_uri=mlflow_uri, environ=os.environ)
    for written in done.outputs:
        click.echo(f"{written.kind:<10}{output.clean(output.near(written.path))}")
    if done.delivered and done.publication:
        where = f"run {done.publication.mlflow_run_id} of {done.publication.mlflow_tracking_uri}"
        click.echo(f"mlflow    sent: {output.clean(where)}")
    elif mlflow_uri:
        click.echo("mlflow    nothing waits to be sent")
    for warning in done.warnings:
        click.echo(f"warning: {output.clean(warning)}", err=True)
