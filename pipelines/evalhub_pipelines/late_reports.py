"""The reports of a run that ended before; what waits for MLflow is sent first, so that they can name it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalhub_components.errors import EvalHubError
from evalhub_components.records import outputs
from evalhub_components.records.ci import github
from evalhub_components.records.outputs import Output
from evalhub_components.records.tracking import spool
from evalhub_components.schema.run import Publication
from evalhub_pipelines import run_source
from evalhub_pipelines.run_source import RunSource


@dataclass(frozen=True)
class Reported:
    """What was written.

    Attributes:
        outputs: the files, and for `tekton` the folder.
        publication: where the records of the run are now; None where nobody knows.
        delivered: whether the run was sent to MLflow just now.
        warnings: what still waits, and why; and what a CI runner wanted and did not get.
    """

    outputs: tuple[Output, ...]
    publication: Publication | None
    delivered: bool
    warnings: tuple[str, ...]


def report(
    source: RunSource,
    wanted: Sequence[Output] = (),
    *,
    mlflow_uri: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Reported:
    """Write the reports of a run, and send it to MLflow when that waits for it.

    Args:
        source: an opened run.
        wanted: what to write; by default report.md and report.html of the run directory.
        mlflow_uri: tracking server that what waits is sent to; by default the one that it waits for.
        environ: variables with which a CI runner asks for more; none by default.

    Raises:
        EvalHubError: a report cannot be written, or there is nowhere to write one; or the server in `mlflow_uri` did
            not take the run. Without `mlflow_uri` nobody asked for that, and it is a warning: the reports are written,
            and the run goes on waiting.
    """
    directory = source.directory
    if directory is None and mlflow_uri:
        raise EvalHubError(f"{source.name}: is evidence, in which nothing waits for MLflow (name the run directory)")
    if directory is None and not wanted and not github.is_wanted(environ or {}):
        raise EvalHubError(f"{source.name}: is evidence, which has no place for reports (say where: KIND=PATH)")
    outputs.check(wanted, directory)
    publication, delivered, warnings = source.publication, False, []
    if directory is not None and spool.waiting(directory):
        try:
            publication, delivered = deliver(source, directory, mlflow_uri), True
        except EvalHubError as error:
            if mlflow_uri:
                raise
            warnings.append(f"not sent to MLflow, and goes on waiting: {error}")
    if directory is not None and not wanted:
        wanted = [Output("markdown", directory / "report.md"), Output("html", directory / "report.html")]
    for output in wanted:
        outputs.write(output.kind, output.path, source.run, source.verdict, publication)
    warnings += github.append(source.run, source.verdict, publication, environ or {})
    return Reported(tuple(wanted), publication, delivered, tuple(warnings))


def deliver(source: RunSource, directory: Path, mlflow_uri: str | None = None) -> Publication:
    """Send to MLflow what waits in a run directory, and return where its records are now.

    Args:
        source: the run in `directory`, whose verdict is its own.
        directory: where it waits.
        mlflow_uri: tracking server; by default the one that it waits for.

    Raises:
        EvalHubError: MLflow did not take it; it goes on waiting.
    """
    sent = spool.deliver(directory, mlflow_uri)
    publication = run_source.located(sent, directory)
    if publication != sent:
        outputs.keep(source.run, source.verdict, publication)
    return publication


def deliver_waiting(directory: Path) -> Reported | None:
    """Send to MLflow what waits in a run directory, None when nothing does; trouble with that is a warning.

    Nothing is sent of a run whose verdict is not the one that its results give.
    """
    if not spool.waiting(directory):
        return None
    try:
        with run_source.opened(directory) as source:
            return Reported((), deliver(source, source.directory or directory), True, ())
    except EvalHubError as error:
        return Reported((), None, False, (f"not sent to MLflow, and goes on waiting: {error}",))
