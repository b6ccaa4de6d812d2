"""A registry in this process that fails when told to, and has what docker-registry 2.8 lacks: the referrers API."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

PASSWORD = "correct-horse-7"
Behaviour = Callable[["Request"], None]


class Seen(NamedTuple):
    """A request that arrived."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Fault:
    """Replaces the answers to the next `times` requests with this method, and a path in which `path` is found."""

    method: str
    path: re.Pattern[str]
    behaviour: Behaviour
    times: int


@dataclass
class FaultyRegistry:
    """Holds what was pushed, in memory.

    Attributes:
        seen: every request.
        referrers_api: whether there is one.
        elsewhere: what the addresses of uploads and blobs begin with, when they are not here.
        pages: how many tags or referrers a page has.
        ranges: whether a download can be continued.
        realm: address that gives tokens; empty when none are needed.
        tokens: what each token is for; a request with another scope's token is refused.
        barrier: what refused requests wait at, so that several are refused at once.
    """

    port: int = 0
    scheme: str = "http"
    seen: list[Seen] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    referrers_api: bool = True
    elsewhere: str = ""
    pages: int = 1000
    ranges: bool = True
    realm: str = ""
    tokens: dict[str, str] = field(default_factory=dict)
    barrier: threading.Barrier | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"{self.scheme}://{self.host}"

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


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is what some tests are about."""


@contextmanager
def faulty_registry(certificate_and_key: tuple[Path, Path] | None = None) -> Iterator[FaultyRegistry]:
    """A registry that runs inside the block, with TLS when it has a certificate."""
    registry = FaultyRegistry(scheme="https" if certificate_and_key else "http")
    server = QuietServer(("127.0.0.1", 0), type("Bound", (Request,), {"registry": registry}))
    registry.port = server.server_port
    if certificate_and_key:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate_and_key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answers(status: int, content: bytes | str = b"", **headers: str) -> Behaviour:
    """Answer this; underscores in the headers' names stand for hyphens."""
    body = content.encode() if isinstance(content, str) else content
    return lambda request: request.answer(status, body, {name.replace("_", "-"): headers[name] for name in headers})


def says(status: int, code: str, message: str, **headers: str) -> Behaviour:
    """Answer an error as registries do."""
    return answers(status, json.dumps({"errors": [{"code": code, "message": message}]}), **headers)


def drops(after: int = 0) -> Behaviour:
    """Read some of what is sent, then break the connection off."""

    def behaviour(request: Request) -> None:
        request.rfile.read(min(after, request.left))
        request.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        request.close_connection = True
        request.connection.close()

    return behaviour


def breaks_off(after: int) -> Behaviour:
    """Answer as always, but break off after so many bytes of the content."""
    return lambda request: request.serve(cut=after)


def with_headers(**headers: str) -> Behaviour:
    """Answer as always, with other headers."""
    return lambda request: request.serve({name.replace("_", "-"): value for name, value in headers.items()})


def trickles(request: Request) -> None:
    """Answer without end, a byte at a time."""
    request.send_response(200)
    request.send_header("Content-Length", "1000000")
    request.end_headers()
    try:
        while True:
            request.wfile.write(b"x")
            time.sleep(0.02)
    except OSError:
        request.close_connection = True


def floods(status: int) -> Behaviour:
    """Answer without end, as fast as can be."""

    def behaviour(request: Request) -> None:
        request.send_response(status)
        request.end_headers()
        request.close_connection = True
        with suppress(OSError):
            while True:
                request.wfile.write(bytes(2**16))

    return behaviour


class Request(BaseHTTPRequestHandler):
    """One connection; `registry` is what it is for."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    registry: FaultyRegistry
    extra: Mapping[str, str] = {}
    cut: int | None = None
    left: int = 0

    def do_request(self) -> None:
        self.extra, self.cut, self.left = {}, None, int(self.headers["Content-Length"] or 0)
        self.registry.seen.append(Seen(self.command, self.path, dict(self.headers.items())))
        behaviour = self.registry.fault(self.command, self.path)
        if behaviour:
            behaviour(self)
        else:
            self.serve()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_request  # noqa: N815

    def serve(self, extra: Mapping[str, str] | None = None, cut: int | None = None) -> None:
        self.extra, self.cut = extra or {}, cut
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if path == "/token":
            return self._token(query)
        if not self._may():
            if self.registry.barrier:
                self.registry.barrier.wait()
            challenge = f'Bearer realm="{self.registry.realm}",service="tests",scope="repository:other:*"'
            return self.answer(401, b"{}", {"WWW-Authenticate": challenge})
        if path == "/v2/":
            return self.answer(200, b"{}")
        match = re.fullmatch(r"/v2/(.+?)/(blobs/uploads|blobs|manifests|tags|referrers)/(.*)", path)
        if not match:
            return self.answer(404, b"404 page not found\n")
        return getattr(self, f"_{match[2].replace('/', '_')}")(match[1], match[3], query)

    def _blobs_uploads(self, name: str, upload: str, query: dict[str, list[str]]) -> None:
        if self.command == "POST":
            place = f"{self.registry.elsewhere}/v2/{name}/blobs/uploads/1?state=x"
            return self.answer(202, b"", {"Location": place})
        if self.command == "DELETE":
            return self.answer(204)
        content, digest = self._content(), query["digest"][0]
        if _digest(content) != digest:
            return self._error(400, "DIGEST_INVALID")
        self.registry.blobs[digest] = content
        return self.answer(201, b"", {"Docker-Content-Digest": digest})

    def _blobs(self, name: str, digest: str, query: dict[str, list[str]]) -> None:
        if digest not in self.registry.blobs:
            return self._error(404, "BLOB_UNKNOWN")
        if self.registry.elsewhere and self.command == "GET":
            return self.answer(307, b"", {"Location": f"{self.registry.elsewhere}{self.path}"})
        content = self.registry.blobs[digest]
        start = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if start and self.registry.ranges:
            return self.answer(206, content[int(start[1]) :])
        return self.answer(200, content)

    def _manifests(self, name: str, what: str, query: dict[str, list[str]]) -> None:
        registry = self.registry
        if self.command == "PUT":
            content = self._content()
            digest = _digest(content)
            registry.manifests[digest] = (self.headers["Content-Type"], content)
            if what != digest:
                registry.tags[what] = digest
            subject = json.loads(content).get("subject") if registry.referrers_api else None
            linked = {"OCI-Subject": subject["digest"]} if subject else {}
            return self.answer(201, b"", {"Docker-Content-Digest": digest, **linked})
        digest = registry.tags.get(what, what)
        if digest not in registry.manifests:
            return self._error(404, "MANIFEST_UNKNOWN")
        media_type, content = registry.manifests[digest]
        return self.answer(200, content, {"Content-Type": media_type, "Docker-Content-Digest": digest})

    def _tags(self, name: str, what: str, query: dict[str, list[str]]) -> None:
        names = sorted(self.registry.tags)
        page, link = self._page(names, f"/v2/{name}/tags/list", query)
        self.answer(200, json.dumps({"name": name, "tags": page}).encode(), link)

    def _referrers(self, name: str, digest: str, query: dict[str, list[str]]) -> None:
        if not self.registry.referrers_api:
            return self.answer(404, b"404 page not found\n")
        found = []
        for own, (media_type, content) in sorted(self.registry.manifests.items()):
            document = json.loads(content)
            if (document.get("subject") or {}).get("digest") == digest:
                entry = {"mediaType": media_type, "digest": own, "size": len(content)}
                found.append({**entry, "artifactType": document["artifactType"], "annotations": {}})
        page, link = self._page(found, f"/v2/{name}/referrers/{digest}", query)
        self.answer(200, json.dumps({"schemaVersion": 2, "manifests": page}).encode(), link)

    def _page(self, items: list[Any], path: str, query: dict[str, list[str]]) -> tuple[list[Any], dict[str, str]]:
        start = int(query.get("from", ["0"])[0])
        end = start + self.registry.pages
        link = {"Link": f'<{path}?from={end}>; rel="next"'} if end < len(items) else {}
        return items[start:end], link

    def _may(self) -> bool:
        """Tell whether the request has a token for exactly what it does."""
        if not self.registry.realm:
            return True
        kind, _, token = (self.headers["Authorization"] or "").partition(" ")
        scope = self.registry.tokens.get(token, "")
        needed = "pull" if self.command in ("GET", "HEAD") else "pull,push"
        return kind == "Bearer" and scope.endswith(f":{needed}")

    def _token(self, query: dict[str, list[str]]) -> None:
        if self.headers["Authorization"]:
            login = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
            if not login.endswith(f":{PASSWORD}"):
                return self.answer(401, f"wrong password: {login}".encode())
        with self.registry.lock:
            token = f"token-{len(self.registry.seen)}-{len(self.registry.tokens)}"
            self.registry.tokens[token] = query["scope"][0]
        return self.answer(200, json.dumps({"access_token": token}).encode())

    def _content(self) -> bytes:
        content = self.rfile.read(self.left)
        self.left = 0
        return content

    def _error(self, status: int, code: str) -> None:
        says(status, code, code.lower())(self)

    def answer(self, status: int, content: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {}), **self.extra}.items():
            self.send_header(name, value)
        self._content()  # unread, it would be taken for the next request
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: self.cut])
        if self.cut is not None:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
