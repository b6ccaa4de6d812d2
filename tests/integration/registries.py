"""Real registries on loopback: open, behind a password and TLS, and behind tokens; with storage to tamper with.

Import the fixtures by name. Each test has registries of its own, which start in a fraction of a second.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from container_engine import missing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from token_server import TokenServer

DOCKER_REGISTRY = "/usr/bin/docker-registry"
LOGIN = ("writer", "correct-horse-7")
READER = ("reader", "battery-staple-8")
PATIENCE = 60  # seconds until a registry that should answer does not
# bcrypt of LOGIN's password, made with libcrypt: `htpasswd` is not everywhere
_HTPASSWD = "writer:$2b$05$evalhubkfptestsregisXeFlRUMrD3JpIYolwcj05BlhuyXC368f6\n"


@dataclass
class RunningRegistry:
    """A docker-registry and what it takes to use it.

    Attributes:
        host: host and port.
        folder: its configuration and data.
        ca: the certificate to trust; None for plain HTTP.
        login: user name and password; None when everybody may do everything.
        secret: a folder with the login as Kubernetes mounts a `kubernetes.io/dockerconfigjson` secret.
        tokens: the server that gives its tokens.
    """

    host: str
    folder: Path
    ca: Path | None = None
    login: tuple[str, str] | None = None
    secret: Path | None = None
    tokens: TokenServer | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What references begin with: the host, with `http://` in front where that must be asked for."""
        return self.host if self.ca else f"http://{self.host}"

    @property
    def storage(self) -> Path:
        return self.folder / "data"

    def blob(self, digest: str) -> Path:
        """The file with the content of a blob or manifest."""
        hex_digest = digest.removeprefix("sha256:")
        return self.storage / "docker/registry/v2/blobs/sha256" / hex_digest[:2] / hex_digest / "data"

    def repository(self, name: str) -> Path:
        """The folder with the tags (`_manifests/tags`), revisions and uploads of a repository."""
        return self.storage / "docker/registry/v2/repositories" / name

    def secret_of(self, user: str, password: str, name: str = "secret") -> Path:
        """A secret's folder with another login for this registry."""
        return docker_secret(self.folder / name, self.host, user, password)

    def start(self, **storage: Any) -> None:
        """Start, with more settings of the storage, such as `maintenance`."""
        settings = {**self.settings, "storage": {**self.settings["storage"], **storage}}
        path = self.folder / "config.yml"
        path.write_text(json.dumps(settings))  # JSON is YAML
        with (self.folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen([DOCKER_REGISTRY, "serve", path], stdout=log, stderr=log)
        name, _, port = self.host.rpartition(":")
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            assert self._process.poll() is None, (self.folder / "log.txt").read_text()[-2000:]
            with socket.socket() as probe:
                if probe.connect_ex((name, int(port))) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("the registry does not start")

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self, **storage: Any) -> None:
        self.stop()
        self.start(**storage)

    def garbage_collect(self) -> str:
        """Delete what no tag reaches, as an administrator does: with the registry stopped. Returns what was said."""
        self.stop()
        done = subprocess.run(
            [DOCKER_REGISTRY, "garbage-collect", "--delete-untagged", self.folder / "config.yml"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        self.start()
        return done.stdout


def docker_secret(folder: Path, host: str, user: str, password: str) -> Path:
    """Write a folder as Kubernetes mounts a `kubernetes.io/dockerconfigjson` secret, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / ".dockerconfigjson").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return folder


@contextmanager
def running_registry(
    folder: Path, *, auth: Mapping[str, Any] | None = None, tls: bool = False, **keys: Any
) -> Iterator[RunningRegistry]:
    """A registry that runs inside the block, with its configuration and data in `folder`."""
    if not Path(DOCKER_REGISTRY).exists():
        missing(f"{DOCKER_REGISTRY} (Debian: apt-get install docker-registry)")
    folder.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{free_port()}"
    registry = RunningRegistry(host, folder, **keys)
    http: dict[str, Any] = {"addr": host, "relativeurls": False}
    if tls:
        certificate, key = write_certificates(folder / "tls")
        http["tls"] = {"certificate": str(certificate), "key": str(key)}
        registry.ca = folder / "tls" / "ca.crt"
    if registry.login:
        registry.secret = registry.secret_of(*registry.login)
    registry.settings = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(registry.storage)}, "delete": {"enabled": True}},
        "http": http,
        **({"auth": dict(auth)} if auth else {}),
    }
    registry.start()
    try:
        yield registry
    finally:
        registry.stop()


@pytest.fixture
def plain_registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    """Plain HTTP, open to everybody."""
    with running_registry(tmp_path / "plain-registry") as registry:
        yield registry


@pytest.fixture
def tls_registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    """TLS with a certificate of a CA of its own, and one user with a password (basic authentication)."""
    folder = tmp_path / "tls-registry"
    folder.mkdir()
    (folder / "htpasswd").write_text(_HTPASSWD)
    auth = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    with running_registry(folder, auth=auth, tls=True, login=LOGIN) as registry:
        yield registry


@pytest.fixture
def token_registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    """TLS and tokens for exactly the scope asked for.

    LOGIN may push, READER may pull, and everybody may pull from repositories under `public/`.
    """
    folder = tmp_path / "token-registry"
    folder.mkdir()
    certificate, key = write_certificates(folder / "tls")
    users = {LOGIN[0]: (LOGIN[1], {"pull", "push"}), READER[0]: (READER[1], {"pull"})}
    with TokenServer(users, (certificate, key)) as tokens:
        (folder / "tokens.crt").write_bytes(tokens.certificate)
        auth = {
            "token": {
                "realm": tokens.realm,
                "service": tokens.service,
                "issuer": tokens.issuer,
                "rootcertbundle": str(folder / "tokens.crt"),
            }
        }
        with running_registry(folder, auth=auth, tls=True, login=LOGIN, tokens=tokens) as registry:
            yield registry


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_certificates(folder: Path) -> tuple[Path, Path]:
    """Write a CA (`ca.crt`), and a server's certificate and key for 127.0.0.1, unless they are there; return these."""
    certificate, key_file = folder / "server.crt", folder / "server.key"
    if certificate.exists():
        return certificate, key_file
    folder.mkdir(parents=True, exist_ok=True)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("tests' own CA", ca_key, None, ca_key)
    server = _certificate("127.0.0.1", key, ca, ca_key)
    (folder / "ca.crt").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    certificate.write_bytes(server.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, key_file


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate | None, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    usage = dict.fromkeys((*unused, "encipher_only", "decipher_only"), False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=issuer is None, crl_sign=issuer is None, **usage),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if issuer:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(signer, hashes.SHA256())
