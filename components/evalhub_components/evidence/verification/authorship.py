"""Who signed the evidence, and what they state about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_components.evidence.reading.attachments import at
from evalhub_components.evidence.reading.untrusted_json import NotEvidence
from evalhub_components.evidence.signing import signatures, statements
from evalhub_components.evidence.store import Store
from evalhub_components.evidence.verification.contents import Contents
from evalhub_components.evidence.verification.outcome import Check, of_errors
from evalhub_components.evidence.verification.recomputation import Recomputed

if TYPE_CHECKING:
    from evalhub_components.evidence.signing.keys import PublicKey

_COMPARED = ("result", "configuration", "passedTests", "warnedTests", "failedTests")
_SHOWN = 3


class Attested(NamedTuple):
    """The check of the attestations, and the models that they name; None when none could be read."""

    check: Check
    models: list[str] | None


def signature(store: Store, digest: str, key: PublicKey | None) -> Check:
    """Return whether `key` signed the evidence."""
    try:
        if key is None:
            found = "there is a signature" if signatures.signers(store, digest).signature else "it is unsigned"
            return Check("signature", "not checked", f"no key was given ({found})")
        checked = signatures.check_signature(store, digest, key)
    except NotFound:
        tag = signatures.signature_tag(digest)
        return Check("signature", "failed", f"the evidence is unsigned (there is no tag {tag})")
    except EvalHubError as error:
        return of_errors("signature", [error], "")
    if not checked.holds:
        return Check("signature", "failed", f"not signed by key {key.key_id}: {_first(checked.problems)}")
    others = f"; others there do not hold: {_first(checked.problems)}" if checked.problems else ""
    made_for = f" for {checked.repositories[0]}" if checked.repositories[0] else ""
    return Check("signature", "ok", f"signed{made_for} by key {key.key_id}{others}")


def attestations(
    store: Store, digest: str, key: PublicKey | None, contents: Contents, recomputed: Recomputed | None
) -> Attested:
    """Return whether `key` states about the evidence what follows from it."""
    name = "attestations"
    try:
        if key is None:
            found = "there are some" if signatures.signers(store, digest).attestations else "there are none"
            return Attested(Check(name, "not checked", f"no key was given ({found})"), None)
        said = signatures.read_attestations(store, digest, key)
    except NotFound:
        tag = signatures.attestation_tag(digest)
        return Attested(Check(name, "failed", f"there are none (there is no tag {tag})"), None)
    except EvalHubError as error:
        return Attested(of_errors(name, [error], ""), None)
    kinds = {statement["predicateType"] for statement in said.statements}
    lacking = {"test-result": statements.TEST_RESULT, "provenance": statements.PROVENANCE}
    missing = [name for name, kind in lacking.items() if kind not in kinds]
    if missing:
        why = f": {_first(said.problems)}" if said.problems else ""
        text = f"no {' and no '.join(missing)} that key {key.key_id} signed{why}"
        return Attested(Check(name, "failed", text), None)
    models = _models(said.statements)
    if recomputed is None:
        return Attested(Check(name, "not checked", "signed, but there is no verdict to compare them with"), models)
    try:
        _compare(said, digest, contents, recomputed)
    except NotEvidence as error:
        return Attested(of_errors(name, [error], ""), models)
    others = f"; others there do not hold: {_first(said.problems)}" if said.problems else ""
    result = said.predicates(statements.TEST_RESULT)[0]["result"]
    return Attested(
        Check(name, "ok", f"signed, about this digest, and say {result} as the verdict does{others}"), models
    )


def _compare(said: signatures.Attestations, digest: str, contents: Contents, recomputed: Recomputed) -> None:
    """Compare the test-result with the one that the verdict would be told by.

    Raises:
        NotEvidence: they differ.
    """
    facts = statements.Facts(recomputed.run, recomputed.verdict, digest, contents.files)
    expected = statements.test_result(facts)["predicate"]
    for predicate in said.predicates(statements.TEST_RESULT):
        for key in _COMPARED:
            if predicate.get(key) != expected[key]:
                text = f"{str(predicate.get(key))[:100]}, and the verdict comes to {str(expected[key])[:100]}"
                raise NotEvidence(f"the test-result says {key}: {text}")


def _models(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return the digests of the models that test-results are about."""
    return [
        f"sha256:{at(subject, 'digest', 'sha256')}"
        for statement in found
        if statement["predicateType"] == statements.TEST_RESULT
        for subject in statement["subject"]
        if str(at(subject, "name")).startswith("model/")
    ]


def _first(problems: Sequence[str]) -> str:
    more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "; ".join(problems[:_SHOWN]) + more
