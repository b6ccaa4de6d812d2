"""Profiles of Kubeflow installations, through the command line and the functions under it."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evalhub_components.errors import EvalHubError, InvalidDocument, MissingExtra
from evalhub_pipelines.cli.configuration import config
from evalhub_pipelines.client import connection, profiles

TOKEN = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration folder of a user who has nothing there."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(config, words)


def resolved(**given: str) -> connection.Connection:
    environ = {name: given.pop(name) for name in list(given) if name.startswith("KF_")}
    return connection.resolve(**given, environ=environ)


def message(result: Result) -> str:
    return f"{result.output}{result.exception}"


def written(content: str) -> Path:
    file = profiles.path()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    file.chmod(0o600)
    return file


def test_profiles_that_are_set_at_once_are_all_kept(home: Path) -> None:
    command = [Path(sys.executable).with_name("evalhub-kfp"), "config", "set"]
    names = [f"p{number}" for number in range(6)]
    started = [subprocess.Popen([*command, name, "endpoint=https://kf.example"]) for name in names]
    assert [one.wait() for one in started] == [0] * 6
    assert sorted(profiles.read().profiles) == names


def test_what_was_set_can_be_read_and_is_nobody_elses_business() -> None:
    result = run("set", "prod", "endpoint=https://kf.example/pipeline", "namespace=team-a", "token_env=KF_TOKEN")
    assert result.exit_code == 0, message(result)
    assert "now the current one" in result.output
    assert stat.S_IMODE(profiles.path().stat().st_mode) == 0o600
    found = json.loads(run("get", "--format", "json").output)
    assert found == {
        "name": "prod",
        "endpoint": "https://kf.example/pipeline",
        "namespace": "team-a",
        "token_env": "KF_TOKEN",
    }
    assert [file.name for file in profiles.path().parent.iterdir()] == ["profiles.yaml"]


def test_a_file_that_others_could_read_is_private_after_the_next_change() -> None:
    written("profiles: {}\n").chmod(0o644)
    assert run("set", "prod", "endpoint=https://kf.example").exit_code == 0
    assert stat.S_IMODE(profiles.path().stat().st_mode) == 0o600


def test_a_key_is_changed_and_taken_away_and_the_others_stay() -> None:
    run("set", "prod", "endpoint=https://kf.example", "namespace=a", "ca-file=/etc/ca.crt")
    run("set", "prod", "namespace=b", "ca_file=")
    assert json.loads(run("get", "prod", "--format", "json").output) == {
        "name": "prod",
        "endpoint": "https://kf.example",
        "namespace": "b",
    }


def test_the_first_profile_is_current_until_another_is_used() -> None:
    run("set", "one", "endpoint=https://one.example")
    run("set", "two", "endpoint=https://two.example")
    assert profiles.read().current == "one"
    assert run("use", "two").exit_code == 0
    rows = json.loads(run("list", "--format", "json").output)
    assert [(row["name"], row["current"]) for row in rows] == [("one", False), ("two", True)]
    assert "*" in run("list").output


def test_a_profile_that_is_not_there_suggests_the_nearest() -> None:
    run("set", "staging", "endpoint=https://kf.example")
    result = run("use", "stagign")
    assert "did you mean 'staging'" in message(result)
    with pytest.raises(EvalHubError, match="did you mean 'staging'"):
        resolved(profile="stagign")


@pytest.mark.parametrize(
    "given",
    [f"token={TOKEN}", f"existing_token={TOKEN}", f"cookies={TOKEN}", f"token_env={TOKEN}", f"token_file={TOKEN}"],
)
def test_a_literal_token_is_refused_and_not_repeated(given: str) -> None:
    result = run("set", "prod", "endpoint=https://kf.example", given)
    assert result.exit_code != 0
    assert TOKEN not in message(result)
    assert not profiles.path().exists()


@pytest.mark.parametrize("given", [TOKEN, f"{TOKEN}=", f"{TOKEN}==", f"Authorization: Bearer {TOKEN}=="])
def test_a_token_without_a_key_is_not_repeated(given: str) -> None:
    result = run("set", "prod", given)
    assert result.exit_code != 0
    assert "KEY=VALUE" in result.output
    assert TOKEN not in message(result)


def test_a_password_in_the_endpoint_is_refused_and_not_repeated() -> None:
    result = run("set", "prod", "endpoint=https://user:hunter22@kf.example")
    assert "without query, user and password" in message(result)
    assert "hunter22" not in message(result)


def test_all_problems_of_the_file_are_said_at_once() -> None:
    file = written(
        "current: prod\nprofiles:\n  prod:\n    endpoint: kf.example\n    name_space: a\n"
        f"    token: {TOKEN}\n  other:\n    namespace: Team A\n"
    )
    with pytest.raises(InvalidDocument) as raised:
        profiles.read()
    text = str(raised.value)
    assert f"{file}: profiles.prod: endpoint: must be an http or https address" in text
    assert "profiles.prod: name_space: unknown key (did you mean 'namespace'?)" in text
    assert "profiles.prod: token: secrets are not kept here (token_env names an environment variable" in text
    assert "profiles.other: endpoint: is missing" in text
    assert "profiles.other: namespace: must be a namespace" in text
    assert TOKEN not in text


def test_two_places_for_one_token_are_refused() -> None:
    result = run("set", "prod", "endpoint=https://kf.example", "token_env=A", "token_file=/a")
    assert "has token_env and token_file (keep one)" in message(result)


def test_a_file_that_others_may_write_is_refused() -> None:
    written("profiles: {}\n").chmod(0o666)
    with pytest.raises(EvalHubError, match="others may write it \\(chmod 600"):
        profiles.read()


def test_a_link_to_the_file_stays_a_link(home: Path) -> None:
    elsewhere = home / "dotfiles" / "profiles.yaml"
    elsewhere.parent.mkdir()
    elsewhere.write_text("profiles: {}\n")
    elsewhere.chmod(0o600)
    profiles.path().parent.mkdir(parents=True)
    profiles.path().symlink_to(elsewhere)
    run("set", "prod", "endpoint=https://kf.example")
    assert profiles.path().is_symlink()
    assert "kf.example" in elsewhere.read_text()


def test_nobody_saying_where_is_an_error_with_the_three_ways() -> None:
    with pytest.raises(EvalHubError) as raised:
        resolved()
    for way in ("--endpoint", "KF_PIPELINES_ENDPOINT", "config set"):
        assert way in str(raised.value)


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ({}, "https://current.example"),
        ({"KF_PIPELINES_ENDPOINT": "https://environment.example/"}, "https://environment.example"),
        ({"KF_PIPELINES_ENDPOINT": "https://environment.example", "profile": "named"}, "https://named.example"),
        (
            {"KF_PIPELINES_ENDPOINT": "https://environment.example", "endpoint": "https://e.example"},
            "https://e.example",
        ),
        ({"profile": "named", "endpoint": "https://e.example"}, "https://e.example"),
        ({"KF_PIPELINES_ENDPOINT": "kf.example/pipeline"}, "https://kf.example/pipeline"),
        ({"KF_PIPELINES_ENDPOINT": "https://kf.example/pipeline/apis/v2beta1/"}, "https://kf.example/pipeline"),
    ],
    ids=["current", "environment", "named", "option", "option over named", "no scheme", "with the API's path"],
)
def test_who_says_where(given: dict[str, str], endpoint: str) -> None:
    run("set", "current", "endpoint=https://current.example")
    run("set", "named", "endpoint=https://named.example")
    assert resolved(**given).endpoint == endpoint


@pytest.mark.parametrize(
    ("given", "token"),
    [
        ({}, "$PROFILE_TOKEN"),
        ({"endpoint": "https://prod.example/"}, "$PROFILE_TOKEN"),
        ({"endpoint": "https://elsewhere.example"}, "None"),
        ({"KF_PIPELINES_ENDPOINT": "https://elsewhere.example"}, "None"),
        ({"KF_PIPELINES_TOKEN": "x"}, "$KF_PIPELINES_TOKEN"),
        ({"KF_PIPELINES_TOKEN": "x", "profile": "prod"}, "$PROFILE_TOKEN"),
        ({"KF_PIPELINES_TOKEN": "x", "endpoint": "https://elsewhere.example"}, "$KF_PIPELINES_TOKEN"),
        (
            {
                "KF_PIPELINES_TOKEN": "x",
                "KF_PIPELINES_ENDPOINT": "https://a.example",
                "endpoint": "https://elsewhere.example",
            },
            "None",
        ),
        ({"KF_PIPELINES_SA_TOKEN_PATH": "/var/run/token"}, "/var/run/token"),
        ({"KF_PIPELINES_TOKEN_FILE": "/run/token", "KF_PIPELINES_SA_TOKEN_PATH": "/var/run/token"}, "/run/token"),
    ],
)
def test_a_token_goes_only_to_the_server_it_was_given_for(given: dict[str, str], token: str) -> None:
    run("set", "prod", "endpoint=https://prod.example", "token_env=PROFILE_TOKEN")
    assert str(resolved(**given).token) == token


def test_the_rest_of_the_environment_counts() -> None:
    found = resolved(
        KF_PIPELINES_ENDPOINT="https://kf.example",
        KF_PIPELINES_NAMESPACE="team-a",
        KF_PIPELINES_COOKIES="authservice_session=abc",
        KF_PIPELINES_CA_FILE="/etc/ca.crt",
        KF_PIPELINES_UI_ENDPOINT="https://ui.example/",
    )
    assert (found.namespace, str(found.cookies), str(found.ca_file)) == (
        "team-a",
        "$KF_PIPELINES_COOKIES",
        "/etc/ca.crt",
    )
    assert found.run_page("r1") == "https://ui.example/#/runs/details/r1"


def test_an_option_overrides_the_namespace_of_the_profile() -> None:
    run("set", "prod", "endpoint=https://kf.example", "namespace=team-a")
    assert resolved(namespace="team-b").namespace == "team-b"


def test_no_message_and_no_picture_of_a_connection_shows_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF_PIPELINES_TOKEN", TOKEN)
    found = resolved(KF_PIPELINES_ENDPOINT="https://kf.example", KF_PIPELINES_TOKEN=TOKEN)
    assert found.credentials() == {"Authorization": f"Bearer {TOKEN}"}
    assert TOKEN not in repr(found)


@pytest.mark.parametrize("value", [None, "", "two\nlines", "caf\u00e9"])
def test_a_token_that_can_be_none_is_an_error_that_names_its_place(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is not None:
        monkeypatch.setenv("PROFILE_TOKEN", value)
    run("set", "prod", "endpoint=https://prod.example", "token_env=PROFILE_TOKEN")
    with pytest.raises(EvalHubError, match=r"\$PROFILE_TOKEN: ") as raised:
        resolved().credentials()
    assert not value or value not in str(raised.value)


def test_neither_profiles_nor_connections_load_the_clients_before_a_request() -> None:
    program = (
        "import sys, evalhub_pipelines.cli.configuration, evalhub_pipelines.cli.connecting\n"
        "from evalhub_pipelines.client import connection\n"
        "connection.resolve(endpoint='https://kf.example')\n"
        "print({'kfp', 'kfp_server_api', 'urllib3', 'kubernetes'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "set()\n", done.stderr


def test_without_the_clients_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kfp_server_api", None)
    monkeypatch.delitem(sys.modules, "evalhub_pipelines.client.transport", raising=False)
    monkeypatch.delattr("evalhub_pipelines.client.transport", raising=False)
    with pytest.raises(MissingExtra, match=r"pip install 'evalhub-kfp\[kfp\]'"):
        resolved(endpoint="https://kf.example").version()
