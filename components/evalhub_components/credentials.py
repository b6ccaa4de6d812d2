"""Credentials, read from the folders of mounted secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from evalhub_components.adapter import ModelCredentials
from evalhub_components.errors import EvalHubError

MODEL_SECRET = "EVALHUB_MODEL_SECRET"
"""Environment variable that names the secret's folder: one file a key, as Kubernetes mounts it."""

JUDGE_SECRET = "EVALHUB_JUDGE_SECRET"
"""Environment variable that names the folder of the judge's secret, which has the same keys."""

MLFLOW_SECRET = "EVALHUB_MLFLOW_SECRET"
"""Environment variable that names the folder with MLflow's credentials: `token`, or `username` and `password`."""

REGISTRY_SECRET = "EVALHUB_REGISTRY_SECRET"
"""Environment variable that names the folder with the registry's credentials: `.dockerconfigjson`."""

SIGNING_SECRET = "EVALHUB_SIGNING_SECRET"
"""Environment variable that names the folder with the key that signs: `private.key`, and perhaps `public.key`."""

CA = "EVALHUB_CA"
"""Environment variable that names a folder with CA certificates in `ca-bundle.crt`, as a config map is mounted."""


def read(variable: str = MODEL_SECRET) -> ModelCredentials:
    """Return the credentials in the folder that `variable` names; empty without one.

    Raises:
        EvalHubError: one of them can be no credential; the message does not show it.
    """
    folder = mounted(variable, "api-key", "ca_cert", "hf-token") or Path(os.devnull)
    ca_cert = folder / "ca_cert"
    return ModelCredentials(
        api_key=_value(folder / "api-key"),
        ca_cert=ca_cert if ca_cert.is_file() else ca_bundle(),
        hf_token=_value(folder / "hf-token"),
    )


def mlflow_environment() -> dict[str, str]:
    """Return the environment variables that give MLflow's client its credentials and CA.

    Raises:
        EvalHubError: one of them can be no credential; the message does not show it.
    """
    folder, bundle = mounted(MLFLOW_SECRET, "token", "username") or Path(os.devnull), ca_bundle()
    values = {
        "MLFLOW_TRACKING_TOKEN": _value(folder / "token"),
        "MLFLOW_TRACKING_USERNAME": _value(folder / "username"),
        "MLFLOW_TRACKING_PASSWORD": _value(folder / "password"),
        "MLFLOW_TRACKING_SERVER_CERT_PATH": str(bundle) if bundle else None,
    }
    return {name: value for name, value in values.items() if value}


def ca_bundle(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file with the CA certificates of a mounted config map, None without one.

    Raises:
        EvalHubError: what was mounted has no such file.
    """
    folder = mounted(CA, "ca-bundle.crt", environ=environ)
    return folder / "ca-bundle.crt" if folder else None


def mounted(variable: str, *keys: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder of a secret or config map that `variable` names; None when none was mounted.

    Kubernetes mounts an empty folder in the place of an optional secret that does not exist: whoever misspelt a name
    must not get a run without credentials, or evidence without a signature.

    Raises:
        EvalHubError: the folder has none of `keys`.
    """
    folder = Path(environ.get(variable) or os.devnull)
    if not folder.is_dir():
        return None
    if not any((folder / key).is_file() for key in keys):
        wanted = " or ".join(keys)
        raise EvalHubError(f"{folder} ({variable}): has no {wanted} (is the secret there, and named as in the form?)")
    return folder


def _value(path: Path) -> str | None:
    if not path.is_file():
        return None
    value = path.read_bytes().strip()
    # what else there is in it cannot be sent in a header, and an error about that would quote it
    if not all(0x20 <= byte < 0x7F for byte in value):
        raise EvalHubError(f"{path}: must be one line of printable ASCII")
    return value.decode("ascii") or None
