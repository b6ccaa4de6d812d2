"""What people do with evaluations on Kubeflow, done on the cluster that is there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cluster_evaluations
from cluster_evaluations import entry

from evalhub_pipelines.client.runs import run_state


def held(cluster: Any, name: str) -> Path:
    """An evaluation with a benchmark that answers at once, and one that takes long enough to be interrupted."""
    until = {"until": time.time() + cluster.settings.hold}
    benchmarks = [entry("answers"), entry("held", parameters=until)]
    return cluster.evaluation(name, *benchmarks, execution={"retries": 0})  # type: ignore[no-any-return]


def wait_for(cluster: Any, run_id: str) -> dict[str, str]:
    """Wait until the held benchmark runs and the other is done; return the pods of both by benchmark."""

    def is_held() -> dict[str, str] | None:
        state = run_state.read(cluster.connection, run_id)
        assert not state.is_over, state
        found = {str(step.benchmark_id): step for step in state.benchmarks if step.pods}
        too_short = "held" in found and found["held"].state == "completed"
        assert not too_short, f"it began after {cluster.settings.hold} s: raise EVALHUB_CLUSTER_HOLD"
        if {name: step.state for name, step in found.items()} != {"answers": "completed", "held": "running"}:
            return None
        pods = {name: step.pods[-1] for name, step in found.items()}
        return pods if cluster.namespace.is_running(pods["held"]) else None

    return dict(cluster.until(is_held, f"the held benchmark of run {run_id} runs"))


def test_a_namespace_from_nothing_comes_to_a_verified_verdict(cluster: Any) -> None:
    if cluster.namespace.is_own:
        assert {"ServiceAccount/evalhub-runner", "Role/evalhub-runner"} <= set(cluster.applied)
    benchmarks = [entry("answers")]
    if cluster_evaluations.has_real_provider(cluster.settings.images):
        benchmarks.append(cluster_evaluations.real_entry())
    evaluation = cluster.evaluation("verdict", *benchmarks)
    done = cluster(*cluster.submit(evaluation, "--wait", "--key", cluster.key, "--format", "json", *cluster.reading))
    assert done.status == 0, done.err
    record = done.json["record"]
    assert (done.json["state"], done.json["verdict"], record["source"]) == ("completed", "pass", "evidence")
    assert record["is_signed"]
    verified = cluster.verify(record["evidence"])
    assert verified.status == 0, verified.out
    results = cluster("results", done.json["run_id"], "--format", "json", *results_options(cluster))
    assert results.status == 0, results.err
    assert [each["benchmark_id"] for each in results.json] == [each["id"] for each in benchmarks]
    assert {each["oci_artifact"]["digest"] for each in results.json} == {record["evidence"].rpartition("@")[2]}


def test_a_red_gate_is_exit_status_1_and_its_evidence_says_so(cluster: Any) -> None:
    evaluation = cluster.evaluation("red", entry("answers"), entry("silence", required=True))
    done = cluster(*cluster.submit(evaluation, "--wait", "--format", "json", *cluster.reading))
    assert done.status == 1, done.err
    assert (done.json["state"], done.json["verdict"]) == ("failed", "fail")
    verified = cluster.verify(done.json["record"]["evidence"])
    assert verified.status == 1
    failed = [check["check"] for check in verified.json["checks"] if check["state"] == "failed"]
    assert failed == ["pass"], verified.out


def test_a_cancelled_run_ends_whoever_waits_with_exit_status_2(cluster: Any) -> None:
    name = f"{cluster.prefix} to be cancelled"
    waiting = cluster.start(*cluster.submit(held(cluster, "cancelled"), "--wait", "--name", name, *cluster.reading))

    def listed() -> Any:
        assert waiting.poll() is None, waiting.communicate()
        return cluster("list", "--name", name, "--format", "json").json

    (run,) = cluster.until(listed, "the run is listed")
    wait_for(cluster, run["run_id"])
    done = cluster("cancel", run["run_id"])
    assert done.status == 0, done.err
    ended = cluster.ended(waiting)
    assert ended.status == 2, ended
    assert "cancelled" in ended.err
    assert cluster.status(run["run_id"])["state"] == "cancelled"


def test_after_a_killed_pod_a_retry_runs_only_what_failed(cluster: Any) -> None:
    submitted = cluster(*cluster.submit(held(cluster, "killed"), "--detach"))
    assert submitted.status == 0, submitted.err
    run_id = submitted.json["run_id"]
    pods = wait_for(cluster, run_id)
    before = {name: cluster.namespace.pod_uid(pod) for name, pod in pods.items()}
    cluster.namespace.core.delete_namespaced_pod(pods["held"], cluster.namespace.name, grace_period_seconds=0)
    watched = cluster("status", run_id, "--watch", *cluster.reading)
    assert watched.status == 2, watched
    state = cluster.status(run_id)
    assert {each["benchmark_id"]: each["state"] for each in state["benchmarks"]} == {
        "answers": "completed",
        "held": "failed",
    }
    assert state["verdict"] is None
    retried = cluster("retry", run_id)
    assert retried.status == 0, retried.err
    assert "cluster-probe / held" in retried.out
    assert "cluster-probe / answers" not in retried.out
    again = cluster("status", run_id, "--watch", "--key", cluster.key, "--format", "json", *cluster.reading)
    assert again.status == 0, again.err
    assert again.json["verdict"] == "pass"
    after = {
        str(step.benchmark_id): cluster.namespace.pod_uid(step.pods[-1])
        for step in run_state.read(cluster.connection, run_id).benchmarks
    }
    assert after["answers"] == before["answers"], "what had succeeded ran again"
    assert after["held"] != before["held"]
    assert cluster.verify(again.json["record"]["evidence"]).status == 0


def results_options(cluster: Any) -> list[str]:
    return ["--evidence", cluster.settings.registry_here, *cluster.checking]
