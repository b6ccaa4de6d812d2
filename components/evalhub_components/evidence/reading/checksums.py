"""`SHA256SUMS`: the digest of every file of a run, as `sha256sum` writes and checks it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from evalhub_components.evidence.reading.titles import check_titles
from evalhub_components.evidence.reading.tree import MAX_FILES
from evalhub_components.evidence.reading.untrusted_json import NotEvidence

TITLE = "SHA256SUMS"
MAX_BYTES = 64 * 2**20
"""What is read of it at most."""

_LINE = re.compile(r"(\\?)([0-9a-f]{64})  ([^\n]+)")


def read(content: bytes) -> dict[str, str]:
    """Return the hex SHA-256 of each file by its title.

    Raises:
        NotEvidence: it is no such list, or has titles that cannot all be files in one folder.
    """
    try:
        lines = content.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise NotEvidence(f"{TITLE}: is no UTF-8") from None
    if len(lines) > MAX_FILES:
        raise NotEvidence(f"{TITLE}: lists more than {MAX_FILES} files")
    titles: list[str] = []
    digests: list[str] = []
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise NotEvidence(f"{TITLE}: line {number}: must be a SHA-256 and a name, got {line[:100]!r}")
        titles.append(match[3].replace("\\\\", "\\") if match[1] else match[3])
        digests.append(match[2])
    check_titles(titles)
    return dict(zip(titles, digests, strict=True))


def check(listed: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Compare the list with the files that there are, itself aside.

    Raises:
        NotEvidence: naming the first file that is missing, too many, or another.
    """
    for title in sorted(listed.keys() | (found.keys() - {TITLE})):
        if title not in found:
            raise NotEvidence(f"{TITLE}: lists {title}, which is not there")
        if title not in listed:
            raise NotEvidence(f"{title}: is not in {TITLE}")
        if listed[title] != found[title]:
            raise NotEvidence(f"{title}: is not the file that {TITLE} lists")
