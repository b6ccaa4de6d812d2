"""`.evalhub-data.json`: what a folder of test data holds, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from evalhub_components import atomic, canonical
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.document import Document
from evalhub_components.test_data import tree
from evalhub_components.test_data.limits import Limits
from evalhub_components.test_data.names import MANIFEST
from evalhub_components.test_data.tree import DataFile


class Manifest(Document):
    """What arrived, and from where.

    Attributes:
        source: the reference, without the secret's name: `type` (s3, git, hf or pvc) and its keys.
        resolved: what the reference stood for when it was fetched: a commit, or S3 keys with ETags and version ids.
        files: size and digest by path.
        digest: over the digests by path, so that the same files have the same digest whatever brought them.
    """

    schema_version: Literal[1] = 1
    source: dict[str, Any]
    resolved: dict[str, Any]
    files: dict[str, DataFile]
    digest: str
    total_bytes: int

    @classmethod
    def of(cls, source: Mapping[str, Any], resolved: Mapping[str, Any], files: Mapping[str, DataFile]) -> Manifest:
        """Return the manifest of `files`."""
        return cls(
            source=dict(source),
            resolved=dict(resolved),
            files=dict(files),
            digest=digest(files),
            total_bytes=sum(file.size for file in files.values()),
        )

    def digests(self) -> dict[str, str]:
        """Return the `sha256:` digest of every file, by path."""
        return {name: file.digest for name, file in sorted(self.files.items())}

    def facts(self) -> dict[str, Any]:
        """Return all but the list of files: what a reader of results wants to know of the data."""
        return {**self.model_dump(mode="json", exclude={"files"}), "files": len(self.files)}


def digest(files: Mapping[str, DataFile]) -> str:
    """Return the digest over the digests of `files` by path."""
    return canonical.digest({name: file.digest for name, file in files.items()})


def digest_of(folder: Path) -> str:
    """Return what a manifest's `digest` would be for the files in `folder`.

    Raises:
        EvalHubError: something there is no plain file inside the folder.
    """
    return digest(tree.described(folder, Limits.from_environment(), str(folder)))


def read(folder: Path) -> Manifest | None:
    """Return the manifest in `folder`, None without one, after a look at the names and sizes of the files.

    Raises:
        EvalHubError: it is no manifest, or other files are there than it says.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        found = Manifest.model_validate(atomic.read_json(path))
    except ValidationError:
        raise EvalHubError(f"{path}: is not a manifest of test data (fetch the data again)") from None
    there = {name: place.stat().st_size for name, place in tree.files(folder, Limits.from_environment(), str(folder))}
    for name in sorted(there.keys() | found.files.keys()):
        said = found.files.get(name)
        if said is None or there.get(name) != said.size:
            raise EvalHubError(f"{folder / name}: is not as {MANIFEST} says (fetch the data again)")
    return found
