"""The names of files in evidence that somebody else made: safe to write, and one file each."""

from __future__ import annotations

from collections.abc import Iterable

from evalhub_components.evidence.reading.untrusted_json import NotEvidence
from evalhub_components.file_names import is_short, refusals

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
    if not is_short(title):
        raise NotEvidence(f"{title[:100]!r}: is too long for the path of a file")
    if any(part in ("", ".", "..") for part in title.split("/")):
        raise NotEvidence(f"{title[:100]!r}: is no path of a file inside the run (it must lead nowhere else)")
