"""What some evidence says of itself, read from its manifests alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from evalhub_components.errors import NotFound
from evalhub_components.evidence.reading import tree
from evalhub_components.evidence.reading.attachments import at
from evalhub_components.evidence.reading.tree import Named
from evalhub_components.evidence.reading.untrusted_json import NotEvidence
from evalhub_components.evidence.signing import signatures
from evalhub_components.evidence.store import Store
from evalhub_components.evidence.together import results

if TYPE_CHECKING:
    from evalhub_components.evidence.signing.keys import PublicKey

_CREATED = "org.opencontainers.image.created"


@dataclass(frozen=True)
class Signed:
    """What there is under signature.

    Attributes:
        signature, attestations: whether there are any, whoever they are by.
        by: id of the key that was given, when its signature holds; None otherwise, and without a key.
    """

    signature: bool
    attestations: bool
    by: str | None


@dataclass(frozen=True)
class Summary:
    """What evidence says of itself: nothing of it is verified but that the bytes have their digests.

    Attributes:
        reference: `place:tag@digest`, or `place@digest` without a tag.
        score: weighted mean of normalised scores, None when one that counts is missing.
        plan, fingerprint, model_digest: digests, where they are known.
        benchmarks, files: how many there are; a bundle of files counts as one.
        size: of everything, in bytes.
    """

    reference: str
    digest: str
    verdict: str
    limited: bool
    score: float | None
    threshold: float
    reasons: tuple[str, ...]
    collection: str
    model: str
    model_url: str
    model_digest: str | None
    run_id: str
    job_id: str
    created: str
    plan: str
    fingerprint: str | None
    benchmarks: int
    files: int
    size: int
    signed: Signed

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "reasons": list(self.reasons)}


def summarise(store: Store, named: Named, key: PublicKey | None = None) -> Summary:
    """Return what the named evidence says of itself.

    Args:
        store: holds the evidence.
        named: tag, digest or both.
        key: whose signature is looked for.

    Raises:
        NotEvidence: it is no evidence.
        EvalHubError: it is missing, was tampered with, or cannot be read.
    """
    digest = tree.resolved(store, named)
    found = tree.read(store, digest)
    configs = list(results(store, tree.read_config, found.parts))
    runs = [config for config in configs if config.get("kind") == "run"]
    if len(runs) != 1:
        raise NotEvidence(f"{store.place}@{digest}: must have one manifest of the run, and has {len(runs)}")
    run = runs[0]
    verdict = run.get("verdict")
    try:
        return Summary(
            reference=f"{store.place}:{named.tag}@{digest}" if named.tag else f"{store.place}@{digest}",
            digest=digest,
            verdict=_text(verdict, "verdict"),
            limited=at(verdict, "limited") is True,
            score=None if at(verdict, "score") is None else _number(verdict, "score"),
            threshold=_number(verdict, "threshold"),
            reasons=tuple(str(reason) for reason in at(verdict, "reasons") or ()),
            collection=f"{_text(verdict, 'collection_id')}@{_text(verdict, 'collection_version')}",
            model=_text(run, "model", "name"),
            model_url=_text(run, "model", "url"),
            model_digest=_optional(run, "model", "digest"),
            run_id=_text(run, "run_id"),
            job_id=_text(run, "job_id"),
            created=found.index.annotations.get(_CREATED, ""),
            plan=_text(verdict, "plan_digest"),
            fingerprint=_optional(run, "fingerprint"),
            benchmarks=len(configs) - 1,
            files=sum(1 for _ in found.layers),
            size=sum(blob.size for _, blob in found.blobs),
            signed=_signed(store, digest, key),
        )
    except TypeError as error:
        raise NotEvidence(f"{store.place}@{digest}: its evidence.json lacks what it should say ({error})") from None


def _signed(store: Store, digest: str, key: PublicKey | None) -> Signed:
    there = signatures.signers(store, digest)
    by = None
    if key is not None:
        try:
            by = key.key_id if signatures.check_signature(store, digest, key).holds else None
        except NotFound:
            by = None
    return Signed(there.signature is not None, there.attestations is not None, by)


def _text(document: Mapping[str, Any] | None, *keys: str) -> str:
    value = at(document, *keys)
    if not isinstance(value, str):
        raise TypeError(f"{'.'.join(keys)} is no text")
    return value


def _optional(document: Mapping[str, Any], *keys: str) -> str | None:
    return None if at(document, *keys) is None else _text(document, *keys)


def _number(document: Mapping[str, Any] | None, *keys: str) -> float:
    value = at(document, *keys)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{'.'.join(keys)} is no number")
    return value
