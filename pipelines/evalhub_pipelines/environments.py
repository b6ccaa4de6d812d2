"""A virtual environment for each provider, made once by uv from its requirements and kept in the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import evalhub_components
from evalhub_components import atomic
from evalhub_components.errors import EvalHubError, MissingExtra
from evalhub_pipelines import directories

_MARKER = "evalhub-ready.json"
_OF_PYTORCH = (
    "PyTorch has its builds for the processor alone in an index of its own: name that in UV_EXTRA_INDEX_URL, "
    "or a folder of wheels in UV_FIND_LINKS"
)


def python_of(provider: Path, announce: Callable[[str], None] = lambda _: None) -> Path:
    """Return the interpreter that runs the adapter in the folder `provider`, making its environment when needed.

    A provider without `requirements.txt` runs in this program's own environment. Two runs that need the same
    environment at once wait for each other; one that is incomplete or damaged is made anew.

    Args:
        provider: the provider's folder.
        announce: called with a sentence before the environment is made, which takes a while.

    Raises:
        EvalHubError: it cannot be made; the message names the requirement.
    """
    requirements = provider / "requirements.txt"
    if not requirements.is_file():
        return Path(sys.executable)
    folder = environment_of(provider)
    with _locked(folder.with_name(folder.name + ".lock")) as lock:
        if not is_ready(folder):
            announce(f"making the environment of {provider.name} (once)")
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, requirements, lock)
    return folder / "bin" / "python"


def environment_of(provider: Path) -> Path:
    """Return where the provider's environment is kept: it depends on requirements, Python and machine."""
    key = hashlib.sha256()
    key.update((provider / "requirements.txt").read_bytes())
    key.update(f"{sys.version_info[:2]} {sys.platform} {os.uname().machine}".encode())
    return directories.cache() / "environments" / f"{provider.name}-{key.hexdigest()[:16]}"


def is_ready(folder: Path) -> bool:
    """Return whether the environment is whole: interpreter and every package that was installed are there."""
    try:
        recorded = json.loads((folder / _MARKER).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return os.access(folder / "bin" / "python", os.X_OK) and set(recorded) <= set(_installed(folder))


def distrust(provider: Path) -> None:
    """Have the provider's environment made anew at its next use; without `requirements.txt` there is none."""
    if (provider / "requirements.txt").is_file():
        (environment_of(provider) / _MARKER).unlink(missing_ok=True)


def is_installed(provider: Path) -> bool:
    """Return whether the provider could run at once."""
    return not (provider / "requirements.txt").is_file() or is_ready(environment_of(provider))


def components_path() -> Path:
    """Return a folder that holds `evalhub_components` and nothing else, to be put on a provider's module path.

    The folder this program was installed into would also offer all its other packages, which are not the provider's.
    """
    source = Path(evalhub_components.__file__).resolve().parent
    folder = directories.cache() / "components" / hashlib.sha256(str(source).encode()).hexdigest()[:16]
    link = folder / source.name
    if not link.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f".{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(source)
        fresh.replace(link)
    return folder


def _make(folder: Path, requirements: Path, lock: int) -> None:
    uv = _uv()
    environ = dict(os.environ)
    if "PIP_FIND_LINKS" in environ:
        # uv reads no configuration of pip, so a wheel folder that the machine offers would be missed
        environ.setdefault("UV_FIND_LINKS", environ["PIP_FIND_LINKS"])
    environ.pop("VIRTUAL_ENV", None)
    python = str(folder / "bin" / "python")
    # where hashes are given they must be given for everything: such a list is complete, or its author learns it here
    is_locked = "--hash=" in requirements.read_text("utf-8")
    # of a lock only the very files it names are taken, whichever index has them
    own = ["--index-strategy", "unsafe-best-match"] if is_locked else _own_requirements()
    for command in (
        ["venv", "--python", sys.executable, str(folder)],
        ["pip", "install", "--python", python, "-r", str(requirements), *own],
    ):
        _call([uv, "--quiet", *command], environ, requirements, lock)
    atomic.write_json(folder / _MARKER, _installed(folder))


def _own_requirements() -> list[str]:
    """Return what `evalhub_components` itself needs beside a framework."""
    return [name for name in metadata.requires("evalhub-kfp") or [] if "extra ==" not in name]


def _call(command: list[str], environ: dict[str, str], requirements: Path, lock: int) -> None:
    # it holds the lock too: should this program be killed, nobody begins anew before it has ended
    done = subprocess.run(
        command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, pass_fds=(lock,)
    )
    if done.returncode == 0:
        return
    said = " ".join(done.stderr.split())
    names = re.findall(r"(?m)^([A-Za-z0-9][A-Za-z0-9._-]*)", requirements.read_text("utf-8"))
    blamed = [name for name in names if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", said)]
    which = f"{', '.join(blamed)} cannot be installed" if blamed else "the environment cannot be made"
    hint = f" ({_OF_PYTORCH})" if "torch" in blamed and "+cpu" in requirements.read_text("utf-8") else ""
    raise EvalHubError(f"{requirements}: {which}: {said[:1500] or f'uv exited with {done.returncode}'}{hint}")


def _uv() -> str:
    try:
        import uv

        return str(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
        if found is None:
            raise MissingExtra("cli", "making a provider's environment") from None
        return found


def _installed(folder: Path) -> list[str]:
    """Return the names in the environment's package folder: packages, modules and their records."""
    found = (path.name for path in folder.glob("lib/python*/site-packages/*"))
    return sorted(name for name in found if name != "__pycache__")


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
