"""The rows of a file, without MTEB."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TEXT = "one\u2028two\u2029three\x85four"
"""Text with what other formats end a line at, and JSON lines does not."""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_a_line_feed_ends_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    import mteb_rows

    written = [{"id": str(number), "text": f"{number} {TEXT}"} for number in range(3)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + end for row in written)
    (tmp_path / "documents.jsonl").write_bytes(lines.encode())
    assert mteb_rows.read(tmp_path, "documents", "documents") == written
