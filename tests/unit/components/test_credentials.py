"""Secrets as Kubernetes mounts them, and those that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalhub_components import credentials
from evalhub_components.errors import EvalHubError


def test_a_secret_that_was_not_asked_for_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(credentials.MODEL_SECRET, raising=False)
    assert credentials.read().api_key is None
    monkeypatch.setenv(credentials.MODEL_SECRET, str(tmp_path / "not-mounted"))
    assert credentials.read().api_key is None


@pytest.mark.parametrize(
    "variable",
    [credentials.MODEL_SECRET, credentials.MLFLOW_SECRET, credentials.REGISTRY_SECRET, credentials.SIGNING_SECRET],
)
def test_the_empty_folder_of_a_secret_that_does_not_exist_is_an_error(variable: str, tmp_path: Path) -> None:
    with pytest.raises(EvalHubError, match=r"has no wanted \(is the secret there"):
        credentials.mounted(variable, "wanted", environ={variable: str(tmp_path)})


def test_a_model_key_from_the_wrong_secret_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("x")
    monkeypatch.setenv(credentials.MODEL_SECRET, str(tmp_path))
    with pytest.raises(EvalHubError, match="has no api-key or ca_cert or hf-token"):
        credentials.read()


def account(folder: Path, monkeypatch: pytest.MonkeyPatch, token: str = "a.first.token") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(token)
    monkeypatch.setenv(credentials.SERVICE_ACCOUNT_TOKEN, str(folder / "token"))
    monkeypatch.delenv(credentials.MODEL_SECRET, raising=False)
    monkeypatch.delenv(credentials.CA, raising=False)
    return folder / "token"


def test_the_key_of_a_service_account_is_what_is_in_the_file_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = account(tmp_path / "account", monkeypatch, "a.first.token\n")
    found = credentials.read(asked_with="service-account")
    assert (found.api_key, found.key()) == ("a.first.token", "a.first.token")
    for token in ("a.second.token", "", "two\nlines", "t\u00f6ken"):
        file.write_text(token)
        assert found.key() == ("a.second.token" if token == "a.second.token" else "a.first.token")
    assert "first.token" not in repr(found)


def test_a_token_whose_folder_is_exchanged_while_it_is_read_is_read_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account(tmp_path / "account", monkeypatch, "a.first.token")
    found = credentials.read(asked_with="service-account")
    read, failures = Path.read_text, [FileNotFoundError()]

    def exchanged(path: Path, *arguments: str) -> str:
        (tmp_path / "account" / "token").write_text("a.second.token")
        if failures:
            raise failures.pop()
        return read(path, *arguments)

    monkeypatch.setattr(Path, "read_text", exchanged)
    assert found.key() == "a.second.token"


def test_the_token_is_that_of_the_pod_unless_another_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(credentials.SERVICE_ACCOUNT_TOKEN, raising=False)
    if credentials.POD_TOKEN.exists():
        pytest.skip("this is a pod")
    with pytest.raises(EvalHubError, match="serviceaccount/token: the token of the service account cannot"):
        credentials.read(asked_with="service-account")


def test_the_clusters_ca_goes_after_the_models_and_the_config_maps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = account(tmp_path / "account", monkeypatch)
    assert credentials.read(asked_with="service-account").ca_cert is None
    cluster = file.with_name("service-ca.crt")
    cluster.write_text("of OpenShift")
    assert credentials.read(asked_with="service-account").ca_cert == cluster
    assert credentials.read().ca_cert is None
    (tmp_path / "ca-bundle.crt").write_text("of the config map")
    monkeypatch.setenv(credentials.CA, str(tmp_path))
    assert credentials.read(asked_with="service-account").ca_cert == tmp_path / "ca-bundle.crt"
    (tmp_path / "ca_cert").write_text("of the model")
    monkeypatch.setenv(credentials.MODEL_SECRET, str(tmp_path))
    assert credentials.read(asked_with="service-account").ca_cert == tmp_path / "ca_cert"


@pytest.mark.parametrize(
    ("text", "found"),
    [("secret", "secret"), ("", "secret"), (" ", "secret"), (" service-account\n", "service-account")],
)
def test_a_form_says_what_the_model_is_asked_with(text: str, found: str) -> None:
    assert credentials.auth(text) == found


@pytest.mark.parametrize("text", ["Service-Account", "service_account", "true", "token"])
def test_another_word_is_refused(text: str) -> None:
    with pytest.raises(EvalHubError, match="judge_auth: must be secret or service-account"):
        credentials.auth(text, "judge_auth")
