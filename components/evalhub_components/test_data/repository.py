"""A fetched git repository and its objects, by the `git` program with settings of its own."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from evalhub_components.errors import EvalHubError
from evalhub_components.test_data.addresses import Address
from evalhub_components.test_data.folder import Stage, disk_full
from evalhub_components.test_data.limits import MAX_BYTES, Limits
from evalhub_components.test_data.secret import Secret

LINK, SUBMODULE = "120000", "160000"

_CHUNK = 1 << 20
_LONGEST = 6 * 3600  # seconds that one fetch may take
_OURS = "refs/data"  # the name that the fetched commit has here

# the helper prints what git asks for; the password goes from the secret's file into git, and no argument ever holds it
_HELPER = (
    '!f() { [ "$1" = get ] || return 0; printf \'username=%s\\npassword=\' "$EVALHUB_GIT_USERNAME";'
    " tr -d '\\r\\n' < \"$EVALHUB_GIT_PASSWORD_FILE\"; echo; }; f"
)

# what git or curl says, and what that means; the first that fits counts
_MEANINGS = (
    (r"No space left on device|Disk quota exceeded", None),
    (
        r"could not read Username|Authentication failed|error: 40[13]|Invalid username",
        "the credentials are refused, or there are none "
        "(the secret of secret_ref holds `username` and `password`, or `token`)",
    ),
    (r"error: 30\d|redirect", "it redirects, which is not followed (name the address it redirects to)"),
    (r"not found|error: 404|not valid: is this a git repository", "there is no git repository (check url)"),
    (r"certificate|SSL", "its certificate is not trusted (put its CA's certificate into the secret as ca_cert)"),
    (
        r"Could not resolve|Failed to connect|Couldn't connect|Connection refused|timed out|too slow|Empty reply"
        r"|Recv failure|hung up|early EOF|unable to access",
        "the server cannot be reached or broke off (try again, or check url)",
    ),
)


class Entry(NamedTuple):
    """An entry of a tree: its mode, its object and the object's size."""

    mode: str
    object: str
    size: int


class Repository:
    """A bare repository in the stage that holds one commit."""

    def __init__(
        self, address: Address, pinned: list[str], stage: Stage, secret: Secret, limits: Limits, where: str
    ) -> None:
        self._url = address.url
        self._path = stage.scratch / "repository"
        self._scratch = stage.scratch
        self._content = stage.content
        self._limits = limits
        self._where = where
        self._environ = _environ(address, pinned, self._path, stage.scratch, secret, limits)
        self._done("init", "--quiet", "--bare", "--template=", str(self._path))

    def fetch(self, ref: str) -> str:
        """Fetch the branch, tag or commit `ref` without its history, and return the commit's id."""
        if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", ref):
            self._fetch_commit(ref)
        else:
            wanted = [ref] if ref.startswith("refs/") or ref == "HEAD" else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
            listed = self._asked("ls-remote", "--quiet", "--", self._url, *wanted).decode("utf-8", "replace")
            found = [name for line in listed.splitlines() if (name := line.partition("\t")[2]) in wanted]
            if not found:
                short = " (a commit needs all its digits)" if re.fullmatch(r"[0-9a-f]{7,63}", ref) else ""
                raise EvalHubError(f"{self._where}: there is no branch or tag {ref!r}{short} (check ref)")
            if len(found) > 1:
                raise EvalHubError(f"{self._where}: {ref!r} is a branch and a tag (name it as {' or '.join(found)})")
            self._asked(*self._fetching, "--depth=1", "--", self._url, f"+{found[0]}:{_OURS}")
        try:
            return self._done("rev-parse", "--verify", "--quiet", f"{_OURS}^{{commit}}").decode().strip()
        except EvalHubError:
            raise EvalHubError(f"{self._where}: {ref!r} names no commit (check ref)") from None

    def listed(self, sub_path: str) -> Iterator[tuple[str, Entry]]:
        """Yield name and entry of all that lies under `sub_path`, which may be a file too."""
        command = ["git", "ls-tree", "-r", "-l", "-z", "--full-tree", _OURS, *(["--", sub_path] if sub_path else [])]
        prefix = f"{sub_path}/" if sub_path else ""
        with self._running(command) as process:
            assert process.stdout is not None
            for line in _split(process.stdout):
                facts, _, path = line.decode("utf-8", "surrogateescape").partition("\t")
                mode, _, found, size = facts.split()
                name = posixpath.basename(path) if path == sub_path else path.removeprefix(prefix)
                yield name, Entry(mode, found, int(size) if size != "-" else 0)
            if process.wait():
                raise EvalHubError(f"{self._where}: its list of files did not arrive as a whole (try again)")

    @contextlib.contextmanager
    def objects(self) -> Iterator[Reader]:
        """Yield a reader of the objects."""
        with self._running(["git", "cat-file", "--batch"]) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            yield Reader(process.stdin, process.stdout, self._where)

    @contextlib.contextmanager
    def _running(self, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, env=self._environ) as process:
            try:
                yield process
            finally:
                process.kill()

    @property
    def _fetching(self) -> tuple[str, ...]:
        return ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head")

    def _fetch_commit(self, commit: str) -> None:
        try:
            self._asked(*self._fetching, "--depth=1", "--", self._url, f"+{commit}:{_OURS}")
        except EvalHubError as error:
            if "not our ref" in str(error):
                raise EvalHubError(f"{self._where}: there is no commit {commit} (check ref)") from None
            if "unadvertised" not in str(error):
                raise
            # an old server hands out only what a branch or tag names: then all of them are fetched, with their history
            self._asked(*self._fetching, "--", self._url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
            try:
                self._done("update-ref", _OURS, commit)
            except EvalHubError:
                raise EvalHubError(f"{self._where}: there is no commit {commit} (check ref)") from None

    def _done(self, *arguments: str) -> bytes:
        """Run git on what is here and return its output."""
        try:
            return subprocess.run(
                ["git", *arguments], stdin=subprocess.DEVNULL, capture_output=True, env=self._environ, check=True
            ).stdout
        except FileNotFoundError:
            raise EvalHubError("git: is not installed (install git 2.37 or later)") from None
        except subprocess.CalledProcessError as error:
            raise self._failure(error.stderr) from None

    def _asked(self, *arguments: str) -> bytes:
        """Run git on the server and return its output; end it when it takes too much room or time."""
        # not in the stage: when its disk is full, git can still say so
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                ["git", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=said,
                env=self._environ,
                start_new_session=True,
            )
            deadline = time.monotonic() + _LONGEST
            try:
                while not _ended(process):
                    if _size(self._scratch) > self._limits.max_bytes:
                        raise EvalHubError(
                            f"{self._where}: is larger than {self._limits.max_bytes} bytes (use a smaller repository, "
                            f"or raise {MAX_BYTES})"
                        )
                    if time.monotonic() > deadline:
                        raise EvalHubError(f"{self._where}: took more than {_LONGEST} s (use a smaller repository)")
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)  # the children of git that talk to the server, too
                process.wait()
                raise
            out.seek(0)
            said.seek(0)
            if process.returncode:
                raise self._failure(said.read(1 << 16))
            return out.read()

    def _failure(self, said: bytes) -> EvalHubError:
        text = " ".join(re.sub(r"[^\n -~]", " ", said.decode("utf-8", "replace")).replace(self._url, "").split())
        for pattern, meaning in _MEANINGS:
            if re.search(pattern, text):
                return EvalHubError(f"{self._where}: {meaning}") if meaning else disk_full(self._content.parents[1])
        return EvalHubError(f"{self._where}: git says: {text[:500] or 'nothing (is the disk full?)'}")


class Reader:
    """Reads objects from a running `git cat-file --batch`."""

    def __init__(self, asking: IO[bytes], answers: IO[bytes], where: str) -> None:
        self._asking = asking
        self._answers = answers
        self._where = where

    def __call__(self, entry: Entry) -> Iterator[bytes]:
        """Yield the content of `entry` in chunks; all of them are to be taken."""
        self._asking.write(entry.object.encode() + b"\n")
        self._asking.flush()
        header = self._answers.readline().split()
        if header[1:] != [b"blob", str(entry.size).encode()]:
            raise EvalHubError(f"{self._where}: object {entry.object} did not arrive (try again)")
        left = entry.size
        while left:
            chunk = self._answers.read(min(_CHUNK, left))
            if not chunk:
                raise EvalHubError(f"{self._where}: object {entry.object} cannot be read (try again)")
            left -= len(chunk)
            yield chunk
        self._answers.read(1)


def _environ(
    address: Address, pinned: list[str], repository: Path, home: Path, secret: Secret, limits: Limits
) -> dict[str, str]:
    """Return the environment of git: nothing of the user's or the machine's settings, and no way but http."""
    config = {
        "credential.helper": "",
        "core.hooksPath": os.devnull,
        "core.fsmonitor": "false",
        "core.bigFileThreshold": "16m",  # larger objects are streamed, not held in memory
        "core.packedGitWindowSize": "16m",  # nor is what they are read from
        "core.packedGitLimit": "64m",
        "fetch.unpackLimit": "1",
        "gc.auto": "0",
        "maintenance.auto": "false",
        "pack.threads": "1",
        "http.followRedirects": "false",
        "http.lowSpeedLimit": "1",
        "http.lowSpeedTime": str(limits.silence),
        "protocol.allow": "never",
        "protocol.http.allow": "always",
        "protocol.https.allow": "always",
    }
    if pinned and address.host not in pinned:
        # the addresses that were looked at are the ones that are used, whatever the name means a moment later
        shown = ",".join(f"[{one}]" if ":" in one else one for one in pinned)
        config["http.curloptResolve"] = f"{address.host}:{address.port}:{shown}"
    passed = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "http_proxy", "https_proxy", "HTTPS_PROXY")
    environ = {name: os.environ[name] for name in (*passed, "no_proxy", "NO_PROXY") if name in os.environ}
    environ |= {
        "HOME": str(home),
        "TMPDIR": str(home),
        "LC_ALL": "C",
        "GIT_DIR": str(repository),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "GIT_ALLOW_PROTOCOL": "http:https",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_NO_LAZY_FETCH": "1",
    }
    if secret.ca_cert:
        environ["GIT_SSL_CAINFO"] = str(secret.ca_cert)
    if secret.folder and (key := next((key for key in ("password", "token") if secret.get(key)), None)):
        config[f"credential.{address.origin}.helper"] = _HELPER
        # servers that take a token do not look at the name beside it
        environ["EVALHUB_GIT_USERNAME"] = secret.get("username") or "oauth2"
        environ["EVALHUB_GIT_PASSWORD_FILE"] = str((secret.folder / key).absolute())
    environ["GIT_CONFIG_COUNT"] = str(len(config))
    for index, (name, value) in enumerate(config.items()):
        environ |= {f"GIT_CONFIG_KEY_{index}": name, f"GIT_CONFIG_VALUE_{index}": value}
    return environ


def _split(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield what `stream` holds between NUL bytes."""
    rest = b""
    while chunk := stream.read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(0.2)
    except subprocess.TimeoutExpired:
        return False
    return True


def _size(folder: Path) -> int:
    """Return the bytes under `folder`, of files that may come and go meanwhile."""
    total = 0
    for parent, _, found in os.walk(folder):
        for name in found:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total
