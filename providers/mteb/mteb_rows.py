"""The JSON lines files of a task with data of its own, and the columns that each of them needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evalhub_components.errors import EvalHubError

_COLUMNS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "test": {"text": str, "label": (str, int)},
    "train": {"text": str, "label": (str, int)},
    "pairs": {"sentence1": str, "sentence2": str, "score": (int, float)},
    "labelled pairs": {"sentence1": str, "sentence2": str, "label": int},
    "queries": {"id": str, "text": str},
    "documents": {"id": str, "text": str},
    "relevance": {"query": str, "document": str, "score": int},
}


def read(folder: Path, file: str, columns: str) -> list[dict[str, Any]]:
    """Return the rows of a JSON lines file, each with the columns that it needs.

    Raises:
        EvalHubError: the file cannot be read, or a row lacks a column.
    """
    path = folder / f"{file}.jsonl"
    wanted = _COLUMNS[columns]
    rows = []
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise EvalHubError(f"{path}: cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise EvalHubError(f"{path}: line {number}: is no JSON: {error}") from None
        for column, kind in wanted.items():
            if not isinstance(row, dict) or not isinstance(row.get(column), kind):
                names = ", ".join(wanted)
                raise EvalHubError(f"{path}: line {number}: {column} is missing or of a wrong type (columns: {names})")
        rows.append({column: row[column] for column in wanted})
    if not rows:
        raise EvalHubError(f"{path}: it has no rows")
    return rows
