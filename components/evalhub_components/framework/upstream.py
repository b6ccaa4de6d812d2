"""Requests to a model's server for a framework: an answer, or in one line what became of the request."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evalhub_components.adapter import ModelCredentials, ModelEndpoint
from evalhub_components.credentials import advice
from evalhub_components.framework import failure, surroundings
from evalhub_components.framework.model_server import ModelServer, Reply
from evalhub_components.redaction import shortened

_DETAIL_CHARACTERS = 300


@dataclass(frozen=True)
class Answer(Reply):
    """What a server replied, and what is wrong with that.

    Attributes:
        failure: why this is no usable answer, empty where it is one.
    """

    failure: str = ""


class Upstream(ModelServer):
    """The server of a model as a framework needs it: with a word on every request that came to nothing.

    Args:
        endpoint: its `url` ends in `/v1`.
        work_dir: gets a bundle of certificates where the server has a CA of its own.
        tries, request_timeout, role: as of `ModelServer`.

    Raises:
        EvalHubError: the address cannot be one, or the CA certificate not be read.
    """

    def __init__(
        self,
        endpoint: ModelEndpoint,
        credentials: ModelCredentials,
        work_dir: Path,
        *,
        tries: int = 3,
        request_timeout: float = 120.0,
        role: str = "model",
    ) -> None:
        bundle = surroundings.ca_bundle(credentials.ca_cert, work_dir)
        trust = ssl.create_default_context(cafile=str(bundle) if bundle else None)
        super().__init__(endpoint.url, credentials, trust, tries=tries, request_timeout=request_timeout, role=role)
        self._model = endpoint.name

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, is_over: Callable[[], bool] = lambda: False
    ) -> Answer:
        """Return the answer to a request, or why there is none; `path` is behind `/v1`."""
        reply = super().ask(method, path, body, is_over=is_over)
        url = f"{self.url}{path}"
        wrong = self._silence(url, reply.error, reply.silence) if reply.error else self._refusal(url, reply)
        return Answer(**vars(reply), failure=wrong)

    def _silence(self, url: str, error: Exception, why: str) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"{url}: no secure connection: {why}"
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout:g} s: {url}"
        is_elsewhere = isinstance(error, ConnectionRefusedError | socket.gaierror)
        return f"{'cannot connect' if is_elsewhere else 'connection lost'}: {url}: {why}"

    def _refusal(self, url: str, reply: Reply) -> str:
        """Return what is wrong with an answer, nothing where it is a good one."""
        if reply.status < 300:
            return ""
        if reply.status < 400:
            # whoever follows would carry the key to wherever it points
            to = f"it points to {reply.headers.get('location', 'nowhere')} (name that address)"
            return f"HTTP {reply.status}: {url}: {to}"
        said = failure.message(reply.body) or reply.body[:100_000].decode(errors="replace")
        # some servers repeat the key they refuse
        said = shortened(said.replace(reply.key, "***") if reply.key else said, _DETAIL_CHARACTERS)
        return f"HTTP {reply.status}: {url}: {said}{self._advice(reply.status)}"

    def _advice(self, status: int) -> str:
        if status in (401, 403):
            return f" ({advice(self._credentials, self._role)})"
        return f" (is {self._model!r} the {self._role}'s name, and the URL right?)" if status == 404 else ""
