"""The files that layers hold, hashed while they stream by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from evalhub_components.evidence.reading.tree import MAX_FILES, Layer
from evalhub_components.evidence.reading.unbundling import members
from evalhub_components.evidence.reading.untrusted_json import NotEvidence
from evalhub_components.evidence.store import Store


class Sink(Protocol):
    """Takes the bytes of a file."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""


Opener = Callable[[str], AbstractContextManager[Sink]]
"""Opens where the file with this title goes; whether its bytes are right is known when the layer has been read."""


def unpack(store: Store, layer: Layer, opened: Opener) -> dict[str, str]:
    """Hand out the files of a layer, and return the hex SHA-256 of each by its title.

    Raises:
        NotEvidence: it is no bundle as it is made here.
        EvalHubError: it is missing, was tampered with, or cannot be read.
    """
    chunks = store.blob(layer.descriptor.digest, layer.descriptor.size)
    if layer.tar_digest is None:
        with opened(layer.title) as sink:
            for chunk in chunks:
                sink.write(chunk)
        return {layer.title: layer.descriptor.digest.removeprefix("sha256:")}
    try:
        return _unbundled(chunks, layer, opened)
    except NotEvidence:
        # whether these are the bytes that were published says more than what is wrong with them
        for _ in chunks:
            pass
        raise


def _unbundled(chunks: Iterator[bytes], layer: Layer, opened: Opener) -> dict[str, str]:
    found: dict[str, str] = {}
    for member in members(chunks, layer):
        if member.title in found or len(found) >= MAX_FILES:
            raise NotEvidence(f"{layer.title}: has {member.title[:100]!r} twice, or more than {MAX_FILES} files")
        sha256 = hashlib.sha256()
        with opened(member.title) as sink:
            for chunk in member.chunks:
                sha256.update(chunk)
                sink.write(chunk)
        found[member.title] = sha256.hexdigest()
    return found
