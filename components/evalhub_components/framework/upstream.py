"""Requests to a model's server: its key, its certificate, a proxy, time limits and tries."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import random
import re
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from evalhub_components.adapter import ModelCredentials, ModelEndpoint
from evalhub_components.credentials import advice
from evalhub_components.errors import EvalHubError
from evalhub_components.framework import surroundings
from evalhub_components.redaction import shortened

_TRANSIENT = frozenset({408, 409, 425, 429})
_LONGEST_WAIT = 60.0
_LONGEST_ANSWER = 256 << 20
_DETAIL_CHARACTERS = 300
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Attributes:
        status: the HTTP status; 0 when there was no answer.
        tries: how often it was asked.
        failure: why this is no usable answer, empty where it is one.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    tries: int = 1
    failure: str = ""
    wait: float | None = None


class Upstream:
    """The server of one model; any number of threads may ask it, over connections that are kept open until `close`.

    Args:
        endpoint: its `url` ends in `/v1`.
        work_dir: gets a bundle of certificates where the server has a CA of its own.
        tries: how often a request is sent, the first time included.
        request_timeout: seconds one try may take until the headers have come, and until the last byte has.
        role: whose server it is, in messages: the `model`'s or the `judge`'s.

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
        self.url = endpoint.url.rstrip("/")
        self._role = role
        self._model = endpoint.name
        self._credentials = credentials
        self._tries = tries
        self._timeout = request_timeout
        self._parts, self._port = _address(self.url)
        bundle = surroundings.ca_bundle(credentials.ca_cert, work_dir)
        self._context = ssl.create_default_context(cafile=str(bundle) if bundle else None)
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._is_closed = False

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, is_over: Callable[[], bool] = lambda: False
    ) -> Answer:
        """Return the answer to a request, or why there is none.

        Args:
            path: behind `/v1`, with its slash.
            is_over: asked before every repetition; nobody waits for the answer any more when it says so.
        """
        sent = 0
        for number in range(1, self._tries + 1):
            answer = self._send(method, path, body)
            sent += answer.tries
            if answer.wait is None or number == self._tries or is_over():
                break
            self._pause(max(answer.wait, min(2.0 ** (number - 1), 8.0) + random.random() / 4), is_over)
        return replace(answer, tries=sent)

    def close(self) -> None:
        """Close the connections that nobody uses, and keep none from now on."""
        with self._lock:
            self._is_closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def _send(self, method: str, path: str, body: bytes | None) -> Answer:
        """Return the answer to one try; a token that was replaced in the meantime is worth another."""
        key = self._credentials.key()
        answer = self._send_with(key, method, path, body)
        if answer.status == 401 and (renewed := self._credentials.key()) != key:
            again = self._send_with(renewed, method, path, body)
            return replace(again, tries=answer.tries + again.tries)
        return answer

    def _send_with(self, key: str | None, method: str, path: str, body: bytes | None) -> Answer:
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        answer = self._try(kept, key, method, path, body) if kept else None
        if answer is None or (answer.status == 0 and answer.failure.startswith("connection lost")):
            # a server may close a connection that it has kept open, and that says nothing about the request
            again = self._try(self._connection(), key, method, path, body)
            return replace(again, tries=again.tries + (answer.tries if answer else 0))
        return answer

    def _try(
        self, connection: http.client.HTTPConnection, key: str | None, method: str, path: str, body: bytes | None
    ) -> Answer:
        url = f"{self.url}{path}"
        headers = {"Accept": "application/json", "User-Agent": "evalhub-kfp", "Host": self._parts.netloc}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key:
            headers["Authorization"] = f"Bearer {key}"
        proxy = self._proxy() if self._parts.scheme == "http" else None
        until = time.monotonic() + self._timeout
        is_kept = False
        try:
            if connection.sock is not None:
                connection.sock.settimeout(self._timeout)
            address = url if proxy else f"{self._parts.path}{path}"
            connection.request(method, address, body, headers | (_login(proxy) if proxy else {}))
            response = connection.getresponse()
            read = self._read(connection, response, until)
            is_kept = not response.will_close
        except ssl.SSLCertVerificationError as error:
            hint = f"the CA of the server belongs into the {self._role}'s secret as ca_cert"
            return Answer(0, failure=f"{url}: no secure connection: {error.verify_message} ({hint})")
        except TimeoutError:
            return Answer(0, failure=f"no answer within {self._timeout:g} s: {url}", wait=0.0)
        except ConnectionRefusedError as error:
            return Answer(0, failure=f"cannot connect: {url}: {error.strerror}", wait=0.0)
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, failure=f"connection lost: {url}: {error or type(error).__name__}", wait=0.0)
        finally:
            with self._lock:
                is_kept = is_kept and not self._is_closed
                if is_kept:
                    self._idle.append(connection)
            if not is_kept:
                connection.close()
        return self._judged(url, key, response, read)

    def _judged(self, url: str, key: str | None, response: http.client.HTTPResponse, body: bytes) -> Answer:
        """Return an answer with what is wrong with it."""
        kind = response.getheader("Content-Type", "application/json")
        if response.status < 300:
            return Answer(response.status, body, kind)
        wait = None
        if response.status in _TRANSIENT or response.status >= 500:
            wait = min(_seconds(response.getheader("Retry-After", "")), _LONGEST_WAIT)
        if response.status < 400:
            # whoever follows would carry the key to wherever it points
            to = f"it points to {response.getheader('Location', 'nowhere')} (name that address)"
            return Answer(response.status, body, kind, failure=f"HTTP {response.status}: {url}: {to}")
        failure = f"HTTP {response.status}: {url}: {_detail(body, key)}{self._advice(response.status)}"
        return Answer(response.status, body, kind, failure=failure, wait=wait)

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
        proxy = self._proxy()
        next_hop, port = _address(proxy) if proxy else (self._parts, self._port)
        host = next_hop.hostname or ""
        if self._parts.scheme != "https":
            return http.client.HTTPConnection(host, port, timeout=self._timeout)
        found = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._context)
        if proxy:
            found.set_tunnel(self._parts.hostname or "", self._port, _login(proxy))
        return found

    def _proxy(self) -> str | None:
        found = urllib.request.getproxies().get(self._parts.scheme)
        if not found or urllib.request.proxy_bypass(self._parts.netloc):
            return None
        return found if "://" in found else f"http://{found}"

    def _pause(self, seconds: float, is_over: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds
        while not is_over() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def _advice(self, status: int) -> str:
        if status in (401, 403):
            return f" ({advice(self._credentials, self._role)})"
        return f" (is {self._model!r} the {self._role}'s name, and the URL right?)" if status == 404 else ""


def _detail(body: bytes, key: str | None) -> str:
    """Return what the server says of an error, in one line."""
    text = body[:100_000].decode(errors="replace")
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(text)
        error = document.get("error", document) if isinstance(document, dict) else None
        message = error.get("message") if isinstance(error, dict) else error
        text = message if isinstance(message, str) else text
    # some servers repeat the key they refuse
    return shortened(text.replace(key, "***") if key else text, _DETAIL_CHARACTERS)


def _address(url: str) -> tuple[SplitResult, int]:
    """Return the parts of an address, and its port.

    Raises:
        EvalHubError: it is none.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (KeyError, ValueError) as error:
        raise EvalHubError(f"{_hidden(url)}: is no http or https address ({error})") from None
    if not parts.hostname or parts.query or parts.fragment:
        raise EvalHubError(f"{_hidden(url)}: must be a host and a path, without query and fragment")
    return parts, port


def _hidden(url: str) -> str:
    """Return an address without a password that is in it."""
    return re.sub(r"//[^/@]*@", "//***@", url)


def _seconds(retry_after: str) -> float:
    """Return how long a server wants to be left alone; it says so in seconds, or as a date (RFC 9110, 10.2.3)."""
    with contextlib.suppress(ValueError):
        return max(0.0, float(retry_after))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    return 0.0


def _login(proxy: str) -> dict[str, str]:
    parts = urlsplit(proxy)
    if not parts.username:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
