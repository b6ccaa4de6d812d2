"""Names of files that came from elsewhere: relative paths that stay in their folder on any file system."""

from __future__ import annotations

from collections.abc import Iterable

from evalhub_components.errors import EvalHubError
from evalhub_components.file_names import is_plain

MANIFEST = ".evalhub-data.json"
"""Written last into a fetched folder: where it is, the content is complete."""

PARTIAL = ".evalhub-partial"
"""Folder in a fetched folder that holds what has not fully arrived."""


def checked(name: str, where: str) -> str:
    """Return `name` if it is a plain relative path.

    Raises:
        EvalHubError: it could leave its folder, or cannot be written everywhere.
    """
    parts = name.split("/")
    if not is_plain(name):
        problem = "has control characters or bytes that are no UTF-8"
    elif "\\" in name:
        problem = "has a backslash"
    elif name.startswith("/"):
        problem = "is an absolute path"
    elif "" in parts or "." in parts or ".." in parts:
        problem = "has an empty part, '.' or '..'"
    elif len(name.encode()) > 1024 or any(len(part.encode()) > 255 for part in parts):
        problem = "is too long"
    elif parts[0] in (MANIFEST, PARTIAL):
        problem = "is a name that the test-data step uses itself"
    else:
        return name
    shown = name if len(name) <= 200 else name[:200] + "..."
    raise EvalHubError(f"{where}: {shown!r} {problem} (rename it)")


def check_together(names: Iterable[str], where: str) -> None:
    """Refuse names of which one would be a file and a folder at once, which object stores allow.

    Raises:
        EvalHubError: naming it.
    """
    known = set(names)
    for name in known:
        parts = name.split("/")
        for end in range(1, len(parts)):
            if (parent := "/".join(parts[:end])) in known:
                raise EvalHubError(f"{where}: {parent!r} is both a file and a folder (rename one)")
