"""`evalhub-kfp judge`, and how a verdict is shown."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from evalhub_components.errors import EvalHubError, ExitStatus
from evalhub_pipelines.cli import options, output

if TYPE_CHECKING:
    from evalhub_components.records.outputs import Output
    from evalhub_components.schema.verdict import BenchmarkTest, Verdict
    from evalhub_pipelines.api import Run
    from evalhub_pipelines.judged_run import JudgedRun, Written


@click.command(short_help="compute the verdict of a run again")
@click.argument("run_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--config", metavar="SOURCE", help="eval.yaml, collection file or id with other criteria")
@options.reports
@options.catalog
@options.output_format
def judge(
    run_dir: Path,
    config: str | None,
    reports: Sequence[Output],
    catalog_dir: Path | None,
    form: str,
) -> None:
    """compute the verdict of a run again from its results, and exit with its status

    Under other criteria every report says so. Without them, a run that still waits for MLflow is sent there; where that
    fails it goes on waiting, which is a warning.

    Exit status: the verdict's. A pass whose --report cannot be written is 2.
    """
    from evalhub_components.records import outputs
    from evalhub_pipelines import api, judged_run

    # the run's own report is not to say what other criteria give
    outputs.prepare(reports, run_dir if config is None else None)
    with errors_reported(reports):
        plan = api.plan(config, catalog=catalog_dir) if config is not None else None
        if plan is None:
            _deliver(run_dir, form)
        judged = judged_run.judged(run_dir, plan)
    verdict = judged.verdict
    # who reads a pipe may go early; the exit status stays the verdict's
    with suppress(BrokenPipeError):
        if form == "table":
            show(verdict)
        else:
            output.emit(verdict.as_json(), form)
        if judged.own is not None and judged.publication is not None:
            click.echo(f"warning: {judged.publication.warnings[0]}", err=True)
    exit_with(verdict, complete=write_reports(run_dir, reports, form, judged))


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
    click.echo(f"report    {folder}/report.html")
    if publication["mlflow_run_id"]:
        uri = publication["mlflow_tracking_uri"]
        if uri.startswith("sqlite:///"):
            uri = f"sqlite:///{output.near(Path(uri.removeprefix('sqlite:///')))}"
        click.echo(f"mlflow    run {publication['mlflow_run_id']} of {uri}")
        if uri.startswith("sqlite:///"):
            click.echo(f"          look at it: {output.command('mlflow', 'ui', '--backend-store-uri', uri)}")
    _show_evidence(publication, folder)
    for warning in run.warnings:
        click.echo(f"warning   {output.clean(warning)}")


def _show_evidence(publication: dict[str, Any], folder: str) -> None:
    digest = publication["evidence_digest"]
    place = publication["evidence_reference"] if publication["evidence_pushed"] else f"{folder}/evidence"
    address = publication["evidence_address"] if publication["evidence_pushed"] else f"{folder}/evidence@{digest}"
    key = ["--key", "public.key"] if publication["evidence_key_id"] else []
    click.echo(f"evidence  {place}")
    if not publication["evidence_pushed"]:
        click.echo(f"          its digest: {digest}")
    click.echo(f"          verify it: {output.command('evalhub-kfp', 'verify', address, *key)}")
    click.echo(f"          judge it again: {output.command('evalhub-kfp', 'judge', folder)}")


def write_reports(directory: Path, reports: Sequence[Output], form: str, judged: JudgedRun | None = None) -> bool:
    """Write the reports that were asked for, and a runner's own files; return whether all of the former are there."""
    from evalhub_pipelines import judged_run

    if not judged_run.is_wanted(reports, os.environ):
        return True
    written = judged_run.write(judged or judged_run.judged(directory), reports, os.environ)
    with suppress(BrokenPipeError):
        if form == "table" and written.outputs:
            click.echo()
            for each in written.outputs:
                click.echo(f"{each.kind:<10}{output.clean(output.near(each.path))}")
        _complain(written)
    return not written.problems


@contextmanager
def errors_reported(reports: Sequence[Output], run_id: str = "") -> Iterator[None]:
    """Tell CI of an error that leaves no verdict: whoever reads reports would find none, and take that for nothing.

    Args:
        run_id: of the run, where one was started: it is all that leads back to it.
    """
    from evalhub_pipelines import api, judged_run

    try:
        yield
    except api.Unpublished:
        raise  # there is a verdict, and reports of it
    except (EvalHubError, click.UsageError) as error:
        if judged_run.is_wanted(reports, os.environ):
            message = error.format_message() if isinstance(error, click.UsageError) else str(error)
            with suppress(BrokenPipeError):
                _complain(judged_run.write_error(message, reports, os.environ, run_id))
        raise


def _complain(written: Written) -> None:
    for problem in written.problems:
        click.echo(f"error: {output.clean(problem)}", err=True)
    for warning in written.warnings:
        click.echo(f"warning: {output.clean(warning)}", err=True)


def _deliver(run_dir: Path, form: str) -> None:
    """Send to MLflow what waits for it."""
    from evalhub_pipelines import late_reports

    done = late_reports.deliver_waiting(run_dir)
    if done is None:
        return
    with suppress(BrokenPipeError):
        if done.publication:
            where = f"run {done.publication.mlflow_run_id} of {done.publication.mlflow_tracking_uri}"
            click.echo(f"mlflow    sent: {output.clean(where)}", err=form != "table")
        for warning in done.warnings:
            click.echo(f"warning: {output.clean(warning)}", err=True)


def show(verdict: Verdict) -> None:
    """Print a verdict: a line a benchmark with its reason, then the decision."""
    from evalhub_components.records import wording

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
    for reason in wording.reasons(verdict):
        click.echo(f"  {output.clean(reason)}")
    if verdict.interval is not None and verdict.probability is not None:
        low, high = wording.interval(verdict.interval)
        click.echo(
            f"  one-sided {wording.confidence(verdict)} bounds {low:.4f} and {high:.4f}; "
            f"probability that the true score reaches {verdict.threshold:g}: {wording.probability(verdict.probability)}"
        )


def _row(test: BenchmarkTest, with_provider: bool) -> list[Any]:
    from evalhub_components.records import wording

    return [
        f"{test.benchmark_index:03d}",
        f"{test.provider_id}/{test.benchmark_id}" if with_provider else test.benchmark_id,
        test.metric + (" (lower is better)" if test.lower_is_better else ""),
        output.number(test.score),
        output.number(test.normalized_score),
        output.number(test.threshold) + (" norm." if test.threshold_source == "collection" else ""),
        f"{test.weight:g} {wording.mark(test)}".rstrip(),
        wording.outcome(test),
        test.reason,
    ]


def exit_with(verdict: Verdict, *, complete: bool = True) -> NoReturn:
    """Exit with the status of a verdict; a pass without every report that was asked for is an error."""
    from evalhub_components import gate

    status = gate.exit_status(verdict.verdict)
    if status is ExitStatus.PASS and not complete:
        status = ExitStatus.ERROR
    click.get_current_context().exit(int(status))
