"""Text of unknown origin as Markdown that shows it and does nothing else."""

from __future__ import annotations

import re
import unicodedata

# what Markdown's dialects give a meaning; an underscore inside a word (truthfulqa_mc2) has none
_MARKUP = re.compile(r"[\\`*{}\[\]|~#$]|:(?=//)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# a tag starts with a letter or / ! ?; a comparison (0.3 < 0.5) stays as it is
_TAG_START = re.compile(r"<(?![\s=\d]|$)")
_BLOCK_START = re.compile(r"^(\d*)(?=>|[-+.)](?:\s|$))")


def prose(text: str, width: int) -> str:
    """Return `text` on one line, cut to `width` characters, every mark of Markdown and HTML disarmed."""
    plain = cut(one_line(text), width)
    text_only = _TAG_START.sub("&lt;", plain.replace("&", "&amp;"))
    return _BLOCK_START.sub(r"\1\\", _MARKUP.sub(r"\\\g<0>", text_only))


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
