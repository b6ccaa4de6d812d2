"""Stubs of HTTP APIs on loopback: what they were asked, and failures to order.

A stub is what it holds, a `StubApi`, and how it answers, a `StubRequest`; `served` runs the two.
"""

from __future__ import annotations

import json
import re
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR, SO_LINGER, SOL_SOCKET
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

Behaviour = Callable[[Any], None]
"""Answers a request, in the place of its `serve`."""


class Seen(NamedTuple):
    """A request that arrived; `headers` are found in any case, and `body` is its JSON, None without."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    body: Any


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Fault:
    """Replaces the answers to the next `times` requests with this method, and a path in which `path` is found."""

    method: str
    path: re.Pattern[str]
    behaviour: Behaviour
    times: int


@dataclass(kw_only=True)
class StubApi:
    """What a stub holds.

    Attributes:
        seen: every request.
        stopping: is set when the server stops, for whoever waits.
    """

    port: int = 0
    scheme: str = "http"
    seen: list[Seen] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def fail(self, method: str, path: str, behaviour: Behaviour, times: int = 1) -> None:
        self.faults.append(Fault(method, re.compile(path), behaviour, times))

    def asked(self, method: str, path: str) -> list[Seen]:
        """The requests with this method and a path in which `path` is found."""
        return [seen for seen in self.seen if seen.method == method and re.search(path, seen.path)]

    def fault(self, method: str, path: str) -> Behaviour | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and fault.path.search(path):
                    fault.times -= 1
                    return fault.behaviour
        return None


class StubRequest(BaseHTTPRequestHandler):
    """A request, and then the next of the same connection.

    Attributes:
        api: what it is for.
        reads_all: whether the content is read before anything is done; else whoever answers may `read` some of it.
    """

    api: Any
    reads_all = True
    protocol_version = "HTTP/1.1"
    # headers and content leave together: apart, the second would wait for the client to acknowledge the first
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def _any(self) -> None:
        split = urlsplit(self.path)
        self.route = unquote(split.path)
        self.query = {key: values[-1] for key, values in parse_qs(split.query, keep_blank_values=True).items()}
        self.left = int(self.headers.get("Content-Length") or 0)
        self.content = self.read() if self.reads_all else b""
        is_json = self.content and "json" in self.headers.get("Content-Type", "")
        self.body: Any = json.loads(self.content) if is_json else None
        self.seen = Seen(self.command, self.route, self.query, self.headers, self.body)
        self.api.seen.append(self.seen)
        behaviour = self.api.fault(self.command, self.route)
        if behaviour:
            behaviour(self)
        else:
            self.serve()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - named by the library

    def serve(self) -> None:
        """Answer as always."""
        raise NotImplementedError

    def read(self, most: int | None = None) -> bytes:
        """Return the rest of the content, or no more than so many bytes of it."""
        size = self.left if most is None else min(most, self.left)
        self.left -= size
        return self.rfile.read(size)

    def answer(self, status: int, content: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.read()  # unread, it would be taken for the next request
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def say(self, status: int, document: Any, headers: Mapping[str, str] | None = None) -> None:
        """Answer JSON."""
        self.answer(status, json.dumps(document).encode(), {"Content-Type": "application/json", **(headers or {})})

    def log_message(self, *_: Any) -> None:
        """The tests read `seen`."""


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    # a client that waits for the answer of a connection that is not accepted yet would wait for the kernel
    request_queue_size = 64

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep open: a server that stops answers nobody any more."""
        for request in list(self._open):
            with suppress(OSError):
                request.shutdown(SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is what some tests are about."""


Api = TypeVar("Api", bound=StubApi)


@contextmanager
def served(
    api: Api, handler: type[StubRequest], tls: tuple[Path, Path] | ssl.SSLContext | None = None, port: int = 0
) -> Iterator[Api]:
    """A server inside the block, with TLS when it has a certificate and its key, or a context that has them."""
    api.scheme = "https" if tls else "http"
    api.stopping.clear()
    server = _QuietServer(("127.0.0.1", port), type("Bound", (handler,), {"api": api}))
    api.port = server.server_port
    if isinstance(tls, tuple):
        certificate_and_key, tls = tls, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate_and_key)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield api
    finally:
        api.stopping.set()
        server.shutdown()
        thread.join()
        server.hang_up()
        server.server_close()


def answers(status: int, content: bytes | str = b"", **headers: str) -> Behaviour:
    """Answer this; underscores in the headers' names stand for hyphens."""
    body = content.encode() if isinstance(content, str) else content
    return lambda request: request.answer(status, body, {name.replace("_", "-"): headers[name] for name in headers})


def drops(request: StubRequest, after: int = 0) -> None:
    """Read some of what is sent, then break the connection off without an answer."""
    request.read(after)
    request.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    request.close_connection = True
    request.connection.close()


def hangs(request: StubRequest) -> None:
    """Answer nothing until the server stops."""
    request.api.stopping.wait(60)
    request.close_connection = True


def slow(seconds: float) -> Behaviour:
    """Answer as always, but later."""

    def behaviour(request: StubRequest) -> None:
        request.api.stopping.wait(seconds)
        request.serve()

    return behaviour
