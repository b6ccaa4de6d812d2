"""Texts of any origin as a page shows them: on one line, without credentials, and of a bounded length."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from evalhub_components.records.markdown import cut, one_line, without_logins

DIGEST = 80
"""Characters of a digest at most."""

_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class Room(NamedTuple):
    """How much is shown of what may be any amount.

    Attributes:
        width: characters of a text.
        listed: items of a list.
        log_lines: of the end of a log.
        benchmarks: how many have a row and details.
    """

    width: int
    listed: int
    log_lines: int
    benchmarks: int


class Fact(NamedTuple):
    """A name and its values; `code` when they are for machines too, such as digests, paths and commands."""

    name: str
    values: tuple[str, ...]
    code: bool = False


class Step(NamedTuple):
    """A thing to do; `command` is empty where none does it."""

    text: str
    command: str = ""


def text(value: str, width: int) -> str:
    """Return text of any origin on one line, without credentials in addresses, cut to `width` characters."""
    # the first cut only spares the work on megabytes; credentials are looked for in the whole
    return cut(one_line(_TERMINAL.sub("", without_logins(value))[: 8 * width]), width)


def command(words: Sequence[str]) -> str:
    """Return a command as a shell takes it."""
    return text(shlex.join(words), 1000)


def listed(items: Sequence[str], room: Room, width: int) -> list[str]:
    """Return the first of `items`, and how many more there are."""
    more = [f"and {len(items) - room.listed} more"] if len(items) > room.listed else []
    return [*(text(item, width) for item in items[: room.listed]), *more]


def document(value: object, width: int) -> str:
    """Return `value` as JSON."""
    return text(json.dumps(value, ensure_ascii=False, sort_keys=True), width)
