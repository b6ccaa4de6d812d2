"""Two ways to run what the interpreter of compiled pipelines would hand to Kubernetes: processes, and containers."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from container_engine import Engine

PATIENCE = 900  # seconds until a task that should end does not


class Mount(NamedTuple):
    """A folder of this machine that a pod sees."""

    folder: Path
    writable: bool = False


@dataclass(frozen=True)
class Pod:
    """One attempt at a task, with every placeholder resolved.

    Attributes:
        mounts: by the path at which the pod sees them.
        memory: the limit, as Kubernetes writes it.
        folder: of this attempt, on this machine.
        task: name of the task, behind those of the sub-pipelines that it is in.
        attempt: 0 for the first.
        labels: that the pipeline gives the pod.
    """

    image: str
    argv: list[str]
    environ: dict[str, str]
    mounts: dict[str, Mount]
    memory: str | None
    folder: Path
    task: str = ""
    attempt: int = 0
    labels: dict[str, str] = field(default_factory=dict)


class Ended(NamedTuple):
    """How a pod ended."""

    returncode: int
    stderr: str


def outside(path: str, mounts: Mapping[str, Mount]) -> Path:
    """Return what this machine calls a path of a pod; the same when it is in no mount."""
    for place, mount in mounts.items():
        if path == place or path.startswith(f"{place}/"):
            return Path(f"{mount.folder}{path[len(place) :]}")
    return Path(path)


class Executor(Protocol):
    """A way to run pods."""

    def path(self, path: str, mounts: Mapping[str, Mount]) -> str:
        """Return how a pod has to call `path` of one of its mounts."""
        ...

    def run(self, pod: Pod) -> Ended:
        """Run `pod` to its end."""
        ...


@dataclass(frozen=True)
class Processes:
    """Processes of this machine: fast, but with its user, its disk and no limits.

    Attributes:
        images: interpreter and environment that stand for an image.
    """

    images: Mapping[str, tuple[str, dict[str, str]]]

    def path(self, path: str, mounts: Mapping[str, Mount]) -> str:
        return str(outside(path, mounts))

    def run(self, pod: Pod) -> Ended:
        python, extra = self.images[pod.image]
        assert pod.argv[0] in ("python", "python3")
        environ = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
        done = subprocess.run(
            [python, *pod.argv[1:]],
            env=environ | extra | pod.environ,
            cwd=extra.get("PWD", pod.folder),  # the working directory of the image
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return Ended(done.returncode, done.stderr)


@dataclass(frozen=True)
class Containers:
    """Containers as a cluster's strictest namespace would have them: a user that no image knows, nothing writable.

    What is writable all the same is /tmp and what the backend mounts for its artifacts. CPU limits are left out: a
    test machine may have less than a provider asks for.

    Attributes:
        images: the image on this machine that stands for one of the pipeline.
        user: number of the user; the group is root's, as on OpenShift.
        tmp: size of /tmp.
    """

    engine: Engine
    images: Mapping[str, str]
    user: int
    tmp: str = "1g"

    def path(self, path: str, mounts: Mapping[str, Mount]) -> str:
        return path

    def run(self, pod: Pod) -> Ended:
        name = f"evalhub-test-{uuid.uuid4().hex}"
        options = ["--rm", "--name", name, "--pull", "never", "--network", "host"]
        options += ["--read-only", "--tmpfs", f"/tmp:exec,size={self.tmp}", "--user", f"{self.user}:0"]
        options += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        if pod.memory:
            # what Kubernetes calls Mi is M here
            limit = pod.memory.removesuffix("i")
            options += ["--memory", limit, "--memory-swap", limit]
        for place, mount in pod.mounts.items():
            options += ["--volume", f"{mount.folder}:{place}" + ("" if mount.writable else ":ro")]
        for key, value in pod.environ.items():
            options += ["--env", f"{key}={value}"]
        command, *arguments = pod.argv
        try:
            done = self.engine.client(
                "run", *options, "--entrypoint", command, self.images[pod.image], *arguments, timeout=PATIENCE
            )
        finally:
            self.engine("rm", "--force", name, check=False)
        return Ended(done.returncode, done.stderr)
