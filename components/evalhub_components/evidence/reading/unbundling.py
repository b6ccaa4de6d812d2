"""Reads a bundle of files while its bytes arrive: nothing but plain files, and no more than the layer's own size."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from evalhub_components.evidence.reading.tree import Layer
from evalhub_components.evidence.reading.untrusted_json import NotEvidence

_BLOCK = 512
_PIECE = 2**20
_MAX_NAMES = 64 * 2**10  # bytes of the header that holds one long name


@dataclass(frozen=True)
class Member:
    """A file in a bundle; `chunks` are to be read before the next member is asked for."""

    title: str
    size: int
    chunks: Iterator[bytes]


def members(chunks: Iterator[bytes], layer: Layer) -> Iterator[Member]:
    """Yield the files in the bundle that `chunks` are the bytes of.

    Raises:
        NotEvidence: it is no bundle as it is made here.
    """
    # a bundle is stored without compression, so that its content cannot be more than the layer
    tar = _Tar(_inflated(chunks, layer.descriptor.size, layer.title), layer.title)
    while (header := tar.header()) is not None:
        if f"{header.name}/".partition(f"{layer.title}/")[0] or ".." in header.name.split("/"):
            raise NotEvidence(f"{layer.title}: {header.name[:100]!r}: is a file outside of its folder")
        if header.type == tarfile.REGTYPE:
            content = tar.content(header.size)
            yield Member(header.name, header.size, content)
            for _ in content:  # what the reader left
                pass
            tar.take(-header.size % _BLOCK)
        elif header.type != tarfile.DIRTYPE or header.size:
            raise NotEvidence(f"{layer.title}: {header.name[:100]!r}: is no plain file")
    if f"sha256:{tar.finish()}" != layer.tar_digest:
        raise NotEvidence(f"{layer.title}: the tar inside is not {layer.tar_digest}")


def _inflated(chunks: Iterator[bytes], size: int, where: str) -> Iterator[bytes]:
    """Yield the content of a gzip stream, in bounded pieces and at most `size` bytes."""
    stream, total = zlib.decompressobj(wbits=31), 0
    for chunk in chunks:
        while chunk:
            try:
                piece = stream.decompress(chunk, _PIECE)
            except zlib.error as error:
                raise NotEvidence(f"{where}: is no gzip stream ({error})") from None
            total += len(piece)
            if total > size:
                raise NotEvidence(f"{where}: unpacks to more than its {size} bytes")
            if stream.unused_data:
                raise NotEvidence(f"{where}: has something behind its gzip stream")
            if piece:
                yield piece
            chunk = stream.unconsumed_tail
    if not stream.eof:
        raise NotEvidence(f"{where}: its gzip stream has no end")


class _Tar:
    """A tar of plain files and folders, read from its start to its end."""

    def __init__(self, chunks: Iterator[bytes], where: str) -> None:
        self._chunks = chunks
        self._where = where
        self._sha256 = hashlib.sha256()
        self._buffer, self._read = b"", 0

    def header(self) -> tarfile.TarInfo | None:
        """Return the header of the next file or folder, None behind the last."""
        info = self._block()
        if info is None or info.type != tarfile.XHDTYPE:
            return info
        if info.size > _MAX_NAMES:
            raise NotEvidence(f"{self._where}: has a name that is too long")
        records = self._records(self.take(info.size))
        self.take(-info.size % _BLOCK)
        info = self._block()
        if info is None:
            raise NotEvidence(f"{self._where}: its tar ends early")
        info.name = records.get("path", info.name)
        if "size" in records:
            if not records["size"].isascii() or not records["size"].isdigit() or len(records["size"]) > 18:
                raise NotEvidence(f"{self._where}: {info.name[:100]!r}: has no proper size")
            info.size = int(records["size"])
        return info

    def content(self, size: int) -> Iterator[bytes]:
        """Yield the next `size` bytes."""
        while size:
            piece = self.take(min(size, max(len(self._buffer) - self._read, _BLOCK)))
            size -= len(piece)
            yield piece

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes; they are few, or at hand."""
        while len(self._buffer) - self._read < size:
            piece = next(self._chunks, None)
            if piece is None:
                raise NotEvidence(f"{self._where}: its tar ends early")
            self._sha256.update(piece)
            self._buffer, self._read = self._buffer[self._read :] + piece, 0
        self._read += size
        return self._buffer[self._read - size : self._read]

    def finish(self) -> str:
        """Return the hex SHA-256 of the tar, which ends with its two zero blocks."""
        if self.take(_BLOCK).strip(b"\0") or self._buffer[self._read :] or next(self._chunks, None):
            raise NotEvidence(f"{self._where}: has something behind the end of its tar")
        return self._sha256.hexdigest()

    def _block(self) -> tarfile.TarInfo | None:
        block = self.take(_BLOCK)
        if not block.strip(b"\0"):
            return None
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, ValueError) as error:
            raise NotEvidence(f"{self._where}: is no tar ({error})") from None
        if info.size < 0:
            raise NotEvidence(f"{self._where}: {info.name[:100]!r}: has no proper size")
        return info

    def _records(self, content: bytes) -> dict[str, str]:
        """Return the records of an extended header: `<length> <key>=<value>` and a line feed each."""
        found: dict[str, str] = {}
        while content:
            digits, _, _ = content[:8].partition(b" ")
            length = int(digits) if digits.isdigit() else 0
            record, content = content[:length], content[length:]
            key, equals, value = record[len(digits) + 1 :].partition(b"=")
            if not equals or len(record) != length or not value.endswith(b"\n") or key not in (b"path", b"size"):
                raise NotEvidence(f"{self._where}: has a header that no bundle made here has")
            try:
                found[key.decode()] = value[:-1].decode()
            except UnicodeDecodeError:
                raise NotEvidence(f"{self._where}: has a name that is no UTF-8") from None
        return found
