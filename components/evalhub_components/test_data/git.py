"""A folder of a git repository at a commit.

Nothing is ever checked out: files are read as objects, so that no hook, filter, attribute or link of the repository has
a say in what is written here.
"""

from __future__ import annotations

import posixpath
import re

from evalhub_components.errors import EvalHubError
from evalhub_components.schema.collection import GitData
from evalhub_components.test_data import addresses, names
from evalhub_components.test_data.arrival import Arrival, Incoming
from evalhub_components.test_data.folder import Stage, require_room
from evalhub_components.test_data.limits import Limits
from evalhub_components.test_data.repository import LINK, SUBMODULE, Entry, Reader, Repository
from evalhub_components.test_data.secret import Secret

_LONGEST_LINK = 4096
_LFS = b"version https://git-lfs.github.com/spec/"


def fetch(data: GitData, stage: Stage, secret: Secret, limits: Limits) -> Arrival:
    """Fetch `data.ref` and write what lies under `data.sub_path`.

    Raises:
        EvalHubError: it cannot be had as a whole; the message says what to change.
    """
    address = addresses.parse(data.url, "git url")
    where = f"git {data.url}"
    ref = _checked_ref(data.ref)
    sub_path = names.checked(data.sub_path.rstrip("/"), "git sub_path") if data.sub_path else ""
    repository = Repository(address, addresses.public(address, where), stage, secret, limits, where)
    commit = repository.fetch(ref)
    place = f"{where} at {commit[:12]}"
    entries = {}
    for name, entry in repository.listed(sub_path):
        names.checked(name, place)
        if entry.mode == SUBMODULE:
            raise EvalHubError(f"{place}: {name!r} is a submodule, which is not fetched (name a sub_path without any)")
        entries[name] = entry
        limits.check(place, len(entries), 0)
    if not entries:
        raise EvalHubError(f"{place}: there is no {sub_path!r} (check sub_path)" if sub_path else f"{place}: is empty")
    names.check_together(entries, place)
    with repository.objects() as read:
        entries = _without_links(entries, read, place)
        limits.check(place, len(entries), sum(entry.size for entry in entries.values()))
        require_room(stage.content, sum(entry.size for entry in entries.values()))
        files = {}
        for name, entry in entries.items():
            with Incoming(stage.content, name) as file:
                for chunk in read(entry):
                    if not file.size and chunk.startswith(_LFS):
                        raise EvalHubError(f"{place}: {name!r} is kept by Git LFS, which is not fetched (use S3)")
                    file.write(chunk)
                files[name] = file.described()
    return Arrival({"commit": commit}, files)


def _checked_ref(ref: str) -> str:
    # what git itself refuses in names (git-check-ref-format), and what it could take for an option
    if not re.fullmatch(r"(?!-)[!-~]{1,250}", ref) or re.search(r"[\^~:?*\[\\]|\.\.|@\{|//|/$|^/", ref):
        raise EvalHubError("git ref: must be a branch, a tag or a full commit id")
    return ref


def _without_links(entries: dict[str, Entry], read: Reader, where: str) -> dict[str, Entry]:
    """Return the entries with each link replaced by the file it leads to, which must be one of them."""
    targets = {}
    for name, entry in entries.items():
        if entry.mode == LINK:
            content = b"".join(read(entry)) if entry.size <= _LONGEST_LINK else b"/"
            target = content.decode("utf-8", "surrogateescape")
            # a folder is never a link here (see below), so that '..' means what it says
            targets[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    found = {}
    for name in entries:
        target, steps = name, 0
        while target in targets and steps <= len(targets):
            target, steps = targets[target], steps + 1
        if target not in entries or entries[target].mode == LINK:
            raise EvalHubError(f"{where}: {name!r} is a link, and not to a file in the same tree (put a copy there)")
        found[name] = entries[target]
    return found
