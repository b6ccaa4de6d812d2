"""Many files as one tar layer whose bytes depend on their names and contents alone."""

from __future__ import annotations

import hashlib
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.layout import read_chunks

_BLOCK_BYTES = 512
_STORED_BYTES = 65535


class KeptFile(NamedTuple):
    """A file of the run; `title` is its path in the run directory, `size` in bytes."""

    path: Path
    title: str
    size: int


class Bundle:
    """A folder's files as a gzipped tar that `oras pull` unpacks in the folder's place.

    The gzip stream stores without compressing: compressed bytes would depend on the zlib build. The tar ends at its two
    zero blocks, without Python's padding, because `oras` checks the digest of what it has read up to there.

    Attributes:
        folder: its path in the run directory.
        file_digests: hex SHA-256 of each file by title; complete once `chunks` is exhausted.
        tar_digest: `sha256:<hex>` of the tar inside; likewise.
    """

    def __init__(self, folder: str, files: Iterable[KeptFile]) -> None:
        self.folder = folder
        self._files = list(files)
        self.file_digests: dict[str, str] = {}
        self.tar_digest = ""

    def chunks(self) -> Iterator[bytes]:
        """Yield the layer's bytes."""
        sha256 = hashlib.sha256()
        yield from _gzip(_hashed(self._tar(), sha256))
        self.tar_digest = f"sha256:{sha256.hexdigest()}"

    def _tar(self) -> Iterator[bytes]:
        folders = {self.folder}
        for file in self._files:
            folders.update(
                str(parent) for parent in PurePosixPath(file.title).parents if parent.is_relative_to(self.folder)
            )
        for folder in sorted(folders):
            yield _header(folder, 0, tarfile.DIRTYPE)
        for file in self._files:
            yield _header(file.title, file.size, tarfile.REGTYPE)
            sha256, read = hashlib.sha256(), 0
            for chunk in _hashed(read_chunks(file.path), sha256):
                read += len(chunk)
                yield chunk
            if read != file.size:
                raise EvalHubError(f"{file.title}: changed while it was read (aggregate again, with nothing writing)")
            self.file_digests[file.title] = sha256.hexdigest()
            yield bytes(-file.size % _BLOCK_BYTES)
        yield bytes(2 * _BLOCK_BYTES)


def _header(name: str, size: int, kind: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _hashed(chunks: Iterable[bytes], sha256: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        sha256.update(chunk)
        yield chunk


def _gzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a gzip stream of stored blocks (RFC 1951, 3.2.4) without name or time."""
    yield b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    checksum, size = 0, 0
    for chunk in chunks:
        checksum = zlib.crc32(chunk, checksum)
        size += len(chunk)
        for start in range(0, len(chunk), _STORED_BYTES):
            piece = chunk[start : start + _STORED_BYTES]
            yield struct.pack("<BHH", 0, len(piece), len(piece) ^ 0xFFFF) + piece
    yield struct.pack("<BHH", 1, 0, 0xFFFF) + struct.pack("<II", checksum, size & 0xFFFFFFFF)
