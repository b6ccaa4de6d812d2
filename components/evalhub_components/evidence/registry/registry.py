"""A repository of a registry, written to: whatever is written is compared with what was meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

from evalhub_components.errors import EvalHubError, NotFound, Tampered
from evalhub_components.evidence.reference import Reference, is_tag
from evalhub_components.evidence.registry import cosigners, referrers
from evalhub_components.evidence.registry.errors import Answer, Passing, printable
from evalhub_components.evidence.registry.referrers import Referrer
from evalhub_components.evidence.registry.remote_store import DIGEST_HEADER, RemoteStore, digest_of
from evalhub_components.evidence.registry.transport import Body
from evalhub_components.evidence.store import Descriptor
from evalhub_components.evidence.vocabulary import INDEX_TYPE

_TRIES = 5


class Overtaken(Tampered):
    """A tag names something else than what was just stored by it, and is stored well."""


class Registry(RemoteStore):
    """One repository, to read from and to write to. Used by several threads at once."""

    def __init__(
        self, reference: Reference, *, secret: Path | None = None, ca: Path | None = None, deadline: float | None = None
    ) -> None:
        """Prepare as `RemoteStore` does."""
        super().__init__(reference, secret=secret, ca=ca, deadline=deadline)
        self._linked: set[str] = set()  # manifests that the registry itself lists as referrers

    def check_push(self) -> None:
        """Raise EvalHubError unless this login may push: an upload is begun, and cancelled."""
        location = self.client.persistently(self._begin_upload)
        # a registry forgets what is not ended; that some want a right to delete for this is no reason to stop
        with suppress(EvalHubError):
            self.client.transport.send("DELETE", location, {}, login=self.client.auth.header(writing=True)).close()

    def upload(self, digest: str, size: int, chunks: Callable[[], Iterable[bytes]]) -> bool:
        """Upload a blob unless the repository has it; say whether it was sent.

        Args:
            chunks: returns the blob's bytes, from the beginning for every try.

        Raises:
            Tampered: the registry stored something else.
            EvalHubError: it does not take it; what `chunks` raises.
        """
        if self._has_blob(digest, size):
            return False
        self.client.persistently(lambda: self._upload(digest, size, chunks))
        return True

    def put_manifest(
        self, content: bytes, media_type: str, tag_or_digest: str, *, may_move: bool = False
    ) -> Descriptor:
        """Store a manifest by a name, and read it back.

        Args:
            may_move: it is a tag that others may have moved before it can be read back.

        Raises:
            Overtaken: another took over a tag that may not move.
            Tampered: the registry stored something else.
            EvalHubError: it does not take it.
        """
        stored = Descriptor(media_type, digest_of(content), len(content))
        if not (is_tag(tag_or_digest) or tag_or_digest == stored.digest):
            raise EvalHubError(f"{self.place}: {tag_or_digest[:200]!r} is neither a tag nor the manifest's digest")
        url = self.client.manifest_url(tag_or_digest)
        answer = self.client.exchange("PUT", url, headers={"Content-Type": media_type}, data=content)
        if answer.status not in (200, 201, 202):
            raise self.client.refusal(answer, f"push manifest {tag_or_digest}")
        self._check_stored(answer, stored.digest, "manifest")
        if answer.headers.get("OCI-Subject"):
            self._linked.add(stored.digest)
        if may_move or self.read_manifest(tag_or_digest).content != content:
            self.read_manifest(stored.digest)
            if not may_move:
                what = f"{tag_or_digest} was made to name {stored.digest}, and does not"
                raise Overtaken(f"{self.place}: {what} (did another push move it meanwhile?)")
        return stored

    def add_layers(self, tag: str, content: bytes, media_type: str) -> bool:
        """Make a tag name a manifest with the layers of `content`, beside those of others; say whether it was written.

        The blobs that `content` names are there already.

        Raises:
            EvalHubError: what is there cannot be read or changed, or others keep overwriting it.
        """

        def change(present: Answer | None) -> tuple[bytes, str]:
            if present is None:
                return content, media_type
            merged = cosigners.with_layers(present.content, content, f"{self.place}:{tag}")
            if merged is None:
                return present.content, media_type
            self.upload(digest_of(merged.config), len(merged.config), lambda: [merged.config])
            return merged.manifest, present.headers.get("Content-Type", media_type)

        return self._rewrite(tag, change, "this manifest of signatures")

    def add_referrer(
        self, subject: Descriptor, descriptor: Descriptor, artifact_type: str, annotations: Mapping[str, str]
    ) -> None:
        """Make a pushed manifest be listed among the referrers of `subject`.

        There is nothing to do where the registry keeps the list. Elsewhere a tag does, which is read, changed and
        written, so that of two that do this at once one may have to do it again.

        Raises:
            EvalHubError: the list cannot be read or written, or others keep overwriting it.
        """
        if descriptor.digest in self._linked or self.referrers_by_api(subject.digest) is not None:
            return
        tag = referrers.fallback_tag(subject.digest)
        own = Referrer(descriptor, artifact_type, annotations)

        def change(present: Answer | None) -> tuple[bytes, str]:
            content = present.content if present else None
            return referrers.with_referrer(content, own, f"{self.place}:{tag}"), INDEX_TYPE

        self._rewrite(tag, change, "this list of referrers")

    def _rewrite(self, tag: str, change: Callable[[Answer | None], tuple[bytes, str]], what: str) -> bool:
        """Store what `change` makes of what a tag names, as that type; say whether it was another than that."""
        for _ in range(_TRIES):
            try:
                present: Answer | None = self.read_manifest(tag)
            except NotFound:
                present = None
            content, media_type = change(present)
            if present and content == present.content:
                return False
            try:
                self.put_manifest(content, media_type, tag)
            except Overtaken:  # by something in which ours may be, or may not
                continue
            return True
        raise EvalHubError(f"{self.place}:{tag}: others keep overwriting {what} (push again)")

    def _has_blob(self, digest: str, size: int) -> bool:
        """Return whether the repository says that it has the blob, in that size."""
        answer = self.client.exchange("HEAD", self.client.blob_url(digest))
        if answer.status == 200:
            return answer.headers.get("Content-Length", str(size)) == str(size)
        if answer.status != 404:
            raise self.client.refusal(answer, f"look for blob {digest}")
        return False

    def _begin_upload(self) -> str:
        answer = self.client.once("POST", self.client.uploads_url(), headers={"Content-Length": "0"})
        if answer.status != 202:
            raise self.client.refusal(answer, "push to it")
        return self.client.transport.location(answer.url, answer.headers.get("Location"))

    def _upload(self, digest: str, size: int, chunks: Callable[[], Iterable[bytes]]) -> None:
        location = self._begin_upload()
        url = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': digest})}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        body = Body(chunks, size, self.client.patience.limit(size)) if size else b""
        answer = self.client.once("PUT", url, headers=headers, data=body)
        if answer.status == 404:
            raise Passing(f"{self.place}: the registry lost the upload of blob {digest}")
        if answer.status != 201:
            raise self.client.refusal(answer, f"push blob {digest}")
        self._check_stored(answer, digest, "blob")

    def _check_stored(self, answer: Answer, digest: str, what: str) -> None:
        stored = answer.headers.get(DIGEST_HEADER, digest)
        if stored != digest:
            raise Tampered(f"{self.place}: {what} {digest}: the registry stored it as {printable(stored, 80)}")
