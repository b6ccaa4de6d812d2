"""The test-data step against git's own HTTP server."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from stub_http import StubApi, StubRequest, hangs, served

from evalhub_components.test_data.__main__ import main

PATIENCE = 300  # seconds; far beyond what anything here takes
MANIFEST = ".evalhub-data.json"
# A process counts as its own what it had before `exec`, and these tests have much: so a small one starts the step.
MEASURED = (
    "import resource, subprocess, sys; status = subprocess.call(sys.argv[1:]);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024); sys.exit(status)"
)
PASSWORD = "s3cret pass-w0rd"

pytestmark = pytest.mark.skipif(shutil.which("git") is None and "CI" not in os.environ, reason="git is not installed")


class Done(NamedTuple):
    """A step that ended; `memory` is the most that it or git had at once, in bytes."""

    status: int
    out: str
    err: str
    memory: int


@dataclass
class GitServer(StubApi):
    """Serves the repositories in a folder.

    `/open/NAME` is for everybody, `/closed/NAME` for the user `reader`; `/moved/NAME` redirects to `/open/NAME` of the
    host `elsewhere`, and `/silent/NAME` never answers.

    Attributes:
        protocol: whether the second version of the protocol is spoken, where commits can be asked for by their ids.
        elsewhere: what `/moved/` redirects to.
    """

    folder: Path
    protocol: bool = True
    elsewhere: str = ""


class GitRequest(StubRequest):
    api: GitServer

    def serve(self) -> None:
        query = self.path.partition("?")[2]
        _, kind, rest = self.route.split("/", 2)
        if kind == "silent":
            return hangs(self)
        if kind == "moved":
            return self.answer(301, b"", {"Location": f"{self.api.elsewhere}/open/{rest}?{query}"})
        wanted = base64.b64encode(f"reader:{PASSWORD}".encode()).decode()
        if kind == "closed" and self.headers["Authorization"] != f"Basic {wanted}":
            return self.answer(401, b"", {"WWW-Authenticate": 'Basic realm="git"'})
        return self._git(rest, query)

    def _git(self, path: str, query: str) -> None:
        environ = {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_PROJECT_ROOT": str(self.api.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{path}",
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers["Content-Type"] or "",
            "HTTP_CONTENT_ENCODING": self.headers["Content-Encoding"] or "",
            "GIT_PROTOCOL": (self.headers["Git-Protocol"] or "") if self.api.protocol else "",
        }
        done = subprocess.run(["git", "http-backend"], input=self.content, env=environ, capture_output=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.answer(int(headers.pop("Status", "200").split()[0]), content, headers)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    (tmp_path / "served").mkdir()
    with served(GitServer(tmp_path / "served"), GitRequest) as server:
        yield server


class Repository:
    """A repository that the server serves, written by git's plumbing, so that its trees can hold anything."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(path))

    def git(self, *arguments: str, given: bytes = b"") -> str:
        environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_DIR": str(self.path)}
        environ |= {f"GIT_{who}_{what}": f"a@b.{who}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        done = subprocess.run(["git", *arguments], input=given, env=environ, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def tree(self, files: dict[str, Any]) -> str:
        lines = []
        for name, content in files.items():
            if isinstance(content, dict):
                line = f"040000 tree {self.tree(content)}"
            elif isinstance(content, tuple):
                mode, target = content
                given = target.encode()
                line = f"160000 commit {target}" if mode == "submodule" else f"120000 blob {self.blob(given)}"
            else:
                line = f"100644 blob {self.blob(content)}"
            lines.append(line.encode() + b"\t" + name.encode("utf-8", "surrogateescape") + b"\0")
        return self.git("mktree", "-z", "--missing", given=b"".join(lines))

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", given=content)

    def commit(self, files: dict[str, Any], branch: str = "main") -> str:
        known = self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
        parent = ["-p", known] if known else []
        commit = self.git("commit-tree", "-m", "a change", *parent, self.tree(files))
        self.git("update-ref", f"refs/heads/{branch}", commit)
        return commit


@pytest.fixture
def repository(server: GitServer) -> Repository:
    return Repository(server.folder / "data.git")


Step = Callable[..., Done]


@pytest.fixture
def step(server: GitServer, tmp_path: Path) -> Step:
    """A function that runs the step on a repository of the server, where loopback is allowed."""

    def step(
        ref: str = "main",
        sub_path: str | None = None,
        url: str | None = None,
        environ: dict[str, str] | None = None,
        **secret: str,
    ) -> Done:
        git = {"url": url or f"{server.address}/open/data.git", "ref": ref, "sub_path": sub_path}
        variables = {"PATH": os.environ["PATH"], "EVALHUB_ALLOW_PRIVATE_HOSTS": "127.0.0.1", "HOME": "/nonexistent"}
        if secret:
            folder = tmp_path / "secret"
            folder.mkdir(exist_ok=True)
            for name, value in secret.items():
                (folder / name).write_text(value + "\n")
            variables["EVALHUB_TEST_DATA_SECRET"] = str(folder)
        arguments = ["--ref", json.dumps({"git": git}), "--output", str(tmp_path / "data")]
        command = [sys.executable, "-c", MEASURED, sys.executable, "-m", "evalhub_components.test_data", *arguments]
        variables |= environ or {}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE)
        assert "Traceback" not in done.stderr, done.stderr
        *out, memory = done.stdout.splitlines(keepends=True)
        return Done(done.returncode, "".join(out), done.stderr, int(memory))

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
    """Returns the one line that says why nothing was fetched."""
    assert done.status == 2, done
    assert done.err.count("\n") == 1, done.err
    assert not (tmp_path / "data").exists() or list((tmp_path / "data").iterdir()) == []
    return done.err


def test_a_branch_a_tag_and_a_commit_are_fetched_and_the_commit_is_recorded(
    repository: Repository, step: Step, tmp_path: Path, server: GitServer
) -> None:
    first = repository.commit({"a.jsonl": b"1"})
    repository.git("tag", "v1", first)
    repository.git("tag", "-a", "-m", "annotated", "v1-signed", first)
    second = repository.commit({"a.jsonl": b"22", "deep": {"er": {"b": b""}}})
    for ref, commit, files in [
        ("main", second, {"a.jsonl": b"22", "deep/er/b": b""}),
        ("refs/heads/main", second, {"a.jsonl": b"22", "deep/er/b": b""}),
        ("v1", first, {"a.jsonl": b"1"}),
        ("v1-signed", first, {"a.jsonl": b"1"}),
        (first, first, {"a.jsonl": b"1"}),
    ]:
        done = step(ref)
        assert done.status == 0, done.err
        assert contents(tmp_path) == files
        found = manifest(tmp_path)
        assert found["source"] == {"type": "git", "url": f"{server.address}/open/data.git", "ref": ref}
        assert found["resolved"] == {"commit": commit}
        assert found["files"] == {
            name: {"size": len(content), "digest": f"sha256:{hashlib.sha256(content).hexdigest()}"}
            for name, content in files.items()
        }
        # nothing of the repository itself stays behind
        assert {path.name for path in (tmp_path / "data").iterdir()} == {name.split("/")[0] for name in files} | {
            MANIFEST
        }


def test_a_commit_is_found_on_a_server_that_hands_out_branches_only(
    repository: Repository, step: Step, tmp_path: Path, server: GitServer
) -> None:
    server.protocol = False  # the first version of the protocol, where ids cannot be asked for
    first = repository.commit({"a": b"1"})
    repository.commit({"a": b"2"})
    assert step(first).status == 0
    assert contents(tmp_path) == {"a": b"1"}
    assert manifest(tmp_path)["resolved"] == {"commit": first}


@pytest.mark.parametrize("old_server", [False, True])
def test_what_is_not_there_is_named(
    repository: Repository, step: Step, tmp_path: Path, server: GitServer, old_server: bool
) -> None:
    server.protocol = not old_server
    commit = repository.commit({"a": b"1"})
    missing = "0123456789" * 4
    assert "there is no branch or tag 'v9' (check ref)" in refused(step("v9"), tmp_path)
    assert "a commit needs all its digits" in refused(step(commit[:10]), tmp_path)
    assert f"there is no commit {missing} (check ref)" in refused(step(missing), tmp_path)
    assert "there is no git repository (check url)" in refused(step(url=f"{server.address}/open/other.git"), tmp_path)


@pytest.mark.parametrize(
    ("sub_path", "files"),
    [("set", {"x": b"1", "more/y": b"2"}), ("set/more/", {"y": b"2"}), ("set/x", {"x": b"1"}), ("s*", {"star": b"3"})],
    ids=str,
)
def test_a_sub_path_is_all_that_arrives(
    repository: Repository, step: Step, tmp_path: Path, sub_path: str, files: dict[str, bytes]
) -> None:
    repository.commit({"set": {"x": b"1", "more": {"y": b"2"}}, "set2": {"z": b""}, "s*": {"star": b"3"}})
    done = step(sub_path=sub_path)
    assert done.status == 0, done.err
    assert contents(tmp_path) == files
    assert manifest(tmp_path)["source"]["sub_path"] == sub_path


def test_a_sub_path_that_is_missing_or_leads_out_is_refused(repository: Repository, step: Step, tmp_path: Path) -> None:
    commit = repository.commit({"set": {"x": b"1"}})
    assert f"at {commit[:12]}: there is no 'sets' (check sub_path)" in refused(step(sub_path="sets"), tmp_path)
    assert "'../x' has an empty part, '.' or '..'" in refused(step(sub_path="../x"), tmp_path)
    assert "'/etc' is an absolute path" in refused(step(sub_path="/etc"), tmp_path)


def test_a_name_that_is_branch_and_tag_is_not_guessed(repository: Repository, step: Step, tmp_path: Path) -> None:
    repository.git("tag", "main", repository.commit({"a": b"1"}))
    assert "(name it as refs/heads/main or refs/tags/main)" in refused(step("main"), tmp_path)
    assert step("refs/tags/main").status == 0


@pytest.mark.parametrize(
    "ref", ["--upload-pack=touch /tmp/x", "-x", "a..b", "main:x", "a b", "", "x\n", "refs/heads/*"]
)
def test_a_ref_that_git_could_misread_is_refused(repository: Repository, step: Step, tmp_path: Path, ref: str) -> None:
    repository.commit({"a": b"1"})
    assert "git ref: must be a branch, a tag or a full commit id" in refused(step(ref), tmp_path)


@pytest.mark.parametrize(
    "secret", [{"username": "reader", "password": PASSWORD}, {"username": "reader", "token": PASSWORD}]
)
def test_a_password_opens_a_closed_repository(
    repository: Repository, step: Step, tmp_path: Path, server: GitServer, secret: dict[str, str]
) -> None:
    repository.commit({"a": b"1"})
    done = step(url=f"{server.address}/closed/data.git", **secret)
    assert done.status == 0, done.err
    assert contents(tmp_path) == {"a": b"1"}
    assert PASSWORD not in done.out + done.err + (tmp_path / "data" / MANIFEST).read_text()


@pytest.mark.parametrize(
    "secret",
    [{}, {"username": "reader", "password": "wrong-password"}, {"token": PASSWORD}, {"username": "reader"}],
    ids=["none", "wrong password", "wrong user", "no password"],
)
def test_wrong_credentials_are_named_and_never_shown(
    repository: Repository, step: Step, tmp_path: Path, server: GitServer, secret: dict[str, str]
) -> None:
    repository.commit({"a": b"1"})
    line = refused(step(url=f"{server.address}/closed/data.git", **secret), tmp_path)
    assert "the credentials are refused, or there are none" in line
    assert not [value for name, value in secret.items() if name != "username" and value in line]


def test_no_process_has_the_password_among_its_arguments_or_variables(
    repository: Repository, step: Step, tmp_path: Path, server: GitServer
) -> None:
    repository.commit({"a": b"1"})
    # a git that writes down how it was called, in front of the real one
    real = shutil.which("git")
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin" / "git"
    wrapper.write_text(f'#!/bin/sh\n{{ echo "$@"; env; }} >> {tmp_path}/called\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    path = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    done = step(url=f"{server.address}/closed/data.git", environ=path, username="reader", password=PASSWORD)
    assert done.status == 0, done.err
    called = (tmp_path / "called").read_text()
    assert "ls-remote" in called
    assert PASSWORD not in called


@pytest.mark.parametrize(
    "url",
    [
        "http://reader:hunter2-secret@127.0.0.1/x",
        "git@host.example:x/y",
        "ssh://host.example/x",
        "git://host.example/x",
        "file:///etc",
        "/etc",
        "ext::sh -c touch% /tmp/x",
        "http::ext::x",
        "-oProxyCommand=x",
        "https://host.example/x?token=hunter2-secret",
        "https://host.example\\@127.0.0.1/x",
    ],
)
def test_only_plain_http_addresses_are_taken(step: Step, tmp_path: Path, url: str) -> None:
    line = refused(step(url=url), tmp_path)
    assert line.startswith("--ref: must be a test_data_ref as JSON (git.url: ")
    assert "must be an http or https address" in line
    assert "hunter2-secret" not in line


def test_loopback_is_refused_unless_it_is_allowed(
    repository: Repository, step: Step, tmp_path: Path, server: GitServer
) -> None:
    repository.commit({"a": b"1"})
    for host in ("127.0.0.1", "localhost", "2130706433", "127.1", "[::1]"):
        url = f"http://{host}:{server.port}/open/data.git"
        line = refused(step(url=url, environ={"EVALHUB_ALLOW_PRIVATE_HOSTS": "other.example"}), tmp_path)
        assert (
            "which is not a public address (an administrator can allow the host in EVALHUB_ALLOW_PRIVATE_HOSTS)" in line
        )
    assert server.seen == []
    url = f"http://localhost:{server.port}/open/data.git"
    done = step(url=url, environ={"EVALHUB_ALLOW_PRIVATE_HOSTS": "other.example, LocalHost"})
    assert done.status == 0, done.err


def test_git_connects_to_the_very_addresses_that_were_looked_at(
    repository: Repository, server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: None
) -> None:
    repository.commit({"a": b"1"})
    # git itself cannot find this host, whose name ends as no real one does
    found = [(2, 1, 6, "", ("127.0.0.1", server.port))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    monkeypatch.setenv("EVALHUB_ALLOW_PRIVATE_HOSTS", "data.invalid")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("EVALHUB_TEST_DATA_SECRET", raising=False)
    git = {"url": f"http://data.invalid:{server.port}/open/data.git", "ref": "main"}
    assert main(["--ref", json.dumps({"git": git}), "--output", str(tmp_path / "data")]) == 0
    assert contents(tmp_path) == {"a": b"1"}


@pytest.fixture
def umask() -> Iterator[None]:
    """Puts back what a step in this process sets for all of it."""
    mask, handler = os.umask(0o022), signal.getsignal(signal.SIGTERM)
    yield
    os.umask(mask)
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.parametrize("same_host", [True, False])
def test_a_redirect_is_not_followed_and_gets_no_credentials(
    repository: Repository, step: Step, tmp_path: Path, server: GitServer, same_host: bool
) -> None:
    repository.commit({"a": b"1"})
    server.elsewhere = server.address if same_host else f"http://localhost:{server.port}"
    line = refused(step(url=f"{server.address}/moved/data.git", username="reader", password=PASSWORD), tmp_path)
    assert "it redirects, which is not followed (name the address it redirects to)" in line
    assert {seen.path.split("/")[1] for seen in server.seen} == {"moved"}


def test_a_silent_server_is_given_up(step: Step, tmp_path: Path, server: GitServer) -> None:
    done = step(url=f"{server.address}/silent/data.git", environ={"EVALHUB_TEST_DATA_TIMEOUT": "1"})
    assert "the server cannot be reached or broke off" in refused(done, tmp_path)


def test_an_unreachable_server_is_said_in_one_line(step: Step, tmp_path: Path) -> None:
    assert "cannot be reached or broke off" in refused(step(url="http://127.0.0.1:9/x.git"), tmp_path)
    assert "host.invalid cannot be found" in refused(step(url="http://host.invalid/x.git"), tmp_path)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a": ("link", "/etc/passwd")}, "'a' is a link, and not to a file in the same tree"),
        ({"d": {"a": ("link", "../../../etc/passwd")}}, "'d/a' is a link, and not to a file in the same tree"),
        ({"a": ("link", "nowhere")}, "'a' is a link, and not to a file in the same tree"),
        ({"a": ("link", "b"), "b": ("link", "a")}, "'a' is a link, and not to a file in the same tree"),
        ({"a": ("link", "d"), "d": {"x": b""}}, "'a' is a link, and not to a file in the same tree"),
        ({"..": {"x": b""}}, "'../x' has an empty part, '.' or '..'"),
        ({"a\\b": b""}, "has a backslash"),
        ({"a\x07b": b""}, "has control characters"),
        ({"a\udcffb": b""}, "has control characters or bytes that are no UTF-8"),
        ({".evalhub-data.json": b"{}"}, "is a name that the test-data step uses itself"),
        ({"m": ("submodule", "0123456789" * 4)}, "'m' is a submodule, which is not fetched"),
        ({"l": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"}, "'l' is kept by Git LFS"),
    ],
    ids=lambda value: ascii(value) if isinstance(value, dict) else "",
)
def test_trees_that_could_harm_or_are_incomplete_are_refused(
    repository: Repository, step: Step, tmp_path: Path, files: dict[str, Any], words: str
) -> None:
    repository.commit({"good": b"1", **files})
    assert words in refused(step(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "served"]


def test_links_inside_the_tree_become_copies(repository: Repository, step: Step, tmp_path: Path) -> None:
    repository.commit({"a": b"1", "d": {"b": ("link", "../a"), "c": ("link", "b")}})
    assert step().status == 0
    assert contents(tmp_path) == {"a": b"1", "d/b": b"1", "d/c": b"1"}
    assert not (tmp_path / "data" / "d" / "b").is_symlink()
    # from below, the target is outside
    assert "'b' is a link" in step(sub_path="d").err


def test_settings_of_the_user_and_attributes_of_the_repository_have_no_say(
    repository: Repository, step: Step, tmp_path: Path
) -> None:
    # each of these would change the file, or run something, on a checkout
    repository.commit({".gitattributes": b"* text eol=crlf ident export-ignore filter=evil\n", "a": b"$Id$\n1\n"})
    home = tmp_path / "home"
    home.mkdir()
    evil = f'[filter "evil"]\nsmudge = touch {tmp_path}/ran\n[url "http://127.0.0.1:9/"]\ninsteadOf = http://\n'
    (home / ".gitconfig").write_text(evil + f"[core]\nhooksPath = {home}\n")
    settings = {"HOME": str(home), "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.proxy"}
    done = step(environ={**settings, "GIT_CONFIG_VALUE_0": "http://127.0.0.1:9"})
    assert done.status == 0, done.err
    assert contents(tmp_path)["a"] == b"$Id$\n1\n"
    assert not (tmp_path / "ran").exists()


def test_more_bytes_than_allowed_are_refused_on_the_way_and_after(
    repository: Repository, step: Step, tmp_path: Path
) -> None:
    repository.commit({"noise": random.Random(1).randbytes(2_000_000)}, "noise")
    repository.commit({"zeros": bytes(2_000_000)}, "zeros")  # arrives as a few bytes, and would be more on the disk
    limit = {"EVALHUB_TEST_DATA_MAX_BYTES": "1000000"}
    assert "raise EVALHUB_TEST_DATA_MAX_BYTES" in refused(step("noise", environ=limit), tmp_path)
    assert "holds more than 1000000 bytes" in refused(step("zeros", environ=limit), tmp_path)


def test_memory_does_not_grow_with_a_file(repository: Repository, step: Step, tmp_path: Path) -> None:
    size = 128 << 20
    repository.commit({"small": b"1"}, "small")
    repository.git("config", "core.bigFileThreshold", "1m")
    repository.commit({"large": random.Random(1).randbytes(size)}, "large")
    small, large = step("small"), step("large")
    assert (small.status, large.status) == (0, 0), large.err
    assert (tmp_path / "data" / "large").stat().st_size == size
    assert large.memory < small.memory + (48 << 20)


def test_a_step_that_is_asked_to_stop_leaves_neither_files_nor_processes(tmp_path: Path, server: GitServer) -> None:
    git = {"url": f"{server.address}/silent/data.git", "ref": "main"}
    command = [sys.executable, "-m", "evalhub_components.test_data", "--ref", json.dumps({"git": git})]
    environ = {"PATH": os.environ["PATH"], "EVALHUB_ALLOW_PRIVATE_HOSTS": "127.0.0.1", "EVALHUB_LIFELINE": "stdin"}
    for way in ("signal", "lifeline"):
        server.seen.clear()
        with subprocess.Popen(
            [*command, "--output", str(tmp_path / "data")], env=environ, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            eventually(lambda: server.seen)
            assert (tmp_path / "data" / ".evalhub-partial").is_dir()
            if way == "signal":
                process.terminate()
                assert process.wait(PATIENCE) == 128 + signal.SIGTERM
            else:
                assert process.stdin
                process.stdin.close()
                assert process.wait(PATIENCE) == 128 + signal.SIGTERM
        assert list((tmp_path / "data").iterdir()) == []
        eventually(lambda: not processes_about(server.address))


def processes_about(text: str) -> list[str]:
    """Returns the command lines on this machine that name `text`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
    return [line for line in found if text in line]


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_any_user_can_fetch_without_a_home_and_a_name(repository: Repository, server: GitServer) -> None:
    repository.commit({"a": b"1"})
    anybody: dict[str, Any] = {"user": 1_000_770_001, "group": 0, "extra_groups": [], "cwd": "/"}
    try:
        subprocess.run([sys.executable, "-c", "import evalhub_components"], check=True, **anybody)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("this Python or this checkout is closed to other users")
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o777)
        (folder / "secret").mkdir()
        (folder / "secret" / "password").write_text(PASSWORD)
        (folder / "secret" / "username").write_text("reader")
        git = {"url": f"{server.address}/closed/data.git", "ref": "main"}
        arguments = ["--ref", json.dumps({"git": git}), "--output", str(folder / "data")]
        done = subprocess.run(
            [sys.executable, "-m", "evalhub_components.test_data", *arguments],
            env={
                "PATH": os.environ["PATH"],
                "EVALHUB_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
                "EVALHUB_TEST_DATA_SECRET": str(folder / "secret"),
            },
            **anybody,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        assert (folder / "data" / "a").read_bytes() == b"1"
    finally:
        shutil.rmtree(folder)
