from __future__ import annotations

from pathlib import Path

import pytest

from evalhub_components.errors import EvalHubError
from evalhub_components.test_data import secret


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a mounted secret, and an environment with other values."""
    monkeypatch.setenv("EVALHUB_TEST_DATA_SECRET", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_S3_ENDPOINT", "HF_TOKEN"):
        monkeypatch.setenv(name, f"{name} of the environment")
    return tmp_path


def test_a_secret_is_what_its_files_hold_and_nothing_of_the_environment(folder: Path) -> None:
    (folder / "AWS_ACCESS_KEY_ID").write_text("id\n")
    (folder / "password").write_bytes(" pass wörd \r\n".encode())
    (folder / "username").write_text("me")
    (folder / "unknown").write_text("x")
    (folder / "ca_cert").write_text("-----BEGIN CERTIFICATE-----")
    found = secret.read()
    assert dict(found.values) == {"AWS_ACCESS_KEY_ID": "id", "password": " pass wörd ", "username": "me"}
    assert found.ca_cert == folder / "ca_cert"
    assert found.confidential() == ["id", " pass wörd "]
    assert "pass" not in repr(found)


def test_without_a_folder_the_environment_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVALHUB_TEST_DATA_SECRET")
    found = secret.read()
    assert found.get("AWS_ACCESS_KEY_ID") == "AWS_ACCESS_KEY_ID of the environment"
    assert found.get("hf-token") == "HF_TOKEN of the environment"
    assert found.get("password") is None


def test_a_secret_that_was_not_mounted_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALHUB_TEST_DATA_SECRET", str(folder / "missing"))
    assert dict(secret.read().values) == {}


@pytest.mark.parametrize("content", [b"hunter2\nhunter3", b"hunter2\0", b"hunter2\xff", b"hunter2\x1b[2J"])
def test_a_value_that_cannot_be_sent_is_refused_and_not_shown(folder: Path, content: bytes) -> None:
    (folder / "token").write_bytes(content)
    with pytest.raises(EvalHubError, match=r"token: must be one line of printable text$") as refused:
        secret.read()
    assert "hunter" not in str(refused.value)
