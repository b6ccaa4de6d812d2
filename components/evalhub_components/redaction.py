"""Secrets that a framework wrote somewhere become `***` before the file is kept."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from evalhub_components import atomic

_MASK = "***"
_CHUNK = 1 << 20
_SHORTEST = 6  # a shorter value is no secret, and replacing it would damage ordinary text


class Redaction:
    """Replaces the given secrets, as written and as Python, JSON, URL or base64 write them; counts what it replaced."""

    def __init__(self, secrets: Iterable[str | None]) -> None:
        self._secrets: set[str] = set()
        self._forms: set[str] = set()
        self._text: re.Pattern[str] | None = None
        self._bytes: re.Pattern[bytes] | None = None
        self._longest = 0
        self.count = 0
        self.add(*secrets)

    def add(self, *secrets: str | None) -> None:
        """Replace these from now on too; one that is known already costs nothing."""
        new = {secret for secret in secrets if secret and len(secret) >= _SHORTEST} - self._secrets
        if not new:
            return
        self._secrets |= new
        for secret in new:
            self._forms |= {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], urllib.parse.quote(secret, safe="")}
            self._forms.update(_base64(secret.encode()))
        # the longest first: a form may contain another
        ordered = sorted(self._forms, key=len, reverse=True)
        self._text = re.compile("|".join(map(re.escape, ordered)))
        self._bytes = re.compile(b"|".join(re.escape(form.encode()) for form in ordered))
        self._longest = max(len(form.encode()) for form in ordered)

    def text(self, value: str) -> str:
        """Return `value` without secrets."""
        if self._text is None:
            return value
        value, replaced = self._text.subn(_MASK, value)
        self.count += replaced
        return value

    def document(self, value: Any) -> Any:
        """Return a JSON-like `value` whose strings and keys hold no secrets."""
        if self._text is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.document(key): self.document(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(item) for item in value]
        return value

    def tree(self, folder: Path) -> None:
        """Rewrite every file under `folder` that holds a secret, and rename what bears one; the rest is not touched."""
        if self._bytes is None:
            return
        for parent, folders, names in os.walk(folder, topdown=False):
            for name in names:
                path = Path(parent) / name
                if not path.is_symlink() and path.is_file():
                    with contextlib.suppress(FileNotFoundError):  # some frameworks clean up in the background
                        self._file(path)
            for name in [*names, *folders]:
                self._rename(Path(parent) / name)

    def _rename(self, path: Path) -> None:
        shown = self.text(path.name)
        if shown == path.name:
            return
        target, number = path.with_name(shown), 1
        while target.exists():
            number += 1
            target = path.with_name(f"{shown}.{number}")
        path.rename(target)

    def _file(self, path: Path) -> None:
        assert self._bytes is not None
        if not self._holds_a_secret(path):
            return
        with path.open("rb") as source, atomic.writer(path) as target:
            rest = b""
            while chunk := source.read(_CHUNK):
                rest = self._replaced(rest + chunk)
                # what may be the beginning of a secret waits for the next chunk
                keep = min(len(rest), self._longest - 1)
                target.write(rest[: len(rest) - keep])
                rest = rest[len(rest) - keep :]
            target.write(rest)

    def _replaced(self, content: bytes) -> bytes:
        assert self._bytes is not None
        content, replaced = self._bytes.subn(_MASK.encode(), content)
        self.count += replaced
        return content

    def _holds_a_secret(self, path: Path) -> bool:
        assert self._bytes is not None
        with path.open("rb") as source:
            tail = b""
            while chunk := source.read(_CHUNK):
                if self._bytes.search(tail + chunk):
                    return True
                tail = chunk[-self._longest :]
        return False


def shortened(text: str, characters: int) -> str:
    """Return the first words of `text` in one line: a secret that was cut in two would not be recognised later."""
    text = " ".join(text.split())
    return text if len(text) <= characters else f"{text[: characters + 1].rpartition(' ')[0]} ...".strip()


def _base64(secret: bytes) -> Iterator[str]:
    """Yield what base64 makes of `secret` wherever in a longer text it stands: at each place in a group of three."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret).decode()
        # characters at the ends carry bits of the neighbours too
        certain = encoded[(8 * before + 5) // 6 : 8 * (before + len(secret)) // 6]
        if len(certain) >= _SHORTEST:
            yield certain
            yield certain.translate(str.maketrans("+/", "-_"))
