"""The rows of a file, without clear."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TEXT = "one\u2028two\u2029three\x85four"
"""Text with what other formats end a line at, and JSON lines does not."""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_a_line_feed_ends_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    import clear_steps

    written = [{"model_input": f"{number} {TEXT}", "response": TEXT} for number in range(3)]
    file = tmp_path / "rows.jsonl"
    file.write_bytes("".join(json.dumps(row, ensure_ascii=False) + end for row in written).encode())
    found = clear_steps.responses("own", file)
    assert [(step.columns["model_input"], step.response) for step in found] == [
        (row["model_input"], TEXT) for row in written
    ]
