"""A framework as a process, with real ones."""

import os
import sys
import time
from pathlib import Path

import pytest

from evalhub_components.framework import program

WORKER = "import time; time.sleep(600)"


def python(code: str, folder: Path, **keys: object) -> program.End:
    return program.run([sys.executable, "-u", "-c", code], environ=os.environ, folder=folder, **keys)  # type: ignore[arg-type]


def is_gone(pid: int) -> bool:
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_its_lines_are_heard_printed_and_the_last_ones_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    code = "import sys; print('one'); print('two', file=sys.stderr); print(); sys.exit(3)"
    end = python(code, tmp_path, listen=heard.append)
    assert (end.status, end.said, end.last_words) == (3, ["one", "two"], "two")
    assert heard == ["one\n", "two\n", "\n"]
    assert capsys.readouterr().out == "one\ntwo\n\n"


def test_it_runs_in_its_folder_with_its_environment_alone(tmp_path: Path) -> None:
    code = "import os; print(os.getcwd(), sorted(set(os.environ) - {'LC_CTYPE'}))"
    end = program.run([sys.executable, "-c", code], environ={"A": "1"}, folder=tmp_path)
    assert end.said == [f"{tmp_path} ['A']"]


def test_it_ends_when_there_can_be_no_score(tmp_path: Path) -> None:
    started: list[str] = []
    end = python(f"print('up'); {WORKER}", tmp_path, listen=started.append, stop=lambda: bool(started))
    assert end.status is None


def test_workers_do_not_outlive_it(tmp_path: Path) -> None:
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {WORKER!r}]).pid)"
    end = python(code, tmp_path)
    assert end.status == 0
    assert is_gone(int(end.said[0]))


def test_it_is_not_waited_for_who_left_its_session(tmp_path: Path) -> None:
    code = "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True); print('done')"
    begun = time.monotonic()
    assert python(code, tmp_path).said == ["done"]
    assert time.monotonic() - begun < 50


def test_a_listener_that_fails_ends_it_and_says_why(tmp_path: Path) -> None:
    def listen(line: str) -> None:
        raise ValueError(f"cannot read {line.strip()}")

    with pytest.raises(ValueError, match="cannot read up"):
        python(f"print('up'); {WORKER}", tmp_path, listen=listen)
