"""The manifests of a run's evidence as typed values, read from a store that nobody trusts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from evalhub_components.errors import NotFound, Tampered
from evalhub_components.evidence.reading import untrusted_json
from evalhub_components.evidence.reading.untrusted_json import NotEvidence
from evalhub_components.evidence.store import MAX_MANIFEST_BYTES, Descriptor, Store, is_digest
from evalhub_components.evidence.together import results
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

# far above what the largest collection leaves, and what a hostile registry can make us hold, read or write
MAX_MANIFESTS = 5_000
MAX_FILES = 500_000
MAX_TOTAL_BYTES = 64 * 2**30
_MAX_TREE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Named:
    """What a user names in a store: a tag, a digest, or the digest a tag had."""

    tag: str | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Layer:
    """A layer of a manifest.

    Attributes:
        title: path of the file in the run directory; of the folder for a bundle.
        tar_digest: of the tar inside a bundle, `sha256:<hex>`; None for a plain file.
    """

    descriptor: Descriptor
    title: str
    tar_digest: str | None


@dataclass(frozen=True)
class Part:
    """A manifest: the run's own, or a benchmark's."""

    descriptor: Descriptor
    config: Descriptor
    layers: tuple[Layer, ...]
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class Index:
    """What stands for the whole run; `entries` are its manifests, the run's own first."""

    descriptor: Descriptor
    entries: tuple[Descriptor, ...]
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class Tree:
    """The index with what its manifests hold."""

    index: Index
    parts: tuple[Part, ...]

    @property
    def layers(self) -> Iterator[Layer]:
        """Every layer, in the order of the manifests."""
        return (layer for part in self.parts for layer in part.layers)

    @property
    def blobs(self) -> Iterator[tuple[str, Descriptor]]:
        """Every config and layer with its name, in the order of the manifests."""
        for part in self.parts:
            yield f"evidence.json of {part.descriptor.digest}", part.config
            yield from ((layer.title, layer.descriptor) for layer in part.layers)


def resolved(store: Store, named: Named) -> str:
    """Return the digest of what is named; one that is given needs no asking.

    Raises:
        EvalHubError: there is no such tag, or it cannot be asked.
    """
    if named.digest is None and named.tag is None:
        raise NotFound(f"{store.place}: name a tag or a digest")
    return named.digest or store.resolve(str(named.tag)).digest


def read(store: Store, digest: str) -> Tree:
    """Return the evidence whose index has this digest.

    Raises:
        NotEvidence: it is something else, or more than any run leaves.
        EvalHubError: a manifest is missing, was tampered with, or cannot be read.
    """
    index = read_index(store, digest)
    tree = Tree(index, tuple(results(store, read_part, index.entries)))
    check_bounds(tree)
    return tree


def read_index(store: Store, digest: str) -> Index:
    """Return the index with this digest.

    Raises:
        NotEvidence: it is something else.
        EvalHubError: it is missing, was tampered with, or cannot be read.
    """
    content = store.manifest(digest)
    where = f"{store.place}@{digest}"
    document = _document(content, where, INDEX_TYPE)
    if "config" in document or "layers" in document:
        raise NotEvidence(f"{where}: is an index and a manifest at once")
    entries = tuple(
        descriptor(value, f"{where}: manifests[{n}]")
        for n, value in enumerate(_list(document, "manifests", where, MAX_MANIFESTS))
    )
    for entry in entries:
        if entry.media_type != MANIFEST_TYPE:
            raise NotEvidence(f"{where}: lists {entry.digest}, which is no manifest but {entry.media_type[:100]!r}")
    if len({entry.digest for entry in entries}) < len(entries):
        raise NotEvidence(f"{where}: lists a manifest twice")
    if sum(entry.size for entry in entries) > _MAX_TREE_BYTES:
        raise NotEvidence(f"{where}: its manifests are more than {_MAX_TREE_BYTES >> 20} MiB")
    return Index(Descriptor(INDEX_TYPE, digest, len(content)), entries, _annotations(document, where))


def read_part(store: Store, entry: Descriptor) -> Part:
    """Return the manifest that an index lists.

    Raises:
        NotEvidence: it is no manifest of a run.
        Tampered: its digest or size are not what the index says.
        EvalHubError: it is missing, or cannot be read.
    """
    content = store.manifest(entry.digest)
    where = f"{store.place}@{entry.digest}"
    if len(content) != entry.size:
        raise Tampered(f"{where}: is {len(content)} bytes long, and the index says {entry.size}")
    document = _document(content, where, MANIFEST_TYPE)
    if "manifests" in document:
        raise NotEvidence(f"{where}: is an index and a manifest at once")
    config = descriptor(document.get("config"), f"{where}: config")
    if config.media_type != CONFIG_TYPE or config.size > MAX_MANIFEST_BYTES:
        raise NotEvidence(f"{where}: its config is no evidence.json of at most {MAX_MANIFEST_BYTES >> 20} MiB")
    layers = tuple(
        _layer(value, f"{where}: layers[{n}]") for n, value in enumerate(_list(document, "layers", where, MAX_FILES))
    )
    return Part(entry, config, layers, _annotations(document, where))


def read_config(store: Store, part: Part) -> dict[str, Any]:
    """Return a manifest's `evidence.json`.

    Raises:
        NotEvidence: it is no JSON object.
        EvalHubError: it is missing, was tampered with, or cannot be read.
    """
    where = f"{store.place}: evidence.json of {part.descriptor.digest}"
    value = untrusted_json.loads(b"".join(store.blob(part.config.digest, part.config.size)), where)
    if not isinstance(value, dict):
        raise NotEvidence(f"{where}: is no JSON object")
    return value


def check_bounds(tree: Tree) -> None:
    """Refuse what no run leaves.

    Raises:
        NotEvidence: it has more layers or bytes.
    """
    if sum(len(part.layers) for part in tree.parts) > MAX_FILES:
        raise NotEvidence(f"{tree.index.descriptor.digest}: has more than {MAX_FILES} files")
    if sum(blob.size for _, blob in tree.blobs) > MAX_TOTAL_BYTES:
        raise NotEvidence(f"{tree.index.descriptor.digest}: has more than {MAX_TOTAL_BYTES >> 30} GiB")


def _document(content: bytes, where: str, media_type: str) -> dict[str, Any]:
    document = untrusted_json.loads(content, where)
    kind = document.get("artifactType") if isinstance(document, dict) else None
    if kind != ARTIFACT_TYPE:
        named = f"its artifactType is {kind[:100]!r}" if isinstance(kind, str) else "it has no artifactType"
        raise NotEvidence(f"{where}: is no evidence of a run ({named})")
    if document.get("schemaVersion") != 2 or document.get("mediaType", media_type) != media_type:
        raise NotEvidence(f"{where}: is no {media_type}")
    return dict(document)


def _list(document: Mapping[str, Any], key: str, where: str, most: int) -> list[Any]:
    value = document.get(key)
    if not isinstance(value, list) or len(value) > most:
        raise NotEvidence(f"{where}: {key}: must be a list of at most {most}")
    return value


def _layer(value: Any, where: str) -> Layer:
    described = descriptor(value, where)
    annotations = _annotations(value, where)
    title, unpacked = annotations.get(TITLE), annotations.get(UNPACKED_DIGEST)
    if title is None:
        raise NotEvidence(f"{where}: has no {TITLE}")
    if UNPACK not in annotations:
        return Layer(described, title, None)
    if annotations[UNPACK] != "true" or described.media_type != BUNDLE_TYPE or not is_digest(unpacked or ""):
        raise NotEvidence(f"{where}: is to be unpacked, and is no bundle as it is made here")
    return Layer(described, title, unpacked)


def descriptor(value: Any, where: str) -> Descriptor:
    """Return the descriptor that a manifest holds.

    Raises:
        NotEvidence: it is none, or of more than is read here.
    """
    if not isinstance(value, dict):
        raise NotEvidence(f"{where}: is no descriptor")
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str) or not is_digest(digest):
        raise NotEvidence(f"{where}: must have a mediaType and a sha256 digest")
    if type(size) is not int or not 0 <= size <= MAX_TOTAL_BYTES:
        raise NotEvidence(f"{where}: must have a size from 0 to {MAX_TOTAL_BYTES}")
    return Descriptor(media_type, digest, size)


def _annotations(document: Mapping[str, Any], where: str) -> dict[str, str]:
    value = document.get("annotations") or {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise NotEvidence(f"{where}: annotations: must be texts by name")
    return value
