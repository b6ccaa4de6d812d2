"""The test cases of a file, without deepeval."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TEXT = "one\u2028two\u2029three\x85four"
"""Text with what other formats end a line at, and JSON lines does not."""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_a_line_feed_ends_a_test_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    import deepeval_cases
    from deepeval_benchmarks import Benchmark

    written = [{"input": f"{number} {TEXT}", "actual_output": TEXT} for number in range(3)]
    file = tmp_path / "cases.jsonl"
    file.write_bytes("".join(json.dumps(case, ensure_ascii=False) + end for case in written).encode())
    found = deepeval_cases.load("own", str(file), None, Benchmark("relevancy_score", "questions.jsonl")).cases
    assert [(case.input, case.output) for case in found] == [(case["input"], TEXT) for case in written]
