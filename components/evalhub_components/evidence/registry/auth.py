"""Who we are for a registry: a password, or tokens for one repository that a token server gives.

The protocol is that of the CNCF distribution project: docs/spec/auth/token.md and oauth.md.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit
from urllib.request import parse_http_list, parse_keqv_list

import oras.auth.base
from oras.auth.utils import get_basic_auth

from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.registry.docker_config import Login
from evalhub_components.evidence.registry.errors import Answer, Said

_CLIENT = "evalhub-kfp"
_LONGEST_TOKEN = 2**16

Ask = Callable[[str, str, Mapping[str, str], bytes | None], Answer]
"""Asks a token server: method, URL, headers, form."""


class Challenge(NamedTuple):
    """What a registry answers to whoever it does not know."""

    kind: str
    realm: str
    service: str

    @classmethod
    def of(cls, header: str) -> Challenge:
        """Return the challenge in a `WWW-Authenticate` header."""
        kind, _, parameters = header.partition(" ")
        pairs = parse_keqv_list([part for part in parse_http_list(parameters) if "=" in part])
        values = {key.lower(): value for key, value in pairs.items()}
        return cls(kind.lower(), values.get("realm", ""), values.get("service", ""))


class Authorization(oras.auth.base.AuthBackend):  # type: ignore[misc]  # oras has no types
    """Authorizes requests for one repository. Used by several threads at once.

    Tokens for reading and for writing are kept apart: what may only be read with is refused for a push.
    """

    def __init__(self, login: Login, place: str, plain_http: bool, ask: Ask) -> None:
        """Authorize for `place`, which is `host/repository`."""
        super().__init__()
        self._login = login
        self._place = place
        self._plain_http = plain_http
        self._ask = ask
        self._headers: dict[bool, str] = {}  # by whether they are for writing
        self._identity_token = login.identity_token
        self._lock = threading.Lock()

    def header(self, writing: bool) -> str | None:
        """Return the value of the header `Authorization`, None as long as nobody has asked for one."""
        return self._headers.get(writing)

    def confidential(self) -> list[str]:
        """Return what no message may show."""
        sent = [header.partition(" ")[2] for header in list(self._headers.values())]
        return [*self._login.confidential(), *([self._identity_token] if self._identity_token else []), *sent]

    def renew(self, www_authenticate: str, writing: bool, refused: str | None) -> bool:
        """Get what the registry asks for in place of the header it refused; say whether it is brand-new.

        A thread that comes with a header that another has renewed meanwhile takes that one.

        Raises:
            EvalHubError: there is no login, it is wrong, or it is not for this.
        """
        with self._lock:
            current = self._headers.get(writing)
            if current is not None and current != refused:
                return False
            challenge = Challenge.of(www_authenticate)
            if challenge.kind == "bearer":
                self._headers[writing] = f"Bearer {self._token(challenge, writing)}"
            elif challenge.kind == "basic":
                if self._login.anonymous or refused is not None:
                    raise self.denied(writing)
                self._headers[writing] = self._basic()
            else:
                kinds = "Basic or Bearer would be usable"
                raise EvalHubError(f"{self._place}: asks for a login in an unknown way ({kinds}; is it a registry?)")
            return True

    def denied(self, writing: bool) -> EvalHubError:
        """Return the error for a login that the registry does not accept."""
        doing = "push to" if writing else "read"
        if self._login.anonymous:
            return EvalHubError(f"{self._place}: only who is logged in may {doing} it ({self._login.source})")
        if (self._headers.get(writing) or "Basic").startswith("Basic"):
            return self._wrong_login()
        who = f"{self._login.username!r}" if self._login.username else "this login"
        return EvalHubError(f"{self._place}: {who} may not {doing} it (the login is from {self._login.source})")

    def _wrong_login(self) -> EvalHubError:
        what = "the identity token" if self._login.identity_token else "user name or password"
        return EvalHubError(f"{self._place}: {what} is wrong (from {self._login.source})")

    def _basic(self) -> str:
        return f"Basic {get_basic_auth(self._login.username, self._login.password)}"

    def _token(self, challenge: Challenge, writing: bool) -> str:
        """Return a token for exactly what is to be done.

        The registry's own idea of the scope is not followed: it may name another repository.
        """
        self._check_realm(challenge.realm)
        repository = self._place.partition("/")[2]
        wanted = {
            "service": challenge.service,
            "scope": f"repository:{repository}:{'pull,push' if writing else 'pull'}",
        }
        if self._identity_token:
            form = {"grant_type": "refresh_token", "client_id": _CLIENT, "refresh_token": self._identity_token}
            content_type = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._ask("POST", challenge.realm, content_type, urlencode(form | wanted).encode())
        else:
            account = {} if self._login.anonymous else {"account": self._login.username}
            headers = {} if self._login.anonymous else {"Authorization": self._basic()}
            joint = "&" if urlsplit(challenge.realm).query else "?"
            answer = self._ask("GET", f"{challenge.realm}{joint}{urlencode(wanted | account)}", headers, None)
        if answer.status in (400, 401, 403) and not self._login.anonymous:
            raise self._wrong_login()
        if answer.status in (401, 403):
            raise self.denied(writing)
        if answer.status != 200:
            said = Said.by(answer.content, self.confidential())
            raise EvalHubError(f"{self._place}: its token server answered {answer.status} ({said})")
        return self._token_in(answer.content)

    def _check_realm(self, realm: str) -> None:
        """Refuse to ask, and to show a password to, whoever listens on the way."""
        try:
            parts = urlsplit(realm)
            sound = bool(parts.hostname) and "@" not in parts.netloc and bool(re.fullmatch(r"[!-~]{1,2000}", realm))
        except ValueError:
            sound = False
        if not sound or parts.scheme not in ("http", "https"):
            raise EvalHubError(
                f"{self._place}: names a token server that has no usable address (its realm must be a URL)"
            )
        if parts.scheme == "http" and not self._plain_http:
            raise EvalHubError(
                f"{self._place}: sends us to a token server without TLS, {parts.netloc[:100]} (its realm must be https)"
            )

    def _token_in(self, content: bytes) -> str:
        try:
            answer: Any = json.loads(content)
            token = answer.get("token") or answer.get("access_token")
            renewed = answer.get("refresh_token")
        except (ValueError, AttributeError, RecursionError):
            token = renewed = None
        if not isinstance(token, str) or not re.fullmatch(rf"[!-~]{{1,{_LONGEST_TOKEN}}}", token):
            raise EvalHubError(f"{self._place}: its token server answers without a token (is it one?)")
        if self._identity_token and isinstance(renewed, str) and renewed:
            self._identity_token = renewed
        return token
