"""The model's credentials, read from the folder of a mounted secret."""

from __future__ import annotations

import os
from pathlib import Path

from evalhub_components.adapter import ModelCredentials
from evalhub_components.errors import EvalHubError

MODEL_SECRET = "EVALHUB_MODEL_SECRET"
"""Environment variable that names the secret's folder: one file a key, as Kubernetes mounts it."""


def read() -> ModelCredentials:
    """Return the credentials in the folder that `EVALHUB_MODEL_SECRET` names; empty without one.

    Raises:
        EvalHubError: one of them can be no credential; the message does not show it.
    """
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
    if not path.is_file():
        return None
    value = path.read_bytes().strip()
    # what else there is in it cannot be sent in a header, and an error about that would quote it
    if not all(0x20 <= byte < 0x7F for byte in value):
        raise EvalHubError(f"{path}: must be one line of printable ASCII")
    return value.decode("ascii") or None
