"""The files of a run that go into its evidence, each with a name that is safe wherever it is unpacked."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

from evalhub_components.atomic import files_in
from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.building.bundle import KeptFile
from evalhub_components.file_names import refusals


def kept_files(root: Path, folder: Path) -> list[KeptFile]:
    """Return the files in `folder` and below, titled by their path from `root`, sorted by title.

    Raises:
        EvalHubError: something there cannot be kept as it is; the message names it.
    """
    files = [kept_file(root, path) for path in files_in(folder)]
    return sorted(files, key=lambda file: file.title.encode())


def kept_file(root: Path, path: Path) -> KeptFile:
    """Return the file at `path`, titled by its path from `root`.

    Raises:
        EvalHubError: it cannot be kept as it is.
    """
    title = path.relative_to(root).as_posix()
    check_unique([title])
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a regular file"
        raise EvalHubError(f"{title}: cannot be kept as evidence: it is {kind} (put a copy of the file there)")
    return KeptFile(path, title, status.st_size)


def check_unique(titles: Sequence[str]) -> None:
    """Refuse titles that are not safe to unpack, alone or beside each other.

    Raises:
        EvalHubError: naming the first.
    """
    for refusal in refusals(titles):
        raise EvalHubError(refusal.reason)
