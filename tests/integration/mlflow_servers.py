"""Real MLflow servers on loopback, and what may stand in front of them: a proxy that sees all, and silence."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from stub_http import Seen, StubApi, StubRequest, served

PATIENCE = 120  # seconds until a server that should answer does not


def database(folder: Path) -> Path:
    """Return a SQLite file with MLflow's tables, for `mlflow_server` to copy: making it takes longer than a server."""
    from evalhub_components.records import tracking
    from evalhub_components.records.tracking.recording import Recording, RunRecording

    run = RunRecording(
        key=("k", "v"), name="n", status="FINISHED", started=1, ended=1, tags={}, params={}, metrics={}, dataset=None
    )
    nothing = Recording(experiment="made", experiment_tags={}, parent=run, children=[], artifacts={})
    tracking.send(nothing, f"sqlite:///{folder / 'made.db'}")
    return folder / "made.db"


@contextmanager
def mlflow_server(folder: Path, made: Path | None = None, *options: str) -> Iterator[str]:
    """A tracking server, as a cluster has one, with its data in `folder`; yields its address.

    Args:
        made: what `database` returned; without it the server makes its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if made:
        shutil.copy(made, folder / "mlflow.db")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "kept")]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *options],
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(lambda: process.poll() is not None or _answers(address))
            assert process.poll() is None, (folder / "server.log").read_text()[-2000:]
            yield address
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass
class Proxy(StubApi):
    """What stands in front of a server.

    Attributes:
        server: its address; the proxy's own is to be used instead.
        before: is called with every request before it goes on.
    """

    server: str
    before: Callable[[Seen], None] = lambda _: None


class _Passing(StubRequest):
    api: Proxy
    reads_all = False

    def serve(self) -> None:
        self.api.before(self.seen)
        body = self.read()
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        connection = http.client.HTTPConnection(self.api.server.removeprefix("http://"), timeout=PATIENCE)
        dropped = ("Host", "Connection", "Accept-Encoding", "Transfer-Encoding", "Content-Length")
        headers = {name: value for name, value in self.headers.items() if name.title() not in dropped}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        self.answer(answer.status, answer.read(), {"Content-Type": answer.getheader("Content-Type") or "text/plain"})
        connection.close()


def proxied(server: str, certificate_and_key: tuple[Path, Path] | None = None) -> AbstractContextManager[Proxy]:
    """A proxy in front of `server`; over TLS with a certificate."""
    return served(Proxy(server), _Passing, certificate_and_key)


@contextmanager
def silent_server() -> Iterator[str]:
    """A server that takes every connection and never answers; yields its address."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=PATIENCE) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.1)
