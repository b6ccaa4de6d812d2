"""The command line of the step, with sources that need no server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evalhub_components.test_data.manifest import digest_of

PATIENCE = 120  # seconds; far beyond what anything here takes


class Done(NamedTuple):
    """A step that ended."""

    status: int
    out: str
    err: str


def step(output: Path, ref: Any, *, without: str | None = None, **environ: str) -> Done:
    """Runs the step; `without` names a library that is not installed."""
    start = ["-m", "evalhub_components.test_data"]
    if without:
        hide = f"import sys, runpy; sys.modules[{without!r}] = None; "
        start = ["-c", hide + "runpy.run_module('evalhub_components.test_data', run_name='__main__')"]
    text = ref if isinstance(ref, str) else json.dumps(ref)
    done = subprocess.run(
        [sys.executable, *start, "--ref", text, "--output", str(output)],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    (path / "sets" / "v2").mkdir(parents=True)
    (path / "sets" / "v2" / "a.jsonl").write_text("1\n")
    (path / "sets" / "latest").symlink_to("v2")
    return path


@pytest.mark.parametrize("sub_path", ["sets/v2", "sets/latest/"])
def test_of_a_volume_only_the_manifest_is_written(volume: Path, tmp_path: Path, sub_path: str) -> None:
    ref = {"pvc": {"claim_name": "claim", "sub_path": sub_path}}
    done = step(tmp_path / "data", ref, EVALHUB_PVC_MOUNT=str(volume))
    assert done.status == 0, done.err
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".evalhub-data.json"]
    found = json.loads((tmp_path / "data" / ".evalhub-data.json").read_bytes())
    assert found["source"] == {"type": "pvc", "claim_name": "claim", "sub_path": sub_path}
    assert list(found["files"]) == ["a.jsonl"]
    assert found["digest"] == digest_of(volume / "sets" / "v2")
    assert done.out == f"1 files, 2 bytes, {found['digest']}\n"


@pytest.mark.parametrize(
    ("sub_path", "words"),
    [
        ("sets/v3", "is no folder of the volume claim (check sub_path)"),
        ("sets/v2/a.jsonl", "is no folder of the volume claim (check sub_path)"),
        ("out", "is no folder of the volume claim (check sub_path)"),
        ("../volume", "has an empty part, '.' or '..'"),
    ],
)
def test_a_sub_path_that_is_not_in_the_volume_is_refused(
    volume: Path, tmp_path: Path, sub_path: str, words: str
) -> None:
    (volume / "out").symlink_to("/etc")
    done = step(
        tmp_path / "data", {"pvc": {"claim_name": "claim", "sub_path": sub_path}}, EVALHUB_PVC_MOUNT=str(volume)
    )
    assert done.status == 2
    assert words in done.err


def test_a_volume_that_is_not_mounted_is_said(tmp_path: Path) -> None:
    done = step(tmp_path / "data", {"pvc": {"claim_name": "claim"}})
    assert done.status == 2
    assert "EVALHUB_PVC_MOUNT: must name the folder where the volume claim is mounted" in done.err


def test_others_may_read_what_arrives(volume: Path, tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        step(tmp_path / "data", {"pvc": {"claim_name": "claim"}}, EVALHUB_PVC_MOUNT=str(volume / "sets"))
    finally:
        os.umask(mask)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "data" / ".evalhub-data.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("ref", "library"),
    [
        ({"s3": {"bucket": "b", "key": "k"}}, "boto3"),
        ({"hf": {"repo_id": "a/b"}}, "huggingface_hub"),
    ],
)
def test_a_missing_library_names_the_extra(tmp_path: Path, ref: dict[str, Any], library: str) -> None:
    done = step(tmp_path / "data", ref, without=library)
    assert done.status == 2
    assert "pip install 'evalhub-kfp[data]'" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("{", "--ref: must be a test_data_ref as JSON"),
        ("[]", "--ref: must be a test_data_ref as JSON"),
        ({}, "must name exactly one of s3, pvc, git and hf, got none"),
        ({"s3": {"bucket": "b"}}, "s3.key: Field required"),
        ({"git": {"url": 7, "ref": "main", "password": "hunter2-secret"}}, "git.password: Extra inputs"),
        (
            {"git": {"url": "https://host.example/u", "ref": "r"}, "s3": {"bucket": "hunter2-secret", "key": "k"}},
            "got s3 and git",
        ),
        ("@/nonexistent/ref.json", "/nonexistent/ref.json: No such file"),
    ],
    ids=str,
)
def test_a_reference_that_is_none_is_refused_in_one_line(tmp_path: Path, ref: Any, words: str) -> None:
    done = step(tmp_path / "data", ref)
    assert done.status == 2
    assert words in done.err
    assert done.err.count("\n") == 1
    assert "hunter2-secret" not in done.err
    assert not (tmp_path / "data").exists()
