"""The rows that are scored: a question, what was retrieved for it, the reference answer, and perhaps the response."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError
from ragas_catalogue import METRICS

from evalhub_components.errors import EvalHubError, InvalidDocument, Problem
from evalhub_components.schema.document import Document

BUNDLED = Path(__file__).resolve().parent / "data" / "rag.jsonl"

_WHAT_IS_SHOWN = 20


class _Line(Document):
    """One line of a file of rows; other keys are left alone."""

    model_config = ConfigDict(extra="ignore")

    id: str | int | None = None
    user_input: str
    retrieved_contexts: list[str] | None = None
    reference: str | None = None
    response: str | None = None


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        id: its own, else a digest of what it says.
        response: None when the model under test is to give it.
    """

    id: str
    user_input: str
    retrieved_contexts: list[str] | None
    reference: str | None
    response: str | None

    def inputs(self, metric: str, response: str | None) -> dict[str, Any]:
        """Return what a metric is given of this row."""
        own = {
            "user_input": self.user_input,
            "retrieved_contexts": self.retrieved_contexts,
            "reference": self.reference,
            "response": response,
        }
        return {name: own[name] for name in METRICS[metric].inputs}


def find(benchmark_id: str, data: str | None, test_data: Path | None) -> Path:
    """Return the file with the rows.

    Raises:
        EvalHubError: there is none, or more than one that it could be.
    """
    if data is None and test_data is None:
        return BUNDLED
    if data is None:
        assert test_data is not None
        files = sorted(test_data.rglob("*.jsonl"))
        if len(files) != 1:
            what = f"holds {len(files)} files *.jsonl (name one in parameters.data)"
            raise EvalHubError(f"{benchmark_id}: the data of test_data_ref {what}")
        return files[0]
    path = Path(data)
    if not path.is_absolute():
        if test_data is None:
            what = "is relative, and there is no data that it could be in (name an absolute path, or set test_data_ref)"
            raise EvalHubError(f"{benchmark_id}: parameters.data: {data} {what}")
        path = test_data / path
    if not path.is_file():
        raise EvalHubError(f"{benchmark_id}: parameters.data: {data}: there is no such file")
    return path


def read(benchmark_id: str, path: Path, metrics: Sequence[str], limit: int | None) -> list[Row]:
    """Return the first `limit` rows of a file.

    Raises:
        EvalHubError: it has none.
        InvalidDocument: rows that are wrong, or lack what the metrics need, all of them.
    """
    needed = {name: metric for metric in metrics for name in METRICS[metric].inputs if name != "response"}
    rows: list[Row] = []
    problems: list[Problem] = []
    seen: Counter[str] = Counter()
    own: set[str] = set()
    for number, text in enumerate(path.read_text("utf-8").split("\n"), start=1):
        if limit is not None and len(rows) == limit:
            break
        if not text.strip():
            continue
        where = f"{benchmark_id}: {path.name}: line {number}"
        try:
            line = _Line.model_validate_json(text)
        except ValidationError as error:
            problems += [
                Problem(".".join([where, *map(str, item["loc"])]), item["msg"].removeprefix("Value error, "))
                for item in error.errors(include_url=False)
            ]
            continue
        for name, metric in needed.items():
            if not getattr(line, name):
                problems.append(Problem(where, f"has no {name}, which {metric} needs"))
        key = _key(line) if line.id is None else str(line.id)
        seen[key] += 1
        if line.id is not None and key in own:
            problems.append(Problem(where, f"has the id {key!r} of another row"))
        own |= {key} if line.id is not None else set()
        found = key if seen[key] == 1 else f"{key}-{seen[key]}"
        rows.append(Row(found, line.user_input, line.retrieved_contexts, line.reference, line.response or None))
    if problems:
        raise InvalidDocument(problems[:_WHAT_IS_SHOWN])
    if not rows:
        raise EvalHubError(f"{benchmark_id}: {path.name}: holds no rows")
    return rows


def _key(line: _Line) -> str:
    """Return an id that is the same wherever in a file a row stands, and whatever was answered."""
    said = [line.user_input, line.retrieved_contexts, line.reference]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
