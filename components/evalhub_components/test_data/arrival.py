"""What a source hands over when all of it has arrived, and how one file is written on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from evalhub_components.test_data.tree import DataFile


class Arrival(NamedTuple):
    """What arrived.

    Attributes:
        resolved: what the reference stood for; see `manifest.Manifest`.
        files: by path, as they lie in the stage's content.
    """

    resolved: Mapping[str, Any]
    files: Mapping[str, DataFile]


class Incoming:
    """A new file that is hashed while it is written; use it in a `with` block."""

    def __init__(self, folder: Path, name: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("xb")
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Add `chunk`."""
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def restart(self) -> None:
        """Forget what was written."""
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self.size = 0

    def described(self) -> DataFile:
        """Return size and digest of what was written."""
        return DataFile(size=self.size, digest=f"sha256:{self._hash.hexdigest()}")

    def __enter__(self) -> Incoming:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
