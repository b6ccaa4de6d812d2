"""What is done about a guidellm that gets stuck, with a program in its place that does so when it is told to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.errors import EvalHubError

STUCK_ONCE = """
import os, time
if not os.path.exists("began"):
    open("began", "w").close()
    time.sleep(600)
print("Benchmark 1 (concurrent@1): done | elapsed=1s | successful=3 errored=0")
"""
STUCK = "import time; time.sleep(600)"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    import guidellm_process

    def start(program: str) -> list[tuple[int, int]]:
        (tmp_path / "guidellm").mkdir()
        (tmp_path / "guidellm" / "__main__.py").write_text(program)
        heard: list[tuple[int, int]] = []
        environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
        guidellm_process.run(tmp_path / "scenario.json", environ, tmp_path, 3.0, lambda *told: heard.append(told))
        return heard

    return start


def test_it_gets_a_second_start(start: Any) -> None:
    assert start(STUCK_ONCE) == [(0, 3)]


def test_stuck_twice_it_fails_with_the_reason(start: Any) -> None:
    with pytest.raises(EvalHubError, match="guidellm got stuck 2 times: it said nothing for 3 s"):
        start(STUCK)


def test_another_end_is_no_stuck_one(start: Any) -> None:
    with pytest.raises(EvalHubError, match="guidellm exited with status 3: no such profile"):
        start("import sys; print('no such profile'); sys.exit(3)")
