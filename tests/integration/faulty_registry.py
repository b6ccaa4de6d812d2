"""A registry in this process that fails when told to, and has what docker-registry 2.8 lacks: the referrers API."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import stub_http
from stub_http import Behaviour, StubApi, StubRequest, answers, served

PASSWORD = "correct-horse-7"


@dataclass
class FaultyRegistry(StubApi):
    """Holds what was pushed, in memory.

    Attributes:
        referrers_api: whether there is one.
        elsewhere: what the addresses of uploads and blobs begin with, when they are not here.
        pages: how many tags or referrers a page has.
        ranges: whether a download can be continued.
        realm: address that gives tokens; empty when none are needed.
        tokens: what each token is for; a request with another scope's token is refused.
        barrier: what refused requests wait at, so that several are refused at once.
    """

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

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


def faulty_registry(certificate_and_key: tuple[Path, Path] | None = None) -> AbstractContextManager[FaultyRegistry]:
    """A registry that runs inside the block, with TLS when it has a certificate."""
    return served(FaultyRegistry(), Request, certificate_and_key)


def says(status: int, code: str, message: str, **headers: str) -> Behaviour:
    """Answer an error as registries do."""
    return answers(status, json.dumps({"errors": [{"code": code, "message": message}]}), **headers)


def drops(after: int = 0) -> Behaviour:
    """Read some of what is sent, then break the connection off."""
    return partial(stub_http.drops, after=after)


def breaks_off(after: int) -> Behaviour:
    """Answer as always, but break off after so many bytes of the content."""

    def behaviour(request: Request) -> None:
        request.cut = after
        request.serve()
        request.close_connection = True

    return behaviour


def with_headers(**headers: str) -> Behaviour:
    """Answer as always, with other headers."""

    def behaviour(request: Request) -> None:
        request.extra = {name.replace("_", "-"): value for name, value in headers.items()}
        request.serve()
        request.extra = {}

    return behaviour


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


class Request(StubRequest):
    """One request; what it sends is read when it is needed, if it is."""

    api: FaultyRegistry
    reads_all = False
    wbufsize = 0  # an answer that trickles leaves as it does
    extra: Mapping[str, str] = {}
    cut: int | None = None

    def serve(self) -> None:
        if self.route == "/token":
            return self._token()
        if not self._may():
            if self.api.barrier:
                self.api.barrier.wait()
            challenge = f'Bearer realm="{self.api.realm}",service="tests",scope="repository:other:*"'
            return self.answer(401, b"{}", {"WWW-Authenticate": challenge})
        if self.route == "/v2/":
            return self.answer(200, b"{}")
        match = re.fullmatch(r"/v2/(.+?)/(blobs/uploads|blobs|manifests|tags|referrers)/(.*)", self.route)
        if not match:
            return self.answer(404, b"404 page not found\n")
        return getattr(self, f"_{match[2].replace('/', '_')}")(match[1], match[3])

    def _blobs_uploads(self, name: str, upload: str) -> None:
        if self.command == "POST":
            place = f"{self.api.elsewhere}/v2/{name}/blobs/uploads/1?state=x"
            return self.answer(202, b"", {"Location": place})
        if self.command == "DELETE":
            return self.answer(204)
        content, digest = self.read(), self.query["digest"]
        if _digest(content) != digest:
            return self._error(400, "DIGEST_INVALID")
        self.api.blobs[digest] = content
        return self.answer(201, b"", {"Docker-Content-Digest": digest})

    def _blobs(self, name: str, digest: str) -> None:
        if digest not in self.api.blobs:
            return self._error(404, "BLOB_UNKNOWN")
        if self.api.elsewhere and self.command == "GET":
            return self.answer(307, b"", {"Location": f"{self.api.elsewhere}{self.path}"})
        content = self.api.blobs[digest]
        start = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if start and self.api.ranges:
            return self.answer(206, content[int(start[1]) :])
        return self.answer(200, content)

    def _manifests(self, name: str, what: str) -> None:
        registry = self.api
        if self.command == "PUT":
            content = self.read()
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

    def _tags(self, name: str, what: str) -> None:
        names = sorted(self.api.tags)
        page, link = self._page(names, f"/v2/{name}/tags/list")
        self.answer(200, json.dumps({"name": name, "tags": page}).encode(), link)

    def _referrers(self, name: str, digest: str) -> None:
        if not self.api.referrers_api:
            return self.answer(404, b"404 page not found\n")
        found = []
        for own, (media_type, content) in sorted(self.api.manifests.items()):
            document = json.loads(content)
            if (document.get("subject") or {}).get("digest") == digest:
                entry = {"mediaType": media_type, "digest": own, "size": len(content)}
                found.append({**entry, "artifactType": document["artifactType"], "annotations": {}})
        page, link = self._page(found, f"/v2/{name}/referrers/{digest}")
        self.answer(200, json.dumps({"schemaVersion": 2, "manifests": page}).encode(), link)

    def _page(self, items: list[Any], path: str) -> tuple[list[Any], dict[str, str]]:
        start = int(self.query.get("from", 0))
        end = start + self.api.pages
        link = {"Link": f'<{path}?from={end}>; rel="next"'} if end < len(items) else {}
        return items[start:end], link

    def _may(self) -> bool:
        """Tell whether the request has a token for exactly what it does."""
        if not self.api.realm:
            return True
        kind, _, token = (self.headers["Authorization"] or "").partition(" ")
        scope = self.api.tokens.get(token, "")
        needed = "pull" if self.command in ("GET", "HEAD") else "pull,push"
        return kind == "Bearer" and scope.endswith(f":{needed}")

    def _token(self) -> None:
        if self.headers["Authorization"]:
            login = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
            if not login.endswith(f":{PASSWORD}"):
                return self.answer(401, f"wrong password: {login}".encode())
        with self.api.lock:
            token = f"token-{len(self.api.seen)}-{len(self.api.tokens)}"
            self.api.tokens[token] = self.query["scope"]
        return self.answer(200, json.dumps({"access_token": token}).encode())

    def _error(self, status: int, code: str) -> None:
        says(status, code, code.lower())(self)

    def answer(self, status: int, content: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        headers = {"Content-Length": str(len(content)), **(headers or {}), **self.extra}
        super().answer(status, content[: self.cut], headers)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
