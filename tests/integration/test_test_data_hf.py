"""The test-data step against a small stand-in for the Hugging Face hub: what of its protocol a download uses."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from stub_http import StubApi, StubRequest, served

PATIENCE = 300  # seconds; far beyond what anything here takes
MANIFEST = ".evalhub-data.json"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_the_secret_token"
FILES = {"README.md": b"# data\n", "data/a.jsonl": b"1\n", "data/more/b.jsonl": b"22\n", "data2/c": b""}


@dataclass
class Hub(StubApi):
    """Serves the data set `team/open` to everybody and `team/closed` to who has the token.

    Attributes:
        more: files that are listed, and not there.
    """

    more: dict[str, int] = field(default_factory=dict)


class HubRequest(StubRequest):
    api: Hub

    def serve(self) -> None:
        parts = self.route.removeprefix("/api").removeprefix("/datasets/").split("/")
        repo, what, rest = "/".join(parts[:2]), parts[2] if len(parts) > 2 else "", parts[3:]
        allowed = repo == "team/open" or self.headers["Authorization"] == f"Bearer {TOKEN}"
        if repo not in ("team/open", "team/closed") or not allowed:
            return self.say(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        if rest and rest[0] not in ("main", "v1", COMMIT):
            return self.say(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        if what in ("", "revision"):
            return self.say(200, {"id": repo, "sha": COMMIT, "siblings": []})
        if what == "tree":
            sizes = {name: len(content) for name, content in FILES.items()} | self.api.more
            listed = [{"type": "file", "path": name, "size": size, "oid": "0" * 40} for name, size in sizes.items()]
            return self.say(200, [{"type": "directory", "path": "data", "oid": "1" * 40}, *listed])
        content = FILES["/".join(rest[1:])]
        etag = hashlib.sha256(content).hexdigest()
        return self.answer(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})


class Done(NamedTuple):
    """A step that ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def hub() -> Iterator[Hub]:
    with served(Hub(), HubRequest) as hub:
        yield hub


Step = Callable[..., Done]


@pytest.fixture
def step(hub: Hub, tmp_path: Path) -> Step:
    """A function that runs the step on a data set of the hub."""

    def step(
        repo_id: str = "team/open",
        token: str | None = None,
        endpoint: str | None = None,
        proxy: str | None = None,
        **more: str,
    ) -> Done:
        secret = tmp_path / "secret"
        secret.mkdir(exist_ok=True)
        if token:
            (secret / "hf-token").write_text(token)
        environ = {
            "PATH": os.environ["PATH"],
            "HF_ENDPOINT": endpoint or hub.address,
            "HF_TOKEN": "hf_of_this_machine",  # of whoever works here, and not for this
            "HOME": "/nonexistent",
            "NO_PROXY": "127.0.0.1",
            "EVALHUB_TEST_DATA_SECRET": str(secret),
            **({"HTTP_PROXY": proxy, "NO_PROXY": ""} if proxy else {}),
        }
        ref = json.dumps({"hf": {"repo_id": repo_id, **more}})
        command = [sys.executable, "-m", "evalhub_components.test_data", "--ref", ref, "--output", tmp_path / "data"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE)
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return step


def manifest(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "data" / MANIFEST).read_bytes())


def contents(tmp_path: Path) -> dict[str, bytes]:
    folder = tmp_path / "data"
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


def refused(done: Done, tmp_path: Path) -> str:
    """Returns the last line, which says why nothing was fetched."""
    assert done.status == 2, done
    assert list((tmp_path / "data").iterdir()) == []
    return done.err.splitlines()[-1]


def test_a_password_of_a_proxy_is_in_no_message(step: Step, tmp_path: Path) -> None:
    line = refused(step(proxy="http://alice:s3cr/etPass@proxy.example:3128"), tmp_path)
    assert line.startswith("HTTP_PROXY: is no address of a proxy")
    assert "s3cr" not in line
    assert "etPass" not in line


@pytest.mark.parametrize("revision", [{}, {"revision": "v1"}, {"revision": COMMIT}], ids=str)
def test_a_data_set_arrives_and_its_commit_is_recorded(step: Step, tmp_path: Path, revision: dict[str, str]) -> None:
    done = step(**revision)
    assert done.status == 0, done.err
    assert contents(tmp_path) == FILES
    found = manifest(tmp_path)
    assert found["source"] == {"type": "hf", "repo_id": "team/open", **revision}
    assert found["resolved"] == {"commit": COMMIT}
    digest = hashlib.sha256(FILES["data/a.jsonl"]).hexdigest()
    assert found["files"]["data/a.jsonl"] == {"size": 2, "digest": f"sha256:{digest}"}


@pytest.mark.parametrize(
    ("sub_path", "files"),
    [("data", {"a.jsonl": b"1\n", "more/b.jsonl": b"22\n"}), ("data/a.jsonl", {"a.jsonl": b"1\n"})],
    ids=str,
)
def test_a_sub_path_is_all_that_arrives(step: Step, tmp_path: Path, sub_path: str, files: dict[str, bytes]) -> None:
    done = step(sub_path=sub_path)
    assert done.status == 0, done.err
    assert contents(tmp_path) == files


def test_a_token_opens_a_closed_data_set_and_only_the_secrets_own_is_sent(step: Step, tmp_path: Path, hub: Hub) -> None:
    line = refused(step("team/closed"), tmp_path)
    assert "no such data set, or it is private" in line
    assert {seen.headers["Authorization"] for seen in hub.seen} == {None}
    done = step("team/closed", token=TOKEN)
    assert done.status == 0, done.err
    assert contents(tmp_path) == FILES
    assert TOKEN not in done.out + done.err + (tmp_path / "data" / MANIFEST).read_text()


def test_what_is_not_there_is_named(step: Step, tmp_path: Path) -> None:
    assert "there is no such revision (check revision)" in refused(step(revision="v9"), tmp_path)
    assert "there are no files in dat (check sub_path)" in refused(step(sub_path="dat"), tmp_path)
    assert "no such data set" in refused(step("team/other"), tmp_path)
    assert "repo_id must be a name such as" in refused(step("a/b/c"), tmp_path)
    assert "the hub cannot be reached" in refused(step(endpoint="http://127.0.0.1:9"), tmp_path)


def test_names_and_sizes_are_checked_before_anything_is_downloaded(step: Step, tmp_path: Path, hub: Hub) -> None:
    hub.more = {"../../evil": 1}
    assert "'../../evil' has an empty part, '.' or '..'" in refused(step(), tmp_path)
    hub.more = {"large": 60 << 30}
    assert "holds more than 53687091200 bytes" in refused(step(), tmp_path)
    assert not [seen for seen in hub.seen if "/resolve/" in seen.path]
