from __future__ import annotations

import errno
import os
import stat
import subprocess
import traceback
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, utils
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from evalhub_components.errors import EvalHubError, MissingExtra
from evalhub_components.evidence.signing import keys
from evalhub_components.evidence.signing.keys import PublicKey, SigningKey

KINDS = ("ecdsa-p256", "ed25519")
P256 = ec.derive_private_key(0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721, ec.SECP256R1())
P256_PEM = P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
P256_PUBLIC = P256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def pem(key: object, form: PrivateFormat = PrivateFormat.PKCS8, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, encryption)  # type: ignore[attr-defined]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("kind", KINDS)
def test_a_generated_pair_signs_and_verifies(tmp_path: Path, kind: keys.Kind) -> None:
    made = keys.generate(tmp_path / "new" / "pair", kind)
    key = SigningKey.load(tmp_path / "new" / "pair")
    public = PublicKey.load(tmp_path / "new" / "pair" / "public.key")
    assert key.public == public == made
    assert public.verify(key.sign(b"evidence"), b"evidence")
    assert sorted(path.name for path in (tmp_path / "new" / "pair").iterdir()) == ["private.key", "public.key"]


@pytest.mark.parametrize(
    ("kind", "private", "public"),
    [
        ("ecdsa-p256", ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey),
        ("ed25519", ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
    ],
)
def test_the_files_are_what_other_tools_read(tmp_path: Path, kind: keys.Kind, private: type, public: type) -> None:
    made = keys.generate(tmp_path, kind)
    secret, known = (tmp_path / "private.key").read_bytes(), (tmp_path / "public.key").read_bytes()
    assert secret.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert known.startswith(b"-----BEGIN PUBLIC KEY-----\n")
    assert known.decode() == made.pem
    assert isinstance(serialization.load_pem_private_key(secret, None), private)
    assert isinstance(serialization.load_pem_public_key(known), public)


def test_nobody_else_can_read_the_private_key_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    synced = os.fsync

    def watch(descriptor: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    before = os.umask(0)
    try:
        keys.generate(tmp_path / "pair")
    finally:
        os.umask(before)
    assert modes[0] == 0o600
    assert mode(tmp_path / "pair" / "private.key") == 0o600
    assert mode(tmp_path / "pair" / "public.key") == 0o644
    assert mode(tmp_path / "pair") == 0o700


@pytest.mark.parametrize("name", ["private.key", "public.key"])
def test_no_key_is_ever_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("dear to somebody")
    with pytest.raises(EvalHubError, match=rf"{name}: exists already \(choose another folder"):
        keys.generate(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "dear to somebody"


def test_a_dangling_link_is_no_place_for_a_key(tmp_path: Path) -> None:
    (tmp_path / "private.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EvalHubError, match="exists already"):
        keys.generate(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("failing", [1, 2])
def test_a_full_disk_leaves_no_half_of_a_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    synced, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EvalHubError, match=r"a key pair cannot be written \(No space left on device\)"):
        keys.generate(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "pair").write_text("")
    with pytest.raises(EvalHubError, match=rf"{tmp_path}/pair: "):
        keys.generate(tmp_path / "pair")


def test_an_ecdsa_signature_is_the_one_of_rfc_6979(tmp_path: Path) -> None:
    (tmp_path / "private.key").write_bytes(P256_PEM)
    # RFC 6979, A.2.5: curve P-256, SHA-256, message "sample"
    expected = utils.encode_dss_signature(
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    )
    assert SigningKey.load(tmp_path).sign(b"sample") == expected


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_data_has_the_same_signature(tmp_path: Path, kind: keys.Kind) -> None:
    keys.generate(tmp_path, kind)
    assert SigningKey.load(tmp_path).sign(b"x" * 10_000) == SigningKey.load(tmp_path).sign(b"x" * 10_000)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_the_keys_signature_over_the_data_does_not_verify(tmp_path: Path, kind: keys.Kind) -> None:
    public = keys.generate(tmp_path / "ours", kind)
    keys.generate(tmp_path / "theirs", kind)
    keys.generate(tmp_path / "other-kind", "ed25519" if kind == "ecdsa-p256" else "ecdsa-p256")
    right = SigningKey.load(tmp_path / "ours").sign(b"data")
    assert public.verify(right, b"data")
    assert not public.verify(right, b"Data")
    for wrong in (
        b"",
        b"\x00" * 64,
        right[:-1],
        right + b"\x00",
        bytes([*right[:-1], right[-1] ^ 1]),
        SigningKey.load(tmp_path / "theirs").sign(b"data"),
        SigningKey.load(tmp_path / "other-kind").sign(b"data"),
    ):
        assert not public.verify(wrong, b"data")


def test_the_key_id_is_the_hash_that_openssl_shows_the_key_to_have(tmp_path: Path) -> None:
    public = keys.generate(tmp_path)
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", tmp_path / "public.key", "-outform", "DER"],
        capture_output=True,
        check=True,
    ).stdout
    hashed = subprocess.run(["sha256sum"], input=der, capture_output=True, check=True).stdout.split()[0].decode()
    assert public.key_id == f"sha256:{hashed}"


@pytest.mark.parametrize(
    "content",
    [P256_PEM, pem(P256, PrivateFormat.TraditionalOpenSSL), pem(ed25519.Ed25519PrivateKey.generate())],
    ids=["pkcs8", "sec1", "ed25519"],
)
def test_keys_of_other_tools_sign(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "private.key").write_bytes(content)
    key = SigningKey.load(tmp_path)
    assert key.public.verify(key.sign(b"x"), b"x")


def test_a_key_is_read_as_a_secret_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "..2026").mkdir()
    keys.generate(tmp_path / "..2026")
    (tmp_path / "..data").symlink_to("..2026")
    for name in ("private.key", "public.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    assert SigningKey.load(tmp_path).public == PublicKey.load(tmp_path / "public.key")


REFUSED = {
    "cosign": (
        b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nZm9vYmFyc2VjcmV0\n"
        b"-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
        "is a key in cosign's own encrypted form, which is not supported.*keys generate",
    ),
    "old cosign": (
        b"-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\nZm9vYmFyc2VjcmV0\n-----END ENCRYPTED COSIGN PRIVATE KEY-----\n",
        "is a key in cosign's own encrypted form, which is not supported.*keys generate",
    ),
    "encrypted": (pem(P256, password=b"pw"), "is encrypted, which is not supported.*openssl pkey -in"),
    "encrypted sec1": (
        pem(P256, PrivateFormat.TraditionalOpenSSL, b"pw"),
        "is encrypted, which is not supported.*openssl pkey -in",
    ),
    "rsa": (pem(rsa.generate_private_key(65537, 2048)), "is an RSA key.*P-256 or Ed25519"),
    "curve": (pem(ec.generate_private_key(ec.SECP384R1())), "is an ECDSA key on the curve secp384r1.*P-256 or Ed25519"),
    "dsa": (pem(dsa.generate_private_key(2048)), "is a key of another kind.*P-256 or Ed25519"),
    "public": (P256_PUBLIC, "is a public key, which cannot sign"),
    "rubbish": (b"Zm9vYmFyc2VjcmV0 it is not", "is no private key in PEM"),
    "binary": (bytes(range(256)), "is no private key in PEM"),
    "empty": (b"", "is no private key in PEM"),
    "cut": (P256_PEM[:80], "is no private key in PEM"),
    "damaged": (P256_PEM.replace(b"M", b"!"), "is no private key in PEM"),
    "not a key": (
        b"-----BEGIN PRIVATE KEY-----\nZm9vYmFyc2VjcmV0\n-----END PRIVATE KEY-----\n",
        "is no private key in PEM",
    ),
    "huge": (b"x" * 2**20, "is larger than any key"),
}


@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_sign_is_refused_in_words_that_tell_nothing_of_it(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "private.key").write_bytes(content)
    with pytest.raises(EvalHubError, match=f"private.key: {said}") as raised:
        SigningKey.load(tmp_path)
    shown = "".join(traceback.format_exception(raised.value))
    for line in content.decode("latin-1").splitlines():
        if line.strip() and not line.startswith("-----"):
            assert line not in shown


def test_a_key_that_is_not_there_is_named_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(EvalHubError, match=r"private.key: there is no key \(make a pair: evalhub-kfp keys generate\)"):
        SigningKey.load(tmp_path)
    (tmp_path / "private.key").mkdir()
    with pytest.raises(EvalHubError, match=r"private\.key: is no file"):
        SigningKey.load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(EvalHubError, match=r"file/private\.key: cannot be read"):
        SigningKey.load(tmp_path / "file")


def test_a_public_key_of_another_pair_beside_the_private_one_is_an_error(tmp_path: Path) -> None:
    keys.generate(tmp_path / "a")
    keys.generate(tmp_path / "b")
    (tmp_path / "a" / "public.key").write_bytes((tmp_path / "b" / "public.key").read_bytes())
    with pytest.raises(EvalHubError, match=r"public.key: does not belong to private.key beside it"):
        SigningKey.load(tmp_path / "a")
    (tmp_path / "a" / "public.key").unlink()
    SigningKey.load(tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (P256_PEM, r"is a private key \(give the public.key"),
        (pem(P256, password=b"pw"), "is a private key"),
        (
            b"-----BEGIN CERTIFICATE-----\nZm9v\n-----END CERTIFICATE-----\n",
            "is a certificate .take its key: openssl x509 -in CERTIFICATE -pubkey -noout",
        ),
        (
            rsa.generate_private_key(65537, 2048)
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "is an RSA key",
        ),
        (b"Zm9vYmFyc2VjcmV0", "is no public key in PEM"),
        (P256_PUBLIC[:60], "is no public key in PEM"),
    ],
    ids=["private", "encrypted private", "certificate", "rsa", "rubbish", "cut"],
)
def test_what_cannot_verify_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "cosign.pub").write_bytes(content)
    with pytest.raises(EvalHubError, match=f"cosign.pub: {said}") as raised:
        PublicKey.load(tmp_path / "cosign.pub")
    shown = "".join(traceback.format_exception(raised.value))
    assert not any(line in shown for line in content.decode().splitlines() if not line.startswith("-----"))


def test_nothing_printed_of_a_key_tells_it(tmp_path: Path) -> None:
    keys.generate(tmp_path)
    key = SigningKey.load(tmp_path)
    secret = (tmp_path / "private.key").read_text().splitlines()[1:-1]
    shown = f"{key} {key!r} {key.__dict__} {key.public!r}"
    assert not any(line in shown for line in secret)


def test_a_cryptography_without_deterministic_ecdsa_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.generate(tmp_path)
    key = SigningKey.load(tmp_path)

    def refuse(*arguments: object, **settings: object) -> None:
        raise UnsupportedAlgorithm("ECDSA with deterministic signature (RFC 6979) is not supported")

    monkeypatch.setattr(ec, "ECDSA", refuse)
    with pytest.raises(EvalHubError, match=r"no deterministic ECDSA \(install cryptography from its wheel, or"):
        key.sign(b"x")


def test_without_cryptography_the_missing_part_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "find_spec", lambda name: None)
    for use in (keys.generate, SigningKey.load, PublicKey.load):
        with pytest.raises(MissingExtra, match=r"pip install 'evalhub-kfp\[oci\]'"):
            use(tmp_path)
