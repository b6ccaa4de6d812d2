"""Text that a GitHub Actions runner takes for text: it obeys commands in what a step prints."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Mapping

# The runner obeys `::name ...::` at the start of a line, after white space, and `##[name ...]` anywhere in one
# (actions/runner, ActionCommand.cs). It compares by culture, so characters without weight (a zero-width space) may
# stand before and within: whatever is no visible ASCII is taken for one.
_LINE_START = re.compile(r"[^\x21-\x7e]*:(?=[^\x20-\x7e]*:)")
_ANYWHERE = re.compile(r"(#[^\x20-\x7e\r\n]*#[^\x20-\x7e\r\n]*)\[")


def disarm(text: str) -> str:
    """Return `text`, which begins a line, without anything that a runner would obey.

    JSON stays the same value: none of its lines begins with a colon, and a bracket may be escaped in a string.
    """
    lines = _ANYWHERE.sub(r"\1\\u005b", text).splitlines(keepends=True)
    return "".join(_LINE_START.sub(r"\g<0> ", line, count=1) if _LINE_START.match(line) else line for line in lines)


def guard(environ: Mapping[str, str]) -> None:
    """Disarm all that this process prints from now on, when it is a step of a runner.

    Benchmarks, frameworks and model servers name and explain themselves in tables, errors and progress alike.
    """
    if environ.get("GITHUB_ACTIONS") != "true":
        return
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, _Guarded):
            stream.flush()
            # UTF-8 is what a runner reads; click would go round a stream of another, narrower encoding
            setattr(sys, name, _Guarded(stream.detach(), encoding="utf-8", errors="replace", line_buffering=True))


class _Guarded(io.TextIOWrapper):
    """Whoever prints here writes whole lines at once."""

    def write(self, text: str, /) -> int:
        super().write(disarm(text))
        return len(text)
