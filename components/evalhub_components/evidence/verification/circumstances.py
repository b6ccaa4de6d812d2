"""Whether the evidence is about the model, the time and the MLflow run that the user has in mind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.verification.contents import Contents
from evalhub_components.evidence.verification.outcome import Check, of_errors
from evalhub_components.evidence.verification.recomputation import Recomputed
from evalhub_components.run_directory import instant

MlflowTags = Callable[[str], Mapping[str, str]]
"""Returns the tags of a run in MLflow by the run's own id; raises EvalHubError when it cannot be asked."""

_CREATED = "org.opencontainers.image.created"
_CLOCKS_DIFFER = timedelta(minutes=5)


def model(
    wanted: str | None, contents: Contents, recomputed: Recomputed | None, attested: Sequence[str] | None
) -> Check:
    """Return whether everything that names the model's digest names the wanted one.

    Args:
        wanted: the digest the user has in mind.
        contents: of the evidence.
        recomputed: the run, None when it could not be read.
        attested: digests of models in the attestations; None when no attestation could be read.
    """
    said = dict(_model_digests(contents, recomputed))
    if attested is not None:
        said["attestations"] = next(iter(attested), None)
        said |= {f"attestation {number}": digest for number, digest in enumerate(attested[1:], 2)}
    found = {digest for digest in said.values() if digest is not None}
    if len(found) > 1:
        return Check("model", "failed", ", ".join(f"{place} says {digest}" for place, digest in said.items()))
    digest = next(iter(found), None)
    silent = [place for place, each in said.items() if each is None]
    if digest and silent:
        return Check("model", "failed", f"the model is {digest}, and {' and '.join(silent)} does not say so")
    if wanted is None:
        named = f"the evidence is about {digest}" if digest else "the evidence names none"
        return Check("model", "not checked", f"no digest was given to compare with ({named})")
    if not said:
        return Check("model", "not checked", "nothing that names the model could be read")
    if digest is None:
        return Check("model", "failed", f"the evidence names no digest of its model, and {wanted} was asked for")
    if digest != wanted:
        return Check("model", "failed", f"the evidence is about the model {digest}, and {wanted} was asked for")
    return Check("model", "ok", f"{', '.join(said)}: {digest}")


def age(seconds: int | None, now: datetime, contents: Contents, recomputed: Recomputed | None) -> Check:
    """Return whether the results were complete when the evidence says, and at most `seconds` before `now`."""
    if recomputed is None or contents.tree is None:
        return Check("age", "not checked", "the results could not be read")
    run = recomputed.run
    completed = instant(run.completed_at() or run.record.started_at)
    created = contents.tree.index.annotations.get(_CREATED, "")
    if completed is None:
        return Check("age", "failed", "neither results nor run.json tell a time")
    said = instant(created)
    if said is None or abs(said - completed) >= timedelta(seconds=1):
        text = f"the results were complete at {completed.isoformat()}, and {_CREATED} says {created[:40]}"
        return Check("age", "failed", text)
    old = now - completed
    text = f"the results were complete at {created}, {_in_words(old)}"
    if seconds is None:
        return Check("age", "not checked", f"no age was given as a limit ({text})")
    if old < -_CLOCKS_DIFFER:
        return Check("age", "failed", f"{text}: that is yet to come")
    if old.total_seconds() > seconds:
        return Check("age", "failed", f"{text}: more than the {_in_words(timedelta(seconds=seconds), '')} allowed")
    return Check("age", "ok", text)


def mlflow(tags: MlflowTags | None, digest: str, recomputed: Recomputed | None) -> Check:
    """Return whether the run in MLflow names this evidence and this verdict."""
    if tags is None:
        return Check("mlflow", "not checked", "no tracking URI was given")
    if recomputed is None:
        return Check("mlflow", "not checked", "the run could not be read")
    try:
        found = tags(recomputed.run.record.run_id)
    except EvalHubError as error:
        return of_errors("mlflow", [error], "")
    expected = {"evalhub.evidence_digest": digest, "evalhub.verdict": recomputed.verdict.verdict}
    wrong = [
        f"{name} is {found.get(name, 'missing')}, not {value}"
        for name, value in expected.items()
        if found.get(name) != value
    ]
    if wrong:
        return Check("mlflow", "failed", f"run {recomputed.run.record.run_id}: {'; '.join(wrong)}")
    return Check("mlflow", "ok", f"run {recomputed.run.record.run_id} names this digest and this verdict")


def _model_digests(contents: Contents, recomputed: Recomputed | None) -> dict[str, Any]:
    """Return what each place in the evidence says that the model's digest is."""
    said: dict[str, Any] = {}
    if recomputed is not None:
        said["run.json"] = recomputed.run.record.model_digest
    for config in contents.configs.values():
        stated = config.get("model")
        if config.get("kind") == "run" and isinstance(stated, dict):
            digest = stated.get("digest")
            said["evidence.json"] = digest if isinstance(digest, str) else None
    return said


def _in_words(span: timedelta, after: str = " ago") -> str:
    seconds = int(span.total_seconds())
    if seconds < 0:
        return f"{_in_words(-span, '')} ahead"
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}{after}"
    return f"{seconds} second{'' if seconds == 1 else 's'}{after}"
