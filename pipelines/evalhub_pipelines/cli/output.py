"""What commands print: tables for people, JSON or YAML for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click


def emit(value: Any, form: str) -> None:
    """Print `value` to standard output as JSON or YAML."""
    if form == "json":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> None:
    """Print a table to standard output; plain when it is no terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        # a pipe has no width: nothing is cut for `grep` and friends
        console = Console(highlight=False, width=10_000)
    shown = Table(
        title=title, title_justify="left", box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0)
    )
    for column in columns:
        shown.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        # Text, because a name from a document may look like rich's markup
        shown.add_row(*[Text("" if cell is None else str(cell), style=_style(cell)) for cell in row])
    console.print(shown)


def number(value: float | None, digits: int = 4) -> str:
    """Return a number for a table, `-` for none."""
    return "-" if value is None else f"{value:.{digits}g}"


def _style(cell: Any) -> str:
    return {"pass": "green", "fail": "red", "error": "red", "inconclusive": "yellow"}.get(str(cell), "")
