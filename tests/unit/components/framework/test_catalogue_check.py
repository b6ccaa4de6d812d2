from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from evalhub_components.framework import catalogue_check
from evalhub_components.framework.catalogue_check import Acknowledged, Benchmarks

INSTALLED = metadata.version("pytest")


def differences(benchmarks: Benchmarks) -> Iterator[str]:
    """A framework that knows benchmarks named after fruit; a note makes any other acceptable."""
    for name, benchmark in benchmarks.items():
        if name not in ("apple", "pear"):
            line = f"{name}: id: is no fruit"
            yield Acknowledged(line, benchmark["note"]) if "note" in benchmark else line


def check(folder: Path, *argv: object, known: tuple[str, ...] = ("apple",)) -> int:
    return catalogue_check.main(differences, folder, list(map(str, argv)), packages=["pytest"], known=known)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "requirements.in").write_text(f"# the framework\npytest[dev,all]=={INSTALLED}\n", "utf-8")
    (tmp_path / "provider.yaml").write_text("benchmarks: [{id: apple}, {id: pear}]", "utf-8")
    return tmp_path


def test_the_providers_own_file_is_checked_when_none_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (check(folder), capsys.readouterr().out) == (0, "")
    (folder / "provider.yaml").write_text("benchmarks: [{id: aple}]", "utf-8")
    assert check(folder) == 1
    assert capsys.readouterr().out.splitlines() == [
        "apple: id: the adapter knows it, the catalogue does not",
        "aple: id: is no fruit",
    ]


def test_all_files_named_are_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = folder / "other.yaml"
    other.write_text("benchmarks: [{id: apple}, {id: stone}]", "utf-8")
    assert check(folder, other, folder / "provider.yaml", other) == 1
    assert capsys.readouterr().out.splitlines() == ["stone: id: is no fruit"] * 2


def test_what_is_acknowledged_is_printed_and_is_no_failure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "provider.yaml").write_text("benchmarks: [{id: apple}, {id: stone, note: sold as one}]", "utf-8")
    assert check(folder) == 0
    assert capsys.readouterr().out.splitlines() == ["stone: id: is no fruit (acknowledged: sold as one)"]


@pytest.mark.parametrize("pin", ["pytest==0.0.1", f"pytest=={INSTALLED}0", f"my-pytest=={INSTALLED}", "pytest"])
def test_another_version_than_the_pinned_one_is_reported(
    pin: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "requirements.in").write_text(f"{pin}\n", "utf-8")
    assert check(folder, folder / "provider.yaml", folder / "provider.yaml") == 1
    assert capsys.readouterr().out.splitlines() == [
        f"pytest: version: {INSTALLED} is installed, which is not the one that is required"
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"benchmarks: [", "expected the node content"),
        (b"\xff", "can't decode"),
        (b"", "it has no list of benchmarks, each with an id"),
        (b"id: fruit", "it has no list of benchmarks, each with an id"),
        (b"benchmarks: [apple]", "it has no list of benchmarks, each with an id"),
    ],
    ids=["absent", "no YAML", "no text", "empty", "no benchmarks", "no ids"],
)
def test_a_file_that_cannot_be_read_is_an_error_of_its_own(
    content: bytes | None, reason: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "other.yaml"
    if content is not None:
        file.write_bytes(content)
    assert check(folder, folder / "provider.yaml", file) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"{file}: cannot be read: ")
    assert reason in said.err
