"""`evalhub-kfp list`, `cancel`, `retry` and `delete` against a server that reads and answers as Kubeflow Pipelines."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_pipelines.cli import runs as commands
from evalhub_pipelines.client.failures import Refused, Unavailable
from evalhub_pipelines.client.runs import run_actions, run_list

sys.path.insert(0, str(Path(__file__).parent))
from kfp_api import KfpApi, kfp_api, refuses
from kfp_runs import FIRST, end, run, start, to
from stub_http import drops

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(autouse=True)
def nothing_of_mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No profile of a developer's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def api() -> Iterator[KfpApi]:
    with kfp_api() as api:
        yield api
    assert api.invalid == []


def listed(api: KfpApi, *arguments: object) -> list[Any]:
    done = run(api, commands.list_runs, *arguments, "--format", "json")
    assert (done.status, done.error) == (0, "")
    return list(json.loads(done.out[: done.out.rindex("]") + 1]))


def names(api: KfpApi, *arguments: object) -> list[str]:
    return [each["name"] for each in listed(api, *arguments)]


def pages(api: KfpApi) -> int:
    return len(api.asked("GET", "/runs$"))


# list


def test_runs_are_listed_the_newest_first_with_what_is_known_of_them(api: KfpApi) -> None:
    start(api, "elsewhere")
    said = {"collection": "quickstart-v1", "version": "1", "model": "granite", "owner": "ada", "git_commit": "c0ffee"}
    run_id = start(api, "nightly", **said, tags=("release", "night"))
    end(api, run_id)
    first, second = listed(api)
    (experiment,) = api.experiments
    assert first == {
        "run_id": run_id,
        "name": "nightly",
        "state": "completed",
        "kfp_state": "SUCCEEDED",
        "collection": "quickstart-v1",
        "collection_version": "1",
        "model": "granite",
        "owner": "ada",
        "tags": ["release", "night"],
        "git_commit": "c0ffee",
        "experiment_id": experiment,
        "recurring_run_id": None,
        "created_at": api.runs[run_id]["created_at"],
        "finished_at": api.runs[run_id]["finished_at"],
        "dashboard": f"{api.endpoint}/#/runs/details/{run_id}",
    }
    assert (second["name"], second["collection"], second["tags"], second["finished_at"]) == (
        "elsewhere",
        None,
        [],
        None,
    )
    assert second["model"] == "granite"  # of its inputs: its description says nothing


def test_the_table_shows_the_whole_id_of_a_run(api: KfpApi) -> None:
    run_id = start(api, "nightly", collection="quickstart-v1", owner="ada")
    done = run(api, commands.list_runs)
    header, line = done.out.splitlines()
    assert header.split() == ["run", "name", "state", "created", "collection", "owner"]
    assert line.split()[:3] == [run_id, "nightly", "pending"]
    assert line.split()[-2:] == ["quickstart-v1", "ada"]


def test_nothing_to_list_is_no_error(api: KfpApi) -> None:
    assert listed(api) == []
    assert run(api, commands.list_runs).status == 0


STATES = {
    "pending": ["waiting"],
    "running": ["stopping", "working"],
    "completed": ["green"],
    "failed": ["red"],
    "cancelled": ["ended", "stopped"],
}


@pytest.mark.parametrize("state", STATES)
def test_runs_of_a_state_of_evalhubs(api: KfpApi, state: str) -> None:
    found = {name: start(api, name) for name in ("waiting", "working", "stopping", "green", "red", "stopped", "ended")}
    for name, kfp_state in {"working": "RUNNING", "stopping": "CANCELING", "green": "SUCCEEDED"}.items():
        api.advance(found[name], kfp_state)
    api.advance(found["red"], "FAILED")
    api.advance(found["stopped"], "CANCELED")
    api.advance(found["ended"], "CANCELING")
    api.advance(found["ended"], "FAILED")  # what Argo says of a run that was cancelled
    assert sorted(names(api, "--state", state)) == STATES[state]


def test_partially_failed_is_a_word_for_verdicts(api: KfpApi) -> None:
    done = run(api, commands.list_runs, "--state", "partially_failed")
    assert done.status == 2
    assert "a run of which a part failed is failed" in done.error
    assert not api.seen


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--name", "night"], ["nightly 2", "nightly"]),
        (["--name", "100%"], ["100% sure"]),
        (["--owner", "corp\\eve_l"], ["of a domain"]),
        (["--tag", "release"], ["nightly"]),
        (["--tag", "two  words \U0001f680"], ["nightly 2"]),
        (["--tag", "rel"], []),
        (["--owner", "ada"], ["100% sure", "nightly"]),
        (["--owner", "a"], []),
        (["--owner", "ada", "--tag", "release"], ["nightly"]),
        (["--name", "nightly", "--owner", "bob"], ["nightly 2"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_runs_are_found_by_what_is_known_of_them(api: KfpApi, arguments: list[str], expected: list[str]) -> None:
    start(api, "nightly", owner="ada", tags=("release",))
    start(api, "nightly 2", owner="bob", tags=("release-candidate", "two  words \U0001f680"))
    start(api, "100% sure", owner="ada")
    start(api, "of a domain", owner="corp\\eve_l")
    start(api, "other", description="not a tag: release\u2028owner: adam")
    assert names(api, *arguments) == expected


def test_the_server_leaves_out_what_it_can(api: KfpApi) -> None:
    for number in range(30):
        start(api, f"other {number}", owner="bob")
    start(api, "nightly", owner="ada")
    assert names(api, "--owner", "ada", "--limit", 1) == ["nightly"]
    (asked,) = api.asked("GET", "/runs$")
    assert {predicate["key"] for predicate in json.loads(asked.query["filter"])["predicates"]} == {
        "storage_state",
        "description",
    }


def test_archived_runs_are_left_out(api: KfpApi) -> None:
    run_id = start(api, "old")
    start(api, "new")
    to(api).runs.run_service_archive_run(run_id)
    assert names(api) == ["new"]


def test_runs_of_an_experiment_by_its_name_or_id(api: KfpApi) -> None:
    start(api, "elsewhere")
    experiments = to(api).experiments
    found = experiments.experiment_service_create_experiment(experiment={"display_name": "release-gate"})
    start(api, "nightly", experiment_id=found.experiment_id)
    assert names(api, "--experiment", "release-gate") == ["nightly"]
    assert names(api, "--experiment", found.experiment_id) == ["nightly"]
    done = run(api, commands.list_runs, "--experiment", "Release-Gate")
    assert done.status == 2
    assert "experiment 'Release-Gate': there is none of that name" in done.error
    assert len(api.experiments) == 2


def test_runs_since_a_date(api: KfpApi) -> None:
    start(api, "old")
    start(api, "new")
    moment = api.runs[list(api.runs)[1]]["created_at"]
    assert names(api, "--since", moment) == ["new"]
    assert names(api, "--since", "2020-01-01") == ["new", "old"]
    assert names(api, "--since", "20200101") == ["new", "old"]
    since = datetime.datetime.fromisoformat(moment)
    found = run_list.list_runs(to(api), since=since)
    assert [each.state.name for each in found.runs] == ["new"]


def test_runs_within_a_duration(api: KfpApi) -> None:
    start(api, "nightly")
    ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=7)
    run(api, commands.list_runs, "--since", "7d")
    (asked,) = api.asked("GET", "/runs$")
    (predicate,) = [each for each in json.loads(asked.query["filter"])["predicates"] if each["key"] == "created_at"]
    assert predicate["operation"] == "GREATER_THAN_EQUALS"
    found = datetime.datetime.fromisoformat(predicate["timestamp_value"])
    assert abs(found - ago) < datetime.timedelta(minutes=10)


@pytest.mark.parametrize("text", ["yesterday", "7", "-7d", "2026-13-01"])
def test_what_is_no_time_is_refused(api: KfpApi, text: str) -> None:
    done = run(api, commands.list_runs, f"--since={text}")
    assert done.status == 2
    assert "must be a duration such as 12h or 7d, or a date" in done.out


def test_a_page_is_asked_for_only_when_it_is_needed(api: KfpApi) -> None:
    for number in range(230):
        start(api, f"run {number}")
    found = run(api, commands.list_runs, "--limit", 10)
    assert len(found.out.splitlines()) == 1 + 10 + 1
    assert found.out.splitlines()[-1] == "there are more: --offset 10"
    assert pages(api) == 1
    assert api.seen[-1].query["page_size"] == "11"
    assert len(names(api, "--limit", 1000)) == 230
    assert pages(api) == 1 + 3


def test_an_offset_leaves_out_the_newest(api: KfpApi) -> None:
    for number in range(250):
        start(api, f"run {number}")
    assert names(api, "--limit", 2, "--offset", 3) == ["run 246", "run 245"]
    assert names(api, "--limit", 2, "--offset", 249) == ["run 0"]
    assert names(api, "--offset", 250) == []
    found = run_list.list_runs(to(api), limit=125, offset=125)
    assert (len(found.runs), found.has_more) == (125, False)


def test_runs_beyond_the_first_page_are_found_though_the_server_cannot_tell_them(api: KfpApi) -> None:
    for number in range(150):
        run_id = start(api, f"run {number}")
        api.advance(run_id, "CANCELING" if number % 50 == 0 else "RUNNING")
        api.advance(run_id, "FAILED")
    assert names(api, "--state", "cancelled", "--limit", 3) == ["run 100", "run 50", "run 0"]


def test_each_tenant_sees_its_own_runs() -> None:
    with kfp_api(multi_user=True) as api:
        for namespace in ("team-a", "team-b"):
            body = {"display_name": "nightly", "namespace": namespace}
            experiment = to(api).experiments.experiment_service_create_experiment(experiment=body)
            start(api, f"of {namespace}", experiment_id=experiment.experiment_id)
        assert names(api, "-n", "team-a") == ["of team-a"]
        assert names(api, "-n", "team-b", "--experiment", "nightly") == ["of team-b"]
        done = run(api, commands.list_runs)
        assert done.status == 2
        assert "name yours: --namespace" in done.error
        assert api.invalid == []


def test_names_of_strangers_do_not_reach_the_terminal(api: KfpApi) -> None:
    start(api, "\x1b[2Jnightly\x07", owner="x")
    done = run(api, commands.list_runs)
    assert "\x1b" not in done.out
    assert "\x07" not in done.out


# cancel


def test_a_run_is_cancelled_without_waiting(api: KfpApi) -> None:
    run_id = start(api)
    api.advance(run_id, "RUNNING")
    done = run(api, commands.cancel, run_id)
    assert (done.status, done.error) == (0, "")
    assert done.out.splitlines()[0] == f"run {run_id} is being cancelled"
    assert f"status {run_id} --watch" in done.out
    assert api.runs[run_id]["state"] == "CANCELING"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("SUCCEEDED", "is over already: completed"),
        ("FAILED", "is over already: failed"),
        ("CANCELED", "is over already: cancelled"),
        ("CANCELING", "is being cancelled already"),
    ],
)
def test_cancelling_again_changes_nothing(api: KfpApi, state: str, said: str) -> None:
    run_id = start(api)
    api.advance(run_id, state)
    done = run(api, commands.cancel, run_id)
    assert (done.status, done.out) == (0, f"run {run_id} {said}\n")
    assert not api.asked("POST", "terminate")


def test_a_run_that_ends_in_between_is_over(api: KfpApi) -> None:
    run_id = start(api)

    def ends(request: Any) -> None:
        api.advance(run_id, "SUCCEEDED")
        request.serve()

    api.fail("POST", "terminate", ends)
    done = run_actions.cancel(to(api), run_id)
    assert (done.is_new, done.state.state) == (False, "completed")


def test_a_refusal_to_cancel_is_an_error(api: KfpApi) -> None:
    run_id = start(api)
    api.fail("POST", "terminate", refuses(403))
    with pytest.raises(Refused, match="you may not do this"):
        run_actions.cancel(to(api), run_id)


# retry


def test_only_what_failed_of_a_run_runs_again(api: KfpApi) -> None:
    run_id = start(api)
    end(api, run_id, "FAILED", **{FIRST.replace("-", "_"): "FAILED", "aggregate": "OMITTED", "gate": "OMITTED"})
    done = run(api, commands.retry, run_id)
    assert (done.status, done.error) == (0, "")
    lines = done.out.splitlines()
    assert lines[:-1] == [
        f"run {run_id} goes on",
        "  lm_evaluation_harness / quickstart_arithmetic",
        "  aggregate",
        "  gate",
    ]
    assert f"status {run_id} --watch" in lines[-1]
    assert api.runs[run_id]["state"] == "RUNNING"


def test_a_cancelled_run_goes_on(api: KfpApi) -> None:
    run_id = start(api)
    api.advance(run_id, "CANCELED")
    run_actions.retry(to(api), run_id)
    assert api.runs[run_id]["state"] == "RUNNING"


def test_a_red_gate_alone_is_no_new_evaluation(api: KfpApi) -> None:
    run_id = start(api)
    end(api, run_id, "FAILED", gate="FAILED")
    done = run(api, commands.retry, run_id)
    assert done.status == 0
    assert "warning: only its gate runs again: nothing is evaluated again" in done.out


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("RUNNING", "is running (a run is retried when it is over)"),
        ("PENDING", "is pending (a run is retried when it is over)"),
        ("CANCELING", "is being cancelled (a run is retried when it is over)"),
        ("SUCCEEDED", "is completed, nothing of it failed"),
    ],
)
def test_a_run_without_failures_is_not_retried(api: KfpApi, state: str, reason: str) -> None:
    run_id = start(api)
    api.advance(run_id, state)
    done = run(api, commands.retry, run_id)
    assert done.status == 2
    assert f"run {run_id}: {reason}" in done.error
    assert not api.asked("POST", "retry")


def test_an_archived_run_is_not_retried(api: KfpApi) -> None:
    run_id = start(api)
    api.advance(run_id, "FAILED")
    to(api).runs.run_service_archive_run(run_id)
    with pytest.raises(EvalHubError, match="is in the archive"):
        run_actions.retry(to(api), run_id)


# delete


def test_the_record_of_a_run_is_deleted_and_its_evidence_is_named(api: KfpApi) -> None:
    run_id = start(api, parameters={"oci_host": "registry.example", "oci_repository": "team/evals"})
    end(api, run_id)
    done = run(api, commands.delete, run_id)
    assert (done.status, done.error) == (0, "")
    assert done.out.splitlines() == [
        f"run {run_id} is deleted at Kubeflow Pipelines (it was completed)",
        f"evidence  if it was pushed, it is still at registry.example/team/evals:run-{run_id}",
    ]
    assert run_id not in api.runs
    assert {seen.method for seen in api.seen if seen.method not in ("GET", "POST")} == {"DELETE"}


def test_a_registry_may_be_the_one_that_the_pipeline_was_compiled_with(api: KfpApi) -> None:
    run_id = start(api)
    end(api, run_id)
    inputs = api.runs[run_id]["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
    kept = {name: inputs[name] for name in ("oci_host", "oci_repository")}
    api.runs[run_id]["pipeline_spec"]["root"]["inputDefinitions"]["parameters"] = inputs | {
        name: {**kept[name], "defaultValue": value}
        for name, value in {"oci_host": "http://registry:5000", "oci_repository": "team/evals"}.items()
    }
    assert run_actions.delete(to(api), run_id).evidence == f"http://registry:5000/team/evals:run-{run_id}"


def test_a_run_without_a_registry_says_where_its_files_are(api: KfpApi) -> None:
    run_id = start(api)
    end(api, run_id)
    assert "its artifacts are still in the object store" in run(api, commands.delete, run_id).out


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "CANCELING"])
def test_a_run_that_goes_on_is_deleted_only_by_force(api: KfpApi, state: str) -> None:
    run_id = start(api)
    api.advance(run_id, state)
    done = run(api, commands.delete, run_id)
    assert done.status == 2
    assert "or use --force)" in done.error
    assert run_id in api.runs
    done = run(api, commands.delete, run_id, "--force")
    assert (done.status, done.error) == (0, "")
    assert run_id not in api.runs
    assert len(api.asked("POST", "terminate")) == (state != "CANCELING")


@pytest.mark.parametrize("command", [commands.cancel, commands.retry, commands.delete], ids=lambda each: each.name)
def test_a_run_that_is_not_there_is_an_error(api: KfpApi, command: Any) -> None:
    done = run(api, command, NOBODY)
    assert done.status == 2
    assert f"run {NOBODY}: does not exist" in done.error
    assert all(seen.method == "GET" for seen in api.seen)


@pytest.mark.parametrize("action", [run_actions.cancel, run_actions.retry, run_actions.delete])
def test_a_request_whose_answer_is_lost_is_not_sent_again(api: KfpApi, action: Any) -> None:
    run_id = start(api)
    if action is not run_actions.cancel:
        api.advance(run_id, "FAILED")
    before = len(api.asked("POST", "")) + len(api.asked("DELETE", ""))
    api.fail("DELETE" if action is run_actions.delete else "POST", "runs/", drops)
    with pytest.raises(Unavailable, match="broke off"):
        action(to(api), run_id)
    assert len(api.asked("POST", "")) + len(api.asked("DELETE", "")) == before + 1


def test_names_of_others_are_no_paths(api: KfpApi) -> None:
    run_id = start(api)
    with pytest.raises(NotFound):
        run_actions.delete(to(api), f"../runs/{run_id}")
    assert run_id in api.runs
