"""Requests to a model's server: its key, its certificate, a proxy, time limits and tries."""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

from evalhub_components.adapter import ModelCredentials
from evalhub_components.errors import EvalHubError
from evalhub_components.framework import failure, proxy

_TRANSIENT = frozenset({408, 409, 425, 429})
_NOT_IMPLEMENTED = 501
_LONGEST_WAIT = 60.0
_LONGEST_ANSWER = 256 << 20
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Reply:
    """What a server replied.

    Attributes:
        status: the HTTP status; 0 when there was no answer.
        headers: by their names in small letters.
        key: what it was asked with.
        tries: how often it was asked.
        error: why there was no answer.
        silence: that in words, without the address.
        wait: seconds after which it is worth asking again; None when it never is.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str | None = field(default=None, repr=False)
    tries: int = 1
    error: Exception | None = None
    silence: str = ""
    wait: float | None = None

    @property
    def content_type(self) -> str:
        """What kind of body it says it has."""
        return self.headers.get("content-type", "application/json")


class ModelServer:
    """The server of one model; any number of threads may ask it, over connections that are kept open until `close`.

    Args:
        url: its address, to which the paths that are asked for are added.
        trust: whose certificates are good.
        tries: how often a request is sent, the first time included.
        request_timeout: seconds one try may take until the headers have come, and until the last byte has.
        insists: whether it is asked again after no answer at all, too, and not only while it says that it is busy.
        role: whose server it is, in words: the `model`'s or the `judge`'s.

    Raises:
        EvalHubError: the address cannot be one, or that of the proxy on the way there.
    """

    def __init__(
        self,
        url: str,
        credentials: ModelCredentials,
        trust: ssl.SSLContext,
        *,
        tries: int = 3,
        request_timeout: float = 120.0,
        insists: bool = True,
        role: str = "model",
    ) -> None:
        self.url = url.rstrip("/")
        self._parts, self._port = _address(self.url)
        self._proxy = proxy.of(self.url)
        self._credentials = credentials
        self._trust = trust
        self._tries = tries
        self._timeout = request_timeout
        self._insists = insists
        self._role = role
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._is_closed = False

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, is_over: Callable[[], bool] = lambda: False
    ) -> Reply:
        """Return the reply to a request, or why there is none.

        Args:
            path: behind the address, with its slash.
            is_over: asked before every repetition; nobody waits for the reply any more when it says so.
        """
        sent = 0
        for number in range(1, self._tries + 1):
            reply = self._send(method, path, body)
            sent += reply.tries
            is_last = number == self._tries or (reply.error is not None and not self._insists)
            if reply.wait is None or is_last or is_over():
                break
            self._pause(max(reply.wait, min(2.0 ** (number - 1), 8.0) + random.random() / 4), is_over)
        return replace(reply, tries=sent)

    def close(self) -> None:
        """Close the connections that nobody uses, and keep none from now on."""
        with self._lock:
            self._is_closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def _send(self, method: str, path: str, body: bytes | None) -> Reply:
        """Return the reply to one try; a token that was replaced in the meantime is worth another."""
        key = self._credentials.key()
        reply = self._send_with(key, method, path, body)
        if reply.status == 401 and (renewed := self._credentials.key()) != key:
            again = self._send_with(renewed, method, path, body)
            return replace(again, tries=reply.tries + again.tries)
        return reply

    def _send_with(self, key: str | None, method: str, path: str, body: bytes | None) -> Reply:
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        reply = self._try(kept, key, method, path, body) if kept else None
        if reply is None or (reply.error is not None and not isinstance(reply.error, TimeoutError)):
            # a server may close a connection that it has kept open, and that says nothing about the request
            again = self._try(self._connection(), key, method, path, body)
            return replace(again, tries=again.tries + (reply.tries if reply else 0))
        return reply

    def _try(
        self, connection: http.client.HTTPConnection, key: str | None, method: str, path: str, body: bytes | None
    ) -> Reply:
        headers = {"Accept": "application/json", "User-Agent": "evalhub-kfp", "Host": self._parts.netloc}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key:
            headers["Authorization"] = f"Bearer {key}"
        through = self._proxy
        address = f"{self._parts.path}{path}"
        if through and self._parts.scheme == "http":
            address = f"{self.url}{path}"
            headers |= through.login
        until = time.monotonic() + self._timeout
        is_kept = False
        try:
            if connection.sock is not None:
                connection.sock.settimeout(self._timeout)
            connection.request(method, address, body, headers)
            response = connection.getresponse()
            read = self._read(connection, response, until)
            is_kept = not response.will_close
        except (OSError, http.client.HTTPException, ValueError) as error:
            # distrust does not pass by waiting
            wait = None if isinstance(error, ssl.SSLCertVerificationError) else 0.0
            why = failure.silence(error, self._role, through.place if through else "")
            return Reply(0, key=key, error=error, silence=why, wait=wait)
        finally:
            with self._lock:
                is_kept = is_kept and not self._is_closed
                if is_kept:
                    self._idle.append(connection)
            if not is_kept:
                connection.close()
        given = {name.lower(): value for name, value in response.headers.items()}
        wait = None
        if response.status in _TRANSIENT or (response.status >= 500 and response.status != _NOT_IMPLEMENTED):
            wait = min(_seconds(given.get("retry-after", "")), _LONGEST_WAIT)
        return Reply(response.status, read, given, key, wait=wait)

    def _read(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, until: float) -> bytes:
        """Return the body; a server that sends it drop by drop gets no more time than others."""
        found = bytearray()
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if connection.sock is not None:
                connection.sock.settimeout(left)
            chunk = response.read1(_CHUNK)
            if not chunk:
                break
            found += chunk
            if len(found) > _LONGEST_ANSWER:
                raise http.client.HTTPException(f"the answer is longer than {_LONGEST_ANSWER >> 20} MiB")
        if response.length:
            raise http.client.IncompleteRead(bytes(found), response.length)
        response.close()
        return bytes(found)

    def _connection(self) -> http.client.HTTPConnection:
        """Return a connection to the server, or to the proxy on the way there."""
        through = self._proxy
        host, port = (through.host, through.port) if through else (self._parts.hostname or "", self._port)
        if self._parts.scheme != "https":
            return http.client.HTTPConnection(host, port, timeout=self._timeout)
        found = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._trust)
        if through:
            found.set_tunnel(self._parts.hostname or "", self._port, through.login)
        return found

    def _pause(self, seconds: float, is_over: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds
        while not is_over() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))


def _address(url: str) -> tuple[SplitResult, int]:
    """Return the parts of an address, and its port.

    Raises:
        EvalHubError: it is none.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (KeyError, ValueError) as error:
        # where a password may be, the error may repeat a piece of it
        why = "" if "@" in url else f" ({error})"
        raise EvalHubError(f"{_hidden(url)}: is no http or https address{why}") from None
    if not parts.hostname or parts.query or parts.fragment:
        raise EvalHubError(f"{_hidden(url)}: must be a host and a path, without query and fragment")
    return parts, port


def _hidden(url: str) -> str:
    """Return an address without a password that is in it, and that may hold any character."""
    return re.sub(r"^([a-z]+://)?.*@", r"\1***@", url, flags=re.DOTALL)


def _seconds(retry_after: str) -> float:
    """Return how long a server wants to be left alone; it says so in seconds, or as a date (RFC 9110, 10.2.3)."""
    with contextlib.suppress(ValueError):
        return max(0.0, float(retry_after))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    return 0.0
