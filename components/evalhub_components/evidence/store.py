"""Where evidence is read from: an OCI layout on disk or a repository of a registry, behind one interface."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from evalhub_components.errors import Tampered

MAX_MANIFEST_BYTES = 4 * 2**20
"""What registries take at most, and all that is ever read of a manifest."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Descriptor:
    """What names content; `digest` is `sha256:<hex>`, `size` in bytes."""

    media_type: str
    digest: str
    size: int


class Store(Protocol):
    """What holds evidence. Whatever it hands out has the digest it was asked for by."""

    @property
    def place(self) -> str:
        """How messages name it: the layout's folder, or `host/repository`."""

    def resolve(self, name: str) -> Descriptor:
        """Return the manifest that a tag or a digest names.

        Raises:
            NotFound: there is none.
            EvalHubError: it cannot be asked.
        """

    def manifest(self, digest: str) -> bytes:
        """Return the bytes of the manifest with this digest.

        Raises:
            NotFound: there is none.
            Tampered: the bytes have another digest, or are more than any manifest has.
            EvalHubError: it cannot be read.
        """

    def blob(self, digest: str, size: int) -> Iterator[bytes]:
        """Yield the blob's bytes in bounded pieces, never more than `size`; whether they are right is known at the end.

        Raises:
            NotFound: there is none.
            Tampered: size or digest differ.
            EvalHubError: it cannot be read.
        """

    def tags(self) -> list[str]:
        """Return all tags, sorted."""


def is_digest(text: str) -> bool:
    """Return whether `text` is `sha256:<64 hex digits>`, the only kind of digest used here."""
    return bool(_DIGEST.fullmatch(text))


def checked(chunks: Iterable[bytes], digest: str, size: int, place: str) -> Iterator[bytes]:
    """Yield `chunks`, and compare what they come to with `digest` and `size`.

    Raises:
        Tampered: they differ; a chunk that is too much is not handed on.
    """
    sha256, read = hashlib.sha256(), 0
    for chunk in chunks:
        read += len(chunk)
        if read > size:
            raise Tampered(f"{place}: blob {digest}: has more than the {size} bytes it should have")
        sha256.update(chunk)
        yield chunk
    if read != size:
        raise Tampered(f"{place}: blob {digest}: is {read} bytes long instead of {size}")
    check_digest(sha256.hexdigest(), digest, f"{place}: blob")


def check_digest(hex_digest: str, digest: str, what: str) -> None:
    """Compare the SHA-256 of what was read with the digest it goes by.

    Raises:
        Tampered: they differ.
    """
    if f"sha256:{hex_digest}" != digest:
        raise Tampered(f"{what} {digest}: has other content (it hashes to sha256:{hex_digest})")
