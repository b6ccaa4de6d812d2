"""The step after the benchmarks: verdict, then evidence, then MLflow, then the record of where they went."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from evalhub_components import atomic, canonical, environment
from evalhub_components.errors import EvalHubError, MissingExtra, TrackingUnavailable
from evalhub_components.evidence import destination
from evalhub_components.evidence.building import artifact
from evalhub_components.evidence.building.eval_card import eval_card
from evalhub_components.evidence.destination import Destination
from evalhub_components.records import recording, report, tracking
from evalhub_components.run_directory import LoadedRun, load
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import Verdict

_LOG = logging.getLogger(__name__)
_SPOOL = "mlflow-spool.json"


def aggregate(output: Path, *, mlflow_uri: str | None = None, mlflow_required: bool = False) -> Verdict:
    """Judge and publish the run in `output`, and return its verdict. Doing it again changes nothing.

    Args:
        output: the run directory.
        mlflow_uri: tracking URI; without one MLflow is not even imported.
        mlflow_required: an MLflow that does not work is an error, not a warning.

    Raises:
        EvalHubError: the run cannot be judged, or its evidence not be written, signed or pushed.
        TrackingUnavailable, MissingExtra: MLflow did not work and is required; everything else is in place.
    """
    output = output.absolute()
    run, verdict = _judge(output)
    goal = destination.of(run.record.exports)
    run = _about_the_model(run, goal)
    atomic.write_json(output / "eval-card.json", eval_card(run, verdict))
    built = artifact.build(run, verdict, goal.key, goal.repository)
    publication = _publish(run, verdict, built.digest, goal)
    refusal: TrackingUnavailable | MissingExtra | None = None
    if mlflow_uri:
        publication, refusal = _track(run, verdict, publication, mlflow_uri)
    atomic.write_json(output / "publication.json", publication.as_json())
    atomic.write_text(output / "report.md", report.render(run, verdict, publication))
    if refusal and mlflow_required:
        raise refusal
    for warning in publication.warnings:
        _LOG.warning("run=%s %s", run.record.run_id, warning)
    _LOG.info("run=%s verdict=%s evidence=%s", run.record.run_id, verdict.verdict, built.digest)
    return verdict


def _judge(output: Path) -> tuple[LoadedRun, Verdict]:
    """Write verdict.json, run.json, environment.json and a first report.md."""
    run = load(output)
    verdict = run.judge()
    decided = canonical.dumps(verdict.as_json())
    path = output / "verdict.json"
    if not path.exists() or path.read_bytes() != decided:
        # of an earlier verdict; a repeated step keeps its own, so that the evidence stays the same
        for stale in ("environment.json", "publication.json"):
            (output / stale).unlink(missing_ok=True)
        atomic.write_bytes(path, decided)
    if not (output / "environment.json").exists():
        atomic.write_json(output / "environment.json", environment.capture())
    completed = {"state": verdict.state, "completed_at": run.completed_at()}
    run = dataclasses.replace(run, record=run.record.model_copy(update=completed))
    atomic.write_json(output / "run.json", run.record.as_json())
    atomic.write_text(output / "report.md", report.render(run, verdict))
    return run, verdict


def _about_the_model(run: LoadedRun, goal: Destination) -> LoadedRun:
    """Return `run` with the manifest and digest of its model in the record, and write run.json anew."""
    record = run.record
    oci = record.exports.oci if record.exports else None
    # found once: the tag that names it may move, and the evidence of one run stays the same
    subject = record.subject or goal.subject(oci.coordinates if oci else None)
    if subject is None:
        return run
    if record.model_digest not in (None, subject.digest):
        raise EvalHubError(
            f"oci_subject: names {subject.digest}, but the model's digest is said to be {record.model_digest} "
            "(one of them is another model)"
        )
    record = record.model_copy(update={"subject": subject, "model_digest": subject.digest})
    atomic.write_json(run.path / "run.json", record.as_json())
    return dataclasses.replace(run, record=record)


def _publish(run: LoadedRun, verdict: Verdict, digest: str, goal: Destination) -> Publication:
    """Push the evidence where there is a registry, and return where it is.

    Raises:
        EvalHubError: it could not be pushed; the layout is complete, and publication.json says so.
    """
    layout = run.path / "evidence"
    # the folder of a pod is gone when anybody reads this
    place = str(layout) if run.record.engine != "kfp" else None
    kept = Publication(
        evidence_digest=digest,
        evidence_reference=place,
        evidence_address=f"{place}@{digest}" if place else None,
        evidence_key_id=goal.key.public.key_id if goal.key else None,
    )
    if not (goal.registry and goal.reference):
        return kept
    from evalhub_components.evidence.registry.push import push

    try:
        sent = push(layout, goal.registry)
    except EvalHubError as error:
        failed = kept.model_copy(update={"warnings": [f"not pushed to {goal.repository}: {error}"]})
        atomic.write_json(run.path / "publication.json", failed.as_json())
        atomic.write_text(run.path / "report.md", report.render(run, verdict, failed))
        raise
    _LOG.info("run=%s pushed=%s blobs=%d bytes=%d", run.record.run_id, goal.repository, sent.blobs, sent.bytes)
    oci = run.record.exports.oci if run.record.exports else None
    custom = oci.coordinates.oci_tag if oci and oci.coordinates else None
    tagged = dataclasses.replace(goal.reference, tag=custom or f"run-{run.record.run_id}", digest=digest)
    where = {
        "evidence_reference": str(tagged),
        "evidence_address": dataclasses.replace(tagged, tag=None).address,
        "evidence_pushed": True,
    }
    return kept.model_copy(update=where)


def _track(
    run: LoadedRun, verdict: Verdict, publication: Publication, uri: str
) -> tuple[Publication, TrackingUnavailable | MissingExtra | None]:
    """Return the publication with the MLflow run in it, or with a warning and the exception behind it."""
    content = recording.record(
        run,
        verdict,
        report=report.render(run, verdict, publication),
        evidence_digest=str(publication.evidence_digest),
        evidence_reference=publication.evidence_reference,
    )
    spool = run.path / _SPOOL
    try:
        tracked = tracking.send(content, uri)
    except (TrackingUnavailable, MissingExtra) as error:
        atomic.write_json(spool, {"tracking_uri": tracking.redacted(uri), **content.as_json()})
        warning = f"{error}; what would have been logged is in {_SPOOL}"
        return publication.model_copy(update={"warnings": [*publication.warnings, warning]}), error
    spool.unlink(missing_ok=True)
    where = {
        "mlflow_tracking_uri": tracked.uri,
        "mlflow_experiment_id": tracked.experiment_id,
        "mlflow_run_id": tracked.run_id,
    }
    return publication.model_copy(update=where), None
