"""Where the evidence of a run goes and who signs it: what `exports` names, made usable."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalhub_components import credentials
from evalhub_components.errors import EvalHubError, NotFound
from evalhub_components.schema.exports import Exports, OCICoordinates, Subject

if TYPE_CHECKING:
    from evalhub_components.evidence.reference import Reference
    from evalhub_components.evidence.registry.registry import Registry
    from evalhub_components.evidence.signing.keys import SigningKey


@dataclass(frozen=True)
class Destination:
    """A registry, a key, both or neither.

    Attributes:
        reference: the repository that gets the evidence.
        registry: a client of that repository.
    """

    reference: Reference | None = None
    registry: Registry | None = None
    key: SigningKey | None = None

    @property
    def repository(self) -> str:
        """What the signature is for: `host/repository`, empty when the evidence goes nowhere."""
        return f"{self.reference.host}/{self.reference.repository}" if self.reference else ""

    def subject(self, coordinates: OCICoordinates | None, model_digest: str | None) -> Subject | None:
        """Return the model's manifest that `oci_subject` names, None when it names none.

        Raises:
            EvalHubError: it is in another repository, there is none, or the registry cannot be asked.
        """
        named = coordinates.oci_subject if coordinates else None
        if not (named and self.registry and self.reference):
            return None
        name = _name_in(named, self.reference)
        try:
            found = self.registry.resolve(name)
        except NotFound as error:
            raise NotFound(f"oci_subject: {error} (the evidence can only refer to an image that is there)") from None
        if model_digest not in (None, found.digest):
            raise EvalHubError(
                f"oci_subject: names {found.digest}, but the model's digest is said to be {model_digest} "
                "(one of them is another model)"
            )
        return Subject(media_type=found.media_type, digest=found.digest, size=found.size)


def of(exports: Exports | None, environ: Mapping[str, str] = os.environ) -> Destination:
    """Return where `exports` sends the evidence, with the credentials that `environ` names.

    Raises:
        EvalHubError: the key or the registry's credentials are missing or unusable.
        MissingExtra: the libraries are not installed.
    """
    oci = exports.oci if exports else None
    folder = credentials.mounted(credentials.SIGNING_SECRET, "private.key", environ=environ)
    if folder is None and exports and exports.signing:
        name = exports.signing.secret_ref
        raise EvalHubError(
            f"exports.signing: the key is not here ({credentials.SIGNING_SECRET} must name the folder of {name})"
        )
    key = _key(folder) if folder else None
    if oci is None:
        return Destination(key=key)
    return _registry(oci.coordinates, key, environ)


def _key(folder: Path) -> SigningKey:
    from evalhub_components.evidence.signing.keys import SigningKey

    return SigningKey.load(folder)


def _registry(coordinates: OCICoordinates, key: SigningKey | None, environ: Mapping[str, str]) -> Destination:
    from evalhub_components.evidence.reference import Reference
    from evalhub_components.evidence.registry.registry import Registry

    reference = Reference.parse(f"{coordinates.oci_host}/{coordinates.oci_repository}")
    secret = credentials.mounted(credentials.REGISTRY_SECRET, ".dockerconfigjson", environ=environ)
    return Destination(reference, Registry(reference, secret=secret, ca=credentials.ca_bundle(environ)), key)


def _name_in(named: str, reference: Reference) -> str:
    """Return the tag or digest that `oci_subject` means in the repository of `reference`."""
    if named.startswith("sha256:") or not set(named) & set("/:@"):
        return named
    other = type(reference).parse(named)
    if (other.host, other.repository) != (reference.host, reference.repository):
        raise EvalHubError(
            f"oci_subject: must be in the repository that gets the evidence, {reference.host}/{reference.repository}, "
            f"got {other.host}/{other.repository} (model.digest alone ties the evidence to a model elsewhere)"
        )
    name = other.digest or other.tag
    if not name:
        raise EvalHubError(f"oci_subject: {named}: must have a tag or a digest")
    return name
