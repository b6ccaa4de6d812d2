"""What commands print: tables for people, JSON or YAML for programs."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

_STYLES = {"pass": "green", "fail": "red", "error": "red", "inconclusive": "yellow"}


def emit(value: Any, form: str) -> None:
    """Print `value` to standard output as JSON or YAML."""
    if form == "json":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table to standard output; plain when it is no terminal.

    A column named `>x` is aligned to the right. The first names what a row is about and is never
    folded: people copy it.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        side: Any = "right" if column.startswith(">") else "left"
        shown.add_column(column.removeprefix(">"), justify=side, overflow="fold", no_wrap=number == 0)
    for row in rows:
        # Text, because a name from a document may look like rich's markup
        shown.add_row(*[Text(clean(cell), style=_STYLES.get(str(cell), "")) for cell in row])
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(shown)
        return
    # a pipe has no width: nothing is cut or padded for `grep` and friends
    page = io.StringIO()
    Console(file=page, highlight=False, width=10_000).print(shown)
    for line in page.getvalue().splitlines():
        click.echo(line.rstrip())


def is_narrow(columns: int) -> bool:
    """Return whether standard output is a terminal with fewer than `columns` columns."""
    from rich.console import Console

    console = Console()
    return console.is_terminal and console.width < columns


def headline(word: str, rest: str) -> None:
    """Print a verdict on a line of its own, in its colour on a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    if console.is_terminal:
        console.print(Text.assemble((word.upper(), f"bold {_STYLES.get(word, '')}".strip()), rest))
    else:
        click.echo(word.upper() + rest)  # to a pipe without a reader rich would end the program with status 1


def command(*words: str) -> str:
    """Return a command as it can be pasted into a shell here."""
    import shlex

    first, *others = words
    return shlex.join([first if first == "cd" else program(first), *others])


def number(value: float | None, digits: int = 4) -> str:
    """Return a number for a table, `-` for none."""
    return "-" if value is None else f"{value:.{digits}g}"


def clean(value: Any) -> str:
    """Return `value` as one line of text without terminal controls: adapters and documents write what they like."""
    text = "" if value is None else str(value)
    return "".join(character if character.isprintable() else " " for character in text)


def flush() -> None:
    """Send what was printed on its way; what nobody reads any more is dropped, so that Python does not complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def near(path: Path) -> str:
    """Return `path` as it would be typed from here: relative when it is below the working directory."""
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def program(name: str) -> str:
    """Return how to start a program of this environment: its name, or its path where the name would not find it."""
    import shutil

    return name if shutil.which(name) else near(Path(sys.executable).with_name(name))
