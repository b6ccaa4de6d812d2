"""Signatures and attestations in the two forms that cosign checks offline, under tags made of the digest they are for.

`sha256-<hex>.sig` names a manifest with simple-signing payloads (sigstore/cosign, specs/SIGNATURE_SPEC.md), and
`sha256-<hex>.att` one with in-toto statements in DSSE envelopes (secure-systems-lab/dsse, protocol.md and envelope.md).
Each layer is signed by itself: others may have put theirs beside ours.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from evalhub_components import canonical
from evalhub_components.errors import NotFound
from evalhub_components.evidence.layout import Blob, LayoutWriter, TaggedManifest
from evalhub_components.evidence.reading.attachments import at, decoded, each_layer, quoted
from evalhub_components.evidence.reading.untrusted_json import NotEvidence, loads
from evalhub_components.evidence.store import Descriptor, Store

if TYPE_CHECKING:
    from olot.oci.oci_image_manifest import ContentDescriptor

    from evalhub_components.evidence.signing.keys import PublicKey, SigningKey

SIMPLE_SIGNING_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"

_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_SIGNED_TYPE = "cosign container image signature"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_NO_TIME = "0001-01-01T00:00:00Z"  # as cosign writes it unless it is told to record when it signed
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"

_MAX_PAYLOAD_BYTES = 64 * 2**10
_MAX_ENVELOPE_BYTES = 16 * 2**20
_MAX_ENVELOPE_VALUES = 1000
_MAX_SIGNATURES = 16
_NOT_BY_THIS_KEY = "is not signed by this key, or was changed since"


@dataclass(frozen=True)
class SignatureCheck:
    """What the signatures of some evidence are worth with one public key.

    Attributes:
        repositories: of each signature that holds, the `host/repository` it was made for, empty when for none.
        problems: of each other layer, what is wrong with it.
    """

    repositories: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the key signed this evidence, whatever else is there."""
        return bool(self.repositories)


@dataclass(frozen=True)
class Attestations:
    """The statements about some evidence that one public key stands for.

    Attributes:
        statements: in-toto statements, each signed by the key and about this evidence, in the order of their layers.
        problems: of each other layer, what is wrong with it.
    """

    statements: tuple[dict[str, Any], ...]
    problems: tuple[str, ...]

    def predicates(self, predicate_type: str) -> list[dict[str, Any]]:
        """Return the predicates of this type."""
        return [said["predicate"] for said in self.statements if said["predicateType"] == predicate_type]


class Signers(NamedTuple):
    """The manifests of the two tags, None where there is none. Nothing in them is known to be true."""

    signature: Descriptor | None
    attestations: Descriptor | None


def signature_tag(digest: str) -> str:
    """Return the tag of the signatures of a manifest."""
    return f"{digest.replace(':', '-')}.sig"


def attestation_tag(digest: str) -> str:
    """Return the tag of the attestations about a manifest."""
    return f"{digest.replace(':', '-')}.att"


def signature(writer: LayoutWriter, key: SigningKey, index: Blob, repository: str) -> TaggedManifest:
    """Write the signature of the evidence whose index is `index`, made for `host/repository` or for none (empty)."""
    payload = canonical.dumps(
        {
            "critical": {
                "identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": index.digest},
                "type": _SIGNED_TYPE,
            },
            "optional": None,
        }
    )
    annotations = {_SIGNATURE: _encoded(key.sign(payload))}
    layer = _descriptor(SIMPLE_SIGNING_TYPE, writer.add([payload]), annotations)
    return _manifest(writer, [layer], signature_tag(index.digest))


def attestations(
    writer: LayoutWriter, key: SigningKey, index: Blob, statements: Iterable[Mapping[str, Any]]
) -> TaggedManifest:
    """Write in-toto statements about the evidence whose index is `index`, each in an envelope of its own."""
    layers = []
    for statement in statements:
        payload = canonical.dumps(statement)
        envelope = {
            "payload": _encoded(payload),
            "payloadType": _PAYLOAD_TYPE,
            "signatures": [{"keyid": "", "sig": _encoded(key.sign(authenticated(payload)))}],
        }
        annotations = {_SIGNATURE: "", "predicateType": str(statement["predicateType"])}
        layers.append(_descriptor(ENVELOPE_TYPE, writer.add([canonical.dumps(envelope)]), annotations))
    return _manifest(writer, layers, attestation_tag(index.digest))


def config(layers: Sequence[str]) -> dict[str, Any]:
    """Return the config of a manifest with layers of these digests, which looks like an image's."""
    return {
        "architecture": "",
        "config": {},
        "created": _NO_TIME,
        "history": [{"created": _NO_TIME} for _ in layers],
        "os": "",
        "rootfs": {"diff_ids": list(layers), "type": "layers"},
    }


def authenticated(payload: bytes) -> bytes:
    """Return what an envelope's signature is over: DSSE's pre-authentication encoding of the payload and its type."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)


def check_signature(store: Store, digest: str, key: PublicKey) -> SignatureCheck:
    """Return whether `key` signed the manifest with this digest.

    Raises:
        NotFound: there are no signatures.
        EvalHubError: they cannot be read; what is wrong with them is no error, but in the answer.
    """

    def read(payload: bytes, annotations: Mapping[str, Any]) -> str:
        if not key.verify(decoded(annotations.get(_SIGNATURE), "its signature"), payload):
            raise NotEvidence(_NOT_BY_THIS_KEY)
        critical = at(loads(payload, "its payload"), "critical")
        if at(critical, "type") != _SIGNED_TYPE:
            raise NotEvidence("is signed by this key, but is no signature of a manifest")
        if (named := at(critical, "image", "docker-manifest-digest")) != digest:
            raise NotEvidence(f"is signed by this key, but for {quoted(named)}: it was taken from other evidence")
        repository = at(critical, "identity", "docker-reference")
        return repository if isinstance(repository, str) else ""

    return SignatureCheck(*each_layer(store, signature_tag(digest), SIMPLE_SIGNING_TYPE, _MAX_PAYLOAD_BYTES, read))


def read_attestations(store: Store, digest: str, key: PublicKey) -> Attestations:
    """Return what `key` states about the manifest with this digest. Statements are parsed once their signature holds.

    Raises:
        NotFound: there are no attestations.
        EvalHubError: they cannot be read; what is wrong with them is no error, but in the answer.
    """

    def read(envelope: bytes, annotations: Mapping[str, Any]) -> dict[str, Any]:
        statement = loads(_signed_payload(envelope, key), "its statement")
        if at(statement, "_type") != _STATEMENT_TYPE or not isinstance(at(statement, "predicateType"), str):
            raise NotEvidence("is signed by this key, but is no in-toto statement")
        subjects = at(statement, "subject")
        if not isinstance(subjects, list) or not any(
            f"sha256:{at(subject, 'digest', 'sha256')}" == digest for subject in subjects
        ):
            raise NotEvidence("is signed by this key, but is about something else: it was taken from other evidence")
        predicate = at(statement, "predicate")
        return {**statement, "predicate": predicate if isinstance(predicate, dict) else {}}

    return Attestations(*each_layer(store, attestation_tag(digest), ENVELOPE_TYPE, _MAX_ENVELOPE_BYTES, read))


def signers(store: Store, digest: str) -> Signers:
    """Return which signatures and attestations are there, whoever they are by.

    Raises:
        EvalHubError: the store cannot be asked.
    """

    def find(tag: str) -> Descriptor | None:
        try:
            return store.resolve(tag)
        except NotFound:
            return None

    return Signers(find(signature_tag(digest)), find(attestation_tag(digest)))


def _signed_payload(content: bytes, key: PublicKey) -> bytes:
    """Return the payload of an envelope that `key` signed.

    Raises:
        NotEvidence: it did not, or there is no such envelope.
    """
    # an envelope is a few long texts; many small values could fill memory before any signature is known to hold
    if sum(content.count(mark) for mark in (b",", b"[", b"{")) > _MAX_ENVELOPE_VALUES:
        raise NotEvidence("is no envelope: it has too many values")
    envelope = loads(content, "its envelope")
    if at(envelope, "payloadType") != _PAYLOAD_TYPE:
        raise NotEvidence(f"holds {quoted(at(envelope, 'payloadType'))} instead of {_PAYLOAD_TYPE}")
    payload = decoded(at(envelope, "payload"), "its payload")
    signatures = at(envelope, "signatures")
    if not isinstance(signatures, list) or not 0 < len(signatures) <= _MAX_SIGNATURES:
        raise NotEvidence(f"must have signatures, at most {_MAX_SIGNATURES}")
    signed = authenticated(payload)
    if not any(key.verify(decoded(at(each, "sig"), "its signature"), signed) for each in signatures):
        raise NotEvidence(_NOT_BY_THIS_KEY)
    return payload


def _manifest(writer: LayoutWriter, layers: Sequence[ContentDescriptor], tag: str) -> TaggedManifest:
    from olot.oci.oci_common import MediaTypes
    from olot.oci.oci_image_manifest import create_oci_image_manifest

    content = canonical.dumps(config([layer.digest for layer in layers]))
    described = _descriptor(_CONFIG_TYPE, writer.add([content]))
    blob = writer.add_model(create_oci_image_manifest(config=described, layers=list(layers)))
    return TaggedManifest(str(MediaTypes.manifest), blob, (tag,))


def _descriptor(media_type: str, blob: Blob, annotations: dict[str, str] | None = None) -> ContentDescriptor:
    from olot.oci.oci_image_manifest import ContentDescriptor

    return ContentDescriptor(
        mediaType=media_type,
        size=blob.size,
        digest=blob.digest,
        urls=None,
        data=None,
        artifactType=None,
        annotations=annotations,
    )


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
