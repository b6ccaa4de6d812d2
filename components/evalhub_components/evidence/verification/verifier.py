"""Verifies evidence: every check in its order, and what they prove together."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from evalhub_components.errors import EvalHubError, ExitStatus
from evalhub_components.evidence.reading import tree
from evalhub_components.evidence.reading.tree import Named
from evalhub_components.evidence.store import Store
from evalhub_components.evidence.verification import authorship, circumstances, contents, integrity, recomputation
from evalhub_components.evidence.verification.circumstances import MlflowTags
from evalhub_components.evidence.verification.contents import Contents
from evalhub_components.evidence.verification.outcome import Check, Verification, of_errors
from evalhub_components.evidence.verification.recomputation import Recomputed

if TYPE_CHECKING:
    from evalhub_components.evidence.signing.keys import PublicKey

_NOTHING = "Nothing is known of this evidence."


@dataclass(frozen=True)
class Expected:
    """What the user expects of evidence, beyond that it is whole; None expects nothing.

    Attributes:
        key: that signed it.
        model_digest: of the model it is about.
        max_age: seconds since the results were complete.
        require_pass: whether its verdict is to be pass, on all the examples that its collection asks for.
        mlflow_tags: where a run's tags are asked for, to compare them with the evidence.
    """

    key: PublicKey | None = None
    model_digest: str | None = None
    max_age: int | None = None
    require_pass: bool = False
    mlflow_tags: MlflowTags | None = None


def verify(store: Store, named: Named, expected: Expected, *, now: datetime | None = None) -> Verification:
    """Return what is known of the evidence that is named; whatever is wrong with it is in the answer.

    Args:
        store: holds the evidence.
        named: tag, digest or both.
        expected: what is compared with it.
        now: the time, for the age of the results.
    """
    try:
        digest = tree.resolved(store, named)
    except EvalHubError as error:
        reference = f"{store.place}:{named.tag}" if named.tag else store.place
        return Verification((of_errors("found", [error], ""),), None, None, reference, None, (_NOTHING,))
    try:
        with tempfile.TemporaryDirectory(prefix="evalhub-") as folder:
            return _Verifier(store, named, digest, expected, now or datetime.now(UTC)).verify(Path(folder))
    except OSError as error:
        failed = EvalHubError(f"what is judged cannot be written ({error.strerror})")
        return Verification((of_errors("found", [failed], ""),), digest, None, store.place, None, (_NOTHING,))


class _Verifier:
    def __init__(self, store: Store, named: Named, digest: str, expected: Expected, now: datetime) -> None:
        self._store = store
        self._named = named
        self._digest = digest
        self._expected = expected
        self._now = now

    def verify(self, folder: Path) -> Verification:
        store, digest, expected = self._store, self._digest, self._expected
        found = contents.read(store, digest, folder)
        recomputed, verdict = _judged(found)
        attested = authorship.attestations(store, digest, expected.key, found, recomputed)
        checks = (
            integrity.pinned(self._named, digest),
            integrity.manifests(found),
            integrity.tag(store, self._named, digest, found),
            integrity.blobs(found),
            integrity.sums(found),
            authorship.signature(store, digest, expected.key),
            attested.check,
            verdict,
            *_required(expected, recomputed),
            circumstances.model(expected.model_digest, found, recomputed, attested.models),
            circumstances.age(expected.max_age, self._now, found, recomputed),
            circumstances.mlflow(expected.mlflow_tags, digest, recomputed),
        )
        pinned = f"{store.place}@{digest}"
        reference = f"{store.place}:{self._named.tag}@{digest}" if self._named.tag else pinned
        word = recomputed.verdict.verdict if recomputed else None
        done = Verification(checks, digest, word, reference, pinned, ())
        return dataclasses.replace(done, statements=tuple(_statements(done)))


def _judged(found: Contents) -> tuple[Recomputed | None, Check]:
    """Return the run with its verdict, and the check of everything that tells a verdict."""
    unjudged = recomputation.unjudged(found)
    if unjudged is not None:
        return None, unjudged
    try:
        recomputed = recomputation.recompute(found.folder)
    except EvalHubError as error:
        return None, of_errors("verdict", [error], "")
    return recomputed, recomputation.verdict(found, recomputed)


def _required(expected: Expected, recomputed: Recomputed | None) -> list[Check]:
    if not expected.require_pass:
        return []
    if recomputed is None:
        return [Check("pass", "not checked", "there is no verdict")]
    verdict = recomputed.verdict
    limited = ", limited: on fewer examples than the collection asks for" if verdict.limited else ""
    passed = verdict.verdict == "pass" and not verdict.limited
    return [Check("pass", "ok" if passed else "failed", f"the verdict is {verdict.verdict}{limited}")]


def _statements(done: Verification) -> Iterator[str]:
    """Yield what the checks prove together, and what they leave open."""
    if done.exit_status != ExitStatus.PASS:
        bad = [check.name for check in done.checks if check.state in ("failed", "could not check")]
        yield f"Do not rely on this evidence: see {', '.join(bad)}."
        return
    whose = "whoever has the key signed" if done.state("signature") == "ok" else "the digest stands for"
    yield f"Proved: {whose} exactly these files, and the verdict {done.verdict} follows from them."
    if done.state("signature") != "ok":
        yield "Not proved: who made it. No key was given, and anybody can make evidence (--key PUBLIC_KEY)."
    if done.state("pinned") != "ok":
        yield f"Not proved: that the name will mean the same tomorrow. Keep {done.pinned}."
    yield "On its maker's word: which model answered, and what the frameworks measured."
