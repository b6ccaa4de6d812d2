"""The step after the benchmarks: verdict, then evidence, then MLflow, then the record of where they went."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path

from evalhub_components import atomic, canonical, environment
from evalhub_components.errors import EvalHubError, MissingExtra, TrackingUnavailable
from evalhub_components.evidence import destination
from evalhub_components.evidence.building import artifact
from evalhub_components.evidence.building.eval_card import eval_card
from evalhub_components.evidence.destination import Destination
from evalhub_components.records import html, outputs, report, tracking
from evalhub_components.records.tracking import recording, spool
from evalhub_components.run_directory import LoadedRun, load
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import Verdict

_LOG = logging.getLogger(__name__)
_COMMITS = ("GIT_COMMIT", "GITHUB_SHA", "CI_COMMIT_SHA")
"""Where Jenkins, GitHub and GitLab say which commit they work on."""


def aggregate(output: Path, *, mlflow_uri: str | None = None, mlflow_required: bool = False) -> Verdict:
    """Judge and publish the run in `output`, and return its verdict. Doing it again changes nothing.

    Args:
        output: the run directory.
        mlflow_uri: tracking URI; without one MLflow is not even imported, unless Kubeflow Pipelines logs to one itself.
        mlflow_required: an MLflow that does not work is an error, not a warning.

    Raises:
        EvalHubError: the run cannot be judged, or its evidence not be written or signed; or it was not pushed, and
            everything else is in place.
        TrackingUnavailable, MissingExtra: MLflow did not work and is required; everything else is in place.
    """
    output = output.absolute()
    run, verdict = _judge(output)
    goal = destination.of(run.record.exports)
    failures: list[EvalHubError] = []
    try:
        run = _about_the_model(run, goal)
    except EvalHubError as error:
        failures.append(error)
    atomic.write_json(output / "eval-card.json", eval_card(run, verdict))
    built = artifact.build(run, verdict, goal.key, goal.repository)
    publication = _kept(run, built.digest, goal)
    if goal.registry and not failures:
        try:
            publication = _pushed(run, publication, goal)
        except EvalHubError as error:
            failures.append(error)
    warnings = [f"not pushed to {goal.repository}: {error}" for error in failures]
    publication = publication.model_copy(update={"warnings": warnings})
    if uri := _tracking_uri(run, mlflow_uri):
        publication, refusal = _track(run, verdict, publication, uri)
        failures += [refusal] if refusal and mlflow_required else []
    atomic.write_json(output / "publication.json", publication.as_json())
    outputs.keep(run, verdict, publication)
    if failures:
        raise failures[0]
    for warning in publication.warnings:
        _LOG.warning("run=%s %s", run.record.run_id, warning)
    _LOG.info("run=%s verdict=%s evidence=%s", run.record.run_id, verdict.verdict, built.digest)
    return verdict


def _judge(output: Path) -> tuple[LoadedRun, Verdict]:
    """Write verdict.json, run.json, environment.json and first reports."""
    run = load(output)
    verdict = run.judge()
    decided = canonical.dumps(verdict.as_json())
    path = output / "verdict.json"
    if not path.exists() or path.read_bytes() != decided:
        # of an earlier verdict; a repeated step keeps its own, so that the evidence stays the same
        for stale in ("environment.json", "publication.json", spool.NAME):
            (output / stale).unlink(missing_ok=True)
        atomic.write_bytes(path, decided)
    if not (output / "environment.json").exists():
        atomic.write_json(output / "environment.json", environment.capture())
    completed = {"state": verdict.state, "completed_at": run.completed_at()}
    run = dataclasses.replace(run, record=run.record.model_copy(update=completed))
    atomic.write_json(output / "run.json", run.record.as_json())
    outputs.keep(run, verdict)
    return run, verdict


def _about_the_model(run: LoadedRun, goal: Destination) -> LoadedRun:
    """Return `run` with the manifest and digest of its model in the record, and write run.json anew."""
    record = run.record
    oci = record.exports.oci if record.exports else None
    # found once: the tag that names it may move, and the evidence of one run stays the same
    subject = record.subject or goal.subject(oci.coordinates if oci else None, record.model_digest)
    if subject is None:
        return run
    record = record.model_copy(update={"subject": subject, "model_digest": subject.digest})
    atomic.write_json(run.path / "run.json", record.as_json())
    return dataclasses.replace(run, record=record)


def _kept(run: LoadedRun, digest: str, goal: Destination) -> Publication:
    """Return where the evidence is while it is in no registry."""
    # the folder of a pod is gone when anybody reads this
    place = str(run.path / "evidence") if run.record.engine != "kfp" else None
    return Publication(
        evidence_digest=digest,
        evidence_reference=place,
        evidence_address=f"{place}@{digest}" if place else None,
        evidence_key_id=goal.key.public.key_id if goal.key else None,
    )


def _pushed(run: LoadedRun, kept: Publication, goal: Destination) -> Publication:
    """Push the evidence, and return where it is.

    Raises:
        EvalHubError: it could not be pushed; the layout is complete.
    """
    if not (goal.registry and goal.reference):
        return kept
    from evalhub_components.evidence.registry.push import push

    sent = push(run.path / "evidence", goal.registry)
    _LOG.info("run=%s pushed=%s blobs=%d bytes=%d", run.record.run_id, goal.repository, sent.blobs, sent.bytes)
    oci = run.record.exports.oci if run.record.exports else None
    custom = oci.coordinates.oci_tag if oci else None
    tag = custom or f"run-{run.record.run_id}"
    tagged = dataclasses.replace(goal.reference, tag=tag, digest=kept.evidence_digest)
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
        html=html.render(run, verdict, publication),
        evidence_digest=str(publication.evidence_digest),
        evidence_reference=publication.evidence_reference,
        commit=next((os.environ[name] for name in _COMMITS if os.environ.get(name)), None),
        task_run_id=_task_run_id(run, uri),
    )
    try:
        tracked = tracking.send(content, uri)
    except (TrackingUnavailable, MissingExtra) as error:
        # the folder of a pod is gone when anybody could send it
        kept = run.record.engine != "kfp"
        if kept:
            spool.keep(run.path, content, uri)
        return spool.refused(publication, error, kept=kept), error
    spool.drop(run.path)
    return spool.published(publication, tracked), None


def _tracking_uri(run: LoadedRun, given: str | None) -> str | None:
    """Return the MLflow to log to: the one that was asked for, else the one that Kubeflow Pipelines logs to itself."""
    if given or run.record.engine != "kfp" or not os.environ.get("MLFLOW_RUN_ID"):
        return given
    return os.environ.get("MLFLOW_TRACKING_URI")


def _task_run_id(run: LoadedRun, uri: str) -> str | None:
    """Return the MLflow run that Kubeflow Pipelines made for this task, when it is in the MLflow at `uri`."""
    theirs = os.environ.get("MLFLOW_TRACKING_URI", "")
    if run.record.engine != "kfp" or theirs.rstrip("/") != uri.rstrip("/"):
        return None
    return os.environ.get("MLFLOW_RUN_ID") or None
