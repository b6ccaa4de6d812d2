"""A token server as registries have them: gives signed tokens for what was asked, as far as a user may do it."""

from __future__ import annotations

import base64
import datetime
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID
from stub_http import StubApi, StubRequest, served

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
        self._http = StubApi()
        self._served = served(self._http, _request_handler(self), certificate_and_key)

    def __enter__(self) -> TokenServer:
        self._served.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._served.__exit__(*error)

    @property
    def realm(self) -> str:
        return f"{self._http.address}/token"

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


def _request_handler(tokens: TokenServer) -> type[StubRequest]:
    class Request(StubRequest):
        def serve(self) -> None:
            if self.command == "GET":
                scopes = parse_qs(urlsplit(self.path).query).get("scope", [])  # there may be several
                return self._give(tokens.answer(*self._login(), " ".join(scopes), None))
            form = parse_qs(self.content.decode())
            if form["grant_type"] != ["refresh_token"]:
                return self._give(None)
            return self._give(tokens.answer(None, None, form.get("scope", [""])[0], form["refresh_token"][0]))

        def _login(self) -> tuple[str | None, str | None]:
            kind, _, value = (self.headers["Authorization"] or "").partition(" ")
            if kind != "Basic":
                return None, None
            user, _, password = base64.b64decode(value).decode().partition(":")
            return user, password

        def _give(self, value: Any) -> None:
            refusal = {"details": "incorrect username or password"}
            self.say(200 if value is not None else 401, value or refusal)

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
