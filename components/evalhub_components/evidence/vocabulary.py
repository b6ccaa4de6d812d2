"""The media types and annotations by which evidence is recognised."""

from __future__ import annotations

ARTIFACT_TYPE = "application/vnd.evalhub.evidence.v1"
CONFIG_TYPE = "application/vnd.evalhub.evidence.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
BUNDLE_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"

# of a layer: the path of its file in the run
TITLE = "org.opencontainers.image.title"
# of a layer that holds many files: `oras pull` unpacks it, and compares the tar with the digest
UNPACK = "io.deis.oras.content.unpack"
UNPACKED_DIGEST = "io.deis.oras.content.digest"
