"""A repository of a registry as a `Store`: what is read from it is what its digest says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from evalhub_components.errors import EvalHubError, NotFound, Tampered
from evalhub_components.evidence.reference import Reference, is_tag
from evalhub_components.evidence.registry import docker_config, patience, referrers
from evalhub_components.evidence.registry.client import RegistryClient
from evalhub_components.evidence.registry.errors import Answer, Passing, TooLong, printable
from evalhub_components.evidence.registry.referrers import Referrer
from evalhub_components.evidence.store import MAX_MANIFEST_BYTES, Descriptor, check_digest, checked, is_digest
from evalhub_components.evidence.vocabulary import INDEX_TYPE, MANIFEST_TYPE

DIGEST_HEADER = "Docker-Content-Digest"

_MANIFEST_TYPES = ", ".join(
    [
        INDEX_TYPE,
        MANIFEST_TYPE,
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)
_MAX_PAGES = 1000
_MAX_TAGS = 200_000


class RemoteStore:
    """One repository, to read from. Used by several threads at once."""

    def __init__(
        self, reference: Reference, *, secret: Path | None = None, ca: Path | None = None, deadline: float | None = None
    ) -> None:
        """Prepare to use the repository of `reference`; nothing is sent yet.

        Args:
            secret: folder with the login, in place of the user's Docker configuration.
            ca: file with the certificates to trust, in place of the usual ones.
            deadline: seconds for which a request that keeps failing is tried again, in place of what the environment
                sets.

        Raises:
            EvalHubError: the secret, the Docker configuration or the CA file cannot be used.
        """
        login = docker_config.login(reference.host, reference.repository, secret)
        self.client = RegistryClient(reference, login, ca, deadline or patience.deadline())
        self.place = Reference(reference.host, reference.repository, plain_http=reference.plain_http).address
        """`host/repository`, with `http://` in front when that is meant: what commands take."""

    def resolve(self, name: str) -> Descriptor:
        """Return the manifest that a tag or a digest names."""
        answer = self.read_manifest(name)
        media_type = printable(answer.headers.get("Content-Type", "").partition(";")[0], 100)
        return Descriptor(media_type, digest_of(answer.content), len(answer.content))

    def manifest(self, digest: str) -> bytes:
        """Return the bytes of the manifest with this digest."""
        if not is_digest(digest):
            raise NotFound(f"{self.place}: {digest[:100]!r}: is no sha256 digest")
        return self.read_manifest(digest).content

    def blob(self, digest: str, size: int) -> Iterator[bytes]:
        """Yield the blob's bytes; whether they are right is known at the end. A broken download is continued."""
        if not is_digest(digest):
            raise NotFound(f"{self.place}: {digest[:100]!r}: is no sha256 digest")
        return checked(self._received(digest, size), digest, size, self.place)

    def tags(self) -> list[str]:
        """Return all tags, sorted; none where the repository does not exist yet."""
        found: set[str] = set()
        try:
            for answer in self._pages(self.client.tags_url(), "list the tags"):
                found.update(self._tags_in(answer))
                if len(found) > _MAX_TAGS:
                    raise EvalHubError(f"{self.place}: has more than {_MAX_TAGS} tags, which nobody can mean")
        except NotFound:
            return []
        return sorted(found)

    def referrers(self, digest: str) -> list[Referrer]:
        """Return the manifests that name the one with this digest as their subject, as far as the registry knows."""
        by_api = self.referrers_by_api(digest)
        if by_api is not None:
            return by_api
        tag = referrers.fallback_tag(digest)
        try:
            content = self.read_manifest(tag).content
        except NotFound:
            return []
        return referrers.listed(content, f"{self.place}:{tag}")

    def referrers_by_api(self, digest: str) -> list[Referrer] | None:
        """Return what the registry's own list has, None where it keeps no such lists."""
        found: list[Referrer] = []
        try:
            for answer in self._pages(self.client.referrers_url(digest), f"list what refers to {digest}"):
                found += referrers.listed(answer.content, f"{self.place}: what refers to {digest}")
        except NotFound:
            return None
        return found

    def named_by(self, name: str) -> str | None:
        """Return the digest of the manifest that a tag or digest names, None when it names none."""
        answer = self._asked_for(name, "HEAD")
        if answer.status == 200 and is_digest(answer.headers.get(DIGEST_HEADER, "")):
            return answer.headers[DIGEST_HEADER]
        if answer.status not in (200, 404):
            raise self.client.refusal(answer, f"look for manifest {name}")
        return self.resolve(name).digest if answer.status == 200 else None

    def _pages(self, url: str, doing: str) -> Iterator[Answer]:
        """Yield the pages of a list, from this registry alone.

        Raises:
            NotFound: there is no list.
            EvalHubError: it cannot be had, leads elsewhere or does not end.
        """
        read: set[str] = set()
        while url not in read and len(read) < _MAX_PAGES:
            read.add(url)
            answer = self.client.exchange("GET", url, most=MAX_MANIFEST_BYTES)
            if answer.status != 200:
                raise self.client.refusal(answer, doing)
            yield answer
            target = _next_page(answer.headers)
            if target is None:
                return
            url = self.client.transport.location(url, target)
            if not self.client.transport.is_own(url):
                raise EvalHubError(f"{self.place}: cannot {doing}: the list goes on at another host")
        raise EvalHubError(f"{self.place}: cannot {doing}: the list does not end ({len(read)} pages read)")

    def read_manifest(self, name: str) -> Answer:
        """Return the answer with a manifest whose bytes are what its digest says."""
        try:
            answer = self._asked_for(name, "GET")
        except TooLong:
            limit = f"{MAX_MANIFEST_BYTES >> 20} MiB"
            raise Tampered(f"{self.place}: manifest {name}: is larger than any manifest ({limit})") from None
        if answer.status != 200:
            raise self.client.refusal(answer, f"read manifest {name}")
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            self.client.check_is_registry()
        actual = digest_of(answer.content).removeprefix("sha256:")
        if is_digest(name):
            check_digest(actual, name, f"{self.place}: manifest")
        said = answer.headers.get(DIGEST_HEADER)
        if said and is_digest(said):
            check_digest(actual, said, f"{self.place}: manifest {name}, which the registry calls")
        return answer

    def _asked_for(self, name: str, method: str) -> Answer:
        url, headers = self.client.manifest_url(name), {"Accept": _MANIFEST_TYPES}
        return self.client.exchange(method, url, headers=headers, most=MAX_MANIFEST_BYTES)

    def _received(self, digest: str, size: int) -> Iterator[bytes]:
        check, read = self.client.patience.limit(size), 0
        pieces: Iterator[bytes] | None = None

        def piece() -> bytes:
            nonlocal pieces
            try:
                pieces = pieces or self._opened(digest, read)
                return next(pieces, b"")
            except Passing:
                pieces = None
                raise

        while content := self.client.persistently(piece):
            check()
            read += len(content)
            yield content

    def _opened(self, digest: str, start: int) -> Iterator[bytes]:
        """Return the pieces of a blob from the byte `start` on."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        opened = self.client.opened(self.client.blob_url(digest), headers)
        if isinstance(opened, Answer):
            raise self.client.refusal(opened, f"read blob {digest}")
        pieces = self.client.transport.pieces(opened)
        return pieces if opened.status_code == 206 and start else _after(start, pieces)

    def _tags_in(self, answer: Answer) -> list[str]:
        try:
            tags: Any = json.loads(answer.content)["tags"] or []
        except (ValueError, KeyError, TypeError, RecursionError):
            tags = None
        if not isinstance(tags, list) or not all(isinstance(tag, str) and is_tag(tag) for tag in tags):
            raise EvalHubError(f"{self.place}: cannot list the tags: the answer is no list of tags (is it a registry?)")
        return tags


def digest_of(content: bytes) -> str:
    """Return `sha256:<hex>` over `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _next_page(headers: Mapping[str, str]) -> str | None:
    from requests.utils import parse_header_links

    links = islice(parse_header_links(headers.get("Link", "")[: 2**14]), 10)
    return next((str(link["url"]) for link in links if link.get("rel") == "next"), None)


def _after(start: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what comes after the first `start` bytes."""
    for piece in pieces:
        if start >= len(piece):
            start -= len(piece)
        else:
            yield piece[start:]
            start = 0
