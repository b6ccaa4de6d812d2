"""Text of unknown origin as Markdown that shows it and does nothing else."""

from __future__ import annotations

import re
import unicodedata

# what Markdown's dialects give a meaning; an underscore inside a word (truthfulqa_mc2) has none
_MARKUP = re.compile(r"[\\`*{}\[\]|~#$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# some dialects link addresses in whatever text is left once escapes are gone: only a code span is safe from that
_ADDRESS = re.compile(r"://|www\.|@", re.IGNORECASE)
# a tag starts with a letter or / ! ?; a comparison (0.3 < 0.5) stays as it is
_TAG_START = re.compile(r"<(?![\s=\d]|$)")
_BLOCK_START = re.compile(r"^(\d*)(?=>|[-+.)](?:\s|$))")


_LOGIN = re.compile(r"(://)[^/\s]*@")


def prose(text: str, width: int) -> str:
    """Return `text` on one line, cut to `width` characters, every mark of Markdown and HTML disarmed."""
    words = cut(one_line(without_logins(text)), width).split(" ")
    shown = " ".join(_address(word) if _ADDRESS.search(word) else _disarmed(word) for word in words)
    return _BLOCK_START.sub(r"\1\\", shown)


def code(text: str, width: int) -> str:
    """Return `text` on one line as a code span, which is safe in a table too."""
    plain = cut(one_line(without_logins(text)), width).replace("`", "'").replace("|", "¦")
    return f"`{plain}`" if plain else "-"


def without_logins(text: str) -> str:
    """Return `text` without the credentials of any address in it."""
    return _LOGIN.sub(r"\1***@", text)


def one_line(text: str) -> str:
    """Return `text` with control, format and separator characters as single spaces."""
    shown = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)
    return " ".join(shown.split())


def cut(text: str, width: int) -> str:
    """Return `text`, its end replaced by an ellipsis when it is longer than `width`."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def _disarmed(word: str) -> str:
    return _MARKUP.sub(r"\\\g<0>", _TAG_START.sub("&lt;", word.replace("&", "&amp;")))


def _address(word: str) -> str:
    """Return a word with an address in it as a code span, without the punctuation around it."""
    inner = word.strip("()<>[]{}\"',;:.!?*|") or word
    before, _, after = word.partition(inner)
    return _disarmed(before) + code(inner, len(inner)) + _disarmed(after)
