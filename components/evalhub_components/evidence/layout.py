"""An OCI image layout on disk: blobs by digest, and the tags that name them."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError, MissingExtra, NotFound, Tampered
from evalhub_components.evidence.store import MAX_MANIFEST_BYTES, Descriptor, check_digest, checked, is_digest

if TYPE_CHECKING:
    from olot.oci.oci_image_index import OCIImageIndex
    from olot.oci.oci_image_manifest import OCIImageManifest

_CHUNK_BYTES = 2**20
_REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Blob:
    """A blob; `digest` is `sha256:<hex>`."""

    digest: str
    size: int


@dataclass(frozen=True)
class TaggedManifest:
    """A manifest or index with the tags that name it."""

    media_type: str
    blob: Blob
    tags: tuple[str, ...]


class LayoutWriter:
    """Fills the layout in `path`.

    Blobs appear by rename under their digest, and `index.json` is replaced last: whoever reads the layout meanwhile, or
    after a crash, finds the old content or the new one. Call `commit` to make the new content count.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blobs = path / "blobs" / "sha256"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._kept: set[str] = set()

    def add(self, chunks: Iterable[bytes]) -> Blob:
        """Write a blob from its pieces."""
        sha256, size = hashlib.sha256(), 0
        descriptor, name = tempfile.mkstemp(dir=self._blobs, prefix=".", suffix=".part")
        try:
            # not synced to the disk one by one: a blob proves itself by its digest, and can be built again
            with os.fdopen(descriptor, "wb") as file:
                for chunk in chunks:
                    sha256.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
            os.chmod(name, 0o644)
            os.replace(name, self._blobs / sha256.hexdigest())
        except BaseException:
            os.unlink(name)
            raise
        self._kept.add(sha256.hexdigest())
        return Blob(f"sha256:{sha256.hexdigest()}", size)

    def add_model(self, model: OCIImageManifest | OCIImageIndex) -> Blob:
        """Write a manifest or index as canonical JSON."""
        return self.add([serialised(model)])

    def commit(self, manifests: Sequence[TaggedManifest]) -> None:
        """Name `manifests` by their tags, and remove what the layout held before."""
        from olot.oci.oci_image_index import Manifest, create_oci_image_index
        from olot.oci.oci_image_layout import create_ocilayout

        entries = [
            Manifest(
                mediaType=manifest.media_type,
                size=manifest.blob.size,
                digest=manifest.blob.digest,
                urls=None,
                data=None,
                artifactType=None,
                annotations={_REF_NAME: tag},
            )
            for manifest in manifests
            for tag in manifest.tags
        ]
        atomic.write_bytes(self._path / "oci-layout", serialised(create_ocilayout()))
        atomic.write_bytes(self._path / "index.json", serialised(create_oci_image_index(manifests=entries)))
        for left in self._blobs.iterdir():
            if left.name not in self._kept:
                left.unlink()


class Layout:
    """A layout to read: a `Store`. Nothing is read through a symbolic link, and nothing without a bound."""

    def __init__(self, path: Path) -> None:
        """Open the layout in `path`.

        Raises:
            NotFound: there is no layout.
            EvalHubError: its `oci-layout` names no version that is known, or its `index.json` is no index.
        """
        self._path = path
        if not (path / "index.json").is_file():
            raise NotFound(f"{path}: is no OCI image layout (there is no index.json)")
        _check_version(self._read("oci-layout"), path / "oci-layout")
        self._entries = _entries(self._read("index.json"), path / "index.json")

    @property
    def place(self) -> str:
        """The layout's folder."""
        return str(self._path)

    @property
    def manifests(self) -> list[tuple[Descriptor, str]]:
        """Every manifest with each of its tags, in the order of `index.json`."""
        return list(self._entries)

    def resolve(self, name: str) -> Descriptor:
        """Return the manifest that a tag or a digest names; one that only another manifest names has no media type."""
        for descriptor, tag in self._entries:
            if name in (tag, descriptor.digest):
                return descriptor
        if is_digest(name) and (path := self._blob_path(name)).is_file():
            return Descriptor("", name, path.stat().st_size)
        raise NotFound(f"{self._path}: has no manifest {name}")

    def manifest(self, digest: str) -> bytes:
        """Return the bytes of the manifest with this digest."""
        content = self._read(f"blobs/sha256/{self._blob_path(digest).name}")
        check_digest(hashlib.sha256(content).hexdigest(), digest, f"{self._path}: manifest")
        return content

    def blob(self, digest: str, size: int) -> Iterator[bytes]:
        """Yield the blob's bytes; whether they are right is known at the end."""
        path = self._blob_path(digest)
        with self._open(path) as file:
            yield from checked(iter(lambda: file.read(_CHUNK_BYTES), b""), digest, size, self.place)

    def tags(self) -> list[str]:
        """Return all tags, sorted."""
        return sorted({tag for _, tag in self._entries if tag})

    def _blob_path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise NotFound(f"{self._path}: {digest[:100]!r}: is no sha256 digest")
        return self._path / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def _read(self, name: str) -> bytes:
        with self._open(self._path / name) as file:
            content = file.read(MAX_MANIFEST_BYTES + 1)
        if len(content) > MAX_MANIFEST_BYTES:
            raise Tampered(f"{self._path / name}: is larger than any manifest ({MAX_MANIFEST_BYTES >> 20} MiB)")
        return content

    def _open(self, path: Path) -> BinaryIO:
        try:
            # without waiting for whoever may write to a named pipe
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            raise NotFound(f"{path}: is missing") from None
        except OSError as error:
            raise EvalHubError(f"{path}: cannot be read ({error.strerror})") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise EvalHubError(f"{path}: is no regular file")
        return os.fdopen(descriptor, "rb")


def _check_version(content: bytes, path: Path) -> None:
    try:
        version = str(json.loads(content)["imageLayoutVersion"])
    except (ValueError, KeyError, TypeError, RecursionError):
        version = ""
    if not version.startswith("1."):
        raise EvalHubError(f"{path}: must name version 1.0.0 of the OCI image layout")


def _entries(content: bytes, path: Path) -> list[tuple[Descriptor, str]]:
    """Return the manifests that `index.json` lists, each with its tag or the empty text."""
    try:
        found = [
            (
                Descriptor(str(entry.get("mediaType", "")), str(entry["digest"]), int(entry["size"])),
                str((entry.get("annotations") or {}).get(_REF_NAME, "")),
            )
            for entry in json.loads(content)["manifests"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        raise EvalHubError(f"{path}: is no OCI image index") from None
    return found


def serialised(model: Any) -> bytes:
    """Return an OCI model as canonical JSON (RFC 8785), so that equal content has one digest."""
    import rfc8785

    return rfc8785.dumps(model.model_dump(mode="json", exclude_none=True))


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes in bounded pieces."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def require_libraries() -> None:
    """Raise MissingExtra unless the OCI libraries are installed."""
    if not (find_spec("olot") and find_spec("rfc8785")):
        raise MissingExtra("oci", "building the evidence")
