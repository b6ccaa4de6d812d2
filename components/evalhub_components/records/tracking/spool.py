"""What MLflow did not take: kept in the run directory until it does."""

from __future__ import annotations

from pathlib import Path

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError
from evalhub_components.records import outputs, tracking
from evalhub_components.records.tracking import Tracked
from evalhub_components.records.tracking.recording import Recording
from evalhub_components.run_directory import load, parse
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import Verdict

NAME = "mlflow-spool.json"


class Spool(Recording):
    """`mlflow-spool.json`: a recording, and where it was to go; without credentials."""

    tracking_uri: str


def waiting(run_directory: Path) -> bool:
    """Return whether something waits there to be sent to MLflow."""
    return (run_directory / NAME).is_file()


def keep(run_directory: Path, recording: Recording, uri: str) -> None:
    """Keep what was to go to the MLflow at `uri`."""
    atomic.write_json(run_directory / NAME, {"tracking_uri": tracking.address(uri), **recording.as_json()})


def drop(run_directory: Path) -> None:
    """Forget what waits."""
    (run_directory / NAME).unlink(missing_ok=True)


def deliver(run_directory: Path, uri: str | None = None) -> Publication:
    """Send what waits, say so in publication.json and the reports, and return the former.

    Whenever this is cut short it can be done again, and adds nothing twice.

    Args:
        run_directory: of the run.
        uri: of another MLflow than the one it was to go to; credentials come from the environment.

    Raises:
        EvalHubError: nothing waits, or it cannot be read.
        MissingExtra: mlflow is not installed.
        TrackingUnavailable: MLflow still does not work; everything is as it was.
    """
    if not waiting(run_directory):
        raise EvalHubError(f"{run_directory}: nothing waits there to be sent to MLflow")
    kept = parse(Spool, atomic.read_json(run_directory / NAME), str(run_directory / NAME))
    run = load(run_directory)
    where = run_directory / "verdict.json"
    verdict = parse(Verdict, atomic.read_json(where), str(where))
    where = run_directory / "publication.json"
    publication = parse(Publication, atomic.read_json(where), str(where))
    tracked = tracking.send(kept, uri or kept.tracking_uri)
    publication = published(publication, tracked)
    atomic.write_json(where, publication.as_json())
    outputs.keep(run, verdict, publication)
    drop(run_directory)
    return publication


def published(publication: Publication, tracked: Tracked) -> Publication:
    """Return `publication` with the MLflow run in it, and without the warning that there is none."""
    others = [text for text in publication.warnings if NAME not in text]
    where = {
        "mlflow_tracking_uri": tracked.uri,
        "mlflow_experiment_id": tracked.experiment_id,
        "mlflow_run_id": tracked.run_id,
        "warnings": [*others, tracked.warning] if tracked.warning else others,
    }
    return publication.model_copy(update=where)


def refused(publication: Publication, error: EvalHubError, *, kept: bool) -> Publication:
    """Return `publication` with a warning that MLflow has not all of the run, and where that is instead."""
    rest = f"; what would have been logged is in {NAME}" if kept else "; not everything was logged"
    return publication.model_copy(update={"warnings": [*publication.warnings, f"{error}{rest}"]})
