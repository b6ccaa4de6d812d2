"""What is done about a guidellm that gets stuck, with a program in its place that does so when it is told to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import evalhub_components
from evalhub_components.errors import EvalHubError

STUCK_ONCE = """
import os, time
if not os.path.exists("began"):
    open("began", "w").close()
    time.sleep(600)
print("Benchmark 1 (concurrent@1): done | elapsed=1s | successful=3 errored=0")
"""
STUCK = "import time; time.sleep(600)"
KEY = "sk-test-3f9a7c1e"
ASKING = """
import os, sys, time
from pathlib import Path
from pydantic import BaseModel, SecretStr
from guidellm.backends.openai.http import OpenAIHTTPBackend

class Arguments(BaseModel):
    api_key: SecretStr | None = None

def cli():
    key = OpenAIHTTPBackend(Arguments()).arguments.api_key.get_secret_value()
    if not os.path.exists("began"):
        open("began", "w").close()
        time.sleep(600)
    files = [path for path in Path.cwd().rglob("*") if path.is_file()]
    known = [*sys.argv, *os.environ.values(), *(path.read_bytes().decode("latin-1") for path in files)]
    sys.exit(f"the key backwards is {key[::-1]}, and elsewhere it is {sum(key in one for one in known)} times")
"""
BACKEND = """
class OpenAIHTTPBackend:
    def __init__(self, arguments):
        self.arguments = arguments
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    import guidellm_process

    def start(program: str, key: str | None = None) -> list[tuple[int, int]]:
        backends = tmp_path / "guidellm" / "backends" / "openai"
        backends.mkdir(parents=True)
        (backends / "http.py").write_text(BACKEND)
        (tmp_path / "guidellm" / ("cli.py" if key else "__main__.py")).write_text(program)
        heard: list[tuple[int, int]] = []
        components = str(Path(evalhub_components.__file__).parents[1])
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), components])}
        guidellm_process.run(tmp_path / "scenario.json", environ, tmp_path, 3.0, lambda *told: heard.append(told), key)
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


def test_each_start_gets_the_key_and_it_is_in_no_file_argument_or_variable(start: Any, tmp_path: Path) -> None:
    with pytest.raises(EvalHubError, match=f"the key backwards is {KEY[::-1]}, and elsewhere it is 0 times"):
        start(ASKING, KEY)
    assert (tmp_path / "began").exists()
    assert not (tmp_path / "key").exists()
