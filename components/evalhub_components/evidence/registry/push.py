"""A layout pushed to a registry: contents first, the tags that move last."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.layout import Blob, Layout
from evalhub_components.evidence.registry.client import WORKERS
from evalhub_components.evidence.registry.registry import Registry
from evalhub_components.evidence.store import Descriptor

T = TypeVar("T")
U = TypeVar("U")

_ATTACHED = re.compile(r"sha256-[0-9a-f]{64}\.(sig|att)")


class Pushed(NamedTuple):
    """What a push did.

    Attributes:
        digest: of the index, which stands for the whole.
        blobs: how many were sent; the others were there.
        bytes: of the blobs that were sent.
        manifests: how many manifests were sent, each once for its digest and for every tag.
    """

    digest: str
    blobs: int
    bytes: int
    manifests: int


@dataclass(frozen=True)
class Manifest:
    """A manifest or index of the layout, with what it names."""

    descriptor: Descriptor
    content: bytes
    tags: Sequence[str]
    document: Mapping[str, Any]
    blobs: Sequence[Blob]
    children: Sequence[Descriptor]

    @property
    def fixed_tags(self) -> list[str]:
        """Tags that never move."""
        own = f"evidence-{self.descriptor.digest.removeprefix('sha256:')}"
        return [tag for tag in self.tags if tag == own]

    @property
    def shared_tags(self) -> list[str]:
        """Tags of signatures and attestations, under which others may have put theirs."""
        return [tag for tag in self.tags if _ATTACHED.fullmatch(tag)]

    @property
    def moving_tags(self) -> list[str]:
        """Tags that a later run, or the same one when it was resumed, may take over."""
        return [tag for tag in self.tags if tag not in (*self.fixed_tags, *self.shared_tags)]

    @property
    def is_attached(self) -> bool:
        """Whether it is a signature or an attestation of another manifest."""
        return bool(self.shared_tags)


def push(layout: Path, registry: Registry) -> Pushed:
    """Push the layout's one index with all it names and what is attached to it; what is there is not sent again.

    A crash anywhere leaves no tag that names something incomplete. A run has taken place by now, so that a registry
    which is away is waited for.

    Raises:
        Tampered: the layout's contents are not what their digests say, or the registry stores something else.
        EvalHubError: the layout does not hold exactly one index, or the registry does not take it.
    """
    registry.client.is_known = True
    source = Layout(layout)
    manifests = _manifests(source)
    index = _index(manifests, source.place)
    blobs = {blob.digest: blob for manifest in manifests for blob in manifest.blobs}
    # the largest first, so that none is left for one thread alone at the end
    ordered = sorted(blobs.values(), key=lambda blob: -blob.size)
    sent = _together(registry, partial(_upload, source, registry), ordered)
    puts = 0
    for level in _levels(manifests):
        puts += sum(_together(registry, partial(_put, registry), level))
    for manifest in manifests:
        _link(manifest, registry)
    puts += sum(_together(registry, partial(_tag, registry), [other for other in manifests if other is not index]))
    puts += _tag(registry, index)
    size = sum(blob.size for blob, is_sent in zip(ordered, sent, strict=True) if is_sent)
    return Pushed(index.descriptor.digest, sum(sent), size, puts)


def _upload(source: Layout, registry: Registry, blob: Blob) -> bool:
    return registry.upload(blob.digest, blob.size, partial(source.blob, blob.digest, blob.size))


def _put(registry: Registry, manifest: Manifest) -> int:
    """Store a manifest by its digest and the tags that never move; return how often it was sent."""
    if manifest.is_attached:
        media_type = manifest.descriptor.media_type
        return sum(registry.add_layers(tag, manifest.content, media_type) for tag in manifest.shared_tags)
    return sum(_name(registry, manifest, name) for name in (manifest.descriptor.digest, *manifest.fixed_tags))


def _tag(registry: Registry, manifest: Manifest) -> int:
    """Store a manifest by the tags that may move; return how often it was sent."""
    return sum(_name(registry, manifest, tag, may_move=True) for tag in manifest.moving_tags)


def _name(registry: Registry, manifest: Manifest, name: str, may_move: bool = False) -> bool:
    if registry.named_by(name) == manifest.descriptor.digest:
        return False
    registry.put_manifest(manifest.content, manifest.descriptor.media_type, name, may_move=may_move)
    return True


def _link(manifest: Manifest, registry: Registry) -> None:
    """Let a manifest with a subject be found from there."""
    document = manifest.document
    if subject := document.get("subject"):
        kind = document.get("artifactType") or document.get("config", {}).get("mediaType", "")
        registry.add_referrer(_descriptor(subject), manifest.descriptor, kind, document.get("annotations") or {})


def _together(registry: Registry, work: Callable[[T], U], items: Iterable[T]) -> list[U]:
    """Return what `work` makes of each item, some at a time; the first failure ends them all."""
    given_up = registry.client.patience.given_up
    try:
        with ThreadPoolExecutor(WORKERS, "push") as pool:
            futures = [pool.submit(work, item) for item in items]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                failed = next((future for future in done if future.exception()), None)
                return [future.result() for future in ([failed] if failed else futures)]
            except BaseException:
                given_up.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        given_up.clear()


def _manifests(source: Layout) -> list[Manifest]:
    """Return every manifest of the layout once, also those that only an index names."""
    tags: dict[str, list[str]] = {}
    for descriptor, tag in source.manifests:
        tags.setdefault(descriptor.digest, []).extend([tag] if tag else [])
    found: dict[str, Manifest] = {}
    waiting = [descriptor for descriptor, _ in source.manifests]
    for descriptor in waiting:
        if descriptor.digest not in found:
            manifest = _manifest(source, descriptor, tags.get(descriptor.digest, []))
            found[descriptor.digest] = manifest
            waiting.extend(manifest.children)
    return list(found.values())


def _manifest(source: Layout, descriptor: Descriptor, tags: Sequence[str]) -> Manifest:
    content = source.manifest(descriptor.digest)
    try:
        document = json.loads(content)
        children = [_descriptor(child) for child in document.get("manifests") or []]
        named = [_descriptor(blob) for blob in [document.get("config"), *(document.get("layers") or [])] if blob]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise EvalHubError(f"{source.place}: {descriptor.digest}: is no OCI manifest") from None
    blobs = [Blob(blob.digest, blob.size) for blob in named]
    return Manifest(descriptor, content, tags, document, blobs, children)


def _descriptor(entry: Mapping[str, Any]) -> Descriptor:
    return Descriptor(str(entry["mediaType"]), str(entry["digest"]), int(entry["size"]))


def _index(manifests: Sequence[Manifest], place: str) -> Manifest:
    """Return the only index that no other names."""
    named = {child.digest for manifest in manifests for child in manifest.children}
    found = [one for one in manifests if one.children and not one.is_attached and one.descriptor.digest not in named]
    if len(found) != 1:
        raise EvalHubError(f"{place}: must hold one index, got {len(found)} (is it the evidence of one run?)")
    return found[0]


def _levels(manifests: Sequence[Manifest]) -> list[list[Manifest]]:
    """Return the manifests so that each comes after those it names, and what is attached comes last."""
    by_digest = {manifest.descriptor.digest: manifest for manifest in manifests}
    heights: dict[str, int] = {}

    def height(manifest: Manifest) -> int:
        digest = manifest.descriptor.digest
        if digest not in heights:
            heights[digest] = max((height(by_digest[child.digest]) + 1 for child in manifest.children), default=0)
        return heights[digest]

    last = max(map(height, manifests), default=0) + 1
    levels: list[list[Manifest]] = [[] for _ in range(last + 1)]
    for manifest in manifests:
        levels[last if manifest.is_attached else heights[manifest.descriptor.digest]].append(manifest)
    return levels
