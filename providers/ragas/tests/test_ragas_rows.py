"""The rows of a file, without ragas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TEXT = "one\u2028two\u2029three\x85four"
"""Text with what other formats end a line at, and JSON lines does not."""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_a_line_feed_ends_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    import ragas_rows

    written = [{"user_input": f"{number} {TEXT}", "response": TEXT, "reference": TEXT} for number in range(3)]
    file = tmp_path / "rows.jsonl"
    file.write_bytes("".join(json.dumps(row, ensure_ascii=False) + end for row in written).encode())
    found = ragas_rows.read("own", file, ["rouge_score"], None)
    assert [(row.user_input, row.response) for row in found] == [(row["user_input"], TEXT) for row in written]
