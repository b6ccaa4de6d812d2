"""`evalhub-kfp judge`, and how a verdict is shown."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from evalhub_pipelines.cli import options, output

if TYPE_CHECKING:
    from evalhub_components.schema.verdict import BenchmarkTest, Verdict
    from evalhub_pipelines.api import Run


@click.command(short_help="compute the verdict of a run again")
@click.argument("run_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--config", metavar="SOURCE", help="eval.yaml, collection file or id with other criteria")
@click.option(
    "--output", "target", type=click.Path(path_type=Path), metavar="FILE", help="also write verdict.json here"
)
@options.catalog
@options.output_format
def judge(run_dir: Path, config: str | None, target: Path | None, catalog_dir: Path | None, form: str) -> None:
    """compute the verdict of a run again from its results, and exit with its status"""
    from evalhub_components import atomic
    from evalhub_pipelines import api

    verdict = api.judge(run_dir, config=config, catalog=catalog_dir)
    if target is not None:
        atomic.write_json(target, verdict.as_json())
    # who reads a pipe may go early; the exit status stays the verdict's
    with suppress(BrokenPipeError):
        if form == "table":
            show(verdict)
        else:
            output.emit(verdict.as_json(), form)
    exit_with(verdict)


def show_run(run: Run, form: str) -> None:
    """Print a run's verdict, and where everything it left is."""
    from evalhub_components import atomic

    publication = atomic.read_json(run.directory / "publication.json")
    if form != "table":
        value = {"run_directory": str(run.directory), "verdict": run.verdict.as_json(), "publication": publication}
        output.emit(value, form)
        return
    show(run.verdict)
    click.echo()
    folder = output.near(run.directory)
    click.echo(f"report    {folder}/report.md")
    if publication["mlflow_run_id"]:
        uri = publication["mlflow_tracking_uri"]
        if uri.startswith("sqlite:///"):
            uri = f"sqlite:///{output.near(Path(uri.removeprefix('sqlite:///')))}"
        click.echo(f"mlflow    run {publication['mlflow_run_id']} of {uri}")
        if uri.startswith("sqlite:///"):
            click.echo(f"          look at it: {output.program('mlflow')} ui --backend-store-uri {uri}")
    _show_evidence(publication, folder)
    for warning in run.warnings:
        click.echo(f"warning   {output.clean(warning)}")


def _show_evidence(publication: dict[str, Any], folder: str) -> None:
    program, digest = output.program("evalhub-kfp"), publication["evidence_digest"]
    place = publication["evidence_reference"] if publication["evidence_pushed"] else f"{folder}/evidence"
    address = publication["evidence_address"] if publication["evidence_pushed"] else f"{folder}/evidence@{digest}"
    key = " --key public.key" if publication["evidence_key_id"] else ""
    click.echo(f"evidence  {place}")
    if not publication["evidence_pushed"]:
        click.echo(f"          its digest: {digest}")
    click.echo(f"          verify it: {program} verify {address}{key}")
    click.echo(f"          judge it again: {program} judge {folder}")


def show(verdict: Verdict) -> None:
    """Print a verdict: a line a benchmark with its reason, then the decision."""
    columns = ["#", "benchmark", "metric", ">score", ">normalised", ">threshold", ">weight", "result", "reason"]
    several = len({test.provider_id for test in verdict.benchmarks}) > 1
    rows = [_row(test, several) for test in verdict.benchmarks]
    if output.is_narrow(130):
        # what decides stays: a name cut short tells nobody which benchmark failed
        kept = [columns.index(name) for name in ("#", "benchmark", ">score", ">threshold", "result", "reason")]
        columns, rows = [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]
    output.table(columns, rows)
    click.echo()
    limited = " (limited: fewer examples than the collection asks for)" if verdict.limited else ""
    output.headline(verdict.verdict, limited)
    for reason in verdict.reasons:
        click.echo(f"  {output.clean(reason)}")
    if verdict.interval is not None and verdict.probability is not None:
        # the interval is a normal approximation and may leave the scale; no score does
        low, high = (min(max(bound, 0.0), 1.0) for bound in verdict.interval)
        click.echo(
            f"  one-sided {verdict.confidence:.0%} bounds {low:.4f} and {high:.4f}; "
            f"probability that the true score reaches {verdict.threshold:g}: {verdict.probability:.3f}"
        )


def _row(test: BenchmarkTest, with_provider: bool) -> list[Any]:
    if test.score is None:
        result = "error" if test.weight > 0 or test.required else "no score"
    else:
        result = "scored" if test.passed is None else "pass" if test.passed else "fail"
    marks = ["required"] * test.required + ["advisory"] * (test.weight == 0 and not test.required)
    return [
        f"{test.benchmark_index:03d}",
        f"{test.provider_id}/{test.benchmark_id}" if with_provider else test.benchmark_id,
        test.metric + (" (lower is better)" if test.lower_is_better else ""),
        output.number(test.score),
        output.number(test.normalized_score),
        output.number(test.threshold) + (" norm." if test.threshold_source == "collection" else ""),
        f"{test.weight:g}" + (f" {', '.join(marks)}" if marks else ""),
        result,
        test.reason,
    ]


def exit_with(verdict: Verdict) -> NoReturn:
    """Exit with the status of a verdict."""
    from evalhub_components import gate

    click.get_current_context().exit(int(gate.exit_status(verdict.verdict)))
