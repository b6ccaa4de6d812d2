"""The manifests, index and layers of the artifact, as olot's models of the OCI image specification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from evalhub_components import canonical
from evalhub_components.evidence.building.bundle import Bundle
from evalhub_components.evidence.layout import Blob, LayoutWriter, TaggedManifest
from evalhub_components.evidence.vocabulary import (
    ARTIFACT_TYPE,
    BUNDLE_TYPE,
    CONFIG_TYPE,
    INDEX_TYPE,
    MANIFEST_TYPE,
    TITLE,
    UNPACK,
    UNPACKED_DIGEST,
)
from evalhub_components.schema.exports import Subject

if TYPE_CHECKING:
    from olot.oci.oci_image_manifest import ContentDescriptor

# a table of our own: the standard library's depends on the machine's files
_MEDIA_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".md": "text/markdown",
    ".txt": "text/plain",
    ".html": "text/html",
}


def file_layer(title: str, blob: Blob) -> ContentDescriptor:
    """Return the layer that is one file; its title is the file's path in the run."""
    media_type = _MEDIA_TYPES.get(PurePosixPath(title).suffix, "application/octet-stream")
    return _descriptor(media_type, blob, {TITLE: title})


def bundle_layer(bundle: Bundle, blob: Blob) -> ContentDescriptor:
    """Return the layer that is a folder of many files."""
    return _descriptor(BUNDLE_TYPE, blob, {TITLE: bundle.folder, UNPACK: "true", UNPACKED_DIGEST: bundle.tar_digest})


def manifest(
    writer: LayoutWriter,
    config: Mapping[str, Any],
    layers: Iterable[ContentDescriptor],
    annotations: Mapping[str, str],
    tags: Sequence[str] = (),
) -> TaggedManifest:
    """Write a manifest and its config; the layers are ordered by their titles."""
    from olot.oci.oci_image_manifest import create_oci_image_manifest

    model = create_oci_image_manifest(
        artifactType=ARTIFACT_TYPE,
        config=_descriptor(CONFIG_TYPE, writer.add([canonical.dumps(config)]), {}),
        layers=sorted(layers, key=lambda layer: str((layer.annotations or {})[TITLE]).encode()),
        annotations=dict(annotations),
    )
    return _tagged(MANIFEST_TYPE, writer.add_model(model), tags)


def index(
    writer: LayoutWriter,
    manifests: Iterable[TaggedManifest],
    annotations: Mapping[str, str],
    tags: Sequence[str],
    subject: Subject | None,
) -> TaggedManifest:
    """Write the index over the manifests of a run; `subject` is the manifest of the model that was evaluated."""
    from olot.oci.oci_image_index import ContentDescriptor, Manifest, create_oci_image_index

    model = create_oci_image_index(
        artifactType=ARTIFACT_TYPE,
        subject=subject and ContentDescriptor(**_fields(subject.media_type, subject.digest, subject.size)),
        manifests=[Manifest(**_fields(one.media_type, one.blob.digest, one.blob.size)) for one in manifests],
        annotations=dict(annotations),
    )
    return _tagged(INDEX_TYPE, writer.add_model(model), tags)


def _tagged(media_type: str, blob: Blob, tags: Sequence[str]) -> TaggedManifest:
    # registries' garbage collection deletes untagged manifests, also those that only an index names
    return TaggedManifest(media_type, blob, (*tags, f"evidence-{blob.digest.removeprefix('sha256:')}"))


def _descriptor(media_type: str, blob: Blob, annotations: Mapping[str, str]) -> ContentDescriptor:
    from olot.oci.oci_image_manifest import ContentDescriptor

    return ContentDescriptor(**_fields(media_type, blob.digest, blob.size), annotations=dict(annotations) or None)


def _fields(media_type: str, digest: str, size: int) -> dict[str, Any]:
    unused = {"urls": None, "data": None, "artifactType": None}
    return {"mediaType": media_type, "size": size, "digest": digest, **unused}
