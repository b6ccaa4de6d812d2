"""Whole runs through the command line: statuses, the pool, retries, secrets, and what a run records."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalhub_pipelines.demo_model import DemoModelServer, DemoModelSettings, running

KEY = "sk-b4a1c7-never-to-be-seen"


def test_run_that_passes_exits_0_and_leaves_everything_in_its_directory(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    done = cli.run(collection(("a", {}), ("b", {"score": 1.0}, {"weight": 2})), model, "--format", "json")
    assert done.status == 0, done.err
    directory = Path(done.json["run_directory"])
    assert directory == cli.run_directory()
    left = {path.name for path in directory.iterdir()}
    documents = {"run.json", "plan.json", "fingerprint.json", "verdict.json", "publication.json", "environment.json"}
    documents |= {"eval-card.json"}
    assert left == documents | {"report.html", "report.md", "settings.json", "benchmarks", "evidence", "lock"}
    assert done.json["verdict"]["verdict"] == "pass"
    assert done.json["verdict"]["score"] == pytest.approx((0.75 + 2) / 3)
    assert json.loads((directory / "verdict.json").read_text()) == done.json["verdict"]
    assert json.loads((directory / "run.json").read_text())["state"] == "completed"
    assert sorted(path.name for path in (directory / "benchmarks").iterdir()) == ["000-a", "001-b"]
    assert not (cli.folder / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("keys", "parameters", "status", "word"),
    [
        ({"pass_criteria": {"threshold": 0.9}}, {}, 1, "FAIL"),
        ({}, {"raise": "boom"}, 2, "ERROR"),
        ({"pass_criteria": {"threshold": 0.7}, "gate": {"mode": "assured"}}, {}, 3, "INCONCLUSIVE"),
    ],
    ids=["fail", "error", "inconclusive"],
)
def test_status_is_the_verdict(
    cli: Any,
    model: DemoModelServer,
    collection: Callable[..., Path],
    keys: dict[str, Any],
    parameters: dict[str, Any],
    status: int,
    word: str,
) -> None:
    done = cli.run(collection(("a", parameters), **keys), model)
    assert done.status == status
    assert word in done.out.splitlines()


def test_eval_yaml_says_everything(cli: Any, model: DemoModelServer, write: Callable[..., Path]) -> None:
    """A collection by id with an override, `${VAR}`, and what the caller declares of the server."""
    entry = {"provider_id": "obedient", "parameters": {"score": 0.6, "size": 4}}
    collection = {"version": "3", "pass_criteria": {"threshold": 0.5}, "benchmarks": [{"id": "a", **entry}]}
    write("own/collections/team-gate.yaml", collection)
    (cli.folder / "own" / "providers").symlink_to(cli.catalog / "providers")
    document = {
        "name": "nightly",
        "tags": ["release"],
        "model": {
            "url": "${MODEL_URL}",
            "name": "${MODEL_NAME:-demo-model}",
            "environment": {"hardware": "2 x H100", "quantization": "fp8"},
        },
        "collection": {"id": "team-gate", "benchmarks": [{"id": "a", "parameters": {"score": 0.9}}]},
        "pass_criteria": {"threshold": 0.85},
    }
    path = write("eval.yaml", document)
    arguments = ("run", path, "--catalog", "own", "--no-mlflow", "--format", "json")
    done = cli(*arguments, environ={"MODEL_URL": model.base_url})
    assert done.status == 0, done.err
    assert done.json["verdict"]["score"] == 0.9
    assert done.json["verdict"]["threshold_source"] == "job"
    record = json.loads((cli.run_directory() / "run.json").read_text())
    assert record["declared_environment"] == {"hardware": "2 x H100", "quantization": "fp8"}
    assert (record["name"], record["tags"], record["model_url"]) == ("nightly", ["release"], model.base_url)
    plan = json.loads((cli.run_directory() / "plan.json").read_text())
    assert plan["tasks"][0]["parameters"] == {"score": 0.9, "size": 4}


def test_benchmarks_of_a_provider_run_without_a_document(cli: Any, model: DemoModelServer) -> None:
    arguments = ["run", "--provider", "obedient", "-b", "a", "-b", "c", "--name", "quick look", "--num-examples", "2"]
    endpoint = ["--model-url", model.base_url, "--model-name", "demo-model"]
    done = cli(*arguments, *endpoint, "--catalog", cli.catalog, "--no-mlflow", "--format", "json")
    assert done.status == 0, done.err
    assert [test["benchmark_id"] for test in done.json["verdict"]["benchmarks"]] == ["a", "c"]
    assert done.json["verdict"]["limited"] is True
    assert done.json["verdict"]["collection_id"] == "quick-look"
    record = json.loads((cli.run_directory() / "run.json").read_text())
    assert (record["name"], record["num_examples"]) == ("quick look", 2)
    request = json.loads((cli.run_directory() / "benchmarks" / "000-a" / "task.json").read_text())
    assert request["num_examples"] == 2


def waiting_for(*paths: Path) -> dict[str, Any]:
    return {"wait_for": str(paths[0]), "starts": str(paths[1])}


@pytest.mark.parametrize("how", ["option", "collection"])
def test_two_jobs_run_two_providers_at_once(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], tmp_path: Path, how: str
) -> None:
    """Each adapter waits for what the other writes at its start: one after the other they would wait for ever."""
    entries = [
        ("obedient/a", waiting_for(tmp_path / "two", tmp_path / "one")),
        ("other/a", waiting_for(tmp_path / "one", tmp_path / "two")),
    ]
    keys = {"execution": {"max_parallel": 2}} if how == "collection" else {}
    done = cli.run(collection(*entries, **keys), model, *(["--jobs", 2] if how == "option" else []))
    assert done.status == 0, done.err


@pytest.mark.parametrize("how", ["option", "collection"])
def test_one_job_runs_one_provider_after_the_other(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], tmp_path: Path, how: str
) -> None:
    """What the second writes at its start comes too late for the first."""
    first = {"wait_for": str(tmp_path / "second")}
    entries = [("obedient/a", first, {"timeout": 2}), ("other/a", {"starts": str(tmp_path / "second")})]
    keys = {"execution": {"max_parallel": 1}} if how == "collection" else {}
    path = collection(*entries, **keys)
    done = cli.run(path, model, *(["--jobs", 1] if how == "option" else []), "--format", "json")
    first_test, second_test = done.json["verdict"]["benchmarks"]
    assert "timed out" in first_test["reason"]
    assert second_test["status"] == "completed"


def test_benchmarks_of_a_provider_share_a_process_unless_batch_is_none(
    cli: Any,
    model: DemoModelServer,
    collection: Callable[..., Path],
    starts: Callable[[], list[list[str]]],
    tmp_path: Path,
) -> None:
    assert cli.run(collection(("a", {}), ("b", {})), model).status == 0
    assert len({harness for _, _, harness in starts()}) == 1
    (tmp_path / "starts").unlink()
    assert cli.run(collection(("a", {}), ("b", {}), execution={"batch": "none"}), model).status == 0
    assert len({harness for _, _, harness in starts()}) == 2


def test_process_that_dies_is_started_again_for_the_rest(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], starts: Callable[[], list[list[str]]]
) -> None:
    once = {"kill_harness": True, "unless": str(cli.folder / "once"), "after": "000-a"}
    done = cli.run(collection(("a", {}), ("b", once), ("c", {})), model)
    assert done.status == 0, done.err
    assert (
        "obedient: its process was ended by SIGKILL (out of memory?); starting it again for 2 benchmark(s)" in done.err
    )
    assert [name for name, *_ in starts()] == ["a", "b", "b", "c"]


def test_benchmark_that_kills_its_process_is_failed_with_the_reason_and_the_others_go_on(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], starts: Callable[[], list[list[str]]]
) -> None:
    path = collection(("a", {"kill_harness": True}), ("b", {}), ("c", {}), execution={"retries": 1})
    done = cli.run(path, model, "--format", "json")
    assert done.status == 2
    reason = "its process was ended by SIGKILL (out of memory?)"
    assert f"000-a failed: {reason}" in done.err
    assert [name for name, *_ in starts()] == ["a", "a", "b", "c"]
    assert done.json["verdict"]["verdict"] == "error"
    benchmarks = done.json["verdict"]["benchmarks"]
    assert [test["status"] for test in benchmarks] == ["failed", "completed", "completed"]
    assert reason in benchmarks[0]["reason"]
    assert reason in (cli.run_directory() / "report.md").read_text()
    assert any(reason in file.read_text() for file in evidence_files(cli.run_directory(), "results.json"))
    folder = cli.run_directory() / "benchmarks" / "000-a"
    assert json.loads((folder / "task.json").read_text())["task"]["benchmark_id"] == "a"


def evidence_files(directory: Path, name: str) -> list[Path]:
    """Return the files of the run that its evidence holds and whose name ends so."""
    kept = b"".join(path.read_bytes() for path in (directory / "evidence").rglob("*") if path.is_file())
    found = (directory / "benchmarks").rglob(f"*{name}")
    return [path for path in found if hashlib.sha256(path.read_bytes()).hexdigest().encode() in kept]


def test_process_that_dies_at_its_start_is_a_failure_with_its_last_words(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], write: Callable[..., Path]
) -> None:
    """Nothing of it ran, so there is no folder of any benchmark yet."""
    given = (cli.catalog / "providers" / "obedient" / "provider.yaml").read_text()
    write(
        "own/providers/obedient/provider.yaml",
        given + "runtime: {local: {command: [sh, -c, 'echo no luck >&2; exit 1']}}\n",
    )
    write("own/providers/obedient/adapter.py", "")
    done = cli.run(collection(("a", {}), ("b", {})), model, "--catalog", "own", "--format", "json")
    assert done.status == 2
    said = [test["reason"] for test in done.json["verdict"]["benchmarks"]]
    assert all("its process exited with status 1: no luck" in reason for reason in said)
    request = json.loads((cli.run_directory() / "benchmarks" / "001-b" / "task.json").read_text())
    assert request["model_name"] == "demo-model"


def test_killed_process_leaves_no_key(cli: Any, collection: Callable[..., Path], write: Callable[..., Path]) -> None:
    """It wrote the key to a file and did not live to have it removed."""
    write("secrets/team/api-key", KEY + "\n")
    given = cli.catalog / "providers" / "obedient"
    write("own/providers/obedient/provider.yaml", (given / "provider.yaml").read_text())
    write(
        "own/providers/obedient/adapter.py",
        "import os, signal, time\n"
        "from evalhub_components.adapter import FrameworkAdapter\n"
        "class Careless(FrameworkAdapter):\n"
        "    def run_benchmark_job(self, config, callbacks):\n"
        "        (config.raw_dir / 'said.txt').write_text('Bearer ' + config.credentials.api_key)\n"
        "        os.kill(os.getppid(), signal.SIGKILL)\n"
        "        time.sleep(600)\n",
    )
    path = collection(("a", {}), execution={"retries": 0})
    with running(DemoModelSettings(skill=1, api_key=KEY)) as server:
        secrets = {"EVALHUB_SECRETS": str(cli.folder / "secrets")}
        done = cli.run(path, server, "--catalog", "own", "--model-secret", "team", environ=secrets)
    assert done.status == 2
    folder = cli.run_directory() / "benchmarks" / "000-a"
    assert json.loads((folder / "results.json").read_text())["status"] == "failed"
    assert (folder / "raw" / "said.txt").read_text() == "Bearer ***"


def test_without_retries_a_dead_process_is_final(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], starts: Callable[[], list[list[str]]]
) -> None:
    done = cli.run(collection(("a", {"kill_harness": True}), execution={"retries": 0}), model)
    assert done.status == 2
    assert len(starts()) == 1
    assert "starting it again" not in done.err


def test_plan_is_the_same_whatever_is_run(cli: Any, model: DemoModelServer, collection: Callable[..., Path]) -> None:
    path = collection(("a", {}), ("b", {}))
    planned = cli("plan", path, "--catalog", cli.catalog, "--format", "json").json["digest"]
    again = cli("plan", path, "--catalog", cli.catalog, "--format", "json").json["digest"]
    ran = cli.run(path, model, "--format", "json").json["verdict"]["plan_digest"]
    assert planned == again == ran


def test_model_key_reaches_the_adapter_and_nothing_else(
    cli: Any, collection: Callable[..., Path], write: Callable[..., Path], eventually: Callable[[Any], Any]
) -> None:
    """One run with everything that could leak: MLflow, a framework that prints the key, processes others can list."""
    write("secrets/team/api-key", KEY + "\n")
    release = cli.folder / "release"
    parameters = {"tell_key": True, "wait_for": str(release), "starts": str(cli.folder / "starts")}
    entries = [{"id": name, "provider_id": "obedient", "parameters": parameters} for name in "ab"]
    others = {
        "EVALHUB_SECRETS": str(cli.folder / "secrets"),
        "MLFLOW_TRACKING_TOKEN": "other-secret",
        "AWS_SECRET_ACCESS_KEY": "other-secret",
        "GITHUB_TOKEN": "other-secret",
        "DATABASE_URL": "postgresql://user:other-secret@host/db",
        "TOKENIZERS_PARALLELISM": "false",
    }
    with running(DemoModelSettings(skill=1, api_key=KEY)) as server:
        document = {
            "name": "keyed",
            "model": {"url": server.base_url, "name": "demo-model", "auth": {"secret_ref": "team"}},
            "benchmarks": entries,
            "experiment": {"name": "gates", "tags": {"team": "search"}},
        }
        path = write("eval.yaml", document)
        process = cli.start("run", path, "--catalog", cli.catalog, environ=others)
        eventually((cli.folder / "starts").exists)
        command_lines = [line.read_bytes() for line in Path("/proc").glob("[0-9]*/cmdline") if readable(line)]
        release.touch()
        done = cli.ended(process)
    assert done.status == 0, done.err
    assert any(b"evalhub_components.benchmark" in line for line in command_lines)
    raw = cli.run_directory() / "benchmarks" / "000-a" / "raw"
    # the adapter did have the key, and said it
    assert (raw / "said.txt").read_text() == "Bearer ***"
    assert json.loads((raw.parent / "results.json").read_text())["redactions"] > 0
    seen = json.loads((raw / "environ.json").read_text())
    assert "TOKENIZERS_PARALLELISM" in seen
    assert not {*others, "EVALHUB_SECRETS"} - {"TOKENIZERS_PARALLELISM"} & {*seen}
    kept = [path for path in cli.folder.rglob("*") if path.is_file() and "secrets" not in path.parts]
    assert cli.folder / "mlflow.db" in kept
    for content in (*command_lines, done.out.encode(), done.err.encode(), *(path.read_bytes() for path in kept)):
        assert KEY.encode() not in content

    with sqlite3.connect(cli.folder / "mlflow.db") as database:
        experiments = dict(database.execute("select name, experiment_id from experiments"))
        runs = database.execute("select name, status from runs where experiment_id = ?", (experiments["gates"],))
        assert sorted(runs) == [("000-a", "FINISHED"), ("001-b", "FINISHED"), ("keyed", "FINISHED")]
        tags = set(database.execute("select key, value from tags"))
    database.close()
    assert {("team", "search"), ("evalhub.verdict", "pass")} <= tags
    publication = json.loads((cli.run_directory() / "publication.json").read_text())
    assert publication["mlflow_tracking_uri"] == f"sqlite:///{cli.folder / 'mlflow.db'}"
    assert f"mlflow    run {publication['mlflow_run_id']}" in done.out
    assert "mlflow ui --backend-store-uri" in done.out


def readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def test_missing_secret_is_an_error_with_the_cure(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    done = cli.run(collection(("a", {})), model, "--model-secret", "team", environ={"EVALHUB_SECRETS": "/nowhere"})
    assert done.status == 2
    assert "model.auth.secret_ref: there is no folder /nowhere/team (make it" in done.err
    assert cli.run_directories() == []


@pytest.mark.parametrize("uri", ["https://user:hunter2@mlflow.example/", "https://user:hun/ter2@mlflow.example/"])
def test_password_in_the_mlflow_address_is_refused_before_anything_runs(
    uri: str, cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    """It would be in the arguments of a process, which everybody on the machine can read."""
    path = collection(("a", {}))
    arguments = [argument for argument in cli.arguments(path, model) if argument != "--no-mlflow"]
    done = cli(*arguments, environ={"MLFLOW_TRACKING_URI": uri})
    assert done.status == 2
    assert "MLFLOW_TRACKING_PASSWORD" in done.err
    assert "ter2" not in done.err
    assert cli.run_directories() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_output_that_cannot_be_written_is_an_error(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    (cli.folder / "sealed").mkdir(mode=0o500)
    done = cli.run(collection(("a", {})), model, "--output", "sealed/runs")
    assert done.status == 2
    assert "choose another --output" in done.err


def test_output_below_a_file_is_an_error(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], write: Callable[..., Path]
) -> None:
    done = cli.run(collection(("a", {})), model, "--output", write("file", "text") / "runs")
    assert done.status == 2
    assert "cannot be made" in done.err
    assert "choose another --output" in done.err


def test_reader_of_progress_that_leaves_does_not_end_the_run(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    reading, writing = os.pipe()
    process = cli.start(*cli.arguments(collection(("a", {}), ("b", {})), model), stderr=writing)
    os.close(reading)
    os.close(writing)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert "PASS" in out
