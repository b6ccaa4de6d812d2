"""Ctrl-C and SIGTERM end every process, keep what is finished, and exit with 130."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from evalhub_pipelines.demo_model import DemoModelServer

Starts = Callable[[], list[list[str]]]


def interrupt(process: Any) -> None:
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everything in the foreground


def terminate(process: Any) -> None:
    os.kill(process.pid, signal.SIGTERM)


@pytest.mark.parametrize("stop", [interrupt, terminate])
def test_cancelled_run_ends_all_processes_and_can_be_resumed(
    cli: Any,
    model: DemoModelServer,
    collection: Callable[..., Path],
    starts: Starts,
    eventually: Callable[[Any], Any],
    is_gone: Callable[[int], bool],
    stop: Callable[[Any], None],
) -> None:
    """Two providers in two processes, each in the middle of a benchmark, and one benchmark finished."""
    release = cli.folder / "release"
    blocked = {"wait_for": str(release)}
    path = collection(("a", {}), ("b", blocked), ("other/a", blocked))
    process = cli.start(*cli.arguments(path, model), "--jobs", 2)
    eventually(lambda: len(starts()) == 3)
    directory = cli.run_directory()
    eventually((directory / "benchmarks" / "000-a" / "results.json").exists)
    stop(process)
    done = cli.ended(process)
    assert done.status == 130
    assert "Traceback" not in done.err
    assert f"go on with: evalhub-kfp run --resume {directory}" in done.err
    assert done.out == ""
    children = {int(pid) for _, adapter, harness in starts() for pid in (adapter, harness)}
    assert all(is_gone(pid) for pid in children)
    assert json.loads((directory / "run.json").read_text())["state"] == "cancelled"
    assert [path.parent.name for path in directory.glob("benchmarks/*/results.json")] == ["000-a"]
    assert not (directory / "verdict.json").exists()

    release.touch()
    resumed = cli.resume(directory)
    assert resumed.status == 0, resumed.err
    assert sorted(name for name, *_ in starts()) == ["a", "a", "a", "b", "b"]
    assert json.loads((directory / "run.json").read_text())["state"] == "completed"


AT_AGGREGATE = """\
import os, sys, time

if "evalhub_components.aggregate" in sys.orig_argv and (name := os.environ.get("WAIT_AFTER")):
    def watch(event, arguments):
        if event == "os.rename" and str(arguments[1]).endswith(after[0]):
            after.append("")  # the next file, whatever it is, comes after this one
        elif event in ("open", "os.mkdir", "os.rename") and len(after) > 1:
            after[:] = ["/"]
            open(os.environ["REACHED"], "w").close()
            limit = time.monotonic() + 300  # it is nobody's child when the test is cut short
            while time.monotonic() < limit:
                time.sleep(0.02)
    after = [name]
    sys.addaudithook(watch)
"""


@pytest.fixture
def cancelled_after(cli: Any, eventually: Callable[[Any], Any]) -> Callable[..., Any]:
    """A function that starts a command, cancels it when its last step has written a file, and returns how it ended."""

    def cancelled_after(file: str, stop: Callable[[Any], None], *arguments: object) -> Any:
        (cli.folder / "sitecustomize.py").write_text(AT_AGGREGATE)
        reached = cli.folder / "reached"
        reached.unlink(missing_ok=True)
        environ = {"PYTHONPATH": str(cli.folder), "WAIT_AFTER": file, "REACHED": str(reached)}
        process = cli.start(*arguments, environ=environ)
        eventually(reached.exists)
        stop(process)
        done = cli.ended(process)
        assert done.status == 130, done.err
        assert "Traceback" not in done.err
        return done

    return cancelled_after


def run_state(directory: Path) -> str:
    return str(json.loads((directory / "run.json").read_text())["state"])


@pytest.mark.parametrize("stop", [interrupt, terminate])
def test_run_that_is_cancelled_when_all_is_written_stays_complete(
    cli: Any,
    model: DemoModelServer,
    collection: Callable[..., Path],
    cancelled_after: Callable[..., Any],
    stop: Callable[[Any], None],
) -> None:
    done = cancelled_after("publication.json", stop, *cli.arguments(collection(("a", {})), model))
    directory = cli.run_directory()
    assert f"{directory}: cancelled when verdict and evidence were there: the run is complete" in done.err
    assert "--resume" not in done.err
    assert run_state(directory) == "completed"
    for command in ("report", "judge", "verify"):
        assert cli(command, directory).status == 0


@pytest.mark.parametrize("file", ["verdict.json", "eval-card.json", "index.json"])
def test_report_of_a_run_that_was_cancelled_while_it_was_judged_says_how_to_go_on(
    cli: Any,
    model: DemoModelServer,
    collection: Callable[..., Path],
    starts: Starts,
    cancelled_after: Callable[..., Any],
    file: str,
) -> None:
    done = cancelled_after(file, interrupt, *cli.arguments(collection(("a", {})), model))
    directory = cli.run_directory()
    assert f"go on with: evalhub-kfp run --resume {directory}" in done.err
    assert run_state(directory) == "cancelled"
    reported = cli("report", directory)
    assert reported.status == 2
    assert f"was cancelled (go on with it: evalhub-kfp run --resume {directory})" in reported.err
    assert "edited" not in reported.err
    assert cli.resume(directory).status == 0
    assert cli("report", directory).status == 0
    assert [name for name, *_ in starts()] == ["a"]


def test_records_of_older_results_do_not_make_a_cancelled_run_complete(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], cancelled_after: Callable[..., Any]
) -> None:
    """The benchmark that ran again has the same score, so that the verdict is the one of before to the byte."""
    assert cli.run(collection(("a", {}), ("b", {})), model).status == 0
    directory = cli.run_directory()
    verdict = (directory / "verdict.json").read_bytes()
    (directory / "benchmarks" / "001-b" / "results.json").unlink()
    resume = ["run", "--resume", directory, "--catalog", cli.catalog, "--no-mlflow"]
    done = cancelled_after("eval-card.json", interrupt, *resume)
    assert (directory / "verdict.json").read_bytes() == verdict
    assert f"go on with: evalhub-kfp run --resume {directory}" in done.err
    assert run_state(directory) == "cancelled"
    assert cli.resume(directory).status == 0
    assert cli("verify", directory).status == 0


def test_report_of_a_run_that_goes_on_again_does_not_speak_of_edits(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], starts: Starts, eventually: Callable[[Any], Any]
) -> None:
    release = cli.folder / "release"
    release.touch()
    assert cli.run(collection(("a", {"wait_for": str(release)})), model).status == 0
    directory = cli.run_directory()
    (directory / "benchmarks" / "000-a" / "results.json").unlink()
    release.unlink()
    process = cli.start("run", "--resume", directory, "--catalog", cli.catalog, "--no-mlflow")
    eventually(lambda: len(starts()) == 2)
    reported = cli("report", directory)
    assert reported.status == 2
    assert f"is not finished (wait, or go on with it: evalhub-kfp run --resume {directory})" in reported.err
    assert "edited" not in reported.err
    release.touch()
    assert cli.ended(process).status == 0
    assert cli("report", directory).status == 0


def test_an_edited_verdict_of_a_finished_run_is_still_called_so(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    assert cli.run(collection(("a", {"score": 0.1})), model).status == 1
    path = cli.run_directory() / "verdict.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "verdict": "pass"}))
    reported = cli("report", cli.run_directory())
    assert reported.status == 2
    assert "a file was edited" in reported.err
    assert "--resume" not in reported.err


@pytest.mark.parametrize("stop", [interrupt, terminate])
def test_interrupting_the_fingerprint_leaves_nothing(
    cli: Any, collection: Callable[..., Path], eventually: Callable[[Any], Any], stop: Callable[[Any], None]
) -> None:
    asked = threading.Event()
    with silent_server(asked) as port:
        arguments = ["--model-url", f"http://127.0.0.1:{port}/v1", "--model-name", "m", "--catalog", cli.catalog]
        process = cli.start("run", collection(("a", {})), *arguments)
        eventually(asked.is_set)
        stop(process)
        done = cli.ended(process)
    assert done.status == 130
    assert "cancelled before the first benchmark; nothing was kept" in done.err
    assert "Traceback" not in done.err
    assert cli.run_directories() == []


def test_interrupting_the_making_of_an_environment_leaves_it_to_be_made(
    cli: Any, write: Callable[..., Path], eventually: Callable[[Any], Any]
) -> None:
    benchmark = {"id": "a", "primary_score": {"metric": "acc"}}
    write("own/providers/slow/provider.yaml", {"id": "slow", "benchmarks": [benchmark]})
    write("own/providers/slow/requirements.txt", "some-package==1.0\n")
    asked = threading.Event()
    with silent_server(asked) as port:
        index = {"UV_INDEX_URL": f"http://127.0.0.1:{port}/simple", "UV_CACHE_DIR": str(cli.folder / "uv")}
        process = cli.start("providers", "install", "slow", "--catalog", "own", environ=index)
        eventually(asked.is_set)
        interrupt(process)
        done = cli.ended(process)
    assert done.status == 130
    assert "Traceback" not in done.err
    listed = cli("providers", "list", "--catalog", "own", "--format", "json").json
    assert {"slow": False}.items() <= {provider["id"]: provider["installed"] for provider in listed}.items()


def _take_the_terminal() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_ctrl_c_at_a_terminal_cancels_a_run_that_shows_bars(
    cli: Any,
    model: DemoModelServer,
    collection: Callable[..., Path],
    starts: Starts,
    eventually: Callable[[Any], Any],
    is_gone: Callable[[int], bool],
) -> None:
    path = collection(("a", {"wait_for": str(cli.folder / "never")}))
    master, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (40, 120))
    process = cli.start(
        *cli.arguments(path, model),
        environ={"TERM": "xterm-256color"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        preexec_fn=_take_the_terminal,
    )
    os.close(terminal)
    seen = ""

    def shows_the_bar() -> bool:
        nonlocal seen
        seen += os.read(master, 65536).decode(errors="replace")
        return bool(re.search(r"obedient / a .*1/2 running evaluation", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)))

    eventually(shows_the_bar)
    assert "all benchmarks" in seen
    assert "\x1b[" in seen
    os.write(master, b"\x03")
    while True:
        try:
            seen += os.read(master, 65536).decode(errors="replace")
        except OSError:  # Linux says so when the other side of the terminal is closed
            break
    os.close(master)
    assert process.wait(60) == 130
    assert "Traceback" not in seen
    assert "\x1b[?25h" in seen.rpartition("\x1b[?25l")[2]  # the cursor is there again
    assert all(is_gone(int(pid)) for pid in starts()[0][1:])


def test_terminating_a_demo_model_is_no_error_of_python(cli: Any, eventually: Callable[[Any], Any]) -> None:
    process = cli.start("demo-model", "--port", 0, "--port-file", "port")
    eventually((cli.folder / "port").exists)
    terminate(process)
    done = cli.ended(process)
    assert done.status == 130
    assert "Traceback" not in done.err


@contextmanager
def silent_server(asked: threading.Event) -> Iterator[int]:
    """Accept connections and never answer."""
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connections.append(connection)
                asked.set()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()
