"""The aggregate step through its command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.aggregate.__main__ import main
from evalhub_components.errors import MissingExtra, TrackingUnavailable
from evalhub_components.records import tracking

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:olot")


def arguments(path: Path, *more: str, results: list[Path] | None = None, output: Path | None = None) -> list[str]:
    header = json.loads((path / "plan.json").read_text())["header"]
    folders = [item for folder in results or [path / "benchmarks"] for item in ("--results", str(folder))]
    return [
        *("--header", json.dumps(header)),
        *("--run", f"@{path / 'run.json'}"),
        *("--fingerprint", str(path / "fingerprint.json")),
        *folders,
        *("--output", str(output or path)),
        *more,
    ]


def document(path: Path) -> Any:
    return json.loads(path.read_text())


def files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_run_is_judged_and_published(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    assert main(arguments(path)) == 0
    assert document(path / "verdict.json")["verdict"] == "pass"
    record = document(path / "run.json")
    assert (record["state"], record["completed_at"]) == ("completed", "2026-01-02T03:04:02Z")
    publication = document(path / "publication.json")
    assert publication["evidence_reference"] == str(path / "evidence")
    assert publication["warnings"] == []
    assert (path / "evidence" / "blobs" / publication["evidence_digest"].replace(":", "/")).exists()
    assert publication["evidence_digest"] in (path / "report.md").read_text()
    assert "packages" in document(path / "environment.json")


@pytest.mark.parametrize(
    ("score", "decision"), [({"metrics": {"acc": {"value": 0.0}}}, "fail"), ({"status": "failed"}, "error")]
)
def test_the_step_succeeds_whatever_the_verdict(
    tmp_path: Path, write_run: Callable[..., Path], score: dict[str, Any], decision: str
) -> None:
    path = write_run(tmp_path / "run", results={0: score, 1: score})
    assert main(arguments(path)) == 0
    assert document(path / "verdict.json")["verdict"] == decision


def test_doing_it_again_changes_no_byte(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    assert main(arguments(path)) == 0
    before = files(path)
    assert main(arguments(path)) == 0
    assert files(path) == before


def test_a_full_disk_is_said_in_a_line(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    # to a process, the largest size of its files is reached as the end of a disk is
    small = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
    start = small + "runpy.run_module('evalhub_components.aggregate', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", start, *arguments(path)], capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "the disk is full: make room" in line
    assert main(arguments(path)) == 0


def test_results_from_several_folders_become_the_same_run_directory(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    path = write_run(tmp_path / "run")
    for index, folder in enumerate(sorted((path / "benchmarks").iterdir())):
        shutil.copytree(folder, tmp_path / f"results-{index}" / ("odd" if index else folder.name))
    parts = [tmp_path / f"results-{index}" for index in (2, 0, 1)]
    output = tmp_path / "assembled"
    given = arguments(path, results=parts, output=output)
    assert main(given) == 0
    assert main(arguments(path)) == 0
    for name in ("plan.json", "verdict.json", "run.json"):
        assert document(output / name) == document(path / name)
    assert files(output / "benchmarks") == files(path / "benchmarks")
    before = files(output)
    assert main(given) == 0
    assert files(output) == before


def test_a_task_that_left_nothing_cannot_be_planned_again_and_is_named(
    tmp_path: Path, write_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_run(tmp_path / "run")
    shutil.rmtree(path / "benchmarks" / "001-gsm8k")
    assert main(arguments(path, output=tmp_path / "assembled")) == 2
    assert "no task.json for 1 of 3 benchmarks (index 1)" in capsys.readouterr().err


def test_better_results_after_a_resume_replace_verdict_and_evidence(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    path = write_run(tmp_path / "run")
    results = path / "benchmarks" / "001-gsm8k" / "results.json"
    finished = results.read_text()
    results.unlink()
    assert main(arguments(path)) == 0
    before = document(path / "publication.json")["evidence_digest"]
    assert document(path / "verdict.json")["verdict"] == "error"
    results.write_text(finished)
    assert main(arguments(path)) == 0
    assert document(path / "verdict.json")["verdict"] == "pass"
    assert document(path / "publication.json")["evidence_digest"] != before
    assert document(path / "run.json")["state"] == "completed"


def test_evidence_that_cannot_be_built_is_an_error_with_the_verdict_kept(
    tmp_path: Path, write_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_run(tmp_path / "run")
    (path / "benchmarks" / "000-arc" / "raw" / "link").symlink_to("/etc/passwd")
    assert main(arguments(path)) == 2
    assert "benchmarks/000-arc/raw/link" in capsys.readouterr().err
    assert document(path / "verdict.json")["verdict"] == "pass"
    assert not (path / "publication.json").exists()


def test_a_link_in_handed_over_results_is_refused_and_not_followed(
    tmp_path: Path, write_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_run(tmp_path / "run")
    (path / "benchmarks" / "000-arc" / "raw" / "link").symlink_to("/etc/passwd")
    assert main(arguments(path, output=tmp_path / "assembled")) == 2
    assert "symbolic link" in capsys.readouterr().err


@pytest.mark.parametrize("refusal", [TrackingUnavailable("MLflow is on holiday"), MissingExtra("mlflow", "logging")])
def test_mlflow_trouble_is_a_warning_and_a_spool_file(
    tmp_path: Path, write_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise refusal

    path = write_run(tmp_path / "run")
    monkeypatch.setattr(tracking, "send", refuse)
    given = arguments(path, "--mlflow-uri", "http://me:hunter2@localhost:1")
    assert main(given) == 0
    assert document(path / "verdict.json")["verdict"] == "pass"
    (warning,) = document(path / "publication.json")["warnings"]
    assert str(refusal) in warning
    spool = document(path / "mlflow-spool.json")
    assert spool["parent"]["metrics"]["gate/score"] == 0.75
    assert len(spool["children"]) == 3
    assert not any(b"hunter2" in content for content in files(path).values())
    assert main([*given, "--mlflow-required"]) == 2
    assert document(path / "publication.json")["evidence_digest"]


def test_a_later_success_removes_the_spool_file(
    tmp_path: Path, write_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_run(tmp_path / "run")
    (path / "mlflow-spool.json").write_text("{}")
    monkeypatch.setattr(tracking, "send", lambda recording, uri: tracking.Tracked(uri, "7", "f00"))
    assert main(arguments(path, "--mlflow-uri", "sqlite:////x/mlflow.db")) == 0
    assert not (path / "mlflow-spool.json").exists()
    assert document(path / "publication.json")["mlflow_run_id"] == "f00"
    assert "mlflow ui --backend-store-uri sqlite:////x/mlflow.db" in (path / "report.md").read_text()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--header", "{", "--header: must be JSON"),
        ("--header", "@/nowhere/header.json", "--header: must be JSON"),
        ("--run", "{}", "--run: run_id: Field required"),
        ("--results", "/nowhere", "/nowhere: there is no such folder"),
        ("--fingerprint", "/nowhere", "/nowhere: no such file"),
    ],
)
def test_wrong_arguments_are_named(
    tmp_path: Path,
    write_run: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    option: str,
    value: str,
    said: str,
) -> None:
    given = arguments(write_run(tmp_path / "run"))
    given[given.index(option) + 1] = value
    assert main(given) == 2
    assert said in capsys.readouterr().err


def test_another_plan_in_the_run_directory_is_refused(
    tmp_path: Path, write_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = write_run(tmp_path / "run"), write_run(tmp_path / "other", benchmarks=["arc"])
    assert main(arguments(path, output=other)) == 2
    assert "is another plan" in capsys.readouterr().err


def test_without_a_tracking_uri_mlflow_is_not_imported(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    script = (
        "import sys\nfrom evalhub_components.aggregate.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]) or 'mlflow' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, *arguments(path)]
    assert subprocess.run(command, env=environment, timeout=60).returncode == 0
