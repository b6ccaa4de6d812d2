"""Connections to Kubeflow Pipelines: the real clients against a server that reads and answers as its API does."""

from __future__ import annotations

import datetime
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import kfp_models
import kfp_server_api
import pytest
import yaml
from click.testing import CliRunner
from kfp_api import KfpApi, kfp_api, refuses
from registries import write_certificates
from stub_http import answers, drops, hangs, slow

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_pipelines.cli import connecting
from evalhub_pipelines.client import connection as connections
from evalhub_pipelines.client.connection import Connection
from evalhub_pipelines.client.failures import NotTheApi, Refused, Unavailable
from evalhub_pipelines.client.secret_reference import SecretReference

TOKEN = "token-of-the-tests-1"
PIPELINE: dict[str, Any] = {
    "pipelineInfo": {"name": "small"},
    "root": {
        "dag": {"tasks": {}},
        "inputDefinitions": {
            "parameters": {
                "model_url": {"parameterType": "STRING"},
                "num_examples": {"parameterType": "NUMBER_INTEGER", "defaultValue": 0},
            }
        },
    },
    "schemaVersion": "2.1.0",
    "sdkVersion": "kfp-2.17.0",
}
LOGIN = answers(200, "<!DOCTYPE html><html><title>Log in</title></html>", Content_Type="text/html")


@pytest.fixture(autouse=True)
def nothing_of_mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No profile, and none of the settings of kfp's own client."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("kfp.client.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))


@pytest.fixture
def api() -> Iterator[KfpApi]:
    with kfp_api() as api:
        yield api


@pytest.fixture
def package(tmp_path: Path) -> str:
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(PIPELINE))
    return str(file)


def to(api: KfpApi, **changes: Any) -> Connection:
    return Connection(**{"endpoint": api.endpoint, "origin": "the test", "timeout": 30, **changes})


def started(api: KfpApi, package: str, **changes: Any) -> Any:
    client = to(api, **changes).kfp_client()
    experiment = client.create_experiment("nightly", namespace=changes.get("namespace"))
    return client.create_run_from_pipeline_package(
        package, {"model_url": "http://m"}, run_name="first", experiment_id=experiment.experiment_id
    )


def test_the_sdk_uploads_a_pipeline_and_runs_a_version_of_it(api: KfpApi, package: str) -> None:
    client = to(api).kfp_client()
    pipeline = client.upload_pipeline(package, pipeline_name="small", description="of the tests")
    version = client.upload_pipeline_version(package, "second", pipeline_id=pipeline.pipeline_id)
    assert client.get_pipeline_id("small") == pipeline.pipeline_id
    assert version.pipeline_spec == PIPELINE
    listed = client.list_pipeline_versions(pipeline.pipeline_id).pipeline_versions
    assert [found.display_name for found in listed] == ["small", "second"]
    experiment = client.create_experiment("nightly")
    run = client.run_pipeline(
        experiment.experiment_id,
        "first",
        params={"model_url": "http://m", "num_examples": 3},
        pipeline_id=pipeline.pipeline_id,
        version_id=version.pipeline_version_id,
    )
    assert client.get_run(run.run_id).state == "PENDING"
    assert client.get_run(run.run_id).runtime_config.parameters == {"model_url": "http://m", "num_examples": 3}
    assert api.invalid == []


def test_a_run_goes_through_its_states_with_its_tasks(api: KfpApi, package: str) -> None:
    runs = to(api).runs
    run_id = started(api, package).run_id
    assert runs.run_service_get_run(run_id=run_id).finished_at.year == 1970
    api.advance(run_id, "RUNNING", {"fingerprint": "SUCCEEDED", "000-one": "RUNNING"})
    api.advance(run_id, "FAILED", {"000-one": "FAILED"}, error="a task failed")
    run = runs.run_service_get_run(run_id=run_id)
    states = {task.display_name: task.state for task in run.run_details.task_details}
    assert (states["fingerprint"], states["000-one"]) == ("SUCCEEDED", "FAILED")
    assert not any(task.pod_name for task in run.run_details.task_details)
    assert [status.state for status in run.state_history] == ["PENDING", "RUNNING", "FAILED"]
    assert (run.error.message, run.finished_at.year) == ("a task failed", 2026)
    runs.run_service_retry_run(run_id=run_id)
    again = runs.run_service_get_run(run_id=run_id)
    states = {task.display_name: task.state for task in again.run_details.task_details}
    assert (again.state, states["fingerprint"], states["000-one"]) == ("RUNNING", "SUCCEEDED", "PENDING")
    runs.run_service_terminate_run(run_id=run_id)
    assert runs.run_service_get_run(run_id=run_id).state == "CANCELING"
    with pytest.raises(Refused, match="Failed to terminate"):
        runs.run_service_terminate_run(run_id=run_id)
    runs.run_service_archive_run(run_id=run_id)
    assert runs.run_service_get_run(run_id=run_id).storage_state == "ARCHIVED"
    runs.run_service_delete_run(run_id=run_id)
    with pytest.raises(NotFound, match=r"Run .* not found"):
        runs.run_service_get_run(run_id=run_id)


def test_lists_come_in_pages_sorted_and_filtered(api: KfpApi, package: str) -> None:
    client = to(api).kfp_client()
    for number in range(5):
        run = client.create_run_from_pipeline_package(package, {"model_url": "m"}, run_name=f"run-{number}")
        api.advance(run.run_id, "FAILED" if number % 2 else "SUCCEEDED")
    names, token = [], ""
    while True:
        page = client.list_runs(page_token=token, page_size=2, sort_by="created_at desc")
        names.append([run.display_name for run in page.runs])
        token = page.next_page_token
        if not token:
            break
    assert names == [["run-4", "run-3"], ["run-2", "run-1"], ["run-0"]]
    failed = json.dumps({"predicates": [{"operation": "EQUALS", "key": "state", "stringValue": "FAILED"}]})
    assert [run.display_name for run in client.list_runs(filter=failed).runs] == ["run-1", "run-3"]
    by_tag = json.dumps({"predicates": [{"operation": "EQUALS", "key": "tags", "stringValue": "x"}]})
    with pytest.raises(Refused, match="unrecognized field 'tags'"):
        client.list_runs(filter=by_tag)
    token = client.list_runs(page_size=2, sort_by="created_at desc").next_page_token
    with pytest.raises(Refused, match="page token does not match"):
        client.list_runs(page_token=token, page_size=2, sort_by="created_at")


def test_a_schedule_fires_with_the_scheduled_time_unless_it_is_paused(api: KfpApi, package: str) -> None:
    client = to(api).kfp_client()
    experiment = client.create_experiment("nightly")
    made = client.create_recurring_run(
        experiment.experiment_id,
        "nightly",
        cron_expression="0 0 3 * * *",
        no_catchup=True,
        params={"model_url": "[[ScheduledTime]]"},
        pipeline_package_path=package,
    )
    run_id = api.fire(made.recurring_run_id, datetime.datetime(2026, 5, 1, 3, tzinfo=datetime.UTC))
    assert run_id
    run = client.get_run(run_id)
    assert run.runtime_config.parameters["model_url"] == "20260501030000"
    assert run.recurring_run_id == made.recurring_run_id
    client.disable_recurring_run(made.recurring_run_id)
    assert client.get_recurring_run(made.recurring_run_id).status == "DISABLED"
    assert api.fire(made.recurring_run_id, datetime.datetime(2026, 5, 2, 3, tzinfo=datetime.UTC)) is None
    client.enable_recurring_run(made.recurring_run_id)
    assert [found.status for found in client.list_recurring_runs().recurring_runs] == ["ENABLED"]
    client.delete_recurring_run(made.recurring_run_id)
    assert client.list_recurring_runs().recurring_runs is None
    assert api.invalid == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"display_name": "x", "colour": "red"}, 'unknown field "colour"'),
        ({"display_name": 7}, "must be str"),
        ({"runtime_config": {"parameters": [1]}}, "must be an object"),
        ({"state": "DONE"}, "must be one of"),
        ({"scheduled_at": "tomorrow"}, "must be a timestamp"),
        ({"pipeline_version_reference": {"version": "1"}}, 'unknown field "version"'),
    ],
)
def test_a_body_that_the_models_do_not_know_is_refused_and_recorded(
    api: KfpApi, body: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refused) as raised:
        to(api).runs.run_service_create_run(run=body)
    assert raised.value.status == 400
    assert words in str(raised.value)
    assert any(words in found for found in api.invalid)


def test_a_run_with_parameters_that_the_pipeline_does_not_take_is_refused(api: KfpApi, package: str) -> None:
    client = to(api).kfp_client()
    for given, words in (
        ({}, "model_url is not optional"),
        ({"model_url": "m", "num_examples": "3"}, "requires type int"),
        ({"model_url": "m", "seed": 1}, "unknown input parameter: seed"),
    ):
        with pytest.raises(Refused, match=words):
            client.create_run_from_pipeline_package(package, given)


def test_a_name_that_is_taken_is_a_conflict(api: KfpApi, package: str) -> None:
    client = to(api).kfp_client()
    client.upload_pipeline(package, pipeline_name="small")
    with pytest.raises(Refused) as raised:
        client.upload_pipeline(package, pipeline_name="small")
    assert raised.value.status == 409


def test_namespaces_are_kept_apart(tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_A", "token-of-a")
    monkeypatch.setenv("T_B", "token-of-b")
    users = {"token-of-a": {"team-a"}, "token-of-b": {"team-b"}}
    with kfp_api(multi_user=True, users=users) as api:
        mine: dict[str, Any] = {"namespace": "team-a", "token": SecretReference("T_A")}
        run_id = started(api, package, **mine).run_id
        assert to(api, **mine).version().multi_user
        assert [run.run_id for run in to(api, **mine).kfp_client().list_runs(namespace="team-a").runs] == [run_id]
        theirs = to(api, namespace="team-b", token=SecretReference("T_B"))
        with pytest.raises(Refused, match="in namespace team-b") as raised:
            theirs.runs.run_service_get_run(run_id=run_id)
        assert raised.value.status == 403
        with pytest.raises(Refused, match=r"wants a namespace.*KF_PIPELINES_NAMESPACE"):
            to(api, token=SecretReference("T_A")).runs.run_service_list_runs()
        with pytest.raises(Refused, match="permission to create pipelines"):
            theirs.kfp_client().upload_pipeline(package, pipeline_name="x", namespace="team-a")


def test_a_token_file_is_read_again_for_every_request(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with kfp_api(users={"first": set(), "second": set()}) as api:
        own = to(api, token=SecretReference(file=file))
        for token in ("first", "second"):
            file.write_text(f"{token}\n")
            own.version()
            assert api.seen[-1].headers["authorization"] == f"Bearer {token}"
        client = own.kfp_client()
        file.write_text("first")
        client.list_experiments()
        assert api.seen[-1].headers["authorization"] == "Bearer first"


def test_cookies_are_a_way_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION", "authservice_session=abc")
    with kfp_api(sessions={"authservice_session=abc": {"team-a"}}) as api:
        assert to(api, cookies=SecretReference("SESSION")).kfp_client().list_experiments().experiments
        with pytest.raises(Refused, match="who you are"):
            to(api).version()


def test_without_a_namespace_the_sdk_asks_for_none(api: KfpApi) -> None:
    assert to(api).kfp_client().get_user_namespace() == ""
    assert to(api, namespace="team-a").kfp_client().get_user_namespace() == "team-a"


def test_version_is_known_where_the_dashboard_answers() -> None:
    with kfp_api(dashboard=True) as api:
        assert to(api).version() == (False, "2.17.0")
    with kfp_api() as api:
        assert to(api).version() == (False, None)


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (refuses(401), Refused, "wants to know who you are (give a token: KF_PIPELINES_TOKEN"),
        (refuses(403, "RBAC: access denied"), Refused, "name a namespace of yours); it says: RBAC: access denied"),
        (answers(404, "page not found"), NotTheApi, "is not the API of Kubeflow Pipelines"),
        (refuses(500, "database is gone"), Unavailable, "status 500 (try again later); it says: database is gone"),
        (answers(400, "Client sent an HTTP request to an HTTPS server."), EvalHubError, "speaks TLS (use https://)"),
        (LOGIN, NotTheApi, "a login page perhaps (give a token"),
        (answers(302, Location="https://dex.example/auth?state=s3"), NotTheApi, "sends to https://dex.example/auth, a"),
        (answers(200, "[]", Content_Type="application/json"), NotTheApi, "is not the API"),
        (answers(200, '{"apiServerReady": false}', Content_Type="application/json"), Unavailable, "behind it does not"),
    ],
    ids=["401", "403", "404", "500", "http to https", "login page", "redirect", "other JSON", "dashboard alone"],
)
def test_what_answers_wrong_is_said_with_the_cure(
    api: KfpApi, behaviour: Any, kind: type[EvalHubError], words: str
) -> None:
    api.fail("GET", "", behaviour, times=99)
    with pytest.raises(kind) as raised:
        to(api).version()
    assert words in str(raised.value)
    assert str(raised.value).startswith(f"{api.endpoint}: ")
    assert "s3" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"created_at": "yesterday"}', "Failed to parse `yesterday` as datetime"),
        ('{"created_at": 7}', "V2beta1Run"),
        ('{"error": {"code": "many"}}', "many"),
        ('{"state_history": 7}', "V2beta1Run"),
        ('{"runtime_config": {"parameters": [1]}}', "V2beta1Run"),
        ('{"run_id": "x", "sta', "is not the API of Kubeflow Pipelines"),
        ('{"run_id": "\xff"}'.encode("latin-1"), "is not the API of Kubeflow Pipelines"),
        ("[" * 100_000, "is not the API of Kubeflow Pipelines"),
        ('{"run_id": ' + "[" * 100_000, "is not the API of Kubeflow Pipelines"),
    ],
    ids=["date", "number for a date", "number", "list", "object", "cut off", "not UTF-8", "no object", "deep"],
)
@pytest.mark.parametrize("sdk", [False, True], ids=["", "SDK"])
def test_an_answer_that_cannot_be_read_is_an_error_with_the_cure(
    api: KfpApi, content: str | bytes, words: str, sdk: bool
) -> None:
    connection = to(api)
    ask = connection.kfp_client().get_run if sdk else connection.runs.run_service_get_run
    api.fail("GET", "/runs/", answers(200, content, Content_Type="application/json"))
    with pytest.raises(NotTheApi) as raised:
        ask(run_id="r")
    assert words in str(raised.value)
    assert str(raised.value).startswith(f"{api.endpoint}: ")
    assert str(raised.value).endswith(")")


def test_an_answer_that_cannot_be_read_shows_no_secret(api: KfpApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", TOKEN)
    api.fail("GET", "/runs/", answers(200, json.dumps({"created_at": f"{TOKEN}\x1b[1m"})))
    with pytest.raises(NotTheApi) as raised:
        to(api, token=SecretReference("T")).runs.run_service_get_run("r")
    assert TOKEN not in str(raised.value)
    assert str(raised.value).isprintable()


def test_what_changes_something_may_be_done_although_the_answer_cannot_be_read(api: KfpApi) -> None:
    api.fail("POST", "experiments", answers(200, '{"created_at": "yesterday"}', Content_Type="application/json"))
    with pytest.raises(Unavailable, match="yesterday"):
        to(api).experiments.experiment_service_create_experiment(experiment={"display_name": "x"})


def test_a_token_that_is_not_accepted_is_named_and_never_shown(api: KfpApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", TOKEN)
    api.fail("GET", "", refuses(401, f"bad token {TOKEN}"))
    with pytest.raises(Refused) as raised:
        to(api, token=SecretReference("T")).version()
    assert "does not accept what $T holds (renew it when it has expired)" in str(raised.value)
    assert TOKEN not in str(raised.value)


def test_credentials_do_not_follow_a_redirect(api: KfpApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", TOKEN)
    with kfp_api() as other:
        api.fail("GET", "", answers(302, Location=f"{other.endpoint}/apis/v2beta1/healthz"), times=9)
        with pytest.raises(NotTheApi):
            to(api, token=SecretReference("T")).version()
        assert other.seen == []


@pytest.mark.parametrize("given", ["", "/pipeline/other"], ids=["missing", "too much"])
def test_the_right_path_is_found_when_the_given_one_is_not(given: str) -> None:
    with kfp_api(prefix="/pipeline") as api:
        origin = api.endpoint.removesuffix("/pipeline")
        with pytest.raises(NotTheApi, match=f"the API is at {api.endpoint}: use that"):
            to(api, endpoint=f"{origin}{given}").version()


def test_nothing_that_listens_is_an_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unavailable, match=r"nothing answers there, connection refused .*port-forward"):
        Connection(f"http://127.0.0.1:{port}", "the test").version()


def test_an_unknown_host_is_said() -> None:
    with pytest.raises(Unavailable, match=r"the host name kubeflow\.invalid is unknown"):
        Connection("http://kubeflow.invalid", "the test").version()


def test_a_server_that_hangs_is_given_up(api: KfpApi) -> None:
    api.fail("GET", "", hangs, times=9)
    with pytest.raises(Unavailable, match="no answer within 1 s"):
        to(api, timeout=1).version()


def test_a_slow_answer_is_waited_for(api: KfpApi) -> None:
    api.fail("GET", "healthz", slow(0.5))
    assert not to(api).version().multi_user
    assert len(api.seen) == 1


@pytest.mark.parametrize(
    "behaviour",
    [drops, refuses(503), refuses(429, Retry_After="1")],
    ids=["dropped", "503", "429"],
)
def test_a_question_is_asked_again_after_a_short_failure(api: KfpApi, behaviour: Any) -> None:
    api.fail("GET", "healthz", behaviour)
    assert not to(api).version().multi_user
    assert len(api.asked("GET", "healthz")) == 2


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [(drops, "broke off"), (refuses(429, Retry_After="7"), "asks to wait 7 s"), (refuses(503), "status 503")],
    ids=["dropped", "429", "503"],
)
def test_what_changes_something_is_sent_once(api: KfpApi, behaviour: Any, words: str) -> None:
    api.fail("POST", "experiments", behaviour)
    with pytest.raises(Unavailable, match=words):
        to(api).experiments.experiment_service_create_experiment(experiment={"display_name": "x"})
    assert len(api.asked("POST", "experiments")) == 1
    assert len(api.experiments) == 1


def test_a_restarted_server_has_what_the_old_one_had(package: str) -> None:
    with kfp_api() as api:
        own = to(api)
        run_id = started(api, package).run_id
    with pytest.raises(Unavailable):
        own.runs.run_service_get_run(run_id=run_id)
    with kfp_api(api=api, port=api.port):
        assert own.runs.run_service_get_run(run_id=run_id).run_id == run_id


def test_a_private_ca_is_trusted_when_it_is_named(tmp_path: Path) -> None:
    with kfp_api(write_certificates(tmp_path)) as api:
        assert not to(api, ca_file=tmp_path / "ca.crt").version().multi_user
        with pytest.raises(EvalHubError, match=r"certificate is not trusted.*KF_PIPELINES_CA_FILE"):
            to(api).version()


def test_speaking_the_wrong_scheme_is_said(api: KfpApi) -> None:
    with pytest.raises(EvalHubError, match="does not speak TLS \\(use http://\\)"):
        to(api, endpoint=api.endpoint.replace("http:", "https:")).version()


@pytest.mark.parametrize(
    ("make", "words"),
    [(lambda file: None, "no such file"), (lambda file: file.write_text("x"), "no certificates in PEM form")],
    ids=["missing", "text"],
)
def test_a_ca_file_that_is_none_is_said(
    api: KfpApi, tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    make(tmp_path / "ca.crt")
    with pytest.raises(EvalHubError, match=words):
        to(api, ca_file=tmp_path / "ca.crt").version()


def test_a_connection_that_is_resolved_works(api: KfpApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"{api.endpoint}/")
    found = connections.resolve()
    assert found.origin == "KF_PIPELINES_ENDPOINT"
    assert not found.version().multi_user


def test_the_options_of_a_command_lead_to_the_connection(api: KfpApi, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @connecting.connection
    def ask(connection: Connection) -> None:
        click.echo(f"{connection.namespace} {connection.version().multi_user}")

    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "https://kf.invalid")
    result = CliRunner().invoke(ask, ["--endpoint", api.endpoint, "--namespace", "team-a"])
    assert (result.exit_code, result.output) == (0, "team-a False\n")
    result = CliRunner().invoke(ask, ["--profile", "prod"])
    assert "there is no profile 'prod'" in str(result.exception)


def test_every_answer_is_what_the_models_say(api: KfpApi, package: str) -> None:
    run_id = started(api, package).run_id
    api.advance(run_id, "FAILED", {"000-one": "FAILED"}, error="x")
    connection = to(api)
    for path, model in (
        (f"runs/{run_id}", "V2beta1Run"),
        ("runs", "V2beta1ListRunsResponse"),
        ("experiments", "V2beta1ListExperimentsResponse"),
    ):
        found = connection.api.call_api(
            f"/apis/v2beta1/{path}", "GET", response_type="object", _return_http_data_only=True
        )
        assert kfp_models.problems(found, model) == []
    assert kfp_server_api.__version__.startswith("2.")
