"""Key pairs that sign evidence: ECDSA P-256 or Ed25519 in the PEM files that openssl and cosign read too."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from evalhub_components.errors import EvalHubError, MissingExtra

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    Public = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

Kind = Literal["ecdsa-p256", "ed25519"]

PRIVATE_KEY = "private.key"
PUBLIC_KEY = "public.key"

_MAKE_ONE = "make a pair: evalhub-kfp keys generate"
_WANTED = f"an ECDSA P-256 or Ed25519 key is needed; {_MAKE_ONE}"
_MAX_BYTES = 64 * 2**10


@dataclass(frozen=True)
class PublicKey:
    """The key that others check signatures with.

    Attributes:
        pem: the key as SPKI PEM.
        key_id: `sha256:<hex>` over the key as SPKI DER.
    """

    pem: str
    key_id: str = field(compare=False)
    _key: Public = field(repr=False, compare=False)

    @classmethod
    def load(cls, path: Path) -> PublicKey:
        """Return the public key in the PEM file `path`.

        Raises:
            EvalHubError: there is none; the message says what is there instead and never quotes it.
            MissingExtra: cryptography is not installed.
        """
        _require_library()
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization

        content = _read(path)
        if b"PRIVATE KEY-----" in content:
            raise EvalHubError(f"{path}: is a private key (give the {PUBLIC_KEY} that belongs to it)")
        if b"BEGIN CERTIFICATE-----" in content:
            raise EvalHubError(f"{path}: is a certificate (take its key: openssl x509 -in CERTIFICATE -pubkey -noout)")
        try:
            key = serialization.load_pem_public_key(content)
        except (ValueError, UnsupportedAlgorithm):
            raise EvalHubError(f"{path}: is no public key in PEM ({_WANTED})") from None
        _check_kind(key, path)
        return cls._of(cast("Public", key))

    @classmethod
    def _of(cls, key: Public) -> PublicKey:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return cls(pem, f"sha256:{hashlib.sha256(der).hexdigest()}", key)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Return whether `signature` is this key's over `data`; whatever is no signature is not."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        try:
            if isinstance(self._key, ec.EllipticCurvePublicKey):
                self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
            else:
                self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """The key that signs. Nothing that is printed of it tells the key."""

    public: PublicKey
    _key: Private = field(repr=False, compare=False)

    @classmethod
    def load(cls, folder: Path) -> SigningKey:
        """Return the key in `folder`, such as a mounted secret: `private.key`, and `public.key` when it is there.

        Raises:
            EvalHubError: there is no key that can be used, or the two do not belong together; nothing of the file's
                content is in the message.
            MissingExtra: cryptography is not installed.
        """
        _require_library()
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization

        path = folder / PRIVATE_KEY
        content = _read(path)
        _refuse_encrypted(content, path)
        if b"PRIVATE KEY-----" not in content and b"PUBLIC KEY-----" in content:
            raise EvalHubError(f"{path}: is a public key, which cannot sign ({_WANTED})")
        try:
            key = serialization.load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise EvalHubError(f"{path}: is no private key in PEM ({_WANTED})") from None
        _check_kind(key, path)
        signing = cls(PublicKey._of(cast("Private", key).public_key()), cast("Private", key))
        given = folder / PUBLIC_KEY
        if given.exists() and PublicKey.load(given) != signing.public:
            raise EvalHubError(f"{given}: does not belong to {PRIVATE_KEY} beside it (put in the one that does)")
        return signing

    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data`: the same bytes every time, also for ECDSA (RFC 6979)."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        if not isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(data)
        try:
            return self._key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        except UnsupportedAlgorithm:
            cure = "install cryptography from its wheel, or use an Ed25519 key"
            raise EvalHubError(f"the OpenSSL that cryptography uses has no deterministic ECDSA ({cure})") from None


def generate(folder: Path, kind: Kind = "ecdsa-p256") -> PublicKey:
    """Make a key pair in `folder`: `private.key` (PKCS #8), for its owner's eyes alone, and `public.key`.

    A file appears whole or not at all, and no key is ever replaced.

    Raises:
        EvalHubError: there is a key already, or the folder cannot be written to.
        MissingExtra: cryptography is not installed.
    """
    _require_library()
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key: Private = (
        ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa-p256" else ed25519.Ed25519PrivateKey.generate()
    )
    public = PublicKey._of(key.public_key())
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (PRIVATE_KEY, PUBLIC_KEY):
            if os.path.lexists(folder / name):
                raise FileExistsError(None, "exists", str(folder / name))
        # the private key first: it is enough when the machine stops before the other is there
        _create(folder / PRIVATE_KEY, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
        try:
            _create(folder / PUBLIC_KEY, public.pem.encode("ascii"), 0o644)
        except BaseException:
            (folder / PRIVATE_KEY).unlink()
            raise
    except FileExistsError as error:
        found = error.filename2 or error.filename
        raise EvalHubError(f"{found}: exists already (choose another folder; no key is replaced)") from None
    except OSError as error:
        raise EvalHubError(f"{folder}: a key pair cannot be written ({error.strerror})") from None
    return public


def _create(path: Path, content: bytes, mode: int) -> None:
    """Write a new file that nobody else can read before it has its mode.

    Raises:
        FileExistsError: there is one.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.link(name, path)
    finally:
        os.unlink(name)


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise EvalHubError(f"{path}: is no file (a key in PEM is needed)")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise EvalHubError(f"{path}: there is no key ({_MAKE_ONE})") from None
    except OSError as error:
        raise EvalHubError(f"{path}: cannot be read ({error.strerror})") from None
    if len(content) > _MAX_BYTES:
        raise EvalHubError(f"{path}: is larger than any key")
    return content


def _refuse_encrypted(content: bytes, path: Path) -> None:
    for own_form in (b"BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----", b"BEGIN ENCRYPTED COSIGN PRIVATE KEY-----"):
        if own_form in content:
            raise EvalHubError(
                f"{path}: is a key in cosign's own encrypted form, which is not supported and which no tool decrypts "
                f"({_MAKE_ONE}; cosign takes it with: cosign import-key-pair --key {PRIVATE_KEY})"
            )
    if b"BEGIN ENCRYPTED PRIVATE KEY-----" in content or b"Proc-Type: 4,ENCRYPTED" in content:
        raise EvalHubError(
            f"{path}: is encrypted, which is not supported (decrypt it: openssl pkey -in ENCRYPTED -out {PRIVATE_KEY}, "
            "and let the secret's access rules guard it)"
        )


def _check_kind(key: object, path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        if isinstance(key.curve, ec.SECP256R1):
            return
        what = f"an ECDSA key on the curve {key.curve.name}"
    elif isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        return
    elif isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        what = "an RSA key"
    else:
        what = "a key of another kind"
    raise EvalHubError(f"{path}: is {what} ({_WANTED})")


def _require_library() -> None:
    if not find_spec("cryptography"):
        raise MissingExtra("oci", "signing evidence and checking signatures")
