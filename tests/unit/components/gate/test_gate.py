from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.gate.__main__ import main
from evalhub_components.schema.verdict import Verdict


def write_verdict(path: Path, **changes: Any) -> Path:
    verdict = {
        "verdict": "pass",
        "reasons": ["score 0.7 >= 0.6"],
        "state": "completed",
        "collection_id": "quick",
        "collection_version": "1",
        "plan_digest": "sha256:" + "0" * 64,
        "score": 0.7,
        "score_se": None,
        "interval": None,
        "probability": None,
        "threshold": 0.6,
        "threshold_source": "collection",
        "gate_mode": "point",
        "confidence": 0.95,
        "score_bounds": None,
        "decided": None,
        "limited": False,
        "benchmarks": [],
    }
    path.write_text(json.dumps(Verdict(**{**verdict, **changes}).as_json()))
    return path


@pytest.mark.parametrize(("decision", "status"), [("pass", 0), ("fail", 1), ("error", 2), ("inconclusive", 3)])
def test_the_verdict_is_the_exit_status_and_one_line_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], decision: str, status: int
) -> None:
    path = write_verdict(tmp_path / "verdict.json", verdict=decision, reasons=["because", "and because"])
    assert main(["--verdict", str(path)]) == status
    assert capsys.readouterr().out == f"{decision}: because\n"


@pytest.mark.parametrize(
    "content",
    [None, "", "{}", "[]", '{"verdict": "pass"}', "\x00", "[" * 100_000],
    ids=["missing", "empty", "no keys", "a list", "only a word", "binary", "a bomb"],
)
def test_what_is_no_verdict_never_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    path = tmp_path / "verdict.json"
    if content is not None:
        path.write_text(content)
    assert main(["--verdict", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert str(path) in said.err
    assert said.err.count("\n") == 1


def test_an_unknown_decision_never_passes(tmp_path: Path) -> None:
    path = write_verdict(tmp_path / "verdict.json")
    path.write_text(path.read_text().replace('"pass"', '"passed"', 1))
    assert main(["--verdict", str(path)]) == 2


def test_a_hostile_reason_cannot_add_lines_or_terminal_controls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_verdict(tmp_path / "verdict.json", verdict="fail", reasons=["a\n::error::b\r\x1b[2Jc\u2028d"])
    assert main(["--verdict", str(path)]) == 1
    assert capsys.readouterr().out == "fail: a ::error::b [2Jc d\n"


def test_a_limited_pass_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--verdict", str(write_verdict(tmp_path / "verdict.json", limited=True))]) == 0
    assert "limited" in capsys.readouterr().out


def test_the_gate_needs_nothing_but_the_base_package(tmp_path: Path) -> None:
    path = write_verdict(tmp_path / "verdict.json")
    script = (
        "import sys, runpy\n"
        "try:\n    runpy.run_module('evalhub_components.gate', run_name='__main__')\n"
        "except SystemExit as end:\n    status = end.code\n"
        "heavy = {'mlflow', 'olot', 'oras', 'kfp', 'numpy', 'requests', 'yaml'} & set(sys.modules)\n"
        "sys.exit(f'{status} {heavy}' if status or heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--verdict", str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
