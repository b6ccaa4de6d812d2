"""Benchmarks whose data comes from elsewhere, on a laptop and in a compiled pipeline."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pipeline_interpreter import Interpreter
from stub_http import served
from test_test_data_git import GitRequest, GitServer, Repository

from evalhub_pipelines import compiler
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.demo_model import DemoModelServer, DemoModelSettings, running
from evalhub_pipelines.evaluation import of

ADAPTER = """\
import os
from pathlib import Path

from evalhub_components.adapter import EvaluationResult, FrameworkAdapter, JobResults


class Reader(FrameworkAdapter):
    def run_benchmark_job(self, config, callbacks):
        assert os.environ["EVALHUB_TEST_DATA"] == str(config.test_data)
        if not Path(config.parameters.get("unless", "/")).exists():
            raise ValueError("boom")
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


def catalog(tmp_path: Path, *refs: Any, parameters: Sequence[dict[str, Any]] | None = None) -> Path:
    """Return a catalogue with a collection of an entry for each of `refs`, with the parameters in the same place."""
    folder = tmp_path / "catalog"
    (folder / "providers" / "reader").mkdir(parents=True)
    (folder / "collections").mkdir()
    runtime = {"k8s": {"image": "example.org/reader:1"}}
    benchmark = {"id": "quiz", "primary_score": {"metric": "acc"}}
    provider = {"id": "reader", "runtime": runtime, "benchmarks": [benchmark]}
    given = zip(refs, parameters or [{}] * len(refs), strict=True)
    entries = [
        {"id": "quiz", "provider_id": "reader", "test_data_ref": ref, "parameters": wanted} for ref, wanted in given
    ]
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


class Begun:
    """A run of two benchmarks with data, of which the second failed, and what is needed to go on with it."""

    def __init__(self, cli: Any, model: DemoModelServer, *refs: Any, complete: bool = False) -> None:
        self.cli = cli
        self.mended = cli.folder / "mended"
        if complete:
            self.mended.touch()
        folder = catalog(cli.folder, *refs, parameters=[{}, {"unless": str(self.mended)}])
        cli.environ |= {"EVALHUB_PVC_MOUNT": str(cli.folder / "volume"), "EVALHUB_ALLOW_PRIVATE_HOSTS": "127.0.0.1"}
        endpoint = ["--model-url", model.base_url, "--model-name", "demo-model"]
        done = cli("run", "c", "--catalog", folder, *endpoint, "--no-mlflow")
        assert done.status == (0 if complete else 2), done.err
        self.directory: Path = cli.run_directory()
        self.mended.touch()

    def resumed(self) -> Any:
        return self.cli("run", "--resume", self.directory)

    def scores(self) -> list[float]:
        verdict = json.loads((self.directory / "verdict.json").read_text())
        return [test["score"] for test in verdict["benchmarks"]]

    def evidence(self) -> str:
        return str(json.loads((self.directory / "publication.json").read_text())["evidence_digest"])


def volume(folder: Path, score: str, part: str = "part") -> dict[str, Any]:
    """Put a score into a part of the volume, and return the reference to it."""
    (folder / "volume" / part).mkdir(parents=True, exist_ok=True)
    (folder / "volume" / part / "score.txt").write_text(score)
    return {"pvc": {"claim_name": "data", "sub_path": part}}


@pytest.mark.parametrize("complete", [False, True], ids=["one failed", "complete"])
@pytest.mark.parametrize("source", ["volume", "git"])
def test_what_was_made_of_other_data_is_run_again(
    server: GitServer, cli: Any, model: DemoModelServer, source: str, complete: bool
) -> None:
    repository = Repository(server.folder / "data.git")
    put: dict[str, Callable[[str], Any]] = {
        "volume": lambda score: volume(cli.folder, score),
        "git": lambda score: repository.commit({"score.txt": score.encode()}),
    }
    put[source]("0.9")
    git = {"git": {"url": f"{server.address}/open/data.git", "ref": "main"}}
    ref = git if source == "git" else volume(cli.folder, "0.9")
    begun = Begun(cli, model, ref, ref, complete=complete)
    put[source]("0.6")
    done = begun.resumed()
    assert done.status == 0, done.err
    assert "resumed: 0 kept, 2 to run" in done.err
    again = "000-quiz, 001-quiz" if complete else "000-quiz"
    assert f"{again}: the data is not what it was: run again" in done.err
    assert begun.scores() == [0.6, 0.6]


def test_what_was_made_of_the_same_data_is_kept(server: GitServer, cli: Any, model: DemoModelServer) -> None:
    Repository(server.folder / "data.git").commit({"score.txt": b"0.9"})
    git = {"git": {"url": f"{server.address}/open/data.git", "ref": "main"}}
    begun = Begun(cli, model, git, volume(cli.folder, "0.8"))
    volume(cli.folder, "0.7")
    done = begun.resumed()
    assert done.status == 0, done.err
    assert "resumed: 1 kept, 1 to run" in done.err
    assert "not what it was" not in done.err
    assert begun.scores() == [0.9, 0.7]


def test_a_run_does_not_go_on_beside_a_result_whose_data_is_gone(cli: Any, model: DemoModelServer) -> None:
    begun = Begun(cli, model, volume(cli.folder, "0.9", "one"), volume(cli.folder, "0.8", "two"))
    before = {path: path.read_bytes() for path in begun.directory.glob("**/*.json")}
    shutil.rmtree(cli.folder / "volume" / "one")
    done = begun.resumed()
    assert done.status == 2
    assert f"{begun.directory}: 000-quiz: the data cannot be looked at: {cli.folder / 'volume' / 'one'}: " in done.err
    assert "start a new run" in done.err
    assert {path: path.read_bytes() for path in begun.directory.glob("**/*.json")} == before


def test_a_complete_run_is_kept_when_its_data_is_gone(cli: Any, model: DemoModelServer) -> None:
    ref = volume(cli.folder, "0.9")
    begun = Begun(cli, model, ref, ref, complete=True)
    evidence = begun.evidence()
    shutil.rmtree(cli.folder / "volume")
    done = begun.resumed()
    assert done.status == 0, done.err
    assert "resumed: 2 kept, 0 to run" in done.err
    assert "000-quiz, 001-quiz: kept without a look at the data: " in done.err
    assert begun.evidence() == evidence


def test_a_complete_run_of_two_sources_is_not_kept_when_one_is_gone_and_the_other_has_changed(
    cli: Any, model: DemoModelServer
) -> None:
    begun = Begun(cli, model, volume(cli.folder, "0.9", "one"), volume(cli.folder, "0.8", "two"), complete=True)
    shutil.rmtree(cli.folder / "volume" / "one")
    volume(cli.folder, "0.1", "two")
    done = begun.resumed()
    assert done.status == 2
    assert "000-quiz: the data cannot be looked at: " in done.err
    assert begun.scores() == [0.9, 0.8]


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
