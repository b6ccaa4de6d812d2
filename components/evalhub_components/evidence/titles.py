"""The names of files in evidence that somebody else made: safe to write, and one file each."""

from __future__ import annotations

from collections.abc import Iterable

from evalhub_components.evidence.untrusted_json import NotEvidence
from evalhub_components.file_names import refusals

_PATH_BYTES = 4096
_NAME_BYTES = 255
_DEPTH = 64
_FOLDERS = 100_000


def check_titles(titles: Iterable[str]) -> None:
    """Refuse titles that lead out of the folder they are written to, or that cannot all be files in one.

    Raises:
        NotEvidence: naming the first.
    """
    files: set[str] = set()
    folders: set[str] = set()
    for title in titles:
        _check_path(title)
        if title in files:
            raise NotEvidence(f"{title!r}: two files have this name")
        files.add(title)
        folder = title.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
        if len(folders) > _FOLDERS:
            raise NotEvidence(f"there are more than {_FOLDERS} folders")
    for folder in sorted(folders & files):
        raise NotEvidence(f"{folder!r}: is a file, and a folder with files in it")
    for refusal in refusals(sorted(files)):
        raise NotEvidence(refusal.reason)


def _check_path(title: str) -> None:
    # half characters have no bytes; they are refused with the other characters
    size = len(title.encode(errors="replace"))
    parts = title.split("/") if size <= _PATH_BYTES else []
    if not parts or len(parts) > _DEPTH or any(len(part.encode(errors="replace")) > _NAME_BYTES for part in parts):
        raise NotEvidence(f"{title[:100]!r}: is too long for the path of a file")
    if any(part in ("", ".", "..") for part in parts):
        raise NotEvidence(f"{title[:100]!r}: is no path of a file inside the run (it must lead nowhere else)")
