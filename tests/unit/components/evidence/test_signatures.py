from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_components.evidence.layout import Layout, LayoutWriter
from evalhub_components.evidence.signing import keys, signatures
from evalhub_components.evidence.signing.keys import PublicKey, SigningKey
from evalhub_components.evidence.store import Descriptor, checked

# olot declares its models in a way that pydantic is going to drop
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:olot")

REPOSITORY = "registry.example:5000/team/evidence"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
ENVELOPE = "application/vnd.dsse.envelope.v1+json"
IN_TOTO = "application/vnd.in-toto+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
KINDS = ("ecdsa-p256", "ed25519")
A, B = (f"sha256:{digit * 64}" for digit in "ab")


def statement(digest: str, predicate_type: str = "https://slsa.dev/provenance/v1") -> dict[str, Any]:
    subject = [{"name": "x", "digest": {"sha256": "0" * 64}}, {"digest": {"sha256": digest.removeprefix("sha256:")}}]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": predicate_type,
        "predicate": {"said": "so"},
    }


@dataclass
class Memory:
    """A store that holds what tests put in it, true or not; what it hands out has the digest it was asked for by."""

    place: str = "memory"
    blobs: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    read: int = 0

    def add(self, content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = content
        return digest

    def tag(self, name: str, manifest: bytes | dict[str, Any]) -> None:
        self.names[name] = self.add(manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode())

    def layer(self, content: bytes, media_type: str = SIMPLE_SIGNING, **annotations: str) -> dict[str, Any]:
        described = {"mediaType": media_type, "digest": self.add(content), "size": len(content)}
        return {**described, "annotations": {SIGNATURE: "", **annotations}}

    def resolve(self, name: str) -> Descriptor:
        if name not in self.names:
            raise NotFound(f"memory: has no manifest {name}")
        return Descriptor("", self.names[name], len(self.blobs[self.names[name]]))

    def manifest(self, digest: str) -> bytes:
        return self.blobs[digest]

    def blob(self, digest: str, size: int) -> Iterator[bytes]:
        if digest not in self.blobs:
            raise NotFound(f"memory: blob {digest}: is missing")
        self.read += size
        yield from checked([self.blobs[digest]], digest, size, self.place)

    def tags(self) -> list[str]:
        return sorted(self.names)


class Signer(NamedTuple):
    key: SigningKey
    public: PublicKey

    def layer(self, store: Memory, payload: bytes) -> dict[str, Any]:
        return store.layer(payload, **{SIGNATURE: text(self.key.sign(payload))})

    def signature(self, store: Memory, digest: str) -> dict[str, Any]:
        return self.layer(store, simple_signing(digest))

    def envelope(self, payload: bytes) -> dict[str, Any]:
        signed = self.key.sign(b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload))
        return {"payload": text(payload), "payloadType": IN_TOTO, "signatures": [{"keyid": "", "sig": text(signed)}]}

    def attestation(self, store: Memory, payload: bytes, /, **changes: Any) -> dict[str, Any]:
        return store.layer(json.dumps({**self.envelope(payload), **changes}).encode(), ENVELOPE)


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def simple_signing(digest: str, **changes: Any) -> bytes:
    critical = {
        "identity": {"docker-reference": REPOSITORY},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": {**critical, **changes}, "optional": None}).encode()


def sig_tag(digest: str) -> str:
    return digest.replace(":", "-") + ".sig"


def att_tag(digest: str) -> str:
    return digest.replace(":", "-") + ".att"


@pytest.fixture(scope="module", params=KINDS)
def ours(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Signer:
    folder = tmp_path_factory.mktemp("ours")
    public = keys.generate(folder, request.param)
    return Signer(SigningKey.load(folder), public)


@pytest.fixture(scope="module", params=KINDS)
def theirs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Signer:
    folder = tmp_path_factory.mktemp("theirs")
    public = keys.generate(folder, request.param)
    return Signer(SigningKey.load(folder), public)


def write(path: Path, key: SigningKey, repository: str = REPOSITORY) -> tuple[Layout, str]:
    """Writes a layout with an index, its signature and two attestations."""
    writer = LayoutWriter(path)
    index = writer.add([b'{"manifests":[]}'])
    said = [statement(index.digest), statement(index.digest, "https://example.org/other")]
    manifests = [
        signatures.signature(writer, key, index, repository),
        signatures.attestations(writer, key, index, said),
    ]
    writer.commit(manifests)
    return Layout(path), index.digest


def manifest(layout: Layout, tag: str) -> Any:
    return json.loads(layout.manifest(layout.resolve(tag).digest))


def blob(layout: Layout, descriptor: dict[str, Any]) -> bytes:
    return b"".join(layout.blob(descriptor["digest"], descriptor["size"]))


def test_what_a_key_signs_holds_with_its_public_key(tmp_path: Path, ours: Signer) -> None:
    layout, digest = write(tmp_path, ours.key)
    checked = signatures.check_signature(layout, digest, ours.public)
    assert checked.holds
    assert checked == signatures.SignatureCheck(repositories=(REPOSITORY,), problems=())
    attested = signatures.read_attestations(layout, digest, ours.public)
    assert attested.statements == (statement(digest), statement(digest, "https://example.org/other"))
    assert attested.problems == ()
    assert attested.predicates("https://example.org/other") == [{"said": "so"}]


def test_evidence_for_no_registry_is_signed_all_the_same(tmp_path: Path, ours: Signer) -> None:
    layout, digest = write(tmp_path, ours.key, repository="")
    assert signatures.check_signature(layout, digest, ours.public).holds


def test_the_signature_has_the_form_that_cosign_writes(tmp_path: Path, ours: Signer) -> None:
    layout, digest = write(tmp_path, ours.key)
    found = manifest(layout, sig_tag(digest))
    (layer,) = found["layers"]
    payload = (
        f'{{"critical":{{"identity":{{"docker-reference":"{REPOSITORY}"}},'
        f'"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}'
    )
    assert blob(layout, layer).decode() == payload
    assert set(layer["annotations"]) == {SIGNATURE}
    assert ours.public.verify(base64.b64decode(layer["annotations"][SIGNATURE]), payload.encode())
    assert layer["mediaType"] == SIMPLE_SIGNING
    assert found["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert "artifactType" not in found
    assert found["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert json.loads(blob(layout, found["config"])) == {
        "architecture": "",
        "config": {},
        "created": "0001-01-01T00:00:00Z",
        "history": [{"created": "0001-01-01T00:00:00Z"}],
        "os": "",
        "rootfs": {"diff_ids": [layer["digest"]], "type": "layers"},
    }


def test_attestations_have_the_form_that_cosign_writes(tmp_path: Path, ours: Signer) -> None:
    layout, digest = write(tmp_path, ours.key)
    found = manifest(layout, att_tag(digest))
    types = ["https://slsa.dev/provenance/v1", "https://example.org/other"]
    assert [layer["annotations"] for layer in found["layers"]] == [
        {SIGNATURE: "", "predicateType": predicate_type} for predicate_type in types
    ]
    assert {layer["mediaType"] for layer in found["layers"]} == {ENVELOPE}
    for layer, predicate_type in zip(found["layers"], types, strict=True):
        envelope = json.loads(blob(layout, layer))
        assert set(envelope) == {"payload", "payloadType", "signatures"}
        assert envelope["payloadType"] == IN_TOTO
        payload = base64.b64decode(envelope["payload"])
        assert json.loads(payload) == statement(digest, predicate_type)
        (signed,) = envelope["signatures"]
        assert signed["keyid"] == ""
        over = b"DSSEv1 28 application/vnd.in-toto+json %d " % len(payload) + payload
        assert ours.public.verify(base64.b64decode(signed["sig"]), over)


def test_signing_again_changes_no_byte(tmp_path: Path, ours: Signer) -> None:
    first, digest = write(tmp_path / "first", ours.key)
    second, _ = write(tmp_path / "second", ours.key)
    for tag in (sig_tag(digest), att_tag(digest)):
        assert first.resolve(tag) == second.resolve(tag)


def test_whoever_signed_it_can_be_seen_without_a_key(tmp_path: Path, ours: Signer) -> None:
    layout, digest = write(tmp_path, ours.key)
    there = signatures.signers(layout, digest)
    assert there.signature == layout.resolve(sig_tag(digest))
    assert there.attestations == layout.resolve(att_tag(digest))
    assert signatures.signers(layout, A) == (None, None)


def test_unsigned_evidence_is_not_found_to_be_signed(tmp_path: Path, ours: Signer) -> None:
    layout, _ = write(tmp_path, ours.key)
    with pytest.raises(NotFound):
        signatures.check_signature(layout, A, ours.public)
    with pytest.raises(NotFound):
        signatures.read_attestations(layout, A, ours.public)


def test_another_key_holds_nothing(tmp_path: Path, ours: Signer, theirs: Signer) -> None:
    layout, digest = write(tmp_path, ours.key)
    checked = signatures.check_signature(layout, digest, theirs.public)
    assert not checked.holds
    assert checked.problems == ("layer 1: is not signed by this key, or was changed since",)
    attested = signatures.read_attestations(layout, digest, theirs.public)
    assert attested.statements == ()
    assert attested.problems == tuple(
        f"layer {number}: is not signed by this key, or was changed since" for number in (1, 2)
    )


def test_others_may_sign_beside_us(ours: Signer, theirs: Signer) -> None:
    store = Memory()
    store.tag(sig_tag(A), {"layers": [theirs.signature(store, A), ours.signature(store, A)]})
    said = [signer.attestation(store, json.dumps(statement(A)).encode()) for signer in (theirs, ours)]
    store.tag(att_tag(A), {"layers": said})
    checked = signatures.check_signature(store, A, ours.public)
    assert checked.holds
    assert checked.problems == ("layer 1: is not signed by this key, or was changed since",)
    attested = signatures.read_attestations(store, A, ours.public)
    assert attested.statements == (statement(A),)
    assert len(attested.problems) == 1


def test_an_envelope_may_be_signed_by_several_and_in_the_alphabet_of_urls(ours: Signer, theirs: Signer) -> None:
    store = Memory()
    payload = json.dumps(statement(A)).encode() + b" " * 5
    envelopes = [signer.envelope(payload) for signer in (theirs, ours)]
    both = {**envelopes[0], "signatures": [envelope["signatures"][0] for envelope in envelopes]}
    content = json.dumps(both).replace("+", "-").replace("vnd.in-toto-json", "vnd.in-toto+json").encode()
    store.tag(att_tag(A), {"layers": [store.layer(content, ENVELOPE)]})
    assert signatures.read_attestations(store, A, ours.public).statements == (statement(A),)


Make = Callable[[Memory, Signer], dict[str, Any]]


def changed_payload(store: Memory, ours: Signer) -> dict[str, Any]:
    right = ours.signature(store, A)
    content = simple_signing(A).replace(b"team", b"Team")
    return {**right, "digest": store.add(content)}


SPOILT_SIGNATURES: dict[str, tuple[Make, str]] = {
    "replayed from another run": (
        lambda store, ours: ours.signature(store, B),
        rf"is signed by this key, but for '{B}': it was taken from other evidence",
    ),
    "names something that is no digest": (
        lambda store, ours: ours.layer(store, simple_signing("\ud800\x1b[31m" * 1000)),
        r"but for '(\\ud800\\x1b\[31m)+.*': it was taken",
    ),
    "names nothing": (
        lambda store, ours: ours.layer(store, simple_signing(A, image={})),
        "is signed by this key, but for no text",
    ),
    "payload edited": (changed_payload, "is not signed by this key, or was changed since"),
    "of another kind": (
        lambda store, ours: ours.layer(store, simple_signing(A, type="atomic container signature")),
        "is signed by this key, but is no signature of a manifest",
    ),
    "signed list": (
        lambda store, ours: ours.layer(store, b"[1]"),
        "is signed by this key, but is no signature of a manifest",
    ),
    "signed rubbish": (lambda store, ours: ours.layer(store, b"\xff\x00"), "its payload: is no JSON"),
    "a digest twice": (
        lambda store, ours: ours.layer(
            store, simple_signing(A).replace(b'"image": {', b'"image": {"docker-manifest-digest": "%s", ' % B.encode())
        ),
        "its payload: is no JSON as it should be",
    ),
    "no signature": (
        lambda store, ours: {**ours.signature(store, A), "annotations": None},
        "its signature is no base64",
    ),
    "empty signature": (
        lambda store, ours: {**ours.signature(store, A), "annotations": {SIGNATURE: ""}},
        "is not signed by this key",
    ),
    "signature of a wrong type": (
        lambda store, ours: {**ours.signature(store, A), "annotations": {SIGNATURE: [1]}},
        "its signature is no base64",
    ),
    "signature in no alphabet": (
        lambda store, ours: {**ours.signature(store, A), "annotations": {SIGNATURE: "é\n"}},
        "its signature is no base64",
    ),
    "other media type": (
        lambda store, ours: {**ours.signature(store, A), "mediaType": "text/\x1bplain"},
        r"is 'text/\\x1bplain' instead of application/vnd.dev.cosign.simplesigning",
    ),
    "no media type": (
        lambda store, ours: {key: value for key, value in ours.signature(store, A).items() if key != "mediaType"},
        "is no text instead of",
    ),
    "blob missing": (lambda store, ours: {**ours.signature(store, A), "digest": B}, "is missing"),
    "size differs": (lambda store, ours: {**ours.signature(store, A), "size": 3}, "has more than the 3 bytes"),
    "too large": (
        lambda store, ours: {**ours.signature(store, A), "size": 2**40},
        r"is larger than any should be \(64 KiB\)",
    ),
    "size is true": (lambda store, ours: {**ours.signature(store, A), "size": True}, "is no descriptor of a blob"),
    "size is negative": (lambda store, ours: {**ours.signature(store, A), "size": -1}, "is no descriptor of a blob"),
    "digest is a path": (
        lambda store, ours: {**ours.signature(store, A), "digest": "sha256:../../etc/passwd"},
        "is no descriptor of a blob",
    ),
    "digest is a list": (lambda store, ours: {**ours.signature(store, A), "digest": []}, "is no descriptor of a blob"),
    "no object": (lambda store, ours: [1], "is no descriptor of a blob"),  # type: ignore[dict-item, return-value]
}


@pytest.mark.parametrize(("make", "said"), SPOILT_SIGNATURES.values(), ids=SPOILT_SIGNATURES)
def test_a_spoilt_signature_is_refused_and_harms_no_other(ours: Signer, make: Make, said: str) -> None:
    store = Memory()
    store.tag(sig_tag(A), {"layers": [make(store, ours)]})
    checked = signatures.check_signature(store, A, ours.public)
    assert not checked.holds
    (problem,) = checked.problems
    assert re.search(f"^layer 1: .*{said}", problem), problem
    assert problem.isprintable()
    assert len(problem) < 1000
    store.tag(sig_tag(A), {"layers": [make(store, ours), ours.signature(store, A)]})
    checked = signatures.check_signature(store, A, ours.public)
    assert checked.holds
    assert checked.problems == (problem,)


def resigned(**changes: Any) -> Make:
    """An envelope by our key over a statement with these keys."""
    return lambda store, ours: ours.attestation(store, json.dumps({**statement(A), **changes}).encode())


def edited(store: Memory, ours: Signer) -> dict[str, Any]:
    forged = json.dumps({**statement(A), "predicate": {"said": "otherwise"}}).encode()
    return ours.attestation(store, json.dumps(statement(A)).encode(), payload=text(forged))


def changed(**changes: Any) -> Make:
    return lambda store, ours: ours.attestation(store, json.dumps(statement(A)).encode(), **changes)


SPOILT_ATTESTATIONS: dict[str, tuple[Make, str]] = {
    "payload edited": (edited, "is not signed by this key, or was changed since"),
    "replayed from another run": (
        resigned(subject=[{"digest": {"sha256": "b" * 64}}]),
        "is signed by this key, but is about something else: it was taken from other evidence",
    ),
    "subject in another algorithm": (resigned(subject=[{"digest": {"sha512": "a" * 64}}]), "is about something else"),
    "subject of a wrong shape": (resigned(subject={"digest": {"sha256": "a" * 64}}), "is about something else"),
    "subjects of wrong shapes": (resigned(subject=[1, None, [], {"digest": 1}]), "is about something else"),
    "no subject": (resigned(subject=None), "is about something else"),
    "other statement": (resigned(_type="https://example.org/Statement"), "but is no in-toto statement"),
    "no predicate type": (resigned(predicateType=1), "but is no in-toto statement"),
    "signed rubbish": (lambda store, ours: ours.attestation(store, b"\xff"), "its statement: is no JSON"),
    "signed list": (lambda store, ours: ours.attestation(store, b"[]"), "but is no in-toto statement"),
    "other payload type": (changed(payloadType="application/json"), "holds 'application/json' instead of"),
    "no signatures": (changed(signatures=[]), "must have signatures, at most 16"),
    "signatures of a wrong shape": (changed(signatures={"sig": ""}), "must have signatures"),
    "a signature of a wrong shape": (changed(signatures=[1]), "its signature is no base64"),
    "very many signatures": (changed(signatures=[{"sig": ""}] * 17), "must have signatures, at most 16"),
    "no payload": (changed(payload=None), "its payload is no base64"),
    "many values": (changed(more=[0] * 2000), "is no envelope: it has too many values"),
    "deep": (
        lambda store, ours: store.layer(b"[" * 900 + b"]" * 900, ENVELOPE),
        "its envelope: is nested too deeply",
    ),
    "no envelope": (lambda store, ours: store.layer(b"null", ENVELOPE), "holds no text instead of"),
    "too large": (
        lambda store, ours: {**ours.attestation(store, b"{}"), "size": 2**25},
        r"is larger than any should be \(16384 KiB\)",
    ),
}


@pytest.mark.parametrize(("make", "said"), SPOILT_ATTESTATIONS.values(), ids=SPOILT_ATTESTATIONS)
def test_a_spoilt_attestation_is_refused_and_harms_no_other(ours: Signer, make: Make, said: str) -> None:
    store = Memory()
    right = ours.attestation(store, json.dumps(statement(A)).encode())
    store.tag(att_tag(A), {"layers": [right, make(store, ours)]})
    attested = signatures.read_attestations(store, A, ours.public)
    assert attested.statements == (statement(A),)
    (problem,) = attested.problems
    assert re.search(f"^layer 2: .*{said}", problem), problem


def test_a_statement_may_come_without_a_predicate(ours: Signer) -> None:
    store = Memory()
    bare = {key: value for key, value in statement(A).items() if key != "predicate"}
    store.tag(att_tag(A), {"layers": [ours.attestation(store, json.dumps(bare).encode())]})
    (said,) = signatures.read_attestations(store, A, ours.public).statements
    assert said["predicate"] == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the manifest: is no JSON"),
        (b"\xff\xfe", "the manifest: is no JSON"),
        (b"[]", "the manifest: lists no layers"),
        (b'{"manifests":[]}', "the manifest: lists no layers"),
        (b'{"layers":{}}', "the manifest: lists no layers"),
        (b"[" * 100_000, "the manifest: is nested too deeply"),
        (b'{"layers":[' + b"9" * 10_000 + b"]}", "the manifest: is no JSON"),
    ],
    ids=["empty", "binary", "list", "index", "object", "deep", "number"],
)
def test_a_manifest_of_another_shape_holds_nothing(ours: Signer, content: bytes, said: str) -> None:
    store = Memory()
    store.tag(sig_tag(A), content)
    store.tag(att_tag(A), content)
    for problems in (
        signatures.check_signature(store, A, ours.public).problems,
        signatures.read_attestations(store, A, ours.public).problems,
    ):
        assert len(problems) == 1
        assert problems[0].startswith(said)


def test_a_manifest_without_layers_holds_nothing(ours: Signer) -> None:
    store = Memory()
    store.tag(sig_tag(A), {"layers": []})
    assert signatures.check_signature(store, A, ours.public) == signatures.SignatureCheck((), ())
    assert not signatures.check_signature(store, A, ours.public).holds


def test_of_very_many_layers_only_some_are_read(ours: Signer) -> None:
    store = Memory()
    junk = store.layer(b"x" * 60_000)
    store.tag(sig_tag(A), {"layers": [*[junk] * 500, ours.signature(store, A)]})
    checked = signatures.check_signature(store, A, ours.public)
    assert not checked.holds
    assert checked.problems[-1] == "401 more layers were not read"
    assert store.read <= 100 * 60_000


def test_large_layers_are_read_up_to_a_bound(ours: Signer) -> None:
    store = Memory()
    junk = store.layer(b"{" + b" " * (16 * 2**20 - 2) + b"}", ENVELOPE)
    store.tag(att_tag(A), {"layers": [junk] * 50})
    problems = signatures.read_attestations(store, A, ours.public).problems
    assert store.read <= 64 * 2**20
    assert problems[-1] == "layer 50: was not read, because the layers before it are too large"


def test_a_layout_whose_blobs_were_changed_on_disk_is_reported(tmp_path: Path, ours: Signer) -> None:
    layout, digest = write(tmp_path, ours.key)
    layer = manifest(layout, sig_tag(digest))["layers"][0]
    path = tmp_path / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")
    path.write_bytes(path.read_bytes().replace(b"team", b"Team"))
    checked = signatures.check_signature(layout, digest, ours.public)
    assert not checked.holds
    assert "has other content" in checked.problems[0]
    own = tmp_path / "blobs" / "sha256" / layout.resolve(sig_tag(digest)).digest.removeprefix("sha256:")
    own.write_bytes(own.read_bytes().replace(b"schemaVersion", b"SchemaVersion"))
    checked = signatures.check_signature(layout, digest, ours.public)
    assert not checked.holds
    assert "has other content" in checked.problems[0]


def test_a_store_that_cannot_be_asked_is_an_error_and_no_finding(ours: Signer) -> None:
    class Silent(Memory):
        def blob(self, digest: str, size: int) -> Iterator[bytes]:
            raise EvalHubError("memory: does not answer")

    store = Silent()
    store.tag(sig_tag(A), {"layers": [ours.signature(store, A)]})
    with pytest.raises(EvalHubError, match="does not answer"):
        signatures.check_signature(store, A, ours.public)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from([A, B, SIGNATURE]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=15,
)
NAMES = st.sampled_from(
    [
        *("mediaType", "digest", "size", "annotations", "payload", "payloadType", "signatures", "sig", "_type"),
        *("critical", "image", "type", "identity", "docker-reference", "docker-manifest-digest"),
        *("subject", "predicateType", "predicate", "sha256"),
    ]
)
SHAPES = st.recursive(
    JSON | st.sampled_from([SIMPLE_SIGNING, ENVELOPE, IN_TOTO, "https://in-toto.io/Statement/v1", 0, 10, 2**70]),
    lambda inner: st.dictionaries(NAMES, inner, max_size=6) | st.lists(inner, max_size=3),
    max_leaves=15,
)
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def as_json(value: object) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@FUZZ
@given(
    manifest=st.one_of(
        st.binary(max_size=200), SHAPES.map(as_json), st.builds(lambda s: as_json({"layers": s}), SHAPES)
    )
)
def test_no_manifest_makes_the_reader_fail(ours: Signer, manifest: bytes) -> None:
    store = Memory()
    store.tag(sig_tag(A), manifest)
    store.tag(att_tag(A), manifest)
    assert not signatures.check_signature(store, A, ours.public).holds
    assert not signatures.read_attestations(store, A, ours.public).statements


@FUZZ
@given(content=st.one_of(st.binary(max_size=200), SHAPES.map(as_json)), signature=st.text(max_size=100))
def test_no_unsigned_content_makes_the_reader_fail(ours: Signer, content: bytes, signature: str) -> None:
    store = Memory()
    store.tag(sig_tag(A), {"layers": [store.layer(content, **{SIGNATURE: signature})]})
    store.tag(att_tag(A), {"layers": [store.layer(content, ENVELOPE)]})
    checked = signatures.check_signature(store, A, ours.public)
    attested = signatures.read_attestations(store, A, ours.public)
    assert (checked.holds, attested.statements) == (False, ())
    assert all(problem.isprintable() for problem in (*checked.problems, *attested.problems))


@FUZZ
@given(payload=st.one_of(st.binary(max_size=200), SHAPES.map(as_json)))
def test_no_signed_payload_makes_the_reader_fail(ours: Signer, payload: bytes) -> None:
    store = Memory()
    store.tag(sig_tag(A), {"layers": [ours.layer(store, payload)]})
    store.tag(att_tag(A), {"layers": [ours.attestation(store, payload)]})
    checked = signatures.check_signature(store, A, ours.public)
    attested = signatures.read_attestations(store, A, ours.public)
    assert len(checked.repositories) + len(checked.problems) == 1
    assert len(attested.statements) + len(attested.problems) == 1
