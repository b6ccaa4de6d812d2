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
