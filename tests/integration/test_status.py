"""What a run on Kubeflow Pipelines is doing, benchmark by benchmark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kfp_server_api
import pytest
from kfp_api import KfpApi, kfp_api
from recorded_runs import LARGE, SMALL, benchmarks, end, pipeline, start, start_version

from evalhub_components.errors import NotFound
from evalhub_pipelines.client.connection import Connection
from evalhub_pipelines.client.failures import NotTheApi
from evalhub_pipelines.client.runs import run_state
from evalhub_pipelines.client.runs.run_state import RunState

FIRST, SECOND, *_ = benchmarks()


@pytest.fixture
def api() -> Iterator[KfpApi]:
    with kfp_api() as api:
        yield api
        assert api.invalid == []


def to(api: KfpApi, **changes: Any) -> Connection:
    return Connection(**{"endpoint": api.endpoint, "origin": "the test", "timeout": 30, **changes})


def read(api: KfpApi, run_id: str) -> RunState:
    return run_state.read(to(api), run_id)


def states(state: RunState) -> dict[str, str]:
    return {step.title: step.state for step in state.steps}


@pytest.mark.parametrize(
    ("kfp_state", "state", "is_over"),
    [
        ("RUNTIME_STATE_UNSPECIFIED", "pending", False),
        ("PENDING", "pending", False),
        ("RUNNING", "running", False),
        ("PAUSED", "running", False),
        ("CANCELING", "running", False),
        ("SUCCEEDED", "completed", True),
        ("FAILED", "failed", True),
        ("CANCELED", "cancelled", True),
        ("SKIPPED", "cancelled", True),
    ],
)
def test_a_run_has_a_state_in_our_words(api: KfpApi, kfp_state: str, state: str, is_over: bool) -> None:
    run_id = start(api)
    api.advance(run_id, kfp_state)
    found = read(api, run_id)
    assert (found.state, found.is_over, found.kfp_state) == (state, is_over, kfp_state)
    assert (found.finished_at is not None) == is_over


@pytest.mark.parametrize(
    ("kfp_state", "run", "state"),
    [
        ("PENDING", "RUNNING", "pending"),
        ("RUNNING", "RUNNING", "running"),
        ("SUCCEEDED", "RUNNING", "completed"),
        ("FAILED", "RUNNING", "failed"),
        ("OMITTED", "RUNNING", "pending"),
        ("OMITTED", "FAILED", "cancelled"),
        ("RUNNING", "FAILED", "cancelled"),
        ("FAILED", "FAILED", "failed"),
        ("FAILED", "CANCELED", "cancelled"),
        ("SUCCEEDED", "CANCELED", "completed"),
    ],
)
def test_a_benchmark_has_a_state_in_our_words(api: KfpApi, kfp_state: str, run: str, state: str) -> None:
    run_id = start(api)
    api.advance(run_id, run, {FIRST.task: kfp_state})
    assert read(api, run_id).benchmarks[0].state == state


def test_every_benchmark_is_told_before_anything_started(api: KfpApi) -> None:
    found = read(api, start(api))
    assert [step.title for step in found.benchmarks] == [title for named in benchmarks() for title in named.titles]
    assert {step.state for step in found.steps} == {"pending"}
    assert [step.kind for step in found.steps if step.index is None] == ["fingerprint", "aggregate", "gate"]


def test_a_task_is_pending_until_its_executor_starts(api: KfpApi) -> None:
    run_id = start(api)
    api.advance(run_id, "RUNNING", {FIRST.task: "PENDING"}, pods=False)
    found = read(api, run_id).benchmarks[0]
    assert (found.state, found.pods) == ("pending", ())


def test_benchmarks_in_groups_are_told_one_by_one(api: KfpApi) -> None:
    run_id, named = start(api, LARGE), benchmarks(LARGE)
    assert len(named) == 188
    ended = {named[0].task: "SUCCEEDED", named[187].task: "FAILED", "benchmarks-0.collect": "SUCCEEDED"}
    api.advance(run_id, "RUNNING", ended)
    assert [step.state for step in read(api, run_id).steps if step.kind == "collect"] == ["completed", *["pending"] * 7]
    api.advance(run_id, "RUNNING", {**ended, "benchmarks-1.collect": "FAILED", "benchmarks-2.collect": "RUNNING"})
    found = read(api, run_id)
    assert [step.index for step in found.benchmarks] == list(range(188))
    assert (found.benchmarks[0].state, found.benchmarks[187].state) == ("completed", "failed")
    assert {step.state for step in found.benchmarks[1:187]} == {"pending"}
    collected = {step.path: step.state for step in found.steps if step.kind == "collect"}
    assert [collected[f"benchmarks-{n}.collect"] for n in range(4)] == ["completed", "failed", "running", "pending"]


def test_benchmarks_of_a_batch_share_the_state_of_their_task(api: KfpApi) -> None:
    spec = json.loads(json.dumps(pipeline(SMALL)))
    task = spec["pipeline_spec"]["root"]["dag"]["tasks"][FIRST.task]["inputs"]["parameters"]["task"]["runtimeValue"]
    entries = json.loads(task["constant"])
    entries.append(entries[0] | {"index": 99, "benchmark_id": "another", "slug": "099-another"})
    task["constant"] = json.dumps(entries)
    made = api.create_pipeline({"name": "batched"}, "")
    run_id = start_version(api, api.create_version(made["pipeline_id"], {"name": "v1", "pipeline_spec": spec}))
    api.advance(run_id, "RUNNING", {FIRST.task: "RUNNING"})
    found = [step for step in read(api, run_id).benchmarks if step.name == FIRST.task]
    assert [(step.index, step.benchmark_id, step.state) for step in found] == [
        (0, entries[0]["benchmark_id"], "running"),
        (99, "another", "running"),
    ]


def test_a_retried_task_runs_and_names_its_pods(api: KfpApi) -> None:
    run_id = start(api)
    api.advance(run_id, "RUNNING", {FIRST.task: "RUNNING"}, failed_attempts={FIRST.task: 2})
    details = api.runs[run_id]["run_details"]["task_details"]
    (failed,) = [node["executor_detail"]["failed_main_jobs"] for node in details if "executor_detail" in node]
    found = read(api, run_id).benchmarks[0]
    assert found.state == "running"
    assert (len(found.pods), found.pods[:2]) == (3, tuple(failed))
    api.advance(run_id, "FAILED", {FIRST.task: "FAILED"}, failed_attempts={FIRST.task: 2})
    found = read(api, run_id).benchmarks[0]
    assert (found.state, found.error) == ("failed", "failed 3 times")


def test_a_task_that_could_not_be_prepared_failed(api: KfpApi) -> None:
    run_id = start(api)
    api.advance(run_id, "FAILED", {FIRST.task: "OMITTED"})
    for node in api.runs[run_id]["run_details"]["task_details"]:
        if node["display_name"] == f"{FIRST.task}-driver":
            node["state"] = "FAILED"
    found = read(api, run_id).benchmarks[0]
    assert (found.state, found.error) == ("failed", "it could not be prepared: its driver failed")
    assert found.pods[0].startswith(f"{read(api, run_id).workflow}-system-container-driver-")


def test_a_cancelled_run_ends_as_a_failed_one_and_is_called_cancelled(api: KfpApi) -> None:
    run_id = start(api)
    api.advance(run_id, "RUNNING", {FIRST.task: "RUNNING"})
    to(api).runs.run_service_terminate_run(run_id)
    assert (read(api, run_id).state, read(api, run_id).is_cancelling) == ("running", True)
    api.advance(run_id, "FAILED", {FIRST.task: "FAILED", SECOND.task: "OMITTED"})
    found = read(api, run_id)
    assert (found.state, found.kfp_state) == ("cancelled", "FAILED")
    assert [step.state for step in found.benchmarks[:2]] == ["cancelled", "cancelled"]
    # a run that was retried after it was cancelled may fail in its own right
    api.advance(run_id, "RUNNING")
    api.advance(run_id, "FAILED", {FIRST.task: "FAILED"})
    assert read(api, run_id).state == "failed"


def test_a_run_of_a_pipeline_that_is_gone_has_the_tasks_that_the_server_names(api: KfpApi, cli: Any) -> None:
    run_id = start(api)
    api.advance(run_id, "RUNNING", {"fingerprint": "SUCCEEDED", FIRST.task: "RUNNING"})
    api.versions.clear()
    assert states(read(api, run_id)) == {"fingerprint": "completed", FIRST.task: "running"}
    done = cli("status", run_id, "--endpoint", api.endpoint)
    assert done.status == 0, done.err
    assert [line.split() for line in done.out.splitlines() if FIRST.task in line] == [[FIRST.task, "running"]]


def test_a_list_tells_no_tasks() -> None:
    run = kfp_server_api.V2beta1Run(run_id="r", display_name="n", state="RUNNING")
    assert run_state.of(run).steps == ()


def test_a_run_that_is_not_there_is_named(api: KfpApi) -> None:
    with pytest.raises(NotFound, match="run nothing: does not exist"):
        read(api, "nothing")


def test_parameters_are_those_of_the_run_over_those_of_the_pipeline(api: KfpApi) -> None:
    found = read(api, start(api, oci_host="quay.io")).parameters
    assert (found["oci_host"], found["mlflow_uri"], found["model_name"]) == ("quay.io", "", "demo-model")


def test_the_command_prints_benchmarks_and_links(api: KfpApi, cli: Any) -> None:
    run_id = start(api, mlflow_uri="https://me:hidden-word@mlflow.example")
    api.advance(run_id, "RUNNING", {"fingerprint": "SUCCEEDED", FIRST.task: "RUNNING"})
    done = cli("status", run_id, "--endpoint", api.endpoint)
    assert done.status == 0, done.err
    assert f"mlflow    https://mlflow.example, the run with the tag evalhub.run_id = {run_id}" in done.out
    assert "hidden-word" not in done.out + done.err
    assert f"{api.endpoint}/#/runs/details/{run_id}" in done.out
    assert [line.split()[-1] for line in done.out.splitlines() if FIRST.titles[0] in line] == ["running"]
    assert "verdict" not in done.out


def test_without_a_run_the_newest_is_told_in_json(api: KfpApi, cli: Any) -> None:
    start(api)
    run_id = start(api)
    done = cli("status", "--endpoint", api.endpoint, "--format", "json")
    assert (done.status, done.json["run_id"], done.json["state"]) == (0, run_id, "pending")
    assert (done.json["verdict"], done.json["verdict_problem"]) == (None, None)
    assert [found["index"] for found in done.json["benchmarks"]] == list(range(len(done.json["benchmarks"])))


def test_the_newest_is_that_of_the_namespace(cli: Any) -> None:
    with kfp_api(multi_user=True, users={"t": {"mine"}}) as api:
        api.create_experiment({"display_name": "e"}, "mine")
        api.create_experiment({"display_name": "e"}, "theirs")
        run_id = start(api, namespace="mine")
        start(api, namespace="theirs")
        secret = {"KF_PIPELINES_TOKEN": "t"}
        done = cli("status", "--endpoint", api.endpoint, "-n", "mine", "--format", "json", environ=secret)
        assert (done.status, done.json["run_id"]) == (0, run_id), done.err
        refused = cli("status", "--endpoint", api.endpoint, "-n", "theirs", environ=secret)
        assert refused.status == 2
        assert "you may not do this in namespace theirs" in refused.err
        assert api.invalid == []


def test_no_run_at_all_is_said(api: KfpApi, cli: Any) -> None:
    done = cli("status", "--endpoint", api.endpoint)
    assert (done.status, done.out) == (2, "")
    assert "there is no run" in done.err


def test_a_run_without_a_record_is_told_with_the_reason(api: KfpApi, cli: Any) -> None:
    run_id = start(api)
    end(api, run_id)
    done = cli("status", run_id, "--endpoint", api.endpoint)
    assert done.status == 0, done.err
    assert "verdict   unknown" in done.out
    assert "oci_host and oci_repository are empty" in done.out


@pytest.mark.parametrize("arguments", [["status"], ["status", "--watch"], ["logs"], ["cancel"], ["results"]])
def test_an_empty_id_is_not_the_newest_run(api: KfpApi, cli: Any, arguments: list[str]) -> None:
    end(api, start(api))
    command, *options = arguments
    done = cli(command, "", *options, "--endpoint", api.endpoint)
    assert (done.status, done.out) == (2, "")
    assert "the id of the run is empty" in done.err


def test_another_run_than_the_one_that_was_asked_for_is_no_answer(api: KfpApi) -> None:
    run_id, other = start(api), start(api)
    api.runs[run_id] = api.runs[other]
    with pytest.raises(NotTheApi, match=f"run {run_id}: .* answers with another run"):
        read(api, run_id)


def test_reports_are_for_those_who_wait(api: KfpApi, cli: Any, tmp_path: Path) -> None:
    done = cli("status", start(api), "--endpoint", api.endpoint, "--report", f"junit={tmp_path / 'junit.xml'}")
    assert done.status == 2
    assert "--report and --timeout are for --watch" in done.err
