"""`evalhub-kfp run`: the whole evaluation on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalhub_pipelines.cli import options, progress
from evalhub_pipelines.cli.judging import errors_reported, exit_with, show_run, write_reports
from evalhub_pipelines.cli.planning import evaluation_of

if TYPE_CHECKING:
    from evalhub_components.records.outputs import Output


@click.command(short_help="run an evaluation on this machine")
@options.source
@options.model
@options.judge
@click.option("--name", help="name of this evaluation")
@click.option("--output", type=click.Path(path_type=Path), default=Path("runs"), help="parent of the run directory")
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN_DIR", help="go on with this run instead")
@click.option("--accept-fingerprint", is_flag=True, help="resume although another model answers than before")
@click.option("--engine", type=click.Choice(["process", "container"]), default="process", help="what benchmarks run in")
@click.option("--engine-command", default="docker", metavar="COMMAND", help="docker, podman, or the path of one")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="framework processes at once  [default: cores]")
@click.option("--mlflow-uri", metavar="URI", help="tracking server  [default: $MLFLOW_TRACKING_URI, else mlflow.db]")
@click.option("--no-mlflow", is_flag=True, help="do not log to MLflow")
@click.option("--quiet", is_flag=True, help="no progress")
@options.publishing
@options.reports
@options.catalog
@options.output_format
def run(
    source: str | None,
    provider: str | None,
    benchmarks: tuple[str, ...],
    num_examples: int | None,
    model_url: str | None,
    model_name: str | None,
    model_secret: str | None,
    model_service_account: bool,
    model_digest: str | None,
    judge_url: str | None,
    judge_name: str | None,
    judge_secret: str | None,
    judge_service_account: bool,
    name: str | None,
    output: Path,
    resume: Path | None,
    accept_fingerprint: bool,
    engine: str,
    engine_command: str,
    jobs: int | None,
    mlflow_uri: str | None,
    no_mlflow: bool,
    quiet: bool,
    push_to: str | None,
    registry_secret: str | None,
    signing_secret: str | None,
    reports: Sequence[Output],
    catalog_dir: Path | None,
    form: str,
) -> None:
    """run an eval.yaml, a collection, or benchmarks of a provider, and exit with the verdict's status

    SOURCE is an eval.yaml, a collection's file, or a collection's id as in `evalhub-kfp collections list`.
    A pass whose --report cannot be written exits with 2; every other verdict keeps its status.
    """
    from evalhub_components.records import outputs

    tracking = None if no_mlflow else mlflow_uri or "default"
    containers = engine_command if engine == "container" else None
    if resume is not None:
        publishing = (push_to, registry_secret, signing_secret)
        of_model = (model_url, model_name, model_secret, model_service_account, model_digest)
        of_judge = (judge_url, judge_name, judge_secret, judge_service_account)
        if any((source, provider, benchmarks, num_examples, name, *of_model, *of_judge, *publishing)):
            raise click.UsageError("--resume goes on with a run as it was begun: give nothing else to evaluate")
        outputs.prepare(reports, resume)
        with _shown_in_any_case(reports, form), progress.shown(None, quiet) as listener:
            from evalhub_pipelines import api

            finished = api.resume(
                resume,
                accept_fingerprint=accept_fingerprint,
                catalog=catalog_dir,
                jobs=jobs,
                mlflow_uri=tracking,
                engine=containers,
                listener=listener,
            )
    else:
        outputs.prepare(reports)
        with errors_reported(reports):
            changes: dict[str, Any] = {"name": name} if name else {}
            changes |= options.exports(push_to, registry_secret, signing_secret)
            judge = options.model_keys(judge_url, judge_name, judge_secret, service_account=judge_service_account)
            changes |= {"judge": judge} if judge else {}
            model = options.model_keys(
                model_url, model_name, model_secret, model_digest, service_account=model_service_account
            )
            found = evaluation_of(source, provider, benchmarks, catalog_dir, model, changes)
        with _shown_in_any_case(reports, form), progress.shown(found.plan, quiet) as listener:
            from evalhub_pipelines import api

            finished = api.run(
                found,
                num_examples=num_examples,
                catalog=catalog_dir,
                output=output,
                jobs=jobs,
                mlflow_uri=tracking,
                engine=containers,
                listener=listener,
            )
    # who reads a pipe may go early; the exit status stays the verdict's
    with suppress(BrokenPipeError):
        show_run(finished, form)
    exit_with(finished.verdict, complete=write_reports(finished.directory, reports, form))


@contextmanager
def _shown_in_any_case(reports: Sequence[Output], form: str) -> Iterator[None]:
    """Show the verdict of a run, and write its reports, also when its records did not get where they should."""
    from evalhub_pipelines import api

    try:
        with errors_reported(reports):
            yield
    except api.Unpublished as error:
        with suppress(BrokenPipeError):
            show_run(api.Run(error.directory, error.verdict, []), form)
        write_reports(error.directory, reports, form)
        raise
