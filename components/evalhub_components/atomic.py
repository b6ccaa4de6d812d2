"""Files that appear whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from evalhub_components import canonical
from evalhub_components.errors import EvalHubError


@contextmanager
def writer(path: Path) -> Iterator[IO[bytes]]:
    """Yield a binary file that becomes `path` when the block ends well, and is removed when it raises.

    The bytes are on the disk before the rename, so that a power cut leaves the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def files_in(folder: Path) -> Iterator[Path]:
    """Yield what is in `folder` and below and is no folder, but for what a killed process left half written."""
    with os.scandir(folder) as scanned:
        entries = list(scanned)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from files_in(Path(entry.path))
        elif not (entry.name.startswith(".") and entry.name.endswith(".part")):
            yield Path(entry.path)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` by rename."""
    with writer(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` as UTF-8 by rename."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write the canonical JSON of `value` to `path` by rename."""
    write_bytes(path, canonical.dumps(value))


def read_json(path: Path) -> Any:
    """Return the JSON in `path`.

    Raises:
        EvalHubError: the file cannot be read or is not JSON; the message names it.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise EvalHubError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise EvalHubError(f"{path}: cannot be read as JSON ({error})") from None
