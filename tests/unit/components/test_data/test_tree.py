"""Folders on a disk: what they hold, as a manifest says it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from evalhub_components import atomic, canonical
from evalhub_components.errors import EvalHubError
from evalhub_components.test_data import manifest, tree
from evalhub_components.test_data.limits import Limits
from evalhub_components.test_data.manifest import Manifest


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files."""
    path = tmp_path / "data"
    (path / "deep").mkdir(parents=True)
    (path / "a").write_bytes(b"1")
    (path / "deep" / "b").write_bytes(b"22")
    return path


def test_the_digest_covers_names_and_contents_and_nothing_else(folder: Path) -> None:
    expected = canonical.digest({"a": sha256(b"1"), "deep/b": sha256(b"22")})
    assert manifest.digest_of(folder) == expected
    os.utime(folder / "a", (0, 0))
    (folder / "a").chmod(0o600)
    (folder / "empty").mkdir()
    assert manifest.digest_of(folder) == expected
    (folder / "a").rename(folder / "c")
    assert manifest.digest_of(folder) != expected


def test_what_python_leaves_beside_programs_is_no_data(folder: Path) -> None:
    before = manifest.digest_of(folder)
    (folder / "deep" / "__pycache__").mkdir()
    (folder / "deep" / "__pycache__" / "task.cpython-311.pyc").write_bytes(b"x")
    assert manifest.digest_of(folder) == before


def test_links_inside_the_folder_count_as_what_they_lead_to(folder: Path) -> None:
    (folder / "latest").symlink_to("deep")
    (folder / "c").symlink_to(folder / "latest" / "b")
    found = tree.described(folder, Limits(), "here")
    assert {name: file.digest for name, file in found.items()} == {
        "a": sha256(b"1"),
        "deep/b": sha256(b"22"),
        "latest/b": sha256(b"22"),
        "c": sha256(b"22"),
    }


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/etc/passwd", "is a link that leaves the folder"),
        ("..", "is a link that leaves the folder"),
        ("../data-2", "is a link that leaves the folder"),
        ("nowhere", "is a link to nowhere"),
        ("link", "is a link to nowhere"),
        (".", "links to a folder it is in"),
    ],
)
def test_a_link_that_leads_out_or_nowhere_is_refused(folder: Path, target: str, words: str) -> None:
    (folder.parent / "data-2").mkdir()
    (folder / "link").symlink_to(target)
    with pytest.raises(EvalHubError, match=f"'link' {words}"):
        manifest.digest_of(folder)


def test_links_in_a_circle_end(folder: Path) -> None:
    (folder / "x").mkdir()
    (folder / "x" / "y").symlink_to("../deep")
    (folder / "deep" / "x").symlink_to("../x")
    with pytest.raises(EvalHubError):
        manifest.digest_of(folder)


def test_what_is_no_file_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(EvalHubError, match="'pipe' is a device, pipe or socket"):
        manifest.digest_of(folder)


def test_too_many_files_and_bytes_are_refused(folder: Path) -> None:
    with pytest.raises(EvalHubError, match="here: holds more than 2 files"):
        tree.described(folder, Limits(max_files=2), "here")  # a folder counts too
    with pytest.raises(EvalHubError, match="here: holds more than 2 bytes"):
        tree.described(folder, Limits(max_bytes=2), "here")
    assert len(tree.described(folder, Limits(max_files=3, max_bytes=3), "here")) == 2


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "²", "9" * 30])
def test_a_limit_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EVALHUB_TEST_DATA_MAX_BYTES", value)
    with pytest.raises(EvalHubError, match="EVALHUB_TEST_DATA_MAX_BYTES: must be a whole number"):
        Limits.from_environment()


def with_manifest(folder: Path) -> Manifest:
    made = Manifest.of({"type": "pvc"}, {}, tree.described(folder, Limits(), "here"))
    atomic.write_json(folder / ".evalhub-data.json", made.as_json())
    return made


def test_a_manifest_is_read_back_and_does_not_count_itself(folder: Path) -> None:
    assert manifest.read(folder) is None
    made = with_manifest(folder)
    assert manifest.read(folder) == made
    assert manifest.digest_of(folder) == made.digest
    assert made.digests() == {"a": sha256(b"1"), "deep/b": sha256(b"22")}
    assert (made.facts()["files"], made.facts()["total_bytes"]) == (2, 3)


@pytest.mark.parametrize("change", ["missing", "more", "shorter"])
def test_a_folder_that_is_not_as_its_manifest_says_is_refused(folder: Path, change: str) -> None:
    with_manifest(folder)
    if change == "missing":
        (folder / "deep" / "b").unlink()
    elif change == "more":
        (folder / "deep" / "c").touch()
    else:
        (folder / "deep" / "b").write_bytes(b"2")
    with pytest.raises(EvalHubError, match=r"deep/[bc]: is not as \.evalhub-data\.json says"):
        manifest.read(folder)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema_version": 2}'])
def test_what_is_no_manifest_is_refused(folder: Path, content: str) -> None:
    (folder / ".evalhub-data.json").write_text(content)
    with pytest.raises(EvalHubError, match=r"\.evalhub-data\.json"):
        manifest.read(folder)
