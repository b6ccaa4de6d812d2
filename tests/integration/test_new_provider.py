"""The folder that `providers new` writes; that it passes its own tests is in test_readme.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evalhub_pipelines.provider_testing import Trial, unable

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["x", "my_framework", "a-b-2c", "null"])
def test_its_code_is_as_tidy_as_ours(cli: Any, tmp_path: Path, name: str) -> None:
    assert cli("providers", "new", name, "--catalog", tmp_path / "mine").status == 0
    folder = tmp_path / "mine" / "providers" / name
    ruff = [Path(sys.executable).with_name("ruff"), "--config", CHECKOUT / "pyproject.toml"]
    for command in (["format", "--check"], ["check", "--ignore", "I,D103"]):  # by path: first parties, tests
        done = subprocess.run([ruff[0], *command, *ruff[1:], folder], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    assert "{{" not in "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    described = cli("providers", "describe", name, "--catalog", tmp_path / "mine")
    assert "questions" in described.out


@pytest.mark.parametrize("name", ["My", "a b", "../up", "a/b", "-a", "a--b", "", "é"])
def test_what_can_be_no_id_is_refused_and_nothing_is_written(cli: Any, tmp_path: Path, name: str) -> None:
    done = cli("providers", "new", "--catalog", tmp_path / "mine", "--", name)
    assert done.status == 2
    assert "must be lower-case words of letters and digits" in done.err
    assert not (tmp_path / "mine").exists()


def test_what_is_there_is_never_written_over(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "mine" / "providers" / "precious").mkdir(parents=True)
    (tmp_path / "mine" / "providers" / "precious" / "adapter.py").write_text("precious")
    done = cli("providers", "new", "precious", "--catalog", tmp_path / "mine")
    assert done.status == 2
    assert "is there already" in done.err
    files = [path for path in (tmp_path / "mine").rglob("*") if path.is_file()]
    assert [path.read_text() for path in files] == ["precious"]


def test_a_folder_that_cannot_be_written_is_named(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a file")
    done = cli("providers", "new", "anything", "--catalog", tmp_path / "mine")
    assert done.status == 2
    assert "mine/providers/anything: cannot be written" in done.err


def test_a_provider_that_is_there_is_not_hidden(cli: Any, tmp_path: Path) -> None:
    done = cli("providers", "new", "garak", "--catalog", tmp_path / "mine")
    assert done.status == 2
    assert "is a provider that is there already" in done.err


def test_lost_answers_that_belong_to_nobody_fail_the_benchmark(cli: Any, tmp_path: Path) -> None:
    """A framework may send a question otherwise than it stands in the data."""
    assert cli("providers", "new", "rewriting", "--catalog", tmp_path / "mine").status == 0
    folder = tmp_path / "mine" / "providers" / "rewriting"
    framework = folder / "rewriting_framework.py"
    text = framework.read_text()
    framework.write_text(
        text.replace(
            '_answer(url, token, model, item["question"])', '_answer(url, token, model, item["question"].upper())'
        )
    )
    with unable(500) as url:
        outcome = Trial(folder, tmp_path).run("questions", url, parameters={"max_retries": 1})
    assert "20 requests got no answer, and it is not known whose they were: " in outcome.reason
