"""Others check what we sign: openssl the bytes; skopeo and cosign the forms, as the policy of a cluster does."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from container_engine import missing
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from registries import RunningRegistry, plain_registry

from evalhub_components.evidence.layout import Blob, Layout, LayoutWriter, TaggedManifest
from evalhub_components.evidence.signing import keys, signatures
from evalhub_components.evidence.signing.keys import PublicKey, SigningKey

# olot declares its models in a way that pydantic is going to drop
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:olot")
__all__ = ["plain_registry"]  # fixtures

KINDS = ("ecdsa-p256", "ed25519")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PROVENANCE = "https://slsa.dev/provenance/v1"
PATIENCE = 120  # seconds until a tool that should answer does not


class Signed(NamedTuple):
    """A layout with an artifact and what was signed of it; `public` is the file with the key."""

    path: Path
    blob: Blob
    public: Path

    @property
    def tags(self) -> tuple[str, str, str]:
        return "artifact", signatures.signature_tag(self.blob.digest), signatures.attestation_tag(self.blob.digest)


def run(*command: object, check: bool = True, **environ: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert not check or done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done


def sign(folder: Path, kind: keys.Kind, repository: str) -> Signed:
    """Writes an artifact with its signature and an attestation, by a new key."""
    from olot.oci.oci_image_manifest import ContentDescriptor, create_oci_image_manifest

    keys.generate(folder / "keys", kind)
    key = SigningKey.load(folder / "keys")
    writer = LayoutWriter(folder / "layout")

    def described(media_type: str, content: bytes) -> ContentDescriptor:
        blob = writer.add([content])
        return ContentDescriptor(
            mediaType=media_type, size=blob.size, digest=blob.digest, urls=None, data=None, artifactType=None
        )

    artifact = create_oci_image_manifest(
        artifactType="application/vnd.evalhub.evidence.v1",
        config=described("application/vnd.evalhub.evidence.config.v1+json", b"{}"),
        layers=[described("text/plain", b"results")],
    )
    blob = writer.add_model(artifact)
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "run", "digest": {"sha256": blob.digest.removeprefix("sha256:")}}],
        "predicateType": PROVENANCE,
        "predicate": {
            "buildDefinition": {
                "buildType": "https://example.org/run/v1",
                "externalParameters": {"collection": "quick"},
            },
            "runDetails": {"builder": {"id": "https://example.org/builder"}},
        },
    }
    writer.commit(
        [
            TaggedManifest(MANIFEST, blob, ("artifact",)),
            signatures.signature(writer, key, blob, repository),
            signatures.attestations(writer, key, blob, [statement]),
        ]
    )
    return Signed(folder / "layout", blob, folder / "keys" / "public.key")


def push(signed: Signed, repository: str) -> None:
    for tag in signed.tags:
        target = f"docker://{repository}:{tag}"
        form = ("--preserve-digests", "--dest-tls-verify=false")
        run("skopeo", "--insecure-policy", "copy", "--quiet", *form, f"oci:{signed.path}:{tag}", target)


def layer_of(signed: Signed, tag: str) -> tuple[bytes, dict[str, str]]:
    """Returns the content and the annotations of the one layer of a tag's manifest."""
    layout = Layout(signed.path)
    (layer,) = json.loads(layout.manifest(layout.resolve(tag).digest))["layers"]
    return b"".join(layout.blob(layer["digest"], layer["size"])), layer["annotations"]


def openssl_verifies(folder: Path, public: Path, signature: bytes, data: bytes) -> bool:
    (folder / "data").write_bytes(data)
    (folder / "signature").write_bytes(signature)
    # Ed25519 has no digest of its own choice, and its data are given whole
    form = ("-rawin",) if "MCowBQYDK2Vw" in public.read_text() else ("-rawin", "-digest", "sha256")
    files = ("-in", folder / "data", "-sigfile", folder / "signature")
    done = run("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, *form, *files, check=False)
    assert ("Signature Verified Successfully" in done.stdout) == (done.returncode == 0), done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_openssl_verifies_the_signature_and_the_attestation(tmp_path: Path, kind: keys.Kind) -> None:
    signed = sign(tmp_path, kind, "registry.example/team/evidence")
    other = sign(tmp_path / "other", kind, "registry.example/team/evidence").public
    payload, annotations = layer_of(signed, signed.tags[1])
    envelope = json.loads(layer_of(signed, signed.tags[2])[0])
    statement = base64.b64decode(envelope["payload"])
    over = b"DSSEv1 28 application/vnd.in-toto+json " + str(len(statement)).encode() + b" " + statement
    for signature, data in (
        (base64.b64decode(annotations["dev.cosignproject.cosign/signature"]), payload),
        (base64.b64decode(envelope["signatures"][0]["sig"]), over),
    ):
        assert openssl_verifies(tmp_path, signed.public, signature, data)
        assert not openssl_verifies(tmp_path, signed.public, signature, data + b" ")
        assert not openssl_verifies(tmp_path, other, signature, data)


@pytest.mark.parametrize("kind", KINDS)
def test_the_makers_of_the_envelope_verify_it(tmp_path: Path, kind: keys.Kind) -> None:
    dsse, signer = (pytest.importorskip(f"securesystemslib.{name}") for name in ("dsse", "signer"))
    signed = sign(tmp_path, kind, "")
    other = sign(tmp_path / "other", kind, "").public
    envelope = dsse.Envelope.from_dict(json.loads(layer_of(signed, signed.tags[2])[0]))

    def key_of(path: Path) -> Any:
        key = signer.SSlibKey.from_crypto(load_pem_public_key(path.read_bytes()))
        key.keyid = ""  # the library compares key ids, which the envelope leaves empty as cosign does
        return key

    assert envelope.payload_type == "application/vnd.in-toto+json"
    assert json.loads(envelope.payload)["predicateType"] == PROVENANCE
    envelope.verify([key_of(signed.public)], 1)
    with pytest.raises(Exception, match="Accepted signatures do not match threshold"):
        envelope.verify([key_of(other)], 1)


def skopeo_takes(folder: Path, registry: RunningRegistry, reference: str, public: Path) -> bool:
    """Copies an image as a host does whose policy asks for a sigstore signature by `public`."""
    requirement: dict[str, Any] = {
        "type": "sigstoreSigned",
        "keyPath": str(public),
        "signedIdentity": {"type": "matchRepository"},
    }
    policy = {"default": [{"type": "reject"}], "transports": {"docker": {registry.host: [requirement]}}}
    (folder / "policy.json").write_text(json.dumps(policy))
    (folder / "registries.d").mkdir(exist_ok=True)
    settings = {"docker": {registry.host: {"use-sigstore-attachments": True}}}
    (folder / "registries.d" / "tests.yaml").write_text(json.dumps(settings))  # JSON is YAML
    policy_options = ("--policy", folder / "policy.json", "--registries.d", folder / "registries.d")
    form = ("--quiet", "--remove-signatures", "--src-tls-verify=false")
    done = run(
        "skopeo", *policy_options, "copy", *form, f"docker://{reference}", f"dir:{folder / 'copied'}", check=False
    )
    if "sigstore disabled" in done.stderr:
        pytest.skip("this skopeo is built without sigstore signatures, as Debian 12 builds it")
    assert done.returncode == 0 or "rejected" in done.stderr, done.stderr
    return done.returncode == 0


def need_skopeo() -> None:
    if not shutil.which("skopeo"):
        missing("skopeo (Debian: apt-get install skopeo)")


@pytest.mark.parametrize("kind", KINDS)
def test_skopeos_policy_takes_what_is_signed_by_its_key_for_this_place_alone(
    tmp_path: Path, plain_registry: RunningRegistry, kind: keys.Kind
) -> None:
    need_skopeo()
    repository = f"{plain_registry.host}/team/evidence"
    signed = sign(tmp_path, kind, repository)
    other = sign(tmp_path / "other", kind, repository)
    for place in (repository, f"{plain_registry.host}/team/elsewhere"):
        push(signed, place)
    digest = signed.blob.digest
    assert skopeo_takes(tmp_path, plain_registry, f"{repository}@{digest}", signed.public)
    assert not skopeo_takes(tmp_path, plain_registry, f"{repository}@{digest}", other.public)
    assert not skopeo_takes(tmp_path, plain_registry, f"{plain_registry.host}/team/elsewhere@{digest}", signed.public)


@pytest.mark.parametrize("kind", KINDS)
def test_registries_and_skopeo_keep_signatures_as_they_are(
    tmp_path: Path, plain_registry: RunningRegistry, kind: keys.Kind
) -> None:
    need_skopeo()
    repository = f"{plain_registry.host}/team/evidence"
    signed = sign(tmp_path, kind, repository)
    push(signed, repository)
    key = PublicKey.load(signed.public)
    for tag in signed.tags:
        source, target = f"docker://{repository}:{tag}", f"oci:{tmp_path / 'back'}:{tag}"
        run("skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", source, target)
    back = Layout(tmp_path / "back")
    assert signatures.check_signature(back, signed.blob.digest, key).holds
    assert len(signatures.read_attestations(back, signed.blob.digest, key).statements) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_cosign_verifies_signature_and_attestation(
    tmp_path: Path, plain_registry: RunningRegistry, kind: keys.Kind
) -> None:
    if not shutil.which("cosign"):
        # no package that can be relied on everywhere has it
        pytest.skip("cosign is not installed")
    need_skopeo()
    repository = f"{plain_registry.host}/team/evidence"
    signed = sign(tmp_path, kind, repository)
    other = sign(tmp_path / "other", kind, repository)
    push(signed, repository)
    reference = f"{repository}@{signed.blob.digest}"
    form = ("--private-infrastructure", "--allow-http-registry")
    for command in (("verify",), ("verify-attestation", "--type", PROVENANCE)):
        run("cosign", *command, "--key", signed.public, *form, reference, COSIGN_EXPERIMENTAL="0")
        refused = run("cosign", *command, "--key", other.public, *form, reference, check=False)
        assert refused.returncode != 0
