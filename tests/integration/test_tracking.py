"""MLflow for real: a SQLite store, written by the step and read back through MLflow's own client."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from evalhub_components.errors import TrackingUnavailable
from evalhub_components.records import tracking
from evalhub_components.records.tracking.recording import DatasetRecording, Recording, RunRecording

pytest.importorskip("mlflow", reason="mlflow is not installed")
# mlflow and what it imports warn of each other
pytestmark = pytest.mark.filterwarnings("ignore")

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def a_run(key: tuple[str, str], **changes: Any) -> RunRecording:
    fields: dict[str, Any] = {
        "key": key,
        "name": "a run",
        "status": "FINISHED",
        "started": 1_767_322_800_000,
        "ended": 1_767_323_000_000,
        "tags": {"evalhub.verdict": "pass"},
        "params": {},
        "metrics": {"gate/score": 0.75},
    }
    return RunRecording(**{**fields, **changes})


def a_recording(run_id: str, children: int = 3, experiment: str = "quick", **parent: Any) -> Recording:
    return Recording(
        experiment=experiment,
        experiment_tags={"team": "blue"},
        parent=a_run(("evalhub.run_id", run_id), **parent),
        children=[
            a_run(
                ("evalhub.task_key", f"{run_id}/{index}"),
                name=f"{index:03d}-bench",
                status="FAILED" if index == 1 else "FINISHED",
                tags={"evalhub.reason": "out of memory" if index == 1 else "0.7 >= 0.5"},
                params={"seed": "1234"},
                metrics={} if index == 1 else {"acc": 0.5 + index / 10, "acc_stderr": 0.01},
                dataset=DatasetRecording(name="lm/bench", digest="ab" * 18, source="{}"),
            )
            for index in range(children)
        ],
        artifacts={"verdict.json": '{"verdict": "pass"}', "report.md": "# Report\n"},
    )


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return one store for all tests: creating it takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture
def client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def children(client: MlflowClient, experiment_id: str, parent_id: str) -> list[Run]:
    found = client.search_runs([experiment_id], f"tags.`mlflow.parentRunId` = '{parent_id}'")
    return sorted(found, key=lambda run: run.data.tags["evalhub.task_key"])


def test_a_run_reads_back_as_one_parent_with_a_child_per_benchmark(uri: str) -> None:
    tracked = tracking.send(a_recording("read-back"), uri)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    parent = client.get_run(tracked.run_id)
    assert (parent.info.status, parent.info.start_time, parent.info.end_time) == (
        "FINISHED",
        1_767_322_800_000,
        1_767_323_000_000,
    )
    assert parent.data.metrics == {"gate/score": 0.75}
    assert parent.data.tags["evalhub.run_id"] == "read-back"
    assert parent.data.tags["evalhub.verdict"] == "pass"
    assert {"mlflow.user", "mlflow.source.name", "mlflow.source.type", "mlflow.runName"} <= set(parent.data.tags)
    first, failed, last = children(client, tracked.experiment_id, tracked.run_id)
    assert (first.data.metrics, first.data.params) == ({"acc": 0.5, "acc_stderr": 0.01}, {"seed": "1234"})
    assert (failed.info.status, failed.data.tags["evalhub.reason"]) == ("FAILED", "out of memory")
    assert (last.info.status, last.info.run_name) == ("FINISHED", "002-bench")
    (data,) = first.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("lm/bench", "ab" * 18)


def test_artifacts_are_beside_the_database_whatever_the_working_directory(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tracked = tracking.send(a_recording("artifacts"), uri)
    beside = Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts"
    files = {path.name: path.read_text() for path in (beside / tracked.run_id / "artifacts").iterdir()}
    assert files == {"verdict.json": '{"verdict": "pass"}', "report.md": "# Report\n"}
    assert list(tmp_path.iterdir()) == []


def test_sending_again_adds_nothing(uri: str, client: MlflowClient) -> None:
    first = tracking.send(a_recording("again"), uri)
    assert tracking.send(a_recording("again"), uri) == first
    assert len(client.search_runs([first.experiment_id], "tags.`evalhub.run_id` = 'again'")) == 1
    written = children(client, first.experiment_id, first.run_id)
    assert [run.data.tags["evalhub.task_key"] for run in written] == ["again/0", "again/1", "again/2"]
    assert len(client.get_metric_history(first.run_id, "gate/score")) == 1
    assert len(client.get_metric_history(written[0].info.run_id, "acc")) == 1
    assert len(client.get_run(written[0].info.run_id).inputs.dataset_inputs) == 1


def test_a_step_that_died_half_way_is_completed(uri: str, client: MlflowClient) -> None:
    whole = a_recording("half")
    half = tracking.send(whole.model_copy(update={"children": whole.children[:1]}), uri)
    assert tracking.send(whole, uri).run_id == half.run_id
    assert len(children(client, half.experiment_id, half.run_id)) == 3


def test_the_same_data_set_from_many_writers_at_once_is_one_input_each(uri: str, client: MlflowClient) -> None:
    tracked = tracking.send(a_recording("shared-data", children=24, experiment="shared-data"), uri)
    assert all(run.inputs.dataset_inputs for run in children(client, tracked.experiment_id, tracked.run_id))


def test_another_run_of_the_same_collection_is_another_parent(uri: str) -> None:
    monday, tuesday = tracking.send(a_recording("monday"), uri), tracking.send(a_recording("tuesday"), uri)
    assert monday.experiment_id == tuesday.experiment_id
    assert monday.run_id != tuesday.run_id


def test_metrics_and_tags_beyond_one_batch_all_arrive(uri: str, client: MlflowClient) -> None:
    metrics = {f"m{number}": float(number) for number in range(1100)}
    tags = {f"t{number}": "x" for number in range(150)}
    tracked = tracking.send(a_recording("many", children=0, metrics=metrics, tags=tags), uri)
    run = client.get_run(tracked.run_id)
    assert run.data.metrics == metrics
    assert tags.items() <= run.data.tags.items()


def test_a_deleted_experiment_is_named_with_the_cure(uri: str, client: MlflowClient) -> None:
    tracked = tracking.send(a_recording("gone", experiment="to-delete"), uri)
    client.delete_experiment(tracked.experiment_id)
    with pytest.raises(TrackingUnavailable, match=f"'to-delete' is deleted.*restore.*{tracked.experiment_id}"):
        tracking.send(a_recording("gone", experiment="to-delete"), uri)


def test_a_creation_race_ends_in_the_same_experiment(
    uri: str, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient as Client

    theirs = client.create_experiment("raced", tmp_path.as_uri())
    look = Client.get_experiment_by_name
    answers = iter([None])
    # the experiment appears between the look-up and the creation
    monkeypatch.setattr(Client, "get_experiment_by_name", lambda self, name: next(answers, look(self, name)))
    assert tracking.send(a_recording("raced", experiment="raced"), uri).experiment_id == theirs


@pytest.mark.parametrize(
    "address",
    ["http://someone:secret@127.0.0.1:9/", "sqlite:////proc/nowhere/mlflow.db", "nonsense://x"],
    ids=["refusing", "unwritable", "unknown scheme"],
)
def test_an_mlflow_that_does_not_work_is_tracking_unavailable(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingUnavailable) as caught:
        tracking.send(a_recording("nowhere"), address)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_store_whose_creation_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / ".mlflow.db.part") as half:
        half.execute("CREATE TABLE alembic_version (version_num TEXT)")
    (tmp_path / "mlflow.db").touch()
    half.close()
    assert tracking.send(a_recording("fresh", children=0), f"sqlite:///{tmp_path / 'mlflow.db'}").run_id
    assert not (tmp_path / ".mlflow.db.part").exists()


def send_from_a_process(uri: str, run_id: str, barrier: Any, answers: Any) -> None:
    barrier.wait(120)
    try:
        answers.put(tracking.send(a_recording(run_id), uri).experiment_id)
    except Exception as error:
        answers.put(repr(error))


def test_writers_that_meet_on_a_fresh_store_all_succeed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(3), context.Queue()
    uri = f"sqlite:///{tmp_path / 'fresh.db'}"
    writers = [
        context.Process(target=send_from_a_process, args=(uri, f"w{number}", barrier, answers)) for number in range(3)
    ]
    for writer in writers:
        writer.start()
    experiments = [answers.get(timeout=300) for _ in writers]
    for writer in writers:
        writer.join(60)
    assert experiments == ["1", "1", "1"]


def test_reading_the_module_does_not_import_mlflow() -> None:
    script = "import sys, evalhub_components.aggregate.__main__; sys.exit('mlflow' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", script], env=environment, timeout=60).returncode == 0


def test_a_recording_survives_its_spool_file() -> None:
    recording = a_recording("spooled")
    assert Recording.model_validate(json.loads(json.dumps(recording.as_json()))) == recording
