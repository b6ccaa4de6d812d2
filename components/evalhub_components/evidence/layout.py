"""An OCI image layout on disk: blobs by digest, and the tags that name them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalhub_components import atomic
from evalhub_components.errors import MissingExtra

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
