"""Benchmarks whose data comes from elsewhere, on a laptop and in a compiled pipeline."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pipeline_interpreter import Interpreter
from stub_http import served
from test_test_data_git import GitRequest, GitServer, Repository

from evalhub_pipelines import compiler
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.demo_model import DemoModelSettings, running
from evalhub_pipelines.evaluation import of

ADAPTER = """\
import os
from pathlib import Path

from evalhub_components.adapter import EvaluationResult, FrameworkAdapter, JobResults


class Reader(FrameworkAdapter):
    def run_benchmark_job(self, config, callbacks):
        assert os.environ["EVALHUB_TEST_DATA"] == str(config.test_data)
        return JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=[EvaluationResult("acc", float((config.test_data / "score.txt").read_text()))],
            num_examples_evaluated=1,
        )
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    (tmp_path / "served").mkdir()
    with served(GitServer(tmp_path / "served"), GitRequest) as server:
        yield server


def catalog(tmp_path: Path, *refs: Any) -> Path:
    folder = tmp_path / "catalog"
    (folder / "providers" / "reader").mkdir(parents=True)
    (folder / "collections").mkdir()
    runtime = {"k8s": {"image": "example.org/reader:1"}}
    benchmark = {"id": "quiz", "primary_score": {"metric": "acc"}}
    provider = {"id": "reader", "runtime": runtime, "benchmarks": [benchmark]}
    entries = [{"id": "quiz", "provider_id": "reader", "test_data_ref": ref} for ref in refs]
    (folder / "providers" / "reader" / "provider.yaml").write_text(json.dumps(provider))
    (folder / "providers" / "reader" / "adapter.py").write_text(ADAPTER)
    (folder / "collections" / "c.yaml").write_text(json.dumps({"id": "c", "version": "1", "benchmarks": entries}))
    return folder


def run(folder: Path, cwd: Path, monkeypatch: pytest.MonkeyPatch, **environ: str) -> tuple[int, Any, str]:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with running(DemoModelSettings()) as server:
        argv = ["run", "c", "--catalog", str(folder), "--model-url", server.base_url, "--model-name", "demo-model"]
        done = subprocess.run(
            [Path(sys.executable).with_name("evalhub-kfp"), *argv, "--no-mlflow", "--format", "json"],
            cwd=cwd,
            capture_output=True,
            text=True,
        )
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_a_local_run_fetches_from_git_and_records_the_commit(
    server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Repository(server.folder / "data.git").commit({"quiz": {"score.txt": b"0.75"}})
    ref = {"git": {"url": f"{server.address}/open/data.git", "ref": "main", "sub_path": "quiz"}}
    folder = catalog(tmp_path, ref, ref)
    status, shown, said = run(folder, tmp_path, monkeypatch, EVALHUB_ALLOW_PRIVATE_HOSTS="127.0.0.1")
    assert status == 0, said
    assert shown["verdict"]["score"] == 0.75
    left = Path(shown["run_directory"]) / "benchmarks" / "000-quiz"
    environment = json.loads((left / "environment.json").read_text())
    assert environment["test_data"]["resolved"]["commit"] == commit
    results = json.loads((left / "results.json").read_text())
    assert list(results["data_digests"]) == ["test_data/score.txt"]
    assert json.loads((left / "task.json").read_text())["test_data_digest"] == environment["test_data"]["digest"]
    # two entries, one source
    assert len(list((Path(shown["run_directory"]) / "test_data").iterdir())) == 1


def test_a_source_that_cannot_be_fetched_stops_the_run_with_its_reason(
    server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = {"git": {"url": f"{server.address}/open/nowhere.git", "ref": "main"}}
    folder = catalog(tmp_path, ref)
    status, _, said = run(folder, tmp_path, monkeypatch, EVALHUB_ALLOW_PRIVATE_HOSTS="127.0.0.1")
    assert status == 2
    assert "nowhere.git" in said
    assert "Traceback" not in said


def test_a_folder_stands_for_a_volume_on_a_laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "volume" / "part").mkdir(parents=True)
    (tmp_path / "volume" / "part" / "score.txt").write_text("1")
    folder = catalog(tmp_path, {"pvc": {"claim_name": "data", "sub_path": "part"}})
    status, shown, said = run(folder, tmp_path, monkeypatch, EVALHUB_PVC_MOUNT=str(tmp_path / "volume"))
    assert status == 0, said
    assert shown["verdict"]["score"] == 1.0


def test_a_pipeline_fetches_each_source_once_and_hands_it_on(server: GitServer, tmp_path: Path) -> None:
    Repository(server.folder / "data.git").commit({"score.txt": b"0.75"})
    ref = {"git": {"url": f"{server.address}/open/data.git", "ref": "main", "secret_ref": "git-reader"}}
    path = tmp_path / "c.yaml"
    path.write_text(compiler.compile_plan(of("c", Catalog.of(catalog(tmp_path, ref, ref))).plan))
    provider = {"EVALHUB_PROVIDER_DIR": str(tmp_path / "catalog" / "providers" / "reader")}
    images = {
        compiler.COMPONENTS_IMAGE: (sys.executable, {"EVALHUB_ALLOW_PRIVATE_HOSTS": "127.0.0.1"}),
        "example.org/reader:1": (sys.executable, provider),
    }
    (tmp_path / "secret").mkdir()
    execution = Interpreter(path, tmp_path / "work", images, {"git-reader": tmp_path / "secret"})
    with running(DemoModelSettings()) as model:
        assert execution.run(model_url=model.base_url, model_name="demo-model"), execution.finished[-1].stderr
    names = [task.name for task in execution.finished]
    assert names.count("test data from git") == 1
    verdict = json.loads(execution["aggregate"].outputs["verdict"].read_text())
    assert verdict["score"] == 0.75
    # where an adapter made for EvalHub looks
    copies = [Path(p) / "score.txt" for task in execution.finished for p in task.mounts.values() if "volumes" in p]
    assert [copy.read_text() for copy in copies] == ["0.75", "0.75"]


def test_a_volume_is_mounted_into_the_benchmark_itself(tmp_path: Path) -> None:
    text = compiler.compile_plan(of("c", Catalog.of(catalog(tmp_path, {"pvc": {"claim_name": "data"}}))).plan)
    assert "pvcMount" in text
    assert "test data from" not in text
    assert text.count("/test_data") >= 2
