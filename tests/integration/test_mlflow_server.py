"""MLflow as a cluster has it: a real server, written by the step and read back through its API."""

from __future__ import annotations

import base64
import json
import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlflow_servers import database, free_port, mlflow_server, proxied, silent_server
from registries import write_certificates
from stub_http import Seen
from test_tracking import a_recording, children

from evalhub_components import atomic
from evalhub_components.aggregate.__main__ import main
from evalhub_components.errors import EvalHubError, NotFound, TrackingUnavailable
from evalhub_components.records import tracking
from evalhub_components.records.tracking import finding, spool, tree
from evalhub_components.records.tracking.recording import Recording

pytest.importorskip("mlflow", reason="mlflow is not installed")
# mlflow and what it imports warn of each other
pytestmark = pytest.mark.filterwarnings("ignore")

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

WRITERS = 8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with MLflow's tables."""
    return database(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Iterator[str]:
    """Return the address of a server."""
    with mlflow_server(tmp_path_factory.mktemp("server"), made) as address:
        yield address


@pytest.fixture
def client(server: str) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")


def api(server: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Return what the server's REST API answers, without MLflow's client."""
    content = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"{server}/api/{path}", content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read().decode()
    return text if "mlflow-artifacts/" in path else json.loads(text)


def pairs(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {item["key"]: item["value"] for item in items}


# a whole run


def test_a_run_of_the_command_line_reads_back_from_the_servers_api(
    server: str, cli: Any, model: Any, collection: Callable[..., Path]
) -> None:
    source = collection(("a", {"seed_word": "x"}), ("b", {"exit": 3}), version="1.2")
    endpoint = ["--model-url", model.base_url, "--model-name", "demo-model"]
    done = cli("run", source, "--catalog", cli.catalog, *endpoint, "--mlflow-uri", server, environ={"GIT_COMMIT": "c0"})
    assert done.status == 2, done.err
    directory = cli.run_directory()
    verdict, publication = (atomic.read_json(directory / f"{name}.json") for name in ("verdict", "publication"))
    parent = api(server, f"2.0/mlflow/runs/get?run_id={publication['mlflow_run_id']}")["run"]
    tags = pairs(parent["data"]["tags"])
    assert {
        "evalhub.verdict": "error",
        "evalhub.threshold": "0.5",
        "evalhub.state": verdict["state"],
        "evalhub.collection": "trial@1.2",
        "evalhub.plan_digest": verdict["plan_digest"],
        "evalhub.model_name": "demo-model",
        "evalhub.model_url": model.base_url,
        "evalhub.evidence_digest": publication["evidence_digest"],
        "evalhub.run_id": directory.name,
        "mlflow.source.git.commit": "c0",
    }.items() <= tags.items()
    assert tags["evalhub.fingerprint"].startswith("sha256:")
    assert tags["evalhub.reason"] == verdict["reasons"][0]
    assert "# Evaluation" in tags["mlflow.note.content"]
    # without a verdict the run failed, and says why
    assert parent["info"]["status"] == "FAILED"
    kept = parent["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
    assert json.loads(api(server, f"2.0/mlflow-artifacts/artifacts/{kept}/verdict.json")) == verdict
    assert "# Evaluation" in api(server, f"2.0/mlflow-artifacts/artifacts/{kept}/report.md")
    condition = {"experiment_ids": [parent["info"]["experiment_id"]]}
    condition["filter"] = f"tags.`mlflow.parentRunId` = '{parent['info']['run_id']}'"
    first, failed = sorted(
        api(server, "2.0/mlflow/runs/search", condition)["runs"], key=lambda run: run["info"]["run_name"]
    )
    assert pairs(first["data"]["metrics"])["acc"] == 0.75
    assert pairs(first["data"]["params"])["parameters.seed_word"] == "x"
    assert (first["info"]["status"], failed["info"]["status"]) == ("FINISHED", "FAILED")
    assert "status 3" in pairs(failed["data"]["tags"])["evalhub.reason"]


def test_sending_again_adds_nothing(server: str, client: MlflowClient) -> None:
    first = tracking.send(a_recording("again"), server)
    assert tracking.send(a_recording("again"), server) == first
    written = children(client, first.experiment_id, first.run_id)
    assert [run.data.tags["evalhub.task_key"] for run in written] == ["again/0", "again/1", "again/2"]
    assert [len(run.inputs.dataset_inputs) for run in written] == [1, 1, 1]
    assert len(client.get_metric_history(first.run_id, "gate/score")) == 1
    assert tracking.tags_of(server, "again")["evalhub.verdict"] == "pass"
    with pytest.raises(NotFound, match="has no run with the tag"):
        tracking.tags_of(server, "never")


def test_a_run_is_found_however_many_experiments_there_are(tmp_path: Path, made: Path) -> None:
    from mlflow import MlflowClient

    store = shutil.copy(made, tmp_path / "mlflow.db")
    uri = f"sqlite:///{store}"
    tracked = tracking.send(a_recording("early", experiment="oldest"), uri)
    more = [(f"other {number}", str(tmp_path), "active", 2**42 + number, 2**42 + number) for number in range(2500)]
    columns = "name, artifact_location, lifecycle_stage, creation_time, last_update_time"
    with sqlite3.connect(store) as database:
        database.executemany(f"INSERT INTO experiments ({columns}) VALUES (?, ?, ?, ?, ?)", more)
    assert finding.find(uri, "early").run_id == tracked.run_id
    client = MlflowClient(tracking_uri=uri)
    newest = client.get_experiment_by_name("other 2499")
    assert newest
    client.create_run(newest.experiment_id, tags={"evalhub.run_id": "early"})
    with pytest.raises(NotFound, match="has 2 runs with the tag"):
        finding.find(uri, "early")


def test_a_step_that_died_half_way_is_completed(server: str, client: MlflowClient, impatient: None) -> None:
    with proxied(server) as proxy:

        def die(seen: Seen) -> None:
            if seen.path.endswith("/runs/log-inputs"):
                raise ConnectionResetError

        proxy.before = die
        with pytest.raises(TrackingUnavailable):
            tracking.send(a_recording("half"), proxy.address)
    tracked = tracking.send(a_recording("half"), server)
    assert len(children(client, tracked.experiment_id, tracked.run_id)) == 3
    assert client.get_run(tracked.run_id).info.status == "FINISHED"


def test_everything_hostile_and_large_is_taken(server: str, client: MlflowClient) -> None:
    recording = a_recording(
        "hostile",
        experiment="; drop table -- <script>" + "x" * 400,
        name="n" * 250,
        tags={"mlflow.note.content": "<script>alert(1)</script>" * 320, "evalhub.model_name": "größe 🤖 " * 500},
        metrics={f"m{number}": float(number) for number in range(1500)},
        params={f"p{number}": "é" * 6000 for number in range(100)},
    )
    tracked = tracking.send(recording, server)
    run = client.get_run(tracked.run_id)
    assert (len(run.data.metrics), len(run.data.params)) == (1500, 100)
    assert recording.parent.tags.items() <= run.data.tags.items()


def test_a_deleted_experiment_is_named_with_the_cure(server: str, client: MlflowClient) -> None:
    tracked = tracking.send(a_recording("gone", experiment="to-delete"), server)
    client.delete_experiment(tracked.experiment_id)
    with pytest.raises(TrackingUnavailable, match=f"'to-delete' is deleted.*restore.*{tracked.experiment_id}"):
        tracking.send(a_recording("gone", experiment="to-delete"), server)


# many at once


def send_from_a_process(uri: str, run_id: str, barrier: Any, answers: Any) -> None:
    barrier.wait(120)
    try:
        answers.put(tracking.send(a_recording(run_id, experiment="met"), uri).experiment_id)
    except Exception as error:
        answers.put(repr(error))


def eight_writers(uri: str) -> set[str]:
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(WRITERS), context.Queue()
    writers = [
        context.Process(target=send_from_a_process, args=(uri, f"w{number}", barrier, answers))
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    found = {answers.get(timeout=300) for _ in writers}
    for writer in writers:
        writer.join(60)
    return found


@pytest.mark.parametrize("kind", ["server", "sqlite"])
def test_eight_writers_at_once_on_a_fresh_and_a_warm_store_make_one_experiment_and_no_duplicates(
    kind: str, tmp_path: Path, made: Path
) -> None:
    from mlflow import MlflowClient

    def twice(uri: str) -> None:
        fresh = eight_writers(uri)
        assert len(fresh) == 1, fresh
        assert not next(iter(fresh)).startswith("TrackingUnavailable"), fresh
        # now everything is there: each repeats its step
        assert eight_writers(uri) == fresh
        client = MlflowClient(tracking_uri=uri)
        assert len([item for item in client.search_experiments() if item.name == "met"]) == 1
        runs = client.search_runs([*fresh], max_results=1000)
        keys = [run.data.tags.get("evalhub.run_id") or run.data.tags["evalhub.task_key"] for run in runs]
        assert sorted(keys) == sorted(f"w{n}{end}" for n in range(WRITERS) for end in ("", "/0", "/1", "/2"))

    if kind == "sqlite":
        twice(f"sqlite:///{tmp_path / 'fresh.db'}")
    else:
        with mlflow_server(tmp_path, made) as address:
            twice(address)


# servers that do not work


def test_a_server_that_refuses_a_host_is_named_with_the_cure(tmp_path: Path, made: Path) -> None:
    with mlflow_server(tmp_path, made, "--allowed-hosts", "mlflow.example") as address:
        with pytest.raises(TrackingUnavailable) as caught:
            tracking.send(a_recording("nobody"), address)
        host = address.removeprefix("http://")
        assert f"refuses to be called {host} (start it with --allowed-hosts {host}" in str(caught.value)


def test_a_server_that_refuses_connections_is_named(impatient: None) -> None:
    with pytest.raises(TrackingUnavailable, match="nothing listens there"):
        tracking.send(a_recording("nobody"), f"http://127.0.0.1:{free_port()}")


def test_a_server_that_is_silent_is_given_up(impatient: None) -> None:
    with silent_server() as address, pytest.raises(TrackingUnavailable, match="does not answer"):
        tracking.send(a_recording("nobody"), address)


def test_a_host_that_does_not_exist_is_named(impatient: None) -> None:
    with pytest.raises(TrackingUnavailable, match="there is no such host"):
        tracking.send(a_recording("nobody"), "http://mlflow.invalid:5000")


def test_a_server_that_is_no_mlflow_is_an_error_in_one_line(model: Any) -> None:
    with pytest.raises(TrackingUnavailable) as caught:
        tracking.send(a_recording("nobody"), model.base_url)
    assert "there is no /v1/api/2.0/mlflow" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_slow_but_answers_is_given_up_too(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_PATIENCE", 0.0)
    with pytest.raises(TrackingUnavailable, match=f"MLflow at {server}: is too slow"):
        tracking.send(a_recording("slow"), server)


# credentials


def test_a_token_goes_with_every_request(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "tok-123456")
    with proxied(server) as proxy:
        tracking.send(a_recording("token"), proxy.address)
    assert {seen.headers.get("Authorization") for seen in proxy.seen} == {"Bearer tok-123456"}
    assert any(seen.method == "PUT" for seen in proxy.seen)


def test_a_login_of_a_mounted_secret_goes_with_every_request(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "username").write_text("writer\n")
    (tmp_path / "password").write_text("battery-staple\n")
    monkeypatch.setenv("EVALHUB_MLFLOW_SECRET", str(tmp_path))
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "x")  # so that it is removed again
    with proxied(server) as proxy:
        tracking.send(a_recording("login"), proxy.address)
    login = base64.b64encode(b"writer:battery-staple").decode()
    assert {seen.headers.get("Authorization") for seen in proxy.seen} == {f"Basic {login}"}


def test_a_server_with_a_ca_of_its_own_is_trusted_when_the_ca_is_named(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    certificate_and_key = write_certificates(tmp_path)
    with proxied(server, certificate_and_key) as proxy:
        with pytest.raises(
            TrackingUnavailable, match=r"unknown CA \(name the CA's file in MLFLOW_TRACKING_SERVER_CERT"
        ):
            tracking.send(a_recording("tls"), proxy.address)
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "ca.crt"))
        assert tracking.send(a_recording("tls"), proxy.address).run_id


def test_a_workspace_goes_with_every_request(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    with mlflow_server(tmp_path, made, "--enable-workspaces") as address, proxied(address) as proxy:
        api(address, "3.0/mlflow/workspaces", {"name": "team-a"})
        monkeypatch.setenv("MLFLOW_WORKSPACE", "team-a")
        tracked = tracking.send(a_recording("spaced", experiment="spaced"), proxy.address)
        assert {seen.headers.get("X-MLFLOW-WORKSPACE") for seen in proxy.seen if "server-info" not in seen.path} == {
            "team-a"
        }
        monkeypatch.setenv("MLFLOW_WORKSPACE", "default")
        assert MlflowClient(tracking_uri=address).get_experiment_by_name("spaced") is None
        assert tracked.run_id


@pytest.mark.parametrize(
    ("environ", "user"),
    [
        ({"MLFLOW_TRACKING_TOKEN": "s3cret-t0ken\r\nx"}, ""),
        ({"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "s3cret-t0ken"}, ""),
        ({}, "me:s3cret-t0ken@"),
        ({}, "me:s3cret-t0ken/@x@"),
        ({}, "s3cret-t0ken@"),
    ],
    ids=["a token that is no header", "a refused login", "in the address", "with a slash", "a token in the address"],
)
def test_credentials_are_in_no_message(
    environ: dict[str, str], user: str, impatient: None, monkeypatch: pytest.MonkeyPatch, model: Any
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for address in (model.base_url, f"http://127.0.0.1:{free_port()}"):
        with pytest.raises(TrackingUnavailable) as caught:
            tracking.send(a_recording("nobody"), address.replace("://", f"://{user}"))
        assert "t0ken" not in str(caught.value)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        ("http://me:pw@host:5000/path", "http://host:5000/path"),
        ("https://me:p@ss@host/a@b", "https://host/a@b"),
        ("https://me:p/w@host", "https://host"),
        ("https://host:5000/a@b", "https://host:5000/a@b"),
        ("http://[::1]:5000/a@b", "http://[::1]:5000/a@b"),
        ("postgresql+psycopg2://me:pw@db/mlflow", "postgresql+psycopg2://db/mlflow"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
    ],
)
def test_an_address_is_shown_without_credentials(uri: str, public: str) -> None:
    assert tracking.address(uri) == public


# what waits until MLflow works


@pytest.fixture
def waiting(tmp_path: Path, impatient: None, aggregated: Callable[..., Path]) -> Path:
    """Return the directory of a run whose MLflow did not work."""
    return aggregated("--mlflow-uri", f"http://me:hunter2@127.0.0.1:{free_port()}")


@pytest.fixture
def aggregated(cli: Any, model: Any, collection: Callable[..., Path]) -> Callable[..., Path]:
    """A function that runs two benchmarks, then the aggregate step again with options, and returns the directory."""

    def aggregated(*options: str) -> Path:
        if not cli.run_directories():
            done = cli.run(collection(("a", {}), ("b", {})), model)
            assert done.status == 0, done.err
        path = Path(cli.run_directory())
        header = json.dumps(atomic.read_json(path / "plan.json")["header"])
        given = ["--header", header, "--run", f"@{path / 'run.json'}", "--results", str(path / "benchmarks")]
        given += ["--fingerprint", str(path / "fingerprint.json"), "--output", str(path), *options]
        assert main(given) == 0
        return path

    return aggregated


def test_what_mlflow_did_not_take_is_sent_later(waiting: Path, server: str, client: MlflowClient) -> None:
    assert spool.waiting(waiting)
    before = atomic.read_json(waiting / "publication.json")
    assert "nothing listens there" in before["warnings"][0]
    assert not any(b"hunter2" in path.read_bytes() for path in waiting.rglob("*") if path.is_file())
    published = spool.deliver(waiting, server)
    assert not spool.waiting(waiting)
    assert published.as_json() == atomic.read_json(waiting / "publication.json")
    assert (published.warnings, published.mlflow_tracking_uri) == ([], server)
    assert published.evidence_digest == before["evidence_digest"]
    assert str(published.mlflow_run_id) in (waiting / "report.md").read_text()
    assert "nothing listens there" not in (waiting / "report.md").read_text()
    run = client.get_run(str(published.mlflow_run_id))
    assert run.data.tags["evalhub.verdict"] == "pass"
    assert len(children(client, run.info.experiment_id, run.info.run_id)) == 2
    with pytest.raises(EvalHubError, match="nothing waits there"):
        spool.deliver(waiting, server)


def test_it_goes_where_it_was_to_go_with_credentials_of_the_environment(
    waiting: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied(server) as proxy:
        kept = atomic.read_json(waiting / spool.NAME)
        atomic.write_json(waiting / spool.NAME, {**kept, "tracking_uri": proxy.address})
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
        spool.deliver(waiting)
    assert kept["tracking_uri"].startswith("http://127.0.0.1:")
    assert proxy.seen[0].headers["Authorization"].startswith("Basic ")


def test_while_mlflow_does_not_work_all_stays_as_it_is(waiting: Path) -> None:
    before = {path: path.read_bytes() for path in waiting.iterdir() if path.is_file()}
    with pytest.raises(TrackingUnavailable):
        spool.deliver(waiting)
    assert {path: path.read_bytes() for path in waiting.iterdir() if path.is_file()} == before


def test_a_delivery_that_was_cut_short_is_done_again_without_duplicates(
    waiting: Path, server: str, client: MlflowClient
) -> None:
    kept = (waiting / spool.NAME).read_bytes()
    first = spool.deliver(waiting, server)
    # as a crash leaves it that comes before the last of its steps
    (waiting / spool.NAME).write_bytes(kept)
    assert spool.deliver(waiting, server) == first
    found = client.search_runs([str(first.mlflow_experiment_id)], f"tags.`evalhub.run_id` = '{waiting.name}'")
    assert len(found) == 1


def test_the_aggregate_step_that_works_the_next_time_leaves_nothing_waiting(
    waiting: Path, server: str, aggregated: Callable[..., Path]
) -> None:
    aggregated("--mlflow-uri", server)
    assert not spool.waiting(waiting)
    assert atomic.read_json(waiting / "publication.json")["warnings"] == []


def test_what_waits_is_of_no_use_to_another_verdict(waiting: Path, aggregated: Callable[..., Path]) -> None:
    shutil.rmtree(next(iter(sorted((waiting / "benchmarks").iterdir()))))
    aggregated()
    assert not spool.waiting(waiting)


# the tree that Kubeflow Pipelines makes


class Pipeline:
    """What KFP leaves in MLflow: a run for the pipeline, and one for each task below it."""

    def __init__(self, client: MlflowClient, experiment: str) -> None:
        self.client = client
        found = client.get_experiment_by_name(experiment)
        self.experiment_id = found.experiment_id if found else client.create_experiment(experiment)
        self.root = str(client.create_run(self.experiment_id, run_name="my-run").info.run_id)

    def task(self, name: str, below: str | None = None, *, done: bool = True) -> str:
        """Make the run of a task as the driver does, and end it as the launcher does."""
        tags = {"mlflow.parentRunId": below or self.root}
        run_id = str(self.client.create_run(self.experiment_id, tags=tags, run_name=name).info.run_id)
        if done:
            self.client.log_param(run_id, "num_examples", "0")
            self.client.log_param(run_id, "model_name", '"demo-model"')
            self.client.log_metric(run_id, "acc", 0.5, timestamp=0)
            self.client.set_terminated(run_id)
        return run_id

    def run(self, run_id: str) -> Run:
        return self.client.get_run(run_id)

    def below(self, run_id: str) -> list[Run]:
        return self.client.search_runs([self.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'")

    def count(self) -> int:
        return len(self.client.search_runs([self.experiment_id]))


@pytest.fixture
def pipeline(client: MlflowClient, request: pytest.FixtureRequest) -> Pipeline:
    return Pipeline(client, request.node.name)


def joining(run_id: str, task_run_id: str, tasks: list[str | None]) -> Recording:
    """Return a recording that joins the tree of `task_run_id`; `tasks` are the runs of its benchmarks' tasks."""
    whole = a_recording(run_id, children=len(tasks), experiment="never-made")
    below = [
        child.model_copy(update={"task_run_id": task, "params": {"seed": "1", "num_examples": "8"}})
        for child, task in zip(whole.children, tasks, strict=True)
    ]
    return whole.model_copy(update={"task_run_id": task_run_id, "children": below})


def test_an_evaluation_in_a_pipeline_goes_into_the_runs_that_kfp_made(server: str, pipeline: Pipeline) -> None:
    pipeline.task("fingerprint")
    own = pipeline.task("aggregate", done=False)
    # by what the task wrote down, by its name when the id is of a cached one, and below a pipeline in the pipeline
    first, second = pipeline.task("benchmark-000-bench"), pipeline.task("benchmark-001-bench")
    group = pipeline.task("benchmarks-0", done=False)
    third = pipeline.task("benchmark-002-bench", below=group)
    before = pipeline.count()
    recording = joining("piped", own, [first, "0" * 32, third])
    for _ in range(2):
        tracked = tracking.send(recording, server)
        assert tracked == (server, pipeline.experiment_id, pipeline.root, None)
    assert pipeline.count() == before
    assert pipeline.client.get_experiment_by_name("never-made") is None
    root = pipeline.run(pipeline.root)
    assert (root.data.tags["evalhub.run_id"], root.data.metrics) == ("piped", {"gate/score": 0.75})
    assert {file.path for file in pipeline.client.list_artifacts(pipeline.root)} == {"report.md", "verdict.json"}
    for run_id, key, score in ((first, "piped/0", 0.5), (second, "piped/1", None), (third, "piped/2", 0.7)):
        run = pipeline.run(run_id)
        assert run.data.tags["evalhub.task_key"] == key
        # its inputs have been logged, and what has their names cannot replace them
        ours = {"seed": "1", "evalhub.num_examples": "8"}
        assert run.data.params == {"num_examples": "0", "model_name": '"demo-model"', **ours}
        assert len(run.inputs.dataset_inputs) == 1
        if score is not None:
            assert run.data.metrics["acc"] == score
    assert tracking.tags_of(server, "piped")["evalhub.verdict"] == "pass"


def test_runs_that_kfp_made_are_ended_by_kfp(server: str, pipeline: Pipeline) -> None:
    own, benchmark = pipeline.task("aggregate", done=False), pipeline.task("benchmark-000-bench", done=False)
    tracking.send(joining("running", own, [benchmark]), server)
    assert {pipeline.run(run_id).info.status for run_id in (pipeline.root, own, benchmark)} == {"RUNNING"}


def test_benchmarks_that_share_a_task_are_runs_below_that_of_the_task(server: str, pipeline: Pipeline) -> None:
    own, batch = pipeline.task("aggregate", done=False), pipeline.task("benchmarks-obedient-000")
    for _ in range(2):
        tracking.send(joining("batched", own, [batch, batch]), server)
    below = pipeline.below(batch)
    assert sorted(run.data.tags["evalhub.task_key"] for run in below) == ["batched/0", "batched/1"]
    assert {run.info.status for run in below} == {"FINISHED", "FAILED"}
    assert pipeline.count() == 5


def test_a_benchmark_without_a_run_of_its_own_gets_one_below_the_pipelines(server: str, pipeline: Pipeline) -> None:
    own = pipeline.task("aggregate", done=False)
    elsewhere = Pipeline(pipeline.client, "elsewhere")
    stranger = elsewhere.task("benchmark-000-bench")
    # a stranger's run, the step's own, none at all
    for _ in range(2):
        tracking.send(joining("alone", own, [stranger, own, None]), server)
    keys = {run.data.tags.get("evalhub.task_key") for run in pipeline.below(pipeline.root)}
    assert keys == {None, "alone/0", "alone/1", "alone/2"}
    assert pipeline.count() == 5
    assert "evalhub.task_key" not in elsewhere.run(stranger).data.tags


@pytest.mark.parametrize("what", ["own run", "its parent", "no parent"])
def test_without_kfps_tree_an_evaluation_has_its_own_and_says_so(what: str, server: str, pipeline: Pipeline) -> None:
    own = pipeline.task("aggregate", done=False)
    if what == "own run":
        pipeline.client.delete_run(own)
    elif what == "its parent":
        pipeline.client.delete_run(pipeline.root)
    else:
        own = pipeline.root
    recording = joining(f"without-{what[0]}", own, [None])
    tracked = tracking.send(recording.model_copy(update={"experiment": "own"}), server)
    assert "is not there, so this evaluation has a tree of its own" in str(tracked.warning)
    assert tracked.experiment_id != pipeline.experiment_id
    assert len(Pipeline(pipeline.client, "own").below(tracked.run_id)) == 1


TELLER = """\
import os
from evalhub_components.adapter import EvaluationResult, FrameworkAdapter, JobResults


class Teller(FrameworkAdapter):
    def run_benchmark_job(self, config, callbacks):
        (config.raw_dir / "environ.txt").write_text(repr(dict(os.environ)))
        return JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=[EvaluationResult("acc", 0.75)],
            num_examples_evaluated=4,
            environment={"mlflow_run_id": "f" * 32},
        )
"""


@pytest.mark.parametrize("given", ["a" * 32, None])
def test_a_benchmark_in_a_pipeline_writes_down_the_run_it_was_given_and_no_login(
    tmp_path: Path, given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "adapter.py").write_text(TELLER)
    task = {"index": 0, "slug": "000-a", "provider_id": "teller", "benchmark_id": "a", "timeout": 60}
    task["primary_score"] = {"metric": "acc"}
    monkeypatch.setenv("EVALHUB_PROVIDER_DIR", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "s3cret-t0ken")
    if given:
        monkeypatch.setenv("MLFLOW_RUN_ID", given)
    command = [sys.executable, "-m", "evalhub_components.benchmark", "--task", json.dumps([task])]
    command += ["--model-url", "http://m/v1", "--model-name", "m", "--results", str(tmp_path / "results")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results" / "000-a"
    assert atomic.read_json(folder / "results.json")["status"] == "completed"
    assert atomic.read_json(folder / "environment.json")["mlflow_run_id"] == given
    said = (folder / "raw" / "environ.txt").read_text()
    assert "MLFLOW_TRACKING_TOKEN': '***'" in said


def kfp_step(path: Path, *options: str) -> list[str]:
    """Return the arguments of the aggregate step as a pipeline gives them."""
    header = json.dumps(atomic.read_json(path / "plan.json")["header"])
    given = ["--header", header, "--run-id", "kfp-7", "--model-url", "http://model/v1", "--model-name", "m"]
    given += ["--fingerprint", str(path / "fingerprint.json"), "--results", str(path / "benchmarks")]
    return [*given, *options]


def test_the_step_in_a_pipeline_joins_kfps_tree_whatever_it_was_told_of_mlflow(
    server: str, pipeline: Pipeline, aggregated: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = aggregated()
    own = pipeline.task("aggregate", done=False)
    tasks = [pipeline.task(name) for name in ("benchmark-0", "benchmark-1")]
    for task, folder in zip(tasks, sorted((path / "benchmarks").iterdir()), strict=True):
        facts = atomic.read_json(folder / "environment.json")
        assert facts["mlflow_run_id"] is None  # nobody but KFP gives a task one
        atomic.write_json(folder / "environment.json", {**facts, "mlflow_run_id": task})
    monkeypatch.setenv("MLFLOW_RUN_ID", own)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    for uri in ("", f"{server}/"):
        assert main(kfp_step(path, "--mlflow-uri", uri, "--report-text", str(tmp_path / "report.md"))) == 0
    tags = pipeline.run(pipeline.root).data.tags
    assert (tags["evalhub.run_id"], tags["kfp.pipeline_run_id"]) == ("kfp-7", "kfp-7")
    assert [pipeline.run(task).data.tags["evalhub.benchmark_id"] for task in tasks] == ["a", "b"]
    assert pipeline.count() == 4
    assert pipeline.root in (tmp_path / "report.md").read_text()


def test_a_run_on_this_machine_never_joins_a_run_that_the_environment_names(
    server: str, pipeline: Pipeline, aggregated: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = pipeline.task("train", done=False)
    monkeypatch.setenv("MLFLOW_RUN_ID", own)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    aggregated("--mlflow-uri", server)
    assert "evalhub.run_id" not in pipeline.run(pipeline.root).data.tags
    assert pipeline.count() == 2


def test_the_step_in_a_pipeline_says_what_is_lost(
    aggregated: Callable[..., Path], tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = aggregated()
    report = tmp_path / "report.md"
    nobody = f"http://127.0.0.1:{free_port()}"
    assert main(kfp_step(path, "--mlflow-uri", nobody, "--report-text", str(report))) == 0
    assert "nothing listens there" in report.read_text()
    assert spool.NAME not in report.read_text()
    assert main(kfp_step(path, "--mlflow-uri", nobody, "--mlflow-required")) == 2
