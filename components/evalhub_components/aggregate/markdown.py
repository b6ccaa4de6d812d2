"""Text of unknown origin as Markdown that shows it and does nothing else."""

from __future__ import annotations

import re
import unicodedata

_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# what Markdown's dialects give a meaning; an underscore inside a word (truthfulqa_mc2) has none
_MARKUP = re.compile(r"[\\`*{}\[\]|~#$]|:(?=//)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BLOCK_START = re.compile(r"^(\d*)([-+.)=])")


def prose(text: str, width: int) -> str:
    """Return `text` on one line, cut to `width` characters, every mark of Markdown and HTML disarmed."""
    plain = cut(one_line(text), width)
    escaped = _MARKUP.sub(r"\\\g<0>", "".join(_HTML.get(character, character) for character in plain))
    return _BLOCK_START.sub(r"\1\\\2", escaped)


def code(text: str, width: int) -> str:
    """Return `text` on one line as a code span, which is safe in a table too."""
    plain = cut(one_line(text), width).replace("`", "'").replace("|", "¦")
    return f"`{plain}`" if plain else "-"


def one_line(text: str) -> str:
    """Return `text` with control, format and separator characters as single spaces."""
    shown = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)
    return " ".join(shown.split())


def cut(text: str, width: int) -> str:
    """Return `text`, its end replaced by an ellipsis when it is longer than `width`."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"
