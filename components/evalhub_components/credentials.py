"""The model's credentials, read from the folder of a mounted secret."""

from __future__ import annotations

import os
from pathlib import Path

from evalhub_components.adapter import ModelCredentials

MODEL_SECRET = "EVALHUB_MODEL_SECRET"
"""Environment variable that names the secret's folder: one file a key, as Kubernetes mounts it."""


def read() -> ModelCredentials:
    """Return the credentials in the folder that `EVALHUB_MODEL_SECRET` names; empty without one."""
    folder = os.environ.get(MODEL_SECRET)
    if not folder:
        return ModelCredentials()
    ca_cert = Path(folder) / "ca_cert"
    return ModelCredentials(
        api_key=_value(Path(folder) / "api-key"),
        ca_cert=ca_cert if ca_cert.is_file() else None,
        hf_token=_value(Path(folder) / "hf-token"),
    )


def _value(path: Path) -> str | None:
    return (path.read_text("utf-8").strip() or None) if path.is_file() else None
