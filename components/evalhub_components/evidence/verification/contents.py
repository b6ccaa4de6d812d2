"""Everything that some evidence holds, read once: every byte is hashed, and only what is judged is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from evalhub_components.errors import EvalHubError, NotFound, Tampered
from evalhub_components.evidence.reading import checksums, tree
from evalhub_components.evidence.reading.titles import check_titles
from evalhub_components.evidence.reading.tree import Index, Layer, Part, Tree
from evalhub_components.evidence.reading.unpacking import Sink, unpack
from evalhub_components.evidence.reading.untrusted_json import NotEvidence
from evalhub_components.evidence.store import Descriptor, Store
from evalhub_components.evidence.together import outcomes

_JUDGED = re.compile(r"(run|plan|verdict|fingerprint)\.json|benchmarks/[^/]+/(results\.json|samples\.jsonl)")

# what judging may hold in memory and write to the temporary folder; a run that leaves more can be judged from its pull
_MAX_DOCUMENT_BYTES = 16 * 2**20
_MAX_SAMPLES_BYTES = 2 * 2**30
_MAX_SAMPLES = 2_000_000


@dataclass
class Contents:
    """What was read.

    Attributes:
        folder: holds the files that the verdict is computed from, as in a run directory.
        tree: what of it could be read; None without an index.
        configs: each manifest's `evidence.json`, by the manifest's digest.
        files: hex SHA-256 of every file by its title.
        manifest_errors, blob_errors: what could not be read or is wrong.
        unjudged: why there is no judging what is in `folder`.
        too_large: files that are not in `folder`, because all of them are more than judging may take.
    """

    folder: Path
    tree: Tree | None = None
    configs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    manifest_errors: list[EvalHubError] = field(default_factory=list)
    blob_errors: list[EvalHubError] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)
    too_large: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether everything could be read and is what its digest says."""
        return self.tree is not None and not self.manifest_errors and not self.blob_errors


def read(store: Store, digest: str, folder: Path) -> Contents:
    """Return what the evidence with this index holds; the files to judge go to `folder`."""
    contents = Contents(folder)
    try:
        index = tree.read_index(store, digest)
    except EvalHubError as error:
        contents.manifest_errors.append(error)
        contents.unjudged.append("the index could not be read")
        return contents
    contents.tree = Tree(index, tuple(_parts(store, index, contents)))
    try:
        tree.check_bounds(contents.tree)
    except EvalHubError as error:
        contents.blob_errors.append(error)
        contents.unjudged.append("it is more than is read")
        return contents
    _read_configs(store, contents.tree, contents)
    _read_files(store, contents.tree, contents)
    return contents


def _parts(store: Store, index: Index, contents: Contents) -> Iterator[Part]:
    for entry, part in outcomes(store, tree.read_part, index.entries):
        if isinstance(part, EvalHubError):
            contents.manifest_errors.append(part)
            contents.unjudged.append(f"manifest {entry.digest} could not be read")
        else:
            yield part


def _read_configs(store: Store, found: Tree, contents: Contents) -> None:
    for part, config in outcomes(store, tree.read_config, found.parts):
        if isinstance(config, EvalHubError):
            contents.blob_errors.append(config)
        else:
            contents.configs[part.descriptor.digest] = config


def _read_files(store: Store, found: Tree, contents: Contents) -> None:
    try:
        check_titles(layer.title for layer in found.layers)
    except EvalHubError as error:
        contents.blob_errors.append(error)
        contents.unjudged.append("its files cannot be told apart")
        return
    kept = _Kept(contents)
    good: set[Descriptor] = set()
    for layer, files in outcomes(store, partial(unpack, opened=kept.opened), _to_read(found)):
        if not isinstance(files, EvalHubError):
            contents.files |= files
            good.add(layer.descriptor)
            if len(contents.files) <= tree.MAX_FILES:
                continue
            files = NotEvidence(f"there are more than {tree.MAX_FILES} files")
        contents.blob_errors.append(_at(layer.title, files))
        # a bundle further down than the results has none in it
        if _JUDGED.fullmatch(layer.title) or (layer.tar_digest is not None and layer.title.count("/") < 2):
            contents.unjudged.append(f"{layer.title} could not be read")
        if len(contents.files) > tree.MAX_FILES:
            return
    for layer in found.layers:
        if layer.tar_digest is None and layer.descriptor in good:
            contents.files[layer.title] = layer.descriptor.digest.removeprefix("sha256:")


def _to_read(found: Tree) -> Iterator[Layer]:
    """Yield the layers without those whose bytes another has too, and which nobody needs twice."""
    seen: set[Descriptor] = set()
    for layer in found.layers:
        if layer.descriptor not in seen or layer.tar_digest is not None or is_kept(layer.title):
            yield layer
        seen.add(layer.descriptor)


def is_kept(title: str) -> bool:
    """Return whether the file with this title goes to the folder."""
    return title == checksums.TITLE or bool(_JUDGED.fullmatch(title))


class _Kept:
    """Writes the files that are judged, as long as they are not too large."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._documents = _Budget(_MAX_DOCUMENT_BYTES)
        self._samples = _Budget(_MAX_SAMPLES_BYTES, _MAX_SAMPLES)

    @contextmanager
    def opened(self, title: str) -> Iterator[Sink]:
        if not is_kept(title):
            yield _Nowhere()
            return
        check_titles([title])
        path = self._contents.folder / title
        path.parent.mkdir(parents=True, exist_ok=True)
        if title == checksums.TITLE:
            budget = _Budget(checksums.MAX_BYTES)
        else:
            budget = self._samples if title.endswith(".jsonl") else self._documents
        with path.open("wb") as file:
            yield _Bounded(file, budget)
        if budget.is_spent:
            self._contents.too_large.append(title)


class _Budget:
    """What may yet be written."""

    def __init__(self, size: int, lines: int | None = None) -> None:
        self._size = size
        self._lines = lines
        self._lock = Lock()

    @property
    def is_spent(self) -> bool:
        return self._size < 0 or (self._lines is not None and self._lines < 0)

    def spend(self, data: bytes) -> bool:
        """Return whether `data` may be written."""
        with self._lock:
            self._size -= len(data)
            if self._lines is not None:
                self._lines -= data.count(b"\n")
            return not self.is_spent


class _Bounded:
    def __init__(self, file: BinaryIO, budget: _Budget) -> None:
        self._file = file
        self._budget = budget

    def write(self, data: bytes, /) -> None:
        if self._budget.spend(data):
            self._file.write(data)


class _Nowhere:
    def write(self, data: bytes, /) -> None:
        pass


def _at(title: str, error: EvalHubError) -> EvalHubError:
    """Return the error with the file's name in front, of the kind that decides what it means."""
    kinds = (kind for kind in (Tampered, NotEvidence, NotFound) if isinstance(error, kind))
    return next(kinds, EvalHubError)(f"{title}: {error}")
