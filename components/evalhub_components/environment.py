"""The machine and software a step ran on, as far as the step itself can see them."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from evalhub_components import __version__

_METADATA = re.compile(r"(?P<package>.+?)-(?P<version>\d[^-]*)(?:\.dist-info|(?:-py[\d.]+)?\.egg-info)")


def capture() -> dict[str, Any]:
    """Return hardware, accelerators, operating system, Python, packages, image and pod; null where nothing is known."""
    return {
        "schema_version": 1,
        "package_version": __version__,
        "hardware": {"machine": platform.machine(), "cpu": _cpu_model(), "cpus": os.cpu_count(), "memory": _memory()},
        "accelerators": _accelerators(),
        "os": {"kernel": platform.release(), "system": platform.system(), "distribution": _distribution()},
        "python": {"version": platform.python_version(), "implementation": platform.python_implementation()},
        "packages": installed_packages(),
        "image": {
            "reference": os.environ.get("EVALHUB_IMAGE") or None,
            "digest": os.environ.get("EVALHUB_IMAGE_DIGEST") or None,
        },
        "pod": _pod(),
    }


def installed_packages() -> dict[str, str]:
    """Return name and version of every installed distribution.

    Read from the names of the metadata folders: opening each one's metadata takes a second in a large environment.
    """
    found: dict[str, str] = {}
    for entry in sys.path:
        if not os.path.isdir(entry):
            continue
        # of two versions in one folder always the same one: a file system lists names in any order
        for name in sorted(os.listdir(entry)):
            if match := _METADATA.fullmatch(name):
                found.setdefault(re.sub(r"[-_.]+", "-", match["package"]).lower(), match["version"])
    return dict(sorted(found.items()))


def _cpu_model() -> str | None:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or None


def _memory() -> int | None:
    """Return the machine's memory in bytes."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _accelerators() -> list[dict[str, str]]:
    """Return name, memory and driver of every NVIDIA GPU that nvidia-smi shows."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version,uuid", "--format=csv,noheader"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    keys = ("name", "memory", "driver", "uuid")
    return [dict(zip(keys, (part.strip() for part in line.split(",")), strict=False)) for line in shown.splitlines()]


def _distribution() -> str | None:
    for line in _lines("/etc/os-release"):
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip().strip('"')
    return None


def _pod() -> dict[str, Any] | None:
    """Return what the downward API mounted of the pod: labels and limits.

    Not its annotations: they hold whole specifications, the values of environment variables among them.
    """
    folder = Path(os.environ.get("EVALHUB_PODINFO", "/etc/podinfo"))
    if not folder.is_dir():
        return None
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and path.name != "annotations")
    return {path.name: path.read_text("utf-8", "replace") for path in files}


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
