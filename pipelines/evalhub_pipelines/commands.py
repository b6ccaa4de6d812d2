"""How the benchmark step of a provider is started as a process on this machine."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evalhub_components import bridge
from evalhub_components.credentials import MODEL_SECRET
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.provider import Provider
from evalhub_pipelines import directories, environments

_SENSITIVE_NAME = re.compile(
    r"TOKEN(?!IZER)|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|ACCESS_KEY|_KEY$|^MLFLOW_|^AWS_|^DOCKER_|^KUBE",
    re.IGNORECASE,
)
_PASSWORD_IN_ADDRESS = re.compile(r"://[^/\s@]*:\S+@")  # also where / is not %2F in it
# without .pyc files a framework compiles itself anew at every start, and some take ten seconds for that
_OURS = {"PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", MODEL_SECRET}


@dataclass(frozen=True)
class Command:
    """How a provider's benchmark step is started.

    Attributes:
        suffix: what follows the step's own arguments.
        folder: working directory; None for this program's own.
        environment_of: folder of the provider whose environment it runs in; None when that was not made here.
    """

    argv: list[str]
    environ: dict[str, str]
    suffix: tuple[str, ...] = ()
    folder: Path | None = None
    environment_of: Path | None = None


def command_of(provider: Provider, folder: Path, announce: Callable[[str], None]) -> Command:
    """Return how the provider in `folder` is started, making its environment when that is missing.

    Raises:
        EvalHubError: it has nothing to start, or its environment cannot be made.
    """
    local = provider.runtime.local
    given = local.command if local else None
    bridged = not (folder / "adapter.py").is_file()
    if bridged and not given:
        raise EvalHubError(f"{folder}: has neither adapter.py nor runtime.local.command, so it cannot run here")
    if bridged and any(benchmark.judge for benchmark in provider.benchmarks):
        raise EvalHubError(
            f"{folder}: has benchmarks with a judge and no adapter.py, and what EvalHub starts gets no judge"
        )
    environ = {key: value for key, value in os.environ.items() if not _is_private(key, value)}
    environ |= {
        "PYTHONPATH": str(environments.components_path()),
        "PYTHONNOUSERSITE": "1",
        "PYDANTIC_DISABLE_PLUGINS": "1",
        "EVALHUB_PROVIDER_DIR": str(folder.resolve()),
        "EVALHUB_LIFELINE": "stdin",
        # a task of a team's own may be a program in its test data, beside which nothing must appear
        "PYTHONPYCACHEPREFIX": str(directories.cache() / "bytecode"),
    }
    environ |= {variable.name: variable.value for variable in (local.env if local else [])}
    # EvalHub hands a command given as text to the shell
    words = ["sh", "-c", given] if isinstance(given, str) else list(given or [])
    if bridged:
        return Command([sys.executable, "-I", bridge.__file__], environ, ("--", *words), folder.resolve())
    if isinstance(given, str):
        words = shlex.split(given)
    if words:
        return Command(words, environ)
    argv = [str(environments.python_of(folder, announce)), "-m", "evalhub_components.benchmark"]
    return Command(argv, environ, environment_of=folder)


def holds_a_password(text: str) -> bool:
    """Return whether there is an address with a password in `text`."""
    return bool(_PASSWORD_IN_ADDRESS.search(text))


def _is_private(name: str, value: str) -> bool:
    """Return whether a framework should not see this variable: credentials of others, or what is set for it anyway."""
    if name in _OURS or _SENSITIVE_NAME.search(name):
        return True
    # without the proxy the model may be out of reach
    return holds_a_password(value) and not name.lower().endswith("_proxy")
