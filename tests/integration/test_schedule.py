"""Schedules: files applied to a server that reads and answers as Kubeflow Pipelines does."""

from __future__ import annotations

import datetime
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kfp_runs
import pytest
import yaml
from click.testing import CliRunner, Result
from kfp_api import KfpApi, Request, kfp_api, refuses
from stub_http import drops

from evalhub_components.errors import EvalHubError, InvalidDocument, NotFound
from evalhub_pipelines.cli.scheduling import schedule as command
from evalhub_pipelines.client.connection import Connection
from evalhub_pipelines.client.failures import Refused, Unavailable
from evalhub_pipelines.client.runs import run_list
from evalhub_pipelines.client.scheduling import schedules
from evalhub_pipelines.client.scheduling.kept_schedules import Overtaken
from evalhub_pipelines.client.scheduling.schedules import Applied
from evalhub_pipelines.client.secret_reference import SecretReference
from evalhub_pipelines.client.submitting import pipeline_versions

SCHEDULE = {"name": "nightly", "cron": "0 2 * * *", "time_zone": "UTC", "evaluation": "eval.yaml"}
EVAL = {
    "name": "trial",
    "model": {"url": "http://model.serving:8080/v1", "name": "m1", "auth": {"secret_ref": "model-credentials"}},
    "benchmarks": [{"id": "a", "provider_id": "obedient"}],
    "num_examples": 3,
}
IMAGES = {"obedient": "registry.example/obedient:1"}
TOKEN = "token-of-the-tests-2"
NIGHT = datetime.datetime(2026, 2, 1, 2, tzinfo=datetime.UTC)
RECURRING = r"/recurringruns"


@pytest.fixture
def api() -> Iterator[KfpApi]:
    """A server; whatever a test sends to it is right."""
    with kfp_api() as api:
        yield api
    assert api.invalid == []


@pytest.fixture(autouse=True)
def nothing_of_mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_NAMESPACE", "KF_PIPELINES_TIME_ZONE"):
        monkeypatch.delenv(name, raising=False)


def to(api: KfpApi, **changes: Any) -> Connection:
    return Connection(**{"endpoint": api.endpoint, "origin": "the test", "timeout": 30, **changes})


@pytest.fixture
def apply(api: KfpApi, tmp_path: Path, catalog: Path) -> Callable[..., Applied]:
    """A function that applies the schedule `nightly` with the keys it is given; an eval.yaml is there."""
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump(EVAL))

    def apply(connection: Connection | None = None, dry_run: bool = False, owner: str = "", **keys: Any) -> Applied:
        environ = {"GITHUB_ACTOR": owner}
        (applied,) = apply_file(
            connection or to(api), [{**SCHEDULE, **keys}], tmp_path, catalog, dry_run=dry_run, environ=environ
        )
        return applied

    return apply


def apply_file(connection: Connection, document: Any, folder: Path, catalog: Path, **arguments: Any) -> list[Applied]:
    file = folder / "schedule.yaml"
    file.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return schedules.apply(connection, file, **{"catalog": catalog, "images": IMAGES, "environ": {}, **arguments})


def only(api: KfpApi) -> dict[str, Any]:
    """The only schedule on the server."""
    (found,) = api.recurring_runs.values()
    return found


def enabled(api: KfpApi) -> list[dict[str, Any]]:
    return [found for found in api.recurring_runs.values() if found["status"] == "ENABLED"]


def changes(api: KfpApi) -> list[str]:
    return [f"{seen.method} {seen.path}" for seen in api.seen if seen.method != "GET"]


def spec_of(api: KfpApi, record: dict[str, Any]) -> dict[str, Any]:
    version = api.versions[record["pipeline_version_reference"]["pipeline_version_id"]]
    found: dict[str, Any] = version["pipeline_spec"]
    return found


def loses(request: Request) -> None:
    """Do what is asked, and break the connection off before the answer."""
    connection, request.wfile = request.wfile, io.BytesIO()
    request.serve()
    request.wfile = connection
    drops(request)


# what is sent


def test_a_schedule_is_what_its_file_says(api: KfpApi, apply: Callable[..., Applied]) -> None:
    applied = apply(service_account="robot", experiment="nights", mlflow={"uri": "http://mlflow:5000"})
    made = only(api)
    assert (applied.name, applied.action, applied.recurring_run_id) == (
        "nightly",
        "created",
        made["recurring_run_id"],
    )
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 2 * * *"}}
    assert (made["status"], made["no_catchup"], made["max_concurrency"]) == ("ENABLED", True, "1")
    assert made["service_account"] == "robot"
    assert api.experiments[made["experiment_id"]]["display_name"] == "nights"
    assert made["runtime_config"]["parameters"] == {
        "model_url": "http://model.serving:8080/v1",
        "model_name": "m1",
        "model_secret": "model-credentials",
        "num_examples": 3,
        "mlflow_uri": "http://mlflow:5000",
        "scheduled_time": "[[ScheduledTime]]",
    }
    assert made["pipeline_version_reference"]["pipeline_version_id"] in api.versions
    assert [f"{time:%H:%M:%S}" for time in applied.next_times] == ["02:00:00"] * 5


def test_a_schedule_says_on_the_dashboard_what_it_is(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply()
    lines = only(api)["description"].splitlines()
    assert "apply" in lines[0]
    assert {"schedule: nightly", "time_zone: UTC", "collection: trial", "model: m1"} <= set(lines)


def test_the_longest_name_leaves_room_for_what_a_schedule_is_known_by(
    api: KfpApi, apply: Callable[..., Applied], tmp_path: Path
) -> None:
    name = "n" * 63
    assert apply(name=name).action == "created"
    assert apply(name=name).action == "unchanged"
    with pytest.raises(InvalidDocument, match=r"name: .*63"):
        apply(name=name + "n")


def test_runs_of_a_schedule_are_listed_with_what_it_says_of_them(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply()
    schedule = only(api)["recurring_run_id"]
    for night in range(2):
        api.fire(schedule, NIGHT + datetime.timedelta(days=night))
    found = run_list.list_runs(to(api)).runs
    assert [(run.said.collection, run.said.model) for run in found] == [("trial", "m1")] * 2
    assert len(api.asked("GET", f"recurringruns/{schedule}$")) == 1
    del api.recurring_runs[schedule]
    assert [run.said.collection for run in run_list.list_runs(to(api)).runs] == [None, None]


def test_runs_are_found_by_who_submitted_them_or_applied_their_schedule(
    api: KfpApi, apply: Callable[..., Applied]
) -> None:
    by_owner = {}
    for owner in ("ada", "corp\\eve_l"):
        apply(name=owner[:3], owner=owner)
        schedule = next(one for one in api.recurring_runs.values() if one["display_name"] == owner[:3])
        by_owner[owner] = [
            api.fire(schedule["recurring_run_id"], NIGHT),
            kfp_runs.start(api, "by hand", owner=owner, tags=("release",)),
            api.fire(schedule["recurring_run_id"], NIGHT + datetime.timedelta(days=1)),
        ]
    for owner, made in by_owner.items():
        assert [run.state.run_id for run in run_list.list_runs(to(api), owner=owner).runs] == made[::-1]
        page = run_list.list_runs(to(api), owner=owner, limit=1, offset=1)
        assert ([run.state.run_id for run in page.runs], page.has_more) == ([made[1]], True)
        tagged = run_list.list_runs(to(api), owner=owner, tag="release").runs
        assert [run.state.run_id for run in tagged] == [made[1]]
    assert api.invalid == []


def test_a_schedule_never_caches(api: KfpApi, apply: Callable[..., Applied], tmp_path: Path) -> None:
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump({**EVAL, "execution": {"cache": True}}))
    apply()
    assert "enableCache" not in json.dumps(spec_of(api, only(api)))


def test_runs_have_the_time_that_they_were_due_and_the_version_that_was_pinned(
    api: KfpApi, apply: Callable[..., Applied]
) -> None:
    apply()
    pinned = only(api)["pipeline_version_reference"]
    name = api.pipelines[pinned["pipeline_id"]]["name"]
    text = yaml.safe_dump_all([spec_of(api, only(api))["pipeline_spec"]])
    newer = pipeline_versions.upload(to(api), name, "newer", text)
    assert newer.pipeline_version_id != pinned["pipeline_version_id"]
    first = api.fire(only(api)["recurring_run_id"], NIGHT)
    second = api.fire(only(api)["recurring_run_id"], NIGHT + datetime.timedelta(days=1))
    runs = [api.runs[str(run_id)] for run_id in (first, second)]
    assert [run["runtime_config"]["parameters"]["scheduled_time"] for run in runs] == [
        "20260201020000",
        "20260202020000",
    ]
    assert [run["pipeline_version_reference"] for run in runs] == [pinned, pinned]


def test_a_collection_is_scheduled_with_a_model_of_the_schedule(
    api: KfpApi, apply: Callable[..., Applied], tmp_path: Path
) -> None:
    collection = {"id": "trial", "version": "2", "benchmarks": [{"id": "b", "provider_id": "obedient"}]}
    (tmp_path / "trial.yaml").write_text(yaml.safe_dump(collection))
    coordinates = {"oci_host": "quay.io", "oci_repository": "team/evals"}
    apply(
        evaluation="trial.yaml",
        model={"url": "http://other/v1", "name": "m2"},
        num_examples=5,
        exports={
            "oci": {"coordinates": coordinates, "k8s": {"connection": "registry"}},
            "signing": {"secret_ref": "key"},
        },
    )
    parameters = only(api)["runtime_config"]["parameters"]
    assert parameters == {
        "model_url": "http://other/v1",
        "model_name": "m2",
        "num_examples": 5,
        "oci_host": "quay.io",
        "oci_repository": "team/evals",
        "registry_secret": "registry",
        "signing_secret": "key",
        "scheduled_time": "[[ScheduledTime]]",
    }
    assert "version: 2" in only(api)["description"]


def test_a_start_that_has_passed_is_not_sent(api: KfpApi, apply: Callable[..., Applied]) -> None:
    # Kubeflow Pipelines would at once start the run that was due last since then
    apply(start="2020-01-01", end="2099-01-01T00:00:00+01:00")
    cron = only(api)["trigger"]["cron_schedule"]
    assert "start_time" not in cron
    assert cron["end_time"].startswith("2098-12-31T23:00:00")


def test_a_start_in_the_future_is_sent_in_the_zone_of_the_schedule(
    api: KfpApi, apply: Callable[..., Applied], tmp_path: Path, catalog: Path
) -> None:
    apply()
    document = {**SCHEDULE, "time_zone": "Asia/Tokyo", "start": "2090-01-01T09:00:00"}
    (applied,) = apply_file(to(api), document, tmp_path, catalog, cluster_time_zone="Asia/Tokyo")
    assert only(api)["trigger"]["cron_schedule"]["start_time"].startswith("2089-12-31T23:59:59")
    assert f"{applied.next_times[0]:%Y-%m-%d %H:%M %z}" == "2090-01-02 02:00 +0900"


def test_a_run_that_is_due_at_the_start_itself_is_started(api: KfpApi, apply: Callable[..., Applied]) -> None:
    # Kubeflow Pipelines starts what is due after start_time
    applied = apply(start="2090-01-01T02:00:00")
    assert only(api)["trigger"]["cron_schedule"]["start_time"].startswith("2090-01-01T01:59:59")
    described = schedules.describe(to(api), "nightly")
    for found in (applied, described):
        assert f"{found.next_times[0]:%Y-%m-%d %H:%M:%S}" == "2090-01-01 02:00:00"
    assert f"{described.start:%Y-%m-%d %H:%M:%S}" == "2090-01-01 02:00:00"
    schedules.pause(to(api), "nightly")
    schedules.resume(to(api), "nightly")
    assert only(api)["trigger"]["cron_schedule"]["start_time"].startswith("2090-01-01T01:59:59")


# upsert


def test_an_unchanged_file_changes_nothing(api: KfpApi, apply: Callable[..., Applied]) -> None:
    first = apply(start="2020-01-01")
    before = changes(api)
    again = apply(start="2020-01-01")
    assert (again.action, again.recurring_run_id) == ("unchanged", first.recurring_run_id)
    assert changes(api) == before


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"cron": "0 3 * * *"}, id="cron"),
        pytest.param({"start": "2090-01-01"}, id="start"),
        pytest.param({"end": "2090-01-01"}, id="end"),
        pytest.param({"experiment": "other"}, id="experiment"),
        pytest.param({"service_account": "other"}, id="service account"),
        pytest.param({"num_examples": 1}, id="parameters"),
        pytest.param({"model": {"name": "m2", "url": "http://m2/v1"}}, id="model"),
        pytest.param({"evaluation": "other.yaml"}, id="benchmarks"),
    ],
)
def test_what_changes_replaces_the_schedule(
    api: KfpApi, apply: Callable[..., Applied], tmp_path: Path, keys: dict[str, Any]
) -> None:
    other = {**EVAL, "benchmarks": [{"id": "c", "provider_id": "obedient"}]}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    old = apply().recurring_run_id
    applied = apply(**keys)
    assert applied.action == "replaced"
    assert only(api)["recurring_run_id"] == applied.recurring_run_id != old
    assert only(api)["status"] == "ENABLED"
    assert apply(**keys).action == "unchanged"


def test_other_schedules_are_left_alone(
    api: KfpApi, apply: Callable[..., Applied], tmp_path: Path, catalog: Path
) -> None:
    apply(name="other")
    both = [{**SCHEDULE, "name": "one"}, {**SCHEDULE, "name": "two", "cron": "@hourly"}]
    assert [one.action for one in apply_file(to(api), both, tmp_path, catalog)] == ["created", "created"]
    assert sorted(found["display_name"] for found in enabled(api)) == ["one", "other", "two"]
    assert len(api.versions) == 1


def test_there_are_never_two_enabled(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply()
    counts: list[int] = []

    def count(request: Request) -> None:
        counts.append(len(enabled(api)))
        request.serve()
        counts.append(len(enabled(api)))

    for method in ("GET", "POST", "DELETE"):
        api.fail(method, ".", count, times=1000)
    apply(cron="0 3 * * *")
    assert set(counts) == {0, 1}
    assert counts[-1] == 1


STEPS = [
    pytest.param("POST", "recurringruns$", id="make the new"),
    pytest.param("GET", "recurringruns$", id="look for others"),
    pytest.param("POST", ":disable$", id="disable the old"),
    pytest.param("GET", "/runs$", id="look for runs of the old"),
    pytest.param("DELETE", RECURRING, id="delete the old"),
    pytest.param("POST", ":enable$", id="enable the new"),
]


@pytest.mark.parametrize("arrives", [False, True], ids=["the request is lost", "the answer is lost"])
@pytest.mark.parametrize(("method", "path"), STEPS)
def test_an_interrupted_apply_is_finished_by_the_next(
    api: KfpApi, apply: Callable[..., Applied], method: str, path: str, arrives: bool
) -> None:
    apply()

    breaks = loses if arrives else drops
    # a question is asked again after a moment
    api.fail(method, path, breaks, times=4 if method == "GET" else 1)
    if (method, path) == ("GET", "recurringruns$"):
        # the first question comes before anything is changed
        api.faults.clear()
        api.fail("POST", "recurringruns$", lambda request: (request.serve(), api.fail(method, path, breaks, 4))[0])
    with pytest.raises(Unavailable):
        apply(cron="0 3 * * *")
    api.faults.clear()
    assert len(enabled(api)) <= 1
    apply(cron="0 3 * * *")
    assert only(api)["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
    assert only(api)["status"] == "ENABLED"


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        pytest.param("GET", "/runs$", Refused, id="its runs may not be seen"),
        pytest.param("DELETE", RECURRING, Refused, id="it may not be deleted"),
        pytest.param("POST", ":enable$", Refused, id="the new one may not be enabled"),
    ],
)
def test_who_leaves_a_schedule_disabled_is_told_so(
    api: KfpApi, apply: Callable[..., Applied], method: str, path: str, error: type[EvalHubError]
) -> None:
    apply()
    api.fail(method, path, refuses(403), times=4)
    with pytest.raises(error, match=r"may not do this.*; schedule nightly may start nothing until this is done again"):
        apply(cron="0 3 * * *")
    assert enabled(api) == []


def test_an_interrupted_first_apply_is_finished_by_the_next(api: KfpApi, apply: Callable[..., Applied]) -> None:
    api.fail("POST", ":enable$", drops)
    with pytest.raises(Unavailable):
        apply()
    left = only(api)
    assert left["status"] == "DISABLED"
    assert apply().action == "resumed"
    # a copy: the one that was left may have missed its time, and would catch up
    assert only(api)["recurring_run_id"] != left["recurring_run_id"]
    assert only(api)["status"] == "ENABLED"


@pytest.mark.parametrize(("method", "path"), STEPS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_two_applies_at_once_leave_one_schedule(
    api: KfpApi, apply: Callable[..., Applied], tmp_path: Path, catalog: Path, method: str, path: str, moment: str
) -> None:
    apply()
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "eval.yaml").write_text(yaml.safe_dump(EVAL))
    seen: list[int] = []

    def meanwhile(request: Request) -> None:
        if moment == "after":
            request.serve()
        document = {**SCHEDULE, "cron": "0 4 * * *"}
        apply_file(to(api), document, tmp_path / "second", catalog)
        seen.append(len(enabled(api)))
        if moment == "before":
            request.serve()
        seen.append(len(enabled(api)))

    api.fail(method, path, meanwhile)
    try:
        assert apply(cron="0 3 * * *").action == "replaced"
        # after its last step the other is simply the next
        wins = "0 0 4 * * *" if (path, moment) == (":enable$", "after") else "0 0 3 * * *"
    except Overtaken:
        wins = "0 0 4 * * *"
    assert len(seen) == 2
    assert set(seen) == {1}
    assert only(api)["status"] == "ENABLED"
    assert only(api)["trigger"]["cron_schedule"]["cron"] == wins


def test_who_is_overtaken_changes_nothing(api: KfpApi, apply: Callable[..., Applied]) -> None:
    old = apply().recurring_run_id

    def meanwhile(request: Request) -> None:
        """Somebody else makes the same, and gets no further."""
        request.serve()
        newest = max(api.recurring_runs.values(), key=lambda one: str(one["created_at"]))
        api.recurring_runs["theirs"] = {**newest, "recurring_run_id": "theirs", "created_at": api.now()}
        api.namespaces["theirs"] = ""

    api.fail("POST", "recurringruns$", meanwhile)
    with pytest.raises(Overtaken, match="somebody else applied it at the same time"):
        apply(cron="0 3 * * *")
    assert set(api.recurring_runs) == {old, "theirs"}
    assert [found["recurring_run_id"] for found in enabled(api)] == [old]
    apply(cron="0 3 * * *")
    assert only(api)["status"] == "ENABLED"


def test_applies_within_a_second_are_told_apart(
    api: KfpApi, apply: Callable[..., Applied], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "now", lambda: "2026-01-01T00:00:00Z")
    for hour in range(1, 9):
        assert apply(cron=f"0 {hour} * * *").action == ("replaced" if hour > 1 else "created")
        assert only(api)["trigger"]["cron_schedule"]["cron"] == f"0 0 {hour} * * *"


def test_a_running_run_outlives_the_replacement_of_its_schedule(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply()
    old = only(api)["recurring_run_id"]
    run_id = str(api.fire(old, NIGHT))
    applied = apply(cron="0 3 * * *")
    assert any(run_id in note for note in applied.notes)
    assert api.recurring_runs[old]["status"] == "DISABLED"
    assert [(one.state, one.recurring_run_id) for one in schedules.all_schedules(to(api))] == [
        ("enabled", applied.recurring_run_id),
        ("replaced", old),
    ]
    api.advance(run_id, "SUCCEEDED")
    assert apply(cron="0 3 * * *").action == "unchanged"
    assert only(api)["recurring_run_id"] == applied.recurring_run_id
    assert api.runs[run_id]["state"] == "SUCCEEDED"


def test_a_dry_run_changes_nothing(api: KfpApi, apply: Callable[..., Applied]) -> None:
    assert apply(dry_run=True).action == "created"
    assert changes(api) == []
    apply()
    before = changes(api)
    assert apply(dry_run=True).action == "unchanged"
    assert apply(dry_run=True, cron="0 3 * * *").action == "replaced"
    assert apply(dry_run=True, enabled=False).action == "paused"
    assert changes(api) == before


def test_a_schedule_that_nobody_applied_is_not_touched(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply()
    only(api)["description"] = "made by hand"
    before = changes(api)
    with pytest.raises(EvalHubError, match="nightly: there is one already that nobody applied"):
        apply(cron="0 3 * * *")
    with pytest.raises(NotFound, match="nightly: is none of"):
        schedules.pause(to(api), "nightly")
    assert schedules.all_schedules(to(api)) == []
    assert changes(api) == before


# pause, resume, delete, run now


def test_a_schedule_is_paused_by_its_file(api: KfpApi, apply: Callable[..., Applied]) -> None:
    made = apply().recurring_run_id
    applied = apply(enabled=False)
    assert (applied.action, applied.recurring_run_id, applied.next_times) == ("paused", made, ())
    assert only(api)["status"] == "DISABLED"
    assert apply(enabled=False).action == "unchanged"
    assert apply(enabled=False, cron="0 3 * * *").action == "replaced"
    assert only(api)["status"] == "DISABLED"


def test_a_paused_schedule_starts_nothing_until_its_next_time(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply()
    old = dict(only(api))
    assert schedules.pause(to(api), "nightly")
    assert not schedules.pause(to(api), "nightly")
    assert api.fire(old["recurring_run_id"], NIGHT) is None
    assert schedules.resume(to(api), "nightly")
    resumed = only(api)
    # the one that was paused would start the run that was due last meanwhile
    assert resumed["recurring_run_id"] != old["recurring_run_id"]
    assert resumed["description"] == old["description"].replace("generation: 1", "generation: 2")
    same = ("trigger", "runtime_config", "pipeline_version_reference", "experiment_id", "no_catchup")
    assert {key: resumed[key] for key in same} == {key: old[key] for key in same}
    assert resumed["status"] == "ENABLED"
    assert not schedules.resume(to(api), "nightly")
    assert apply().action == "unchanged"


def test_a_pause_disables_what_is_said_to_be_disabled_too(api: KfpApi, apply: Callable[..., Applied]) -> None:
    # the record of the server lags behind its controller's
    applied = apply()
    only(api)["status"] = "DISABLED"
    assert not schedules.pause(to(api), "nightly")
    assert changes(api)[-1].endswith(f"{applied.recurring_run_id}:disable")


def test_an_apply_resumes_what_its_file_says_is_enabled(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply()
    schedules.pause(to(api), "nightly")
    assert apply().action == "resumed"
    assert only(api)["status"] == "ENABLED"


def test_a_schedule_that_has_ended_is_not_resumed(api: KfpApi, apply: Callable[..., Applied]) -> None:
    applied = apply(end="2021-01-01", enabled=False)
    assert any("ended at 2021-01-01" in note for note in applied.notes)
    with pytest.raises(EvalHubError, match="ended at 2021-01-01"):
        schedules.resume(to(api), "nightly")


def test_a_schedule_is_not_deleted_while_a_run_of_it_goes_on(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply()
    run_id = str(api.fire(only(api)["recurring_run_id"], NIGHT))
    with pytest.raises(EvalHubError, match=f"its run {run_id} goes on"):
        schedules.delete(to(api), "nightly")
    assert only(api)["status"] == "ENABLED"
    api.advance(run_id, "FAILED")
    assert schedules.delete(to(api), "nightly") == []
    assert api.recurring_runs == {}
    assert run_id in api.runs


def test_force_deletes_a_schedule_and_lets_its_run_go_on(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply()
    run_id = str(api.fire(only(api)["recurring_run_id"], NIGHT))
    assert schedules.delete(to(api), "nightly", force=True) == [run_id]
    assert api.recurring_runs == {}
    (asked,) = api.asked("DELETE", RECURRING)
    assert asked.query == {"propagation_policy": "ORPHAN"}
    assert api.runs[run_id]["state"] == "PENDING"


def test_a_run_now_is_what_the_schedule_would_start(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply(mlflow={"uri": "http://mlflow:5000"})
    started = schedules.run_now(to(api), "nightly", environ={"GITHUB_ACTOR": "me"})
    run, scheduled = api.runs[started.run_id], only(api)
    same = ("pipeline_version_reference", "experiment_id", "service_account")
    assert {key: run[key] for key in same} == {key: scheduled[key] for key in same}
    assert run["runtime_config"]["parameters"] == {
        **scheduled["runtime_config"]["parameters"],
        "scheduled_time": started.scheduled_time,
    }
    assert re.fullmatch(r"20\d{12}", started.scheduled_time)
    assert "description: schedule nightly, started by hand" in run["description"].splitlines()
    assert "owner: me" in run["description"].splitlines()
    assert started.dashboard.endswith(f"/#/runs/details/{started.run_id}")
    assert started.mlflow == "http://mlflow:5000/#/experiments?experimentSearchFilter=trial"
    assert "recurring_run_id" not in run


def test_a_run_now_whose_answer_is_lost_is_found(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply()

    api.fail("POST", "/runs$", loses)
    assert schedules.run_now(to(api), "nightly").run_id in api.runs
    assert len(api.runs) == 1


# list and describe


def test_a_schedule_tells_of_its_runs(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply()
    made = only(api)["recurring_run_id"]
    runs = [str(api.fire(made, NIGHT + datetime.timedelta(days=day))) for day in range(12)]
    api.advance(runs[-1], "FAILED")
    found = schedules.describe(to(api), "nightly")
    assert [own.run.run_id for own in found.runs] == runs[:1:-1]
    assert (found.runs[0].run.state, found.runs[0].due) == ("failed", NIGHT + datetime.timedelta(days=11))
    assert (found.state, found.cron, found.time_zone, found.warnings) == ("enabled", "0 0 2 * * *", "UTC", ())
    assert json.loads(json.dumps(found.as_json()))["parameters"]["model_secret"] == "model-credentials"


def test_runs_at_other_times_than_stated_are_told(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply()
    api.fire(only(api)["recurring_run_id"], NIGHT - datetime.timedelta(hours=9))
    for found in (schedules.describe(to(api), "nightly"), schedules.all_schedules(to(api))[0]):
        (warning,) = found.warnings
        assert "due at 2026-01-31 17:00:00 UTC, which is no time of 0 0 2 * * * in UTC" in warning


def test_a_schedule_that_does_not_exist_is_told_with_those_that_do(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply()
    for act in (schedules.describe, schedules.pause, schedules.resume, schedules.delete, schedules.run_now):
        with pytest.raises(NotFound, match=r"schedule weekly: does not exist \(there are: nightly\)"):
            act(to(api), "weekly")


def test_a_clone_with_another_trigger_is_none_of_ours(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply()
    clone = {**only(api), "recurring_run_id": "clone", "trigger": {"periodic_schedule": {"interval_second": "60"}}}
    api.recurring_runs["clone"], api.namespaces["clone"] = clone, ""
    assert [one.cron for one in schedules.all_schedules(to(api))] == ["0 0 2 * * *"]


def test_many_schedules_are_all_found(api: KfpApi, apply: Callable[..., Applied]) -> None:
    apply()
    for number in range(450):
        copy = {**only_named(api, "nightly"), "display_name": f"other-{number}", "recurring_run_id": str(number)}
        copy["description"] = copy["description"].replace("schedule: nightly", f"schedule: other-{number}")
        api.recurring_runs[str(number)] = copy
        api.namespaces[str(number)] = ""
    assert len({one.name for one in schedules.all_schedules(to(api))}) == 451


def only_named(api: KfpApi, name: str) -> dict[str, Any]:
    (found,) = (one for one in api.recurring_runs.values() if one["display_name"] == name)
    return found


# namespaces, rights, failures


def test_every_request_is_for_the_namespace(tmp_path: Path, catalog: Path) -> None:
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump(EVAL))
    with kfp_api(multi_user=True, users={TOKEN: {"team-a"}, "other": {"team-b"}}) as api:
        ours = tokened(api, TOKEN, "team-a", tmp_path)
        apply_file(ours, SCHEDULE, tmp_path, catalog)
        theirs = tokened(api, "other", "team-b", tmp_path)
        apply_file(theirs, {**SCHEDULE, "cron": "0 3 * * *"}, tmp_path, catalog)
        assert [one.cron for one in schedules.all_schedules(ours)] == ["0 0 2 * * *"]
        assert [one.cron for one in schedules.all_schedules(theirs)] == ["0 0 3 * * *"]
        schedules.pause(ours, "nightly")
        schedules.resume(ours, "nightly")
        schedules.describe(ours, "nightly")
        schedules.run_now(ours, "nightly")
        schedules.delete(ours, "nightly")
        assert [found["namespace"] for found in api.recurring_runs.values()] == ["team-b"]
        with pytest.raises(Refused, match="you may not do this in namespace team-b"):
            schedules.all_schedules(tokened(api, TOKEN, "team-b", tmp_path))
        said = json.dumps([api.recurring_runs, api.runs, [list(seen[:3]) for seen in api.seen]], default=str)
        assert TOKEN not in said
        assert api.invalid == []


def tokened(api: KfpApi, token: str, namespace: str, folder: Path) -> Connection:
    file = folder / f"token-{token}"
    file.write_text(token)
    return to(api, namespace=namespace, token=SecretReference(None, file))


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        pytest.param(401, Refused, "wants to know who you are", id="401"),
        pytest.param(403, Refused, "you may not do this", id="403"),
        pytest.param(404, NotFound, "there is no such thing", id="404"),
        pytest.param(409, Refused, "there is one of that name already", id="409"),
        pytest.param(429, Unavailable, "too many requests", id="429"),
        pytest.param(500, Unavailable, "has a failure of its own", id="500"),
        pytest.param(503, Unavailable, "has a failure of its own", id="503"),
    ],
)
def test_a_refused_replacement_leaves_the_old_schedule(
    api: KfpApi, apply: Callable[..., Applied], status: int, error: type[EvalHubError], words: str
) -> None:
    apply()
    api.fail("POST", "recurringruns$", refuses(status))
    with pytest.raises(error, match=words):
        apply(cron="0 3 * * *")
    assert only(api)["status"] == "ENABLED"
    assert only(api)["trigger"]["cron_schedule"]["cron"] == "0 0 2 * * *"


# bad files


def test_all_that_is_wrong_is_told_at_once_and_nothing_is_sent(api: KfpApi, tmp_path: Path, catalog: Path) -> None:
    (tmp_path / "eval.yaml").write_text(
        yaml.safe_dump({**EVAL, "benchmarks": [{"id": "z", "provider_id": "obedient"}]})
    )
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(EVAL))
    documents = [
        {**SCHEDULE, "name": "Nightly", "cron": "0 0 30 2 *", "crom": 1},
        {**SCHEDULE, "name": "b", "start": "2026-01-02", "end": "2026-01-01", "time_zone": "Europe/Berln"},
        {"name": "c"},
        7,
        {**SCHEDULE, "name": "e", "start": "2026-01-02", "end": "2026-01-03T00:00:00Z", "time_zone": "Europe/Berln"},
    ]
    with pytest.raises(InvalidDocument) as caught:
        apply_file(to(api), documents, tmp_path, catalog)
    told = str(caught.value).replace(f"{tmp_path}/schedule.yaml: ", "")
    for words in (
        "[0]: name: must be a name of lower-case letters",
        "[0]: cron: never comes",
        "[0]: crom: unknown key (did you mean 'cron'?)",
        "[1]: time_zone: must be a time zone",
        "[2]: cron: is missing",
        "[2]: time_zone: is missing",
        "[2]: evaluation: is missing",
        "[3]: must be a mapping of keys",
        "[4]: time_zone: must be a time zone",
    ):
        assert words in told
    later = [
        SCHEDULE,
        {**SCHEDULE, "name": "b", "evaluation": "good.yaml", "time_zone": "Europe/Berlin"},
        {**SCHEDULE, "name": "c", "evaluation": "missing.yaml"},
        {**SCHEDULE, "name": "d", "evaluation": "good.yaml", "ca_config_map": "Not A Name", "mlflow": {"uri": "x"}},
        {**SCHEDULE, "name": "e", "evaluation": "good.yaml", "cron": "0 0 1 1 *", "end": soon()},
    ]
    with pytest.raises(InvalidDocument) as caught:
        apply_file(to(api), later, tmp_path, catalog)
    for words in (
        "'z'",
        "schedule.yaml: [1]: time_zone: cannot be Europe/Berlin: this installation reads schedules in UTC",
        "missing.yaml: no such file",
        "schedule.yaml: [3]: ca_config_map: must be the name of a config map",
        "schedule.yaml: [3]: mlflow.uri: must be an http or https address",
        "schedule.yaml: [4]: end: is before the next time of cron",
    ):
        assert words in str(caught.value)
    assert api.seen == []


def soon() -> str:
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).isoformat()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param([SCHEDULE, SCHEDULE], r"\[1\]: name: must be unique, got nightly again", id="a name twice"),
        pytest.param([], "must be a schedule, or a list of schedules", id="no schedule"),
        pytest.param({**SCHEDULE, "evaluation": "only.yaml"}, "model: is missing", id="a collection without a model"),
        pytest.param({**SCHEDULE, "model": {"url": "${URL}", "name": "m"}}, r"\$\{URL\} is not set", id="a variable"),
        pytest.param({**SCHEDULE, "start": 2026}, "start: must be a date and time", id="a year"),
        pytest.param({**SCHEDULE, "experiment": ""}, "experiment: must not be empty", id="no experiment's name"),
    ],
)
def test_a_bad_schedule_is_refused(api: KfpApi, tmp_path: Path, catalog: Path, document: Any, words: str) -> None:
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump(EVAL))
    (tmp_path / "only.yaml").write_text(yaml.safe_dump({"id": "only", "benchmarks": EVAL["benchmarks"]}))
    with pytest.raises(InvalidDocument, match=words):
        apply_file(to(api), document, tmp_path, catalog)
    assert api.seen == []


def test_what_cannot_be_compiled_changes_nothing(api: KfpApi, tmp_path: Path, catalog: Path) -> None:
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump(EVAL))
    other = {**EVAL, "benchmarks": [{"id": "a", "provider_id": "other"}]}  # a provider without an image
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    documents = [SCHEDULE, {**SCHEDULE, "name": "b", "evaluation": "other.yaml"}]
    with pytest.raises(EvalHubError, match="provider other: has no"):
        apply_file(to(api), documents, tmp_path, catalog)
    assert changes(api) == []


# the command line


@pytest.fixture
def run(api: KfpApi, tmp_path: Path, catalog: Path) -> Callable[..., Result]:
    """A function that runs `evalhub-kfp schedule` with the arguments it is given."""
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump(EVAL))
    (tmp_path / "schedule.yaml").write_text(yaml.safe_dump(SCHEDULE))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(command, [*arguments, "--endpoint", api.endpoint], catch_exceptions=False)

    def applied(*arguments: str) -> Result:
        if arguments[0] == "apply":
            file = str(tmp_path / "schedule.yaml")
            arguments = ("apply", file, "--catalog", str(catalog), "--image", "obedient=r.example/o:1", *arguments[1:])
        return run(*arguments)

    return applied


def test_the_commands_say_what_they_did(api: KfpApi, run: Callable[..., Result]) -> None:
    assert run("apply", "--dry-run").output.startswith("nightly: would be created, next ")
    assert run("apply").output.startswith("nightly: created, next ")
    assert run("apply").output.startswith("nightly: unchanged, next ")
    listed = run("list").output
    assert re.search(r"nightly +enabled +0 0 2 \* \* \* +UTC +\d{4}-\d\d-\d\d 02:00:00 UTC +- ", listed)
    (found,) = json.loads(run("list", "--format", "json").output)
    assert (found["name"], found["state"], len(found["next_times"])) == ("nightly", "enabled", 5)
    run_id = str(api.fire(only(api)["recurring_run_id"], NIGHT))
    described = run("describe", "nightly").output
    for words in (
        "0 0 2 * * * (the second first)",
        "model-credentials",
        f"{run_id}  pending",
        "2026-02-01 02:00:00 UTC",
    ):
        assert words in described
    assert run("pause", "nightly").output.startswith("nightly: paused (")
    assert "paused" in run("list").output
    assert run("resume", "nightly").output == "nightly: resumed\n"
    assert run("resume", "nightly").output == "nightly: was not paused\n"
    started = run("run-now", "nightly").output
    assert "/#/runs/details/" in started
    assert re.search(r"run id +\S+\n", started)
    deleted = run("delete", "nightly", "--force").output
    assert "nightly: deleted" in deleted
    assert f"cancel {run_id}" in deleted
    assert json.loads(run("list", "--format", "json").output) == []


def test_a_warning_goes_to_standard_error(api: KfpApi, run: Callable[..., Result]) -> None:
    run("apply")
    api.fire(only(api)["recurring_run_id"], NIGHT + datetime.timedelta(minutes=1))
    result = run("list", "--format", "table")
    assert "warning: nightly: started a run that was due at" in result.stderr
    assert "warning" not in result.stdout


def test_the_zone_of_the_installation_is_an_option(
    api: KfpApi, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "schedule.yaml").write_text(yaml.safe_dump({**SCHEDULE, "time_zone": "Asia/Tokyo"}))
    with pytest.raises(InvalidDocument, match="cannot be Asia/Tokyo"):
        run("apply")
    with pytest.raises(EvalHubError, match="--cluster-time-zone: must be a time zone"):
        run("apply", "--cluster-time-zone", "Tokyo")
    shown = run("apply", "--cluster-time-zone", "Asia/Tokyo").output
    assert re.search(r"created, next \d{4}-\d\d-\d\d 02:00:00 JST \(\d{4}-\d\d-\d\d 17:00:00 UTC\)", shown)
    assert only(api)["trigger"]["cron_schedule"]["cron"] == "0 0 2 * * *"
    monkeypatch.setenv("KF_PIPELINES_TIME_ZONE", "Asia/Tokyo")
    assert run("apply").output.startswith("nightly: unchanged")


def test_the_command_line_exits_with_2_for_what_somebody_can_mend(
    api: KfpApi, cli: Any, tmp_path: Path, catalog: Path
) -> None:
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump(EVAL))
    (tmp_path / "schedule.yaml").write_text(yaml.safe_dump(SCHEDULE))
    (tmp_path / "bad.yaml").write_text("name: nightly\ncron: 1 2 3\n")
    environ = {"KF_PIPELINES_ENDPOINT": api.endpoint}
    given = ("--catalog", catalog, "--image", "obedient=r.example/o:1")
    done = cli("schedule", "apply", "schedule.yaml", *given, environ=environ)
    assert (done.status, done.out[:17]) == (0, "nightly: created,")
    done = cli("schedule", "apply", "bad.yaml", *given, environ=environ)
    assert (done.status, done.out) == (2, "")
    assert "cron: must have five fields" in done.err
    assert "time_zone: is missing" in done.err
    assert cli("schedule", "pause", "weekly", environ=environ).status == 2
