"""Where the login of a registry comes from."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.registry import docker_config
from evalhub_components.evidence.registry.docker_config import Login

HOST = "registry.example:5000"


def entry(user: str, password: str = "pass-w0rd") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, **config: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config))
    return path


def user_of(tmp_path: Path, host: str, repository: str = "team/repo", **config: Any) -> str:
    write(tmp_path / "secret" / "config.json", **config)
    return docker_config.login(host, repository, tmp_path / "secret", {}).username


def helper(tmp_path: Path, name: str, script: str) -> dict[str, str]:
    """Write a credential helper; returns the environment in which it is found."""
    path = tmp_path / "bin" / f"docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{path.parent}:{os.environ['PATH']}"}


@pytest.mark.parametrize("name", [".dockerconfigjson", "config.json"])
def test_a_secrets_folder_has_the_login(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, auths={HOST: entry("robot", "a:b c")})
    found = docker_config.login(HOST, "repo", tmp_path, {})
    assert (found.username, found.password, found.anonymous) == ("robot", "a:b c", False)


def test_a_secret_is_used_alone(tmp_path: Path) -> None:
    write(tmp_path / "home" / ".docker" / "config.json", auths={HOST: entry("from-home")})
    write(tmp_path / "docker" / "config.json", auths={HOST: entry("from-environment")})
    environ = {"HOME": str(tmp_path / "home"), "DOCKER_CONFIG": str(tmp_path / "docker")}
    write(tmp_path / "secret" / ".dockerconfigjson", auths={"other.example": entry("other")})
    found = docker_config.login(HOST, "repo", tmp_path / "secret", environ)
    assert found.anonymous
    assert str(tmp_path / "secret" / ".dockerconfigjson") in found.source
    assert HOST in found.source


def test_a_secret_without_a_login_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("x")
    with pytest.raises(EvalHubError, match=r"has no \.dockerconfigjson"):
        docker_config.login(HOST, "repo", tmp_path, {})


@pytest.mark.parametrize(
    ("places", "environ", "expected"),
    [
        (["docker", "home", "podman"], ["DOCKER_CONFIG"], "docker"),
        (["home", "podman"], ["DOCKER_CONFIG"], ""),
        (["home", "podman", "auth"], ["REGISTRY_AUTH_FILE"], "auth"),
        (["docker", "auth"], ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE"], "docker"),
        (["auth"], ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE"], "auth"),
        (["home", "podman"], [], "home"),
        (["podman"], [], "podman"),
        ([], [], ""),
    ],
)
def test_what_is_named_explicitly_never_loses_to_home(
    tmp_path: Path, places: list[str], environ: list[str], expected: str
) -> None:
    paths = {
        "docker": tmp_path / "docker" / "config.json",
        "auth": tmp_path / "auth.json",
        "home": tmp_path / ".docker" / "config.json",
        "podman": tmp_path / "run" / "containers" / "auth.json",
    }
    for place in places:
        write(paths[place], auths={HOST: entry(place)})
    named = {"DOCKER_CONFIG": str(tmp_path / "docker"), "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    values = {
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        **{name: named[name] for name in environ},
    }
    assert docker_config.login(HOST, "repo", None, values).username == expected


@pytest.mark.parametrize(
    ("host", "keys", "expected"),
    [
        ("registry.example", ["registry.example"], "registry.example"),
        ("registry.example", ["registry.example:5000"], ""),
        ("registry.example:5000", ["registry.example"], ""),
        ("registry.example", ["https://registry.example"], "https://registry.example"),
        ("registry.example", ["https://registry.example/v1/"], "https://registry.example/v1/"),
        ("registry.example", ["https://registry.example/v2/"], "https://registry.example/v2/"),
        ("registry.example", ["registry.example/v1"], "registry.example/v1"),
        ("registry.example", ["https://registry.example/v1/", "registry.example"], "registry.example"),
        ("registry.example", ["registry.example", "registry.example/team"], "registry.example/team"),
        ("registry.example", ["registry.example/team/repo", "registry.example/team"], "registry.example/team/repo"),
        ("registry.example", ["registry.example/tea", "registry.example/other"], ""),
        ("docker.io", ["https://index.docker.io/v1/"], "https://index.docker.io/v1/"),
        ("registry-1.docker.io", ["docker.io"], "docker.io"),
    ],
)
def test_the_key_that_speaks_most_closely_of_the_repository_counts(
    tmp_path: Path, host: str, keys: list[str], expected: str
) -> None:
    assert user_of(tmp_path, host, auths={key: {"username": key, "password": "p"} for key in keys}) == expected


def test_an_identity_token_takes_the_place_of_a_password(tmp_path: Path) -> None:
    write(tmp_path / "config.json", auths={HOST: {**entry("someone", ""), "identitytoken": "refresh-me"}})
    assert docker_config.login(HOST, "repo", tmp_path, {}).identity_token == "refresh-me"


@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_a_credential_helper_is_asked_for_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    script = 'read host; printf \'{"Username": "%s", "Secret": "from the helper"}\' "$1-$host"'
    for name, value in helper(tmp_path, "vault", script).items():
        monkeypatch.setenv(name, value)
    config: dict[str, Any] = {"credHelpers": {HOST: "vault"}, "credsStore": "vault"}
    write(tmp_path / "config.json", auths={HOST: {}}, **{key: config[key]})
    found = docker_config.login(HOST, "repo", tmp_path, {})
    assert (found.username, found.password) == (f"get-{HOST}", "from the helper")


def test_a_helper_may_give_an_identity_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in helper(tmp_path, "vault", 'echo \'{"Username": "<token>", "Secret": "t0ken"}\'').items():
        monkeypatch.setenv(name, value)
    write(tmp_path / "config.json", credHelpers={HOST: "vault"})
    assert docker_config.login(HOST, "repo", tmp_path, {}).identity_token == "t0ken"


def test_a_helper_that_knows_nothing_leaves_us_anonymous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'echo "credentials not found in native keychain"; exit 1'
    for name, value in helper(tmp_path, "vault", script).items():
        monkeypatch.setenv(name, value)
    write(tmp_path / "config.json", credsStore="vault")
    assert docker_config.login(HOST, "repo", tmp_path, {}).anonymous


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo hunter2 >&2; echo hunter2; exit 3", "failed for"),
        ("echo hunter2", "something else than Username and Secret"),
        ("echo '[\"hunter2\"]'", "something else than Username and Secret"),
        ("echo hunter2; exec sleep 600", "does not answer"),
        (r"""printf '{"Username": "u", "Secret": "hunter2\\nX: y"}'""", "no control characters"),
    ],
    ids=["fails", "no JSON", "other JSON", "hangs", "two lines"],
)
def test_a_helper_that_fails_is_named_and_what_it_says_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    monkeypatch.setattr(docker_config, "_HELPER_SECONDS", 2.0)
    for name, value in helper(tmp_path, "vault", script).items():
        monkeypatch.setenv(name, value)
    write(tmp_path / "config.json", credsStore="vault")
    with pytest.raises(EvalHubError, match=f"docker-credential-vault.*{words}") as error:
        docker_config.login(HOST, "repo", tmp_path, {})
    assert "hunter2" not in str(error.value)


def test_a_missing_helper_is_named(tmp_path: Path) -> None:
    write(tmp_path / "config.json", credHelpers={HOST: "nowhere-to-be-found"})
    with pytest.raises(EvalHubError, match=r"docker-credential-nowhere-to-be-found.*not installed"):
        docker_config.login(HOST, "repo", tmp_path, {})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("hunter2", "is no Docker configuration"),
        ('["hunter2"]', "is no Docker configuration"),
        ('{"auths": ["hunter2"]}', "auths: must be an object"),
        ('{"auths": {"registry.example:5000": "hunter2"}}', "must be an object of texts"),
        ('{"auths": {"registry.example:5000": {"auth": 7}}}', "must be an object of texts"),
        ('{"auths": {"registry.example:5000": {"auth": "hunter2"}}}', "must be base64 of USER:PASSWORD"),
        ('{"auths": {"registry.example:5000": {"auth": "aHVudGVyMg=="}}}', "must be base64 of USER:PASSWORD"),
        ('{"auths": {"registry.example:5000": {"username": "u", "password": "hunter2\\n"}}}', "no control characters"),
        ('{"credsStore": "../hunter2"}', "credential helper's name"),
        ("[" * 100_000, "is no Docker configuration"),
    ],
    ids=["text", "array", "auths", "entry", "number", "base64", "colon", "newline", "helper", "deep"],
)
def test_a_file_that_cannot_be_used_is_named_and_not_shown(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(EvalHubError, match=words) as error:
        docker_config.login(HOST, "repo", tmp_path, {})
    assert str(tmp_path / "config.json") in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_login_shows_no_password() -> None:
    shown = repr(Login("x", "user", "hunter2", "t0ken"))
    assert "hunter2" not in shown
    assert "t0ken" not in shown


def test_the_environment_is_that_of_the_process_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    write(tmp_path / "config.json", auths={HOST: entry("of-the-process")})
    assert docker_config.login(HOST, "repo").username == "of-the-process"
