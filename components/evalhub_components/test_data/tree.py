"""The files below a folder, links followed as long as they stay in it, and their digests."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from evalhub_components.errors import EvalHubError
from evalhub_components.schema.document import Document
from evalhub_components.test_data import names
from evalhub_components.test_data.limits import Limits


class DataFile(Document):
    """One file of test data; `digest` is `sha256:` and 64 hex digits."""

    size: int
    digest: str


def files(folder: Path, limits: Limits, where: str) -> Iterator[tuple[str, Path]]:
    """Yield relative name and place of every file under `folder`, without the step's own; links are followed.

    Raises:
        EvalHubError: a link leaves the folder, something is no file, a name is unusable, or there are too many.
    """
    root = folder.resolve()
    waiting = [("", root)]
    seen = 0
    while waiting:
        prefix, parent = waiting.pop()
        with os.scandir(parent) as scanned:
            entries = list(scanned)
        for entry in entries:
            if entry.name == "__pycache__":
                continue  # Python's own, which says nothing of the data
            if not prefix and entry.name in (names.MANIFEST, names.PARTIAL, "lost+found"):  # the last is the disk's own
                continue
            name = names.checked(prefix + entry.name, where)
            seen += 1
            limits.check(where, seen, 0)
            place = parent / entry.name
            if entry.is_symlink():
                place = _target(place, root, name, where)
            mode = place.stat().st_mode
            if stat.S_ISDIR(mode):
                if parent.is_relative_to(place):
                    raise EvalHubError(f"{where}: {name!r} links to a folder it is in (remove the link)")
                waiting.append((name + "/", place))
            elif stat.S_ISREG(mode):
                yield name, place
            else:
                raise EvalHubError(f"{where}: {name!r} is a device, pipe or socket (only files can be test data)")


def described(folder: Path, limits: Limits, where: str) -> dict[str, DataFile]:
    """Return size and digest of every file under `folder`.

    Raises:
        EvalHubError: as `files`, or there are too many bytes.
    """
    found = dict(sorted(files(folder, limits, where)))
    limits.check(where, len(found), sum(place.stat().st_size for place in found.values()))
    described = {}
    for name, place in found.items():
        with place.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            described[name] = DataFile(size=os.fstat(file.fileno()).st_size, digest=f"sha256:{digest}")
    return described


def _target(link: Path, root: Path, name: str, where: str) -> Path:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # dangling, or a circle of links
        raise EvalHubError(f"{where}: {name!r} is a link to nowhere (remove it)") from None
    if not target.is_relative_to(root):
        raise EvalHubError(f"{where}: {name!r} is a link that leaves the folder (put a copy of the file there)")
    return target
