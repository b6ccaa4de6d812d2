"""Text that runners take for text: GitHub Actions and Azure Pipelines obey commands in what a step prints."""

from __future__ import annotations

import re

# GitHub's runner obeys `::name ...::` at the start of a line, after white space, and `##[name ...]` anywhere in one
# (actions/runner, ActionCommand.cs); Azure's agent `##vso[name ...]` anywhere. They compare by culture, so characters
# without weight (a zero-width space) may stand before and within: whatever is no visible ASCII is taken for one.
_LINE_START = re.compile(r"[^\x21-\x7e]*:(?=[^\x20-\x7e]*:)")
_NOTHING = r"[^\x20-\x7e\r\n]*"
_ANYWHERE = re.compile(rf"(#{_NOTHING}#{_NOTHING}(?:v{_NOTHING}s{_NOTHING}o{_NOTHING})?)\[", re.IGNORECASE)


def disarm(text: str) -> str:
    """Return `text`, which begins a line, without anything that a runner would obey.

    JSON stays the same value: none of its lines begins with a colon, and a bracket may be escaped in a string.
    """
    lines = _ANYWHERE.sub(r"\1\\u005b", text).splitlines(keepends=True)
    return "".join(_LINE_START.sub(r"\g<0> ", line, count=1) if _LINE_START.match(line) else line for line in lines)
