"""Where this program keeps things of a user: caches and secrets."""

from __future__ import annotations

import os
from pathlib import Path

from evalhub_components.errors import EvalHubError


def cache() -> Path:
    """Return the cache folder; everything in it can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evalhub-kfp"


def secrets() -> Path:
    """Return the folder with one folder a secret, laid out as Kubernetes mounts them: one file a key."""
    configured = os.environ.get("EVALHUB_SECRETS")
    if configured:
        return Path(configured)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "evalhub-kfp" / "secrets"


def secret(name: str, where: str) -> Path:
    """Return the folder of the secret `name`; `where` is the key that asks for it.

    Raises:
        EvalHubError: there is no such folder.
    """
    folder = secrets() / name
    if not folder.is_dir():
        cure = "make it, with one file a key, as `kubectl create secret --from-file` takes it"
        raise EvalHubError(f"{where}: there is no folder {folder} ({cure})")
    return folder
