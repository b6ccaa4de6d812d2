from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from evalhub_components.errors import EvalHubError
from evalhub_components.test_data.folder import replaced


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def fill(folder: Path, *found: str) -> None:
    with replaced(folder) as stage:
        (stage.scratch / "junk").touch()
        for name in (*found, ".evalhub-data.json"):
            (stage.content / name).parent.mkdir(exist_ok=True)
            (stage.content / name).write_text(name)


def test_content_appears_when_it_is_complete(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    with replaced(folder) as stage:
        (stage.content / "a").touch()
        assert not (folder / "a").exists()
    assert names(folder) == {"a"}


def test_what_a_killed_step_left_is_gone_after_a_retry(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    fill(folder, "old", "deep/old")
    # killed while it moved the new content to its place
    (folder / ".evalhub-data.json").unlink()
    (folder / ".evalhub-partial" / "content").mkdir(parents=True)
    (folder / ".evalhub-partial" / "content" / "half").touch()
    fill(folder, "new")
    assert names(folder) == {"new", ".evalhub-data.json"}


def test_after_a_failure_the_old_content_is_there(tmp_path: Path) -> None:
    fill(tmp_path / "data", "old")

    def break_off() -> None:
        with replaced(tmp_path / "data") as stage:
            (stage.content / "new").touch()
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    assert names(tmp_path / "data") == {"old", ".evalhub-data.json"}


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(EvalHubError, match="is not empty and was not made by this step"):
        fill(tmp_path, "new")
    assert names(tmp_path) == {"thesis.tex"}


def test_old_links_are_removed_and_not_what_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "x").touch()
    fill(tmp_path / "data", "old")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "precious")
    fill(tmp_path / "data", "new")
    assert names(tmp_path / "precious") == {"x"}
    assert names(tmp_path / "data") == {"new", ".evalhub-data.json"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG], ids=errno.errorcode.get)
def test_a_full_disk_is_named(tmp_path: Path, number: int) -> None:
    with pytest.raises(EvalHubError, match=r"/data: the disk is full \(free some space"), replaced(tmp_path / "data"):
        raise OSError(number, os.strerror(number))
    assert names(tmp_path / "data") == set()


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(EvalHubError, match="/data: File exists"), replaced(tmp_path / "data"):
        pass
