"""The files of a run that go into its evidence, each with a name that is safe wherever it is unpacked."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from evalhub_components.aggregate.bundle import KeptFile
from evalhub_components.errors import EvalHubError

# controls, half characters, line and paragraph separators: they break listings, shells and checksum files
_REFUSED = {"Cc", "Cs", "Zl", "Zp"}


def kept_files(root: Path, folder: Path) -> list[KeptFile]:
    """Return the files in `folder` and below, titled by their path from `root`, sorted by title.

    Raises:
        EvalHubError: something there cannot be kept as it is; the message names it.
    """
    files = [
        kept_file(root, path)
        for path in _walk(folder)
        # what a killed process left half written, see atomic.writer
        if not (path.name.startswith(".") and path.name.endswith(".part"))
    ]
    return sorted(files, key=lambda file: file.title.encode())


def kept_file(root: Path, path: Path) -> KeptFile:
    """Return the file at `path`, titled by its path from `root`.

    Raises:
        EvalHubError: it cannot be kept as it is.
    """
    title = path.relative_to(root).as_posix()
    if any(unicodedata.category(character) in _REFUSED for character in title):
        raise EvalHubError(f"{title!r}: cannot be kept as evidence: its name has control characters (rename it)")
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a regular file"
        raise EvalHubError(f"{title}: cannot be kept as evidence: it is {kind} (put a copy of the file there)")
    return KeptFile(path, title, status.st_size)


def check_unique(titles: Sequence[str]) -> None:
    """Refuse titles that are one name on a file system that ignores case or Unicode form.

    Raises:
        EvalHubError: naming both.
    """
    seen: dict[str, str] = {}
    for title in titles:
        parts = title.split("/")
        for end in range(1, len(parts) + 1):
            path = "/".join(parts[:end])
            folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
            other = seen.setdefault(folded, path)
            if other != path:
                raise EvalHubError(
                    f"{path}: cannot be kept as evidence beside {other}: they are one name where case or Unicode form "
                    "does not count (rename one)"
                )


def _walk(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as scanned:
        entries = list(scanned)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        else:
            yield Path(entry.path)
