"""Evidence as plain files, as `oras pull` writes it, or as a layout of its own: whole and verified, or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_components.evidence import layout
from evalhub_components.evidence.layout import LayoutWriter, TaggedManifest
from evalhub_components.evidence.reading import checksums, tree, untrusted_json
from evalhub_components.evidence.reading.attachments import at
from evalhub_components.evidence.reading.titles import check_titles
from evalhub_components.evidence.reading.tree import Named, Tree
from evalhub_components.evidence.reading.unpacking import unpack
from evalhub_components.evidence.reading.untrusted_json import NotEvidence
from evalhub_components.evidence.reference import is_tag
from evalhub_components.evidence.signing import signatures
from evalhub_components.evidence.store import Descriptor, Store
from evalhub_components.evidence.together import results
from evalhub_components.evidence.vocabulary import MANIFEST_TYPE

_RUN_ID = "io.github.eval-hub.run_id"
_ATTACHED_TYPES = (MANIFEST_TYPE, "application/vnd.docker.distribution.manifest.v2+json")
_MAX_ATTACHED_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Pulled:
    """What was written; `size` in bytes."""

    digest: str
    files: int
    size: int


def pull(store: Store, named: Named, target: Path) -> Pulled:
    """Write the files of a run to the folder `target`, which must be empty or absent.

    Raises:
        Tampered: something is not what its digest says.
        NotEvidence: it is no evidence, or has files that cannot be written safely.
        EvalHubError: something is missing, or cannot be read or written.
    """
    found = tree.read(store, tree.resolved(store, named))
    check_titles(layer.title for layer in found.layers)
    with _appearing(target, found) as folder:

        @contextmanager
        def opened(title: str) -> Iterator[BinaryIO]:
            check_titles([title])
            path = folder / title
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                yield file

        files: dict[str, str] = {}
        for unpacked in results(store, partial(unpack, opened=opened), found.layers):
            files |= unpacked
            if len(files) > tree.MAX_FILES:
                raise NotEvidence(f"{store.place}: has more than {tree.MAX_FILES} files")
        checksums.check(checksums.read(_sums(folder)), files)
        size = sum((folder / title).stat().st_size for title in files)
    return Pulled(found.index.descriptor.digest, len(files), size)


def copy(store: Store, named: Named, target: Path) -> Pulled:
    """Write the evidence with its signatures and attestations as an OCI layout to `target`, empty or absent.

    Raises:
        Tampered: something is not what its digest says.
        NotEvidence: it is no evidence.
        EvalHubError: something is missing, or cannot be read or written.
        MissingExtra: the OCI libraries are not installed.
    """
    layout.require_libraries()
    digest = tree.resolved(store, named)
    found = tree.read(store, digest)
    with _appearing(target, found) as folder:
        writer = LayoutWriter(folder)
        blobs = list({blob.digest: blob for _, blob in found.blobs}.values())
        size = sum(results(store, partial(_copied_blob, writer=writer), blobs))
        own = found.index.descriptor, *(part.descriptor for part in found.parts)
        manifests = [_copied(store, writer, each, f"evidence-{each.digest.removeprefix('sha256:')}") for each in own]
        tags = dict.fromkeys((named.tag, f"run-{found.index.annotations.get(_RUN_ID, '')}"))
        for tag in tags:
            if tag and is_tag(tag) and _names(store, tag, digest):
                manifests.append(_copied(store, writer, found.index.descriptor, tag))
        for tag in (signatures.signature_tag(digest), signatures.attestation_tag(digest)):
            manifests += _attached(store, writer, tag)
        writer.commit(manifests)
    return Pulled(digest, len(blobs), size)


def _copied_blob(store: Store, blob: Descriptor, writer: LayoutWriter) -> int:
    return writer.add(store.blob(blob.digest, blob.size)).size


def _copied(store: Store, writer: LayoutWriter, manifest: Descriptor, tag: str) -> TaggedManifest:
    return TaggedManifest(manifest.media_type, writer.add([store.manifest(manifest.digest)]), (tag,))


def _names(store: Store, tag: str, digest: str) -> bool:
    try:
        return store.resolve(tag).digest == digest
    except NotFound:
        return False


def _attached(store: Store, writer: LayoutWriter, tag: str) -> list[TaggedManifest]:
    """Copy a manifest that anybody may have made, with its blobs."""
    try:
        content = store.manifest(store.resolve(tag).digest)
    except NotFound:
        return []
    document = untrusted_json.loads(content, tag)
    layers, media_type = at(document, "layers"), at(document, "mediaType") or MANIFEST_TYPE
    if not isinstance(layers, list) or media_type not in _ATTACHED_TYPES:
        raise NotEvidence(f"{tag}: is no manifest of signatures or attestations")
    blobs = [tree.descriptor(value, tag) for value in (at(document, "config"), *layers)]
    if sum(blob.size for blob in blobs) > _MAX_ATTACHED_BYTES:
        raise NotEvidence(f"{tag}: has more than {_MAX_ATTACHED_BYTES >> 20} MiB")
    for blob in blobs:
        writer.add(store.blob(blob.digest, blob.size))
    return [TaggedManifest(media_type, writer.add([content]), (tag,))]


@contextmanager
def _appearing(target: Path, found: Tree) -> Iterator[Path]:
    """Yield a folder that becomes `target` when the block ends well, and is removed when it raises.

    Raises:
        EvalHubError: `target` is in use, or there is no room.
    """
    target = target.resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise EvalHubError(f"{target}: must be an empty folder, or none")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        needed, free = sum(blob.size for _, blob in found.blobs), shutil.disk_usage(target.parent).free
        if needed > free:
            raise EvalHubError(f"{target}: the evidence needs {needed} bytes, and {free} are free there")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=".part") as beside:
            folder = Path(beside) / "evidence"
            folder.mkdir()
            yield folder
            os.rename(folder, target)
    except OSError as error:
        raise EvalHubError(f"{target}: the evidence cannot be written there ({error.strerror})") from error


def _sums(folder: Path) -> bytes:
    path = folder / checksums.TITLE
    if not path.is_file() or path.stat().st_size > checksums.MAX_BYTES:
        raise NotEvidence(f"there is no {checksums.TITLE} of at most {checksums.MAX_BYTES >> 20} MiB")
    return path.read_bytes()
