"""Evidence that a user names, verified against what the user expects."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalhub_components.evidence.verification.outcome import Verification


def verify(
    evidence: str | Path,
    *,
    key: Path | str | None = None,
    model_digest: str | None = None,
    max_age: int | None = None,
    require_pass: bool = False,
    mlflow_uri: str | None = None,
    registry_secret: str | None = None,
    ca: Path | None = None,
) -> Verification:
    """Check that evidence is whole, signed, and comes to the verdict that it tells.

    Args:
        evidence: a layout's folder or a run directory, with `@sha256:...` behind it or not; or a reference such as
            `registry.example/team/evals:nightly@sha256:...`, with `http://` in front for plain HTTP.
        key: file with the public key of the signer; without one nobody vouches for the evidence.
        model_digest: of the model that the evidence is to be about.
        max_age: seconds since the results were complete.
        require_pass: a verdict other than pass fails, and so does a pass that is limited (on fewer examples than the
            collection asks for).
        mlflow_uri: tracking server whose run is to name this evidence.
        registry_secret: name of the secret with `.dockerconfigjson`; by default Docker's own configuration is used.
        ca: file with the certificates that the registry's is checked with.

    Returns:
        Every check with its state and what was found, and `exit_status`: 0 all hold, 1 one failed, 2 one could not be
        made.

    Raises:
        EvalHubError: there is nothing to look at: no such folder, no reference, no key in the file, no digest.
        MissingExtra: the OCI libraries are not installed.
    """
    from evalhub_components.errors import EvalHubError
    from evalhub_components.evidence.signing.keys import PublicKey
    from evalhub_components.evidence.store import is_digest
    from evalhub_components.evidence.verification.verifier import Expected, verify
    from evalhub_components.records import tracking
    from evalhub_pipelines import evidence_store

    if model_digest is not None and not is_digest(model_digest):
        raise EvalHubError(f"model digest: must be sha256: and 64 hex digits, got {model_digest[:100]!r}")
    signer = PublicKey.load(Path(key)) if key is not None else None
    tags = partial(tracking.tags_of, mlflow_uri) if mlflow_uri else None
    found = evidence_store.opened(str(evidence), registry_secret=registry_secret, ca=ca)
    return verify(found.store, found.named, Expected(signer, model_digest, max_age, require_pass, tags))
