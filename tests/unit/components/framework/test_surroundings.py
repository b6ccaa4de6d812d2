import os
from pathlib import Path

import pytest

from evalhub_components.errors import EvalHubError
from evalhub_components.framework import surroundings


def test_a_framework_looks_nothing_up_and_keeps_its_caches_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    found = surroundings.variables(tmp_path, own={"ITS_TELEMETRY": "off"})
    assert found["HF_HUB_OFFLINE"] == found["DO_NOT_TRACK"] == "1"
    assert found["ITS_TELEMETRY"] == "off"
    assert found["HF_HOME"] == str(tmp_path / "huggingface")
    assert "HF_HUB_OFFLINE" not in surroundings.variables(tmp_path, hub=True)


def test_what_the_caller_sets_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/models")
    monkeypatch.setenv("XDG_CACHE_HOME", "/desktop")
    found = surroundings.variables(tmp_path)
    assert found["HF_HOME"] == "/models"
    assert found["XDG_CACHE_HOME"] == str(tmp_path / "cache")  # answers of earlier runs could be in there


def test_what_one_benchmark_sets_is_taken_back_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HOME", raising=False)
    for name in ("first", "second"):
        with surroundings.applied(tmp_path / name, own={"LEFT": name}):
            assert os.environ["HF_HOME"] == str(tmp_path / name / "huggingface")
            os.environ["BY_THE_FRAMEWORK"] = "1"
    assert not {"HF_HOME", "LEFT", "BY_THE_FRAMEWORK"} & os.environ.keys()


def test_no_proxy_stands_before_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet")
    assert surroundings.variables(tmp_path)["NO_PROXY"] == "intranet,127.0.0.1,localhost"


def test_without_a_ca_there_is_no_bundle(tmp_path: Path) -> None:
    assert surroundings.ca_bundle(None, tmp_path) is None


def test_a_missing_ca_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvalHubError, match="ca_cert: cannot be read as PEM certificates"):
        surroundings.ca_bundle(tmp_path / "ca_cert", tmp_path)
