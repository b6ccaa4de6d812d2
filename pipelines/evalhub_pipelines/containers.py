"""How a benchmark step runs in its provider's image on this machine: the engine's command line, and what it may use.

The container is what a pod would be: another user than root, no privileges, nothing writable but /tmp and the results.
It has the network of this machine, because that is where the model of a laptop listens.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from evalhub_components import bridge
from evalhub_components.credentials import JUDGE_SECRET, MODEL_SECRET, SERVICE_ACCOUNT_TOKEN
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.plan import BenchmarkTask
from evalhub_components.schema.provider import KubernetesRuntime
from evalhub_pipelines.images import is_podman, repository

TASK, RESULTS, SECRET, TEST_DATA = "/evalhub/task.json", "/evalhub/results", "/evalhub/secret", "/test_data"
OF_JUDGE, TOKEN = "/evalhub/judge-secret", "/evalhub/service-account/token"
"""Where a container sees what it is given."""

_NOBODY = 1001  # whom root's containers run as
_PROXIES = tuple(case(name) for name in ("http_proxy", "https_proxy", "no_proxy") for case in (str.lower, str.upper))
_SUFFIXES = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18} | {
    f"{letter}i": float(1 << 10 * power) for power, letter in enumerate("KMGTPE", 1)
}


@dataclass(frozen=True)
class Container:
    """How an engine runs a provider's image.

    Attributes:
        engine: command of Docker or Podman.
        image: id of the image, which no later build or pull changes.
        user: whom the files of the container belong to on this machine.
        identity: the engine's options that make it so.
        environ: the provider's environment variables, and which image it is.
        runtime: the provider's own limits.
        command: what is started in it; the arguments of the benchmark step follow.
        suffix: what follows those.
    """

    engine: str
    image: str
    user: int
    identity: tuple[str, ...]
    runtime: KubernetesRuntime
    environ: dict[str, str] = field(default_factory=dict)
    command: Sequence[str] = ("python", "-m", "evalhub_components.benchmark")
    suffix: Sequence[str] = ()


class Given(NamedTuple):
    """What a container may use of this machine's files; all but `results` it can only read.

    Attributes:
        task: file with the list of tasks.
        secret: folder with the model's credentials.
        judge_secret: folder with the judge's.
        token: file with the token of a service account.
    """

    task: Path
    results: Path
    secret: Path | None = None
    test_data: Path | None = None
    judge_secret: Path | None = None
    token: Path | None = None


def container_of(
    provider_id: str, runtime: KubernetesRuntime, engine: str, announce: Callable[[str], None]
) -> Container:
    """Return how `engine` runs the provider's image, pulling it when it is missing.

    Args:
        provider_id: for messages.
        runtime: of the plan.
        engine: `docker`, `podman`, or the path of one.
        announce: called with a sentence before the image is pulled, which takes a while.

    Raises:
        EvalHubError: the engine does not work, or the image is nowhere.
    """
    if runtime.image is None:
        raise EvalHubError(f"provider {provider_id}: has no runtime.k8s.image, so it cannot run in a container")
    identity, user = _identity(engine)
    found = _inspect(engine, runtime.image)
    if found is None:
        announce(f"pulling {runtime.image} (once)")
        pulled = _call(engine, "pull", "--quiet", runtime.image)
        found = _inspect(engine, runtime.image)
        if found is None:
            said = " ".join(pulled.stderr.split())[-500:]
            cure = f"build it: evalhub-kfp images build {provider_id}"
            raise EvalHubError(f"{runtime.image}: is not on this machine and cannot be pulled: {said} ({cure})")
    environ = {variable.name: variable.value for variable in runtime.env}
    environ |= {"EVALHUB_IMAGE": runtime.image, "EVALHUB_IMAGE_DIGEST": _digest(found, runtime.image)}
    made = Container(engine, found["Id"], user, identity, runtime, environ)
    if runtime.entrypoint:
        # made for EvalHub: it has no package of ours, and the bridge runs what it has
        text = Path(bridge.__file__).read_text("utf-8")
        return replace(made, command=("python3", "-I", "-c", text), suffix=("--", *runtime.entrypoint))
    return made


def new_name(run_id: str) -> str:
    """Return a name for a container of this run."""
    return f"evalhub-{run_id}-{secrets.token_hex(4)}"


def argv(
    container: Container, name: str, tasks: Sequence[BenchmarkTask], given: Given, options: Sequence[str]
) -> list[str]:
    """Return the command that runs `tasks` in a container called `name`.

    It ends when its standard input does; its standard output brings the events of the step.

    Args:
        options: arguments of the benchmark step beside those that name files.
    """
    arguments = ["--task", f"@{TASK}", *options, "--results", RESULTS]
    mounts = [
        # a folder on the disk, not in memory: data sets in a tmpfs would count towards the memory limit
        _mount(type="volume", target="/tmp"),
        _mount(type="bind", source=given.task, target=TASK, readonly="true"),
        _mount(type="bind", source=given.results, target=RESULTS),
    ]
    # an unknown user has no home otherwise
    environ = {"HOME": "/tmp", **container.environ, "EVALHUB_LIFELINE": "stdin"}
    if given.secret:
        mounts.append(_mount(type="bind", source=given.secret, target=SECRET, readonly="true"))
        environ[MODEL_SECRET] = SECRET
    if given.judge_secret:
        mounts.append(_mount(type="bind", source=given.judge_secret, target=OF_JUDGE, readonly="true"))
        environ[JUDGE_SECRET] = OF_JUDGE
    if given.token:
        mounts.append(_mount(type="bind", source=given.token.resolve(), target=TOKEN, readonly="true"))
        environ[SERVICE_ACCOUNT_TOKEN] = TOKEN
    if given.test_data:
        mounts.append(_mount(type="bind", source=given.test_data, target=TEST_DATA, readonly="true"))
        arguments += ["--test-data", TEST_DATA]
    return [
        *(container.engine, "run", "--rm", "--interactive", "--name", name),
        *("--pull", "never", "--log-driver", "none", "--network", "host"),
        *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        # on machines with SELinux, where the folders of a user have labels that containers may not read
        *("--security-opt", "label=disable"),
        *container.identity,
        *_limits(container, tasks),
        *(word for mount in mounts for word in ("--mount", mount)),
        # by name: the address of a proxy may hold a password, and arguments are for everybody to read
        *(word for proxy in _PROXIES for word in ("--env", proxy)),
        *(word for key, value in environ.items() for word in ("--env", f"{key}={value}")),
        *("--entrypoint", container.command[0], container.image, *container.command[1:]),
        *arguments,
        *container.suffix,
    ]


@contextlib.contextmanager
def lent(container: Container, tasks: Sequence[BenchmarkTask], given: Given) -> Iterator[Given]:
    """Let the container's user use what is `given`, and yield what to give to `argv`.

    That user is the one who runs this program, except for root, whose containers run as somebody else.
    """
    given.results.mkdir(parents=True, exist_ok=True)
    if container.user == os.getuid():
        yield given
        return
    given.task.chmod(0o644)
    os.chown(given.results, container.user, 0)
    for task in tasks:
        # the step makes these folders anew, and could not remove what root's own processes left there
        shutil.rmtree(given.results / task.slug, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        copied = {}
        for name in ("secret", "judge_secret"):
            if (secret := getattr(given, name)) is not None:
                copied[name] = Path(shutil.copytree(secret, Path(folder) / name))
                for path in (copied[name], *copied[name].rglob("*")):
                    os.chown(path, container.user, 0)
        if given.token is not None:
            copied["token"] = Path(shutil.copy2(given.token, Path(folder) / "token"))
            os.chown(copied["token"], container.user, 0)
        yield given._replace(**copied)


def remove(engine: str, name: str) -> None:
    """End the container called `name`, should it still be there."""
    _call(engine, "rm", "--force", name)


def end(status: int) -> int:
    """Return how the step ended, as `subprocess` says it: an engine's client says 128 + the number of a signal."""
    return 128 - status if 128 < status <= 192 else status


def _identity(engine: str) -> tuple[tuple[str, ...], int]:
    """Return the options that make the container's files those of this user, and who owns them then."""
    user = os.getuid()
    if user and is_podman(engine):
        return ("--userns", "keep-id", "--user", f"{user}:0"), user
    # unlike `info` it fails where no daemon answers
    asked = _call(engine, "version")
    if asked.returncode:
        said = " ".join(asked.stderr.split())[-500:]
        raise EvalHubError(f"{engine}: does not work: {said} (is it running, and may you use it?)")
    if user and "name=rootless" in _call(engine, "info", "--format", "{{json .SecurityOptions}}").stdout:
        # without root outside, root inside is this user, and nobody else inside can write this user's files
        return ("--user", "0:0"), user
    return ("--user", f"{user or _NOBODY}:0"), user or _NOBODY


def _inspect(engine: str, image: str) -> dict[str, Any] | None:
    found = _call(engine, "image", "inspect", image)
    if found.returncode:
        return None
    described: dict[str, Any] = json.loads(found.stdout)[0]
    return described


def _digest(described: dict[str, Any], reference: str) -> str:
    """Return the digest a registry knows the image by; for one built here the id, a digest of the same contents."""
    known = [item.rpartition("@") for item in described.get("RepoDigests") or []]
    digests = [digest for name, _, digest in known if name == repository(reference)]
    return str(digests[0] if digests else described["Id"])


def _call(engine: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run([engine, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError as error:
        raise EvalHubError(f"{engine}: cannot be started ({error.strerror}; install it, or name another)") from None


def _mount(**options: object) -> str:
    """Return a mount as the engines read it: one line of CSV, because paths may hold commas and quotes."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(f"{key}={value}" for key, value in options.items())
    return line.getvalue()


def _limits(container: Container, tasks: Sequence[BenchmarkTask]) -> list[str]:
    """Return the largest limits that any of `tasks` has; none where one of them has none."""
    runtime, found = container.runtime, []
    memory = [_hardware(task, "memory") or runtime.memory_limit for task in tasks]
    if all(memory):
        largest = str(int(max(_quantity(text) for text in memory if text)))
        found += ["--memory", largest, "--memory-swap", largest]
    cpu = [_hardware(task, "cpu") or runtime.cpu_limit for task in tasks]
    # a user's own Podman may have no say in the kernel's CPU shares, and then refuses to start
    if all(cpu) and not (is_podman(container.engine) and os.getuid()):
        # --cpus would be refused when it is more than this machine has
        period = 100_000
        quota = int(period * max(_quantity(text) for text in cpu if text))
        found += ["--cpu-period", str(period), "--cpu-quota", str(max(quota, 1000))]
    return found


def _hardware(task: BenchmarkTask, name: str) -> str | None:
    bounds = getattr(task.hardware, name, None)
    limit: str | None = bounds.limit if bounds else None
    return limit


def _quantity(text: str) -> float:
    """Return a quantity in Kubernetes notation, such as `500m`, `2` or `4Gi`, as a number."""
    digits = text.rstrip("mkKMGTPEi")
    try:
        return float(digits) * (_SUFFIXES[text[len(digits) :]] if text != digits else 1)
    except (ValueError, KeyError):
        raise EvalHubError(f"{text!r}: is no quantity (write 500m, 2, 4Gi)") from None
