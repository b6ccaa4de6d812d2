"""A token server as registries have them: gives signed tokens for what was asked, as far as a user may do it."""

from __future__ import annotations

import base64
import datetime
import json
import ssl
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID

_LEEWAY = 60  # seconds that docker-registry takes a token for after it has expired


class Asked(NamedTuple):
    """A request for a token; no user is anonymous."""

    user: str | None
    scope: str
    refresh: bool


class TokenServer:
    """Runs inside a `with` block.

    Attributes:
        asked: every request for a token.
        lifetime: seconds for which the registry takes a token.
        refresh_tokens: what each is exchanged for: a user's tokens.
    """

    service = "tests"
    issuer = "tests-tokens"

    def __init__(
        self, users: Mapping[str, tuple[str, set[str]]], certificate_and_key: tuple[Path, Path] | None = None
    ) -> None:
        """Serve `users`: their passwords and what they may do; over TLS with a certificate."""
        self.users = users
        self.asked: list[Asked] = []
        self.lifetime: float = 300
        self.refresh_tokens: dict[str, str] = {}
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _self_signed(self._key)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _request_handler(self))
        self._http.daemon_threads = True
        if certificate_and_key:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate_and_key)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._scheme = "https" if certificate_and_key else "http"

    def __enter__(self) -> TokenServer:
        self._thread = Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def realm(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._http.server_port}/token"

    @property
    def certificate(self) -> bytes:
        """What the registry checks the tokens with, as PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def answer(self, user: str | None, password: str | None, scope: str, refresh_token: str | None) -> Any:
        """Return the answer's JSON, None to refuse."""
        if refresh_token is not None:
            user = self.refresh_tokens.get(refresh_token)
            if user is None:
                return None
        self.asked.append(Asked(user, scope, refresh_token is not None))
        if user is not None and refresh_token is None and self.users.get(user, ("", set()))[0] != password:
            return None
        return {"token": self.token(user, scope), "expires_in": 300}

    def token(self, user: str | None, scope: str) -> str:
        access = []
        for part in scope.split():
            kind, name, actions = part.split(":")
            may = self.users[user][1] if user else {"pull"} if name.startswith("public/") else set()
            access.append({"type": kind, "name": name, "actions": sorted(set(actions.split(",")) & may)})
        expires = time.time() + self.lifetime - _LEEWAY
        claims = {"iss": self.issuer, "aud": self.service, "sub": user or "", "access": access, "jti": "1"}
        claims |= {"iat": int(expires) - 600, "nbf": int(expires) - 600, "exp": int(expires)}
        chain = [base64.b64encode(self._certificate.public_bytes(serialization.Encoding.DER)).decode()]
        header = {"typ": "JWT", "alg": "ES256", "x5c": chain}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        r, s = utils.decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _request_handler(tokens: TokenServer) -> type[BaseHTTPRequestHandler]:
    class Request(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            user, password = self._login()
            query = parse_qs(urlsplit(self.path).query)
            self._answer(tokens.answer(user, password, " ".join(query.get("scope", [])), None))

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            if form["grant_type"] != ["refresh_token"]:
                return self._answer(None)
            return self._answer(tokens.answer(None, None, form.get("scope", [""])[0], form["refresh_token"][0]))

        def _login(self) -> tuple[str | None, str | None]:
            kind, _, value = (self.headers["Authorization"] or "").partition(" ")
            if kind != "Basic":
                return None, None
            user, _, password = base64.b64decode(value).decode().partition(":")
            return user, password

        def _answer(self, value: Any) -> None:
            content = json.dumps(value if value is not None else {"details": "incorrect username or password"}).encode()
            self.send_response(200 if value is not None else 401)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Request


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests-tokens")])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
