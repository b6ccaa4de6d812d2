"""Which names of files evidence can bear: those that mean the same wherever it is unpacked."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

# controls, half characters, line and paragraph separators: they break listings, shells and checksum files
_REFUSED = {"Cc", "Cs", "Zl", "Zp"}
# what file systems, and the folders that a path is unpacked under, leave room for
_PATH_BYTES = 4096 - 512
_NAME_BYTES = 255
_DEPTH = 64


class Refusal(NamedTuple):
    """A name that cannot be kept.

    Attributes:
        title: the path with that name in it.
        reason: for the person who reads it, with the path in a form that can be printed.
    """

    title: str
    reason: str


def is_plain(name: str) -> bool:
    """Return whether `name` holds only characters that listings, shells and checksum files can bear."""
    return not any(unicodedata.category(character) in _REFUSED for character in name)


def is_short(path: str, folders_above: int = 0) -> bool:
    """Return whether `path` can be unpacked somewhere: 3584 bytes, 64 names and 255 bytes a name at most."""
    # half characters have no bytes
    if len(path.encode(errors="replace")) > _PATH_BYTES:
        return False
    parts = path.split("/")
    return folders_above + len(parts) <= _DEPTH and all(
        len(part.encode(errors="replace")) <= _NAME_BYTES for part in parts
    )


def refusals(titles: Iterable[str], folders_above: int = 0) -> Iterator[Refusal]:
    """Yield the relative paths among `titles` that cannot be kept as evidence.

    Of two that are one name on a file system that ignores case or Unicode form, the one that comes later. In evidence
    the paths begin with `folders_above` more names.
    """
    seen: dict[str, str] = {}
    for title in titles:
        if not is_plain(title):
            reason = "its name has control characters, or bytes that are no UTF-8 (rename it)"
            yield Refusal(title, f"{title!r}: cannot be kept as evidence: {reason}")
        elif not is_short(title, folders_above):
            yield Refusal(title, f"{title[:200]}: cannot be kept as evidence: its path is too long (put it higher up)")
        elif twins := _twins(title, seen):
            path, other = twins
            reason = "they are one name where case or Unicode form does not count (rename one)"
            yield Refusal(title, f"{path}: cannot be kept as evidence beside {other}: {reason}")


def _twins(title: str, seen: dict[str, str]) -> tuple[str, str] | None:
    """Return the first part of `title` that differs from one in `seen` in nothing but its form, with that one."""
    parts = title.split("/")
    for end in range(1, len(parts) + 1):
        path = "/".join(parts[:end])
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
        other = seen.setdefault(folded, path)
        if other != path:
            return path, other
    return None
