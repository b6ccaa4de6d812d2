"""A container engine of the tests' own, a base image without a registry, and the project's images built on it.

One dockerd serves all test processes: the first that needs it starts it, the last stops it. Its data stay in the user's
cache, so that an image whose packages are unchanged is built in seconds the next time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from evalhub_pipelines import images

DOCKER = "/usr/bin/docker"  # the client that belongs to the daemon, whatever else is installed
NEEDED = {
    DOCKER: "docker.io",
    "/usr/sbin/dockerd": "docker.io",
    "/usr/sbin/debootstrap": "debootstrap",
}
"""Files that the engine needs, and the Debian packages that have them."""

BASE_IMAGE = "local/evalhub-test-base"
_PACKAGES = "python3,python3-pip,python3-venv,ca-certificates,git"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evalhub-kfp-tests"
_PATIENCE = 120  # seconds until a daemon that should answer does not
_STARTED: list[subprocess.Popen[bytes]] = []  # daemons of this process, which may outlive the fixture that started them


def missing(what: str) -> None:
    """Skip the test for a piece that is not here; where all must be here, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI needs {what}")
    pytest.skip(what)


@dataclass(frozen=True)
class Engine:
    """A running engine.

    Attributes:
        environ: what its client needs, beside the environment of the tests.
    """

    environ: Mapping[str, str]
    command: str = DOCKER

    def client(self, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run the engine's client."""
        return subprocess.run(
            [self.command, *arguments],
            env={**os.environ, **self.environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def __call__(self, *arguments: str, check: bool = True, timeout: float = 600) -> str:
        """Return what the engine's client says to `arguments`."""
        done = self.client(*arguments, timeout=timeout)
        assert not check or done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stderr[-4000:]}"
        return done.stdout.strip()


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A dockerd that only tests use, with the network of this machine and no other."""
    with running_engine() as found:
        yield found


@contextmanager
def running_engine() -> Iterator[Engine]:
    """The engine, which runs inside the block."""
    if os.getuid() != 0:
        missing("a container engine of the tests' own, which only root can start")
    for path, package in NEEDED.items():
        if not Path(path).exists():
            missing(f"{path} (Debian: apt-get install {package})")
    _CACHE.mkdir(parents=True, exist_ok=True)
    found = Engine({"DOCKER_HOST": f"unix://{_CACHE / 'docker.sock'}", "DOCKER_BUILDKIT": "0"})
    with (_CACHE / "users.lock").open("w") as users:
        with _alone("engine"):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not _answers(found):
                _start(found)
        try:
            yield found
        finally:
            with _alone("engine"):
                _leave(found, users)


def _leave(engine: Engine, users: IO[str]) -> None:
    """Stop the engine, unless another test process uses it."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    engine("image", "prune", "--force", check=False)
    _stop()


@pytest.fixture(scope="session")
def base_image(engine: Engine) -> str:
    """A minimal Debian with Python that trusts what this machine trusts, and installs packages as it does."""
    return made_base_image(engine)


def made_base_image(engine: Engine) -> str:
    """Return the base image, made unless it is there."""
    with _alone("build"):
        certificates, settings = _certificates(), _pip_settings()
        key = hashlib.sha256(b"\0".join([_PACKAGES.encode(), certificates, settings])).hexdigest()[:16]
        reference = f"{BASE_IMAGE}:{key}"
        if not engine("images", "--quiet", reference):
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder) / "root"
                _bootstrap(root)
                (root / "etc/ssl/certs/ca-certificates.crt").write_bytes(certificates)
                (root / "etc/pip.conf").write_bytes(settings)
                archive = Path(folder) / "root.tar"
                with tarfile.open(archive, "w") as tar:
                    tar.add(root, ".")
                engine("import", str(archive), reference)
    return reference


@pytest.fixture(scope="session")
def built_images(engine: Engine, base_image: str) -> dict[str, str]:
    """References of images by name, built from the project's own Containerfiles: those that build in a minute."""
    found = images.of_checkout(names=["components", "lm_evaluation_harness", "deepeval"])
    with _alone("build"), pytest.MonkeyPatch.context() as patch:
        for name, value in engine.environ.items():
            patch.setenv(name, value)
        for image in found:
            images.build(image, engine.command, base_image=base_image, options=["--network=host"])
    return {image.name: image.reference for image in found}


@contextmanager
def _alone(what: str) -> Iterator[None]:
    """Hold the lock of that name: other test processes wait."""
    with (_CACHE / f"{what}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start(engine: Engine) -> None:
    socket = engine.environ["DOCKER_HOST"]
    _stop()  # one that does not answer any more
    command = [
        *("/usr/sbin/dockerd", "--host", socket, "--pidfile", str(_CACHE / "docker.pid")),
        *("--data-root", str(_CACHE / "docker"), "--exec-root", str(_CACHE / "run")),
        *("--iptables=false", "--ip6tables=false", "--bridge=none", "--userland-proxy=false"),
        *("--exec-opt", "native.cgroupdriver=cgroupfs"),
    ]
    # what one that was killed left; a process id in it may be anybody's by now
    (_CACHE / "docker.pid").unlink(missing_ok=True)
    shutil.rmtree(_CACHE / "run", ignore_errors=True)
    log = _CACHE / "docker.log"
    with log.open("wb") as file:
        daemon = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd="/"
        )
    _STARTED.append(daemon)
    deadline = time.monotonic() + _PATIENCE
    while not _answers(engine):
        if daemon.poll() is not None or time.monotonic() > deadline:
            daemon.kill()
            missing(f"a dockerd that starts here: {log.read_text(errors='replace')[-1000:]}")
        time.sleep(0.2)


def _stop() -> None:
    """Stop the daemon that the tests started, if it is there."""
    try:
        process = int((_CACHE / "docker.pid").read_text())
        if "dockerd" not in Path(f"/proc/{process}/cmdline").read_text():
            return
        os.kill(process, signal.SIGTERM)
    except (OSError, ValueError):
        return
    deadline = time.monotonic() + _PATIENCE
    while Path(f"/proc/{process}").exists() and time.monotonic() < deadline:
        for daemon in _STARTED:
            daemon.poll()
        time.sleep(0.1)


def _answers(engine: Engine) -> bool:
    return bool(engine("version", "--format", "{{.Server.Version}}", check=False))


def _bootstrap(root: Path) -> None:
    command = ["/usr/sbin/debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(root)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900)
    if done.returncode:
        missing(f"a Debian archive to make the base image from: {done.stdout[-500:]}")
    for path in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        path.unlink()
    for folder in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
        shutil.rmtree(root / folder, ignore_errors=True)


def _certificates() -> bytes:
    """Return the certificates that this machine trusts, its own authorities included."""
    path = os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"
    return Path(path).read_bytes() if Path(path).is_file() else b""


def _pip_settings() -> bytes:
    """Return how pip installs on this machine, as a configuration file: which index, and what to trust."""
    asked = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    found = {}
    for line in asked.stdout.splitlines():
        name, _, value = line.partition("=")
        # what the environment sets is named :env:.<option>; folders of this machine are not in the image
        option = name.rpartition(".")[2]
        value = " ".join(part for part in value.strip("'\"").split() if not part.startswith(("/", "file:")))
        if value and option not in found:
            found[option] = value
    found["cert"] = "/etc/ssl/certs/ca-certificates.crt"
    return "".join(["[global]\n", *(f"{key} = {value}\n" for key, value in sorted(found.items()))]).encode()
