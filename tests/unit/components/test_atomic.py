"""Files by rename: whole or not at all, and nothing beside them."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError


def test_a_file_appears_with_the_folders_above_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.json"
    atomic.write_json(path, {"b": 1, "a": "\u00e9"})
    assert path.read_bytes() == '{"a":"\u00e9","b":1}'.encode()
    assert atomic.read_json(path) == {"a": "\u00e9", "b": 1}
    assert [file.name for file in path.parent.iterdir()] == ["file.json"]


def test_others_may_read_the_file(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "file", "x")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_in_the_middle_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "file"
    atomic.write_text(path, "old")

    def stop_in_the_middle() -> None:
        with atomic.writer(path) as file:
            file.write(b"half of the n")
            file.flush()
            raise error

    with pytest.raises(error):
        stop_in_the_middle()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_new_file_is_not_seen_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic.writer(path) as file:
        file.write(b"new")
        file.flush()
        assert not path.exists()
    assert path.read_text() == "new"


def test_a_process_killed_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic.write_text(path, "old")
    script = """
import sys, time
from pathlib import Path
from evalhub_components import atomic
with atomic.writer(Path(sys.argv[1])) as file:
    file.write(b"half of the n")
    file.flush()
    print("writing", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"
    # what the killed process could not remove does not pass for a result
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".")] == ["file"]


def test_a_reader_never_sees_a_part_of_a_file_that_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = {b"a" * 100_000, b"b" * 70_000}
    atomic.write_bytes(path, min(contents))
    seen: set[bytes] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        for content in contents:
            atomic.write_bytes(path, content)
    stop.set()
    reader.join()
    assert seen <= contents


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic.writer(path) as first, atomic.writer(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


def test_a_place_that_cannot_be_replaced_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        atomic.write_text(tmp_path / "folder", "x")
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"{", "cannot be read as JSON"), (b"\xff", "cannot be read as JSON")],
    ids=["absent", "cut off", "not text"],
)
def test_json_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EvalHubError, match=f"results.json: {message}"):
        atomic.read_json(path)
