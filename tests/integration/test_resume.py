"""A run that was killed, cancelled or left incomplete goes on without repeating what is finished."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalhub_components import run_directory
from evalhub_pipelines import run_lock
from evalhub_pipelines.demo_model import DemoModelServer, DemoModelSettings, running

Starts = Callable[[], list[list[str]]]


def names(starts: Starts) -> list[str]:
    return [name for name, *_ in starts()]


def evidence(directory: Path) -> str:
    return str(json.loads((directory / "publication.json").read_text())["evidence_digest"])


def test_killed_run_keeps_what_is_finished_and_goes_on_with_the_rest(
    cli: Any,
    model: DemoModelServer,
    collection: Callable[..., Path],
    starts: Starts,
    eventually: Callable[[Any], Any],
    is_gone: Callable[[int], bool],
) -> None:
    release = cli.folder / "release"
    path = collection(("a", {}), ("b", {"wait_for": str(release)}), ("c", {}))
    process = cli.start(*cli.arguments(path, model))
    eventually(lambda: names(starts) == ["a", "b"])
    directory = cli.run_directory()
    finished = directory / "benchmarks" / "000-a" / "results.json"
    eventually(finished.exists)
    kept = finished.read_bytes()
    _, adapter, harness = starts()[1]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    eventually(lambda: is_gone(int(adapter)) and is_gone(int(harness)))
    assert finished.read_bytes() == kept
    assert not (directory / "verdict.json").exists()

    planned = cli("plan", "--resume", directory)
    assert "note         resuming skips: 000-a" in planned.out.splitlines()
    assert "note         resuming runs: 001-b, 002-c" in planned.out.splitlines()

    release.touch()
    done = cli.resume(directory)
    assert done.status == 0, done.err
    assert "resumed: 1 kept, 2 to run" in done.err
    assert names(starts) == ["a", "b", "b", "c"]
    assert finished.read_bytes() == kept
    assert cli.run_directory() == directory
    assert json.loads((directory / "run.json").read_text())["state"] == "completed"


def test_benchmark_that_had_begun_in_a_cancelled_run_is_as_missing_as_one_that_had_not(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], starts: Starts, eventually: Callable[[Any], Any]
) -> None:
    path = collection(("a", {"wait_for": str(cli.folder / "release")}), ("other/b", {}))
    process = cli.start(*cli.arguments(path, model), "--jobs", 1)
    eventually(lambda: names(starts) == ["a"])
    os.kill(process.pid, signal.SIGTERM)
    assert cli.ended(process).status == 130
    directory = cli.run_directory()
    assert [folder.name for folder in (directory / "benchmarks").iterdir()] == ["000-a"]
    tests = run_directory.load(directory).judge().benchmarks
    assert [test.reason for test in tests] == ["no score: the run was cancelled before there were results"] * 2


def test_a_resumed_run_uses_the_catalogue_and_the_tracking_that_it_began_with(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], starts: Starts
) -> None:
    path = collection(("a", {"raise": "boom", "unless": str(cli.folder / "mended")}))
    uri = f"sqlite:///{cli.folder / 'elsewhere' / 'mlflow.db'}"
    begun = [word for word in cli.arguments(path, model) if word != "--no-mlflow"]
    assert cli(*begun, "--mlflow-uri", uri).status == 2
    directory = cli.run_directory()
    first = json.loads((directory / "publication.json").read_text())
    (cli.folder / "mended").touch()
    done = cli("run", "--resume", directory)
    assert done.status == 0, done.err
    assert names(starts) == ["a", "a"]
    after = json.loads((directory / "publication.json").read_text())
    assert after["mlflow_run_id"] == first["mlflow_run_id"]
    assert not (cli.folder / "mlflow.db").exists()


def test_run_directory_in_use_is_refused_and_names_the_process(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    assert cli.run(collection(("a", {})), model).status == 0
    with run_lock.held(cli.run_directory()):
        done = cli.resume(cli.run_directory())
    assert done.status == 2
    assert f"{cli.run_directory()}: is in use by process {os.getpid()} (wait until it ends, or end it)" in done.err


def test_other_model_is_refused_unless_it_is_accepted(
    cli: Any, collection: Callable[..., Path], starts: Starts
) -> None:
    path = collection(("a", {}), ("b", {"raise": "boom", "unless": str(cli.folder / "mended")}))
    with running(DemoModelSettings(skill=1)) as server:
        assert cli.run(path, server).status == 2
        port = server.port
    directory = cli.run_directory()
    before = json.loads((directory / "fingerprint.json").read_text())
    (cli.folder / "mended").touch()
    with running(DemoModelSettings(skill=0, port=port)):
        refused = cli.resume(directory)
        assert names(starts) == ["a", "b"]
        accepted = cli.resume(directory, "--accept-fingerprint")
    assert refused.status == 2
    assert "answers otherwise than when the run began" in refused.err
    assert "--accept-fingerprint" in refused.err
    assert accepted.status == 0, accepted.err
    assert names(starts) == ["a", "b", "b"]
    after = json.loads((directory / "fingerprint.json").read_text())
    (other,) = after["observed"].pop("accepted_on_resume")
    assert after == before
    assert other["answers"] != before["answers"]


def test_failed_benchmark_runs_again(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], starts: Starts
) -> None:
    path = collection(("a", {}), ("b", {"raise": "boom", "unless": str(cli.folder / "mended")}))
    assert cli.run(path, model).status == 2
    assert cli.resume(cli.run_directory()).status == 2
    (cli.folder / "mended").touch()
    assert cli.resume(cli.run_directory()).status == 0
    assert names(starts) == ["a", "b", "b", "b"]


def test_resuming_a_complete_run_changes_nothing(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], starts: Starts
) -> None:
    assert cli.run(collection(("a", {}), ("b", {})), model).status == 0
    directory = cli.run_directory()
    digest, verdict = evidence(directory), (directory / "verdict.json").read_bytes()
    done = cli.resume(directory)
    assert done.status == 0, done.err
    assert "resumed: 2 kept, 0 to run" in done.err
    assert names(starts) == ["a", "b"]
    assert (directory / "verdict.json").read_bytes() == verdict
    assert evidence(directory) == digest


@pytest.mark.parametrize("damage", ["truncated", "removed", "of another model"])
def test_damaged_result_is_run_again(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], starts: Starts, damage: str
) -> None:
    assert cli.run(collection(("a", {}), ("b", {})), model).status == 0
    folder = cli.run_directory() / "benchmarks" / "001-b"
    if damage == "truncated":
        (folder / "results.json").write_bytes((folder / "results.json").read_bytes()[:-40])
    elif damage == "removed":
        (folder / "results.json").unlink()
    else:
        request = json.loads((folder / "task.json").read_text())
        (folder / "task.json").write_text(json.dumps({**request, "task_key": "sha256:" + "0" * 64}))
    assert cli.resume(cli.run_directory()).status == 0
    assert names(starts) == ["a", "b", "b"]


def test_old_result_does_not_pass_for_a_new_one(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    """The result of other work is still there when the process that was to replace it dies before it could."""
    path = collection(("a", {}), execution={"retries": 0})
    assert cli.run(path, model).status == 0
    request = cli.run_directory() / "benchmarks" / "000-a" / "task.json"
    request.write_text(json.dumps({**json.loads(request.read_text()), "task_key": "sha256:" + "0" * 64}))
    (cli.folder / "own").mkdir()
    provider = cli.folder / "own" / "providers" / "obedient"
    provider.mkdir(parents=True)
    (provider / "provider.yaml").write_text(
        (cli.catalog / "providers" / "obedient" / "provider.yaml").read_text()
        + "runtime: {local: {command: 'false'}}\n"
    )
    (provider / "adapter.py").touch()  # without one the bridge would run the command, and write the results
    done = cli.resume(cli.run_directory(), "--catalog", "own")
    assert done.status == 2
    assert "000-a failed: its process exited with status 1" in done.err


AT_AGGREGATE = """\
import os, signal, sys, time

if "evalhub_components.aggregate" in sys.orig_argv:
    if fatal := os.environ.get("KILL_BEFORE"):
        def watch(event, arguments):
            if event == "os.rename" and str(arguments[1]).endswith(fatal):
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(watch)
    if blocked := os.environ.get("WAIT_FOR"):
        open(blocked + ".reached", "w").close()
        limit = time.monotonic() + 300  # it is nobody's child when the test is cut short
        while not os.path.exists(blocked) and time.monotonic() < limit:
            time.sleep(0.02)
"""


@pytest.mark.parametrize("file", ["verdict.json", "index.json", "publication.json"])
def test_kill_while_judging_leaves_a_run_to_resume(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], starts: Starts, file: str
) -> None:
    (cli.folder / "sitecustomize.py").write_text(AT_AGGREGATE)
    environ = {"PYTHONPATH": str(cli.folder), "KILL_BEFORE": file}
    killed = cli.run(collection(("a", {})), model, environ=environ)
    directory = cli.run_directory()
    assert killed.status == 2
    assert f"go on with: evalhub-kfp run --resume {directory}" in killed.err
    assert not (directory / "publication.json").exists()
    assert cli.resume(directory).status == 0
    assert names(starts) == ["a"]
    digest = evidence(directory)
    assert cli.resume(directory).status == 0
    assert evidence(directory) == digest


def test_report_of_a_run_that_failed_before_it_was_judged_again_says_how_to_go_on(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    path = collection(("a", {}), ("b", {"raise": "boom", "unless": str(cli.folder / "mended")}))
    assert cli.run(path, model).status == 2
    directory = cli.run_directory()
    assert cli("report", directory).status == 0
    (cli.folder / "mended").touch()
    (cli.folder / "sitecustomize.py").write_text(AT_AGGREGATE)
    killed = cli.resume(directory, environ={"PYTHONPATH": str(cli.folder), "KILL_BEFORE": "verdict.json"})
    assert killed.status == 2
    reported = cli("report", directory)
    assert reported.status == 2
    assert f"failed before it was judged (go on with it: evalhub-kfp run --resume {directory})" in reported.err
    assert cli.resume(directory).status == 0
    assert cli("report", directory).status == 0


def test_resuming_waits_for_the_judging_that_a_killed_run_left_behind(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], starts: Starts, eventually: Callable[[Any], Any]
) -> None:
    (cli.folder / "sitecustomize.py").write_text(AT_AGGREGATE)
    blocked = cli.folder / "blocked"
    environ = {"PYTHONPATH": str(cli.folder), "WAIT_FOR": str(blocked)}
    try:
        process = cli.start(*cli.arguments(collection(("a", {})), model), environ=environ)
        eventually((cli.folder / "blocked.reached").exists)
        directory = cli.run_directory()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        resumed = cli.start("run", "--resume", directory, "--catalog", cli.catalog, "--no-mlflow")
        holder = (directory / "lock").read_text()
        with pytest.raises(BlockingIOError):
            take(directory / "lock")
        assert (directory / "lock").read_text() == holder == f"{process.pid}\n"
    finally:
        blocked.touch()
    done = cli.ended(resumed)
    assert done.status == 0, done.err
    assert names(starts) == ["a"]


def take(path: Path) -> None:
    import fcntl

    with path.open("r") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "run.json: no such file"),
        (lambda folder: (folder / "run.json").write_text("{}"), "run.json: "),
    ],
    ids=["empty", "of something else"],
)
def test_folder_that_is_no_run_is_refused(cli: Any, make: Callable[[Path], Any], said: str) -> None:
    folder = cli.folder / "folder"
    folder.mkdir()
    make(folder)
    done = cli.resume(folder)
    assert done.status == 2
    assert said in done.err
    assert not (folder / "lock").exists()


def test_options_that_resuming_would_ignore_are_refused(cli: Any) -> None:
    done = cli.resume(cli.folder, "--num-examples", 3)
    assert done.status == 2
    assert "--resume goes on with a run as it was begun" in done.err
