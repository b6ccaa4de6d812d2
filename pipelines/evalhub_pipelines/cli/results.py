"""`evalhub-kfp results`."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalhub_pipelines.cli import connecting, options, output

if TYPE_CHECKING:
    from evalhub_pipelines.result_rows import Results

_COLUMNS = ("benchmark", "provider", "metric", "value", "benchmark_index", "primary_score", "threshold", "pass")
"""Of CSV: EvalHub's four, then ours; the last three only with the primary metric."""


_RESULTS = {True: "pass", False: "fail", None: "-"}


@click.command(short_help="print the results of a run under EvalHub's keys")
@click.argument("run", metavar="RUN|RUN_DIR|EVIDENCE")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "yaml", "csv"]), default="table", help="form of the output"
)
@click.option("--evidence", metavar="HOST/REPOSITORY", help="where a run's evidence is seen from here, else as the run")
@click.option("--tracking-uri", metavar="URI", help="MLflow as seen from here  [default: $MLFLOW_TRACKING_URI]")
@options.registry
@connecting.place
def results(
    run: str,
    form: str,
    evidence: str | None,
    tracking_uri: str | None,
    registry_secret: str | None,
    ca: Path | None,
    place: connecting.Place,
) -> None:
    """print the results of a run: of a run directory, evidence, or the id of a run of Kubeflow Pipelines

    JSON and YAML are a list with an entry a benchmark, CSV has a row a metric, each with the keys that EvalHub has. The
    results of a run of Kubeflow Pipelines are read from its evidence, once it is over.

    Exit status: 0 printed, whatever the verdict is, 1 evidence was tampered with, 2 error.
    """
    from evalhub_pipelines import result_rows

    found = result_rows.read(
        run, place.connection, evidence=evidence, tracking_uri=tracking_uri, registry_secret=registry_secret, ca=ca
    )
    for note in found.notes:
        click.echo(f"warning: {output.clean(note)}", err=True)
    if form == "table":
        _show(found)
    elif form == "csv":
        click.echo(_as_csv(found), nl=False)
    else:
        output.emit(found.benchmarks, form)


def _show(found: Results) -> None:
    from evalhub_components.scoring.comparison import shown

    rows = []
    for metric in found.metrics():
        value = output.number(metric.value) if isinstance(metric.value, float) else metric.value
        row = [metric.benchmark, metric.provider, metric.metric, "-" if value is None else value, "", ""]
        if metric.test:
            row[-2:] = output.number(metric.test["threshold"]), _RESULTS[metric.test["pass"]]
        rows.append(row)
    output.table(["benchmark", "provider", "metric", ">value", ">threshold", "result"], rows)
    click.echo()
    score = "no score" if found.verdict.score is None else f"score {shown(found.verdict.score)}"
    output.headline(found.verdict.verdict, f" ({score}, threshold {shown(found.verdict.threshold)})")
    if found.mlflow_experiment_url:
        click.echo(f"MLflow experiment: {output.clean(found.mlflow_experiment_url)}")


def _as_csv(found: Results) -> str:
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for metric in found.metrics():
        decided = [_scalar(metric.test[key]) if metric.test else "" for key in ("primary_score", "threshold", "pass")]
        named = [output.clean(text) for text in (metric.benchmark, metric.provider, metric.metric)]
        writer.writerow([*named, _scalar(metric.value), metric.benchmark_index, *decided])
    return page.getvalue()


def _scalar(value: Any) -> Any:
    """Return a value as CSV has it: true as in JSON, a text on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    return output.clean(value) if isinstance(value, str) else value
