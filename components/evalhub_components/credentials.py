"""Credentials, read from the folders of mounted secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

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


SERVICE_ACCOUNT_TOKEN = "EVALHUB_SERVICE_ACCOUNT_TOKEN"
"""Environment variable that names the file with a service account's token, where that is not the pod's own."""

POD_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""The token of a pod's service account; the kubelet puts another one there about every hour."""

Auth = Literal["secret", "service-account"]
"""What a model is asked with: the `api-key` in its secret, or the token of the run's own service account."""


def auth(text: str, name: str = "model_auth") -> Auth:
    """Return what a command line says of how a model is asked; a form that was left empty says `secret`.

    Args:
        text: what it says.
        name: of the form's input.

    Raises:
        EvalHubError: it says something else.
    """
    if text.strip() in ("", "secret"):
        return "secret"
    if text.strip() == "service-account":
        return "service-account"
    # not repeated: somebody may have put the key there
    raise EvalHubError(f"{name}: must be secret or service-account")


def read(variable: str = MODEL_SECRET, asked_with: Auth = "secret") -> ModelCredentials:
    """Return the credentials in the folder that `variable` names; empty without one.

    Args:
        asked_with: with `service-account` the key is that account's token, and the folder may hold the rest.

    Raises:
        EvalHubError: one of them can be no credential, there is no token, or a key beside it; the message shows none.
    """
    folder = mounted(variable, "api-key", "ca_cert", "hf-token") or Path(os.devnull)
    ca_cert = folder / "ca_cert"
    found = ModelCredentials(
        api_key=_value(folder / "api-key"),
        ca_cert=ca_cert if ca_cert.is_file() else ca_bundle(),
        hf_token=_value(folder / "hf-token"),
    )
    if asked_with == "secret":
        return found
    if found.api_key:
        raise EvalHubError(
            f"{folder} ({variable}): has an api-key, and the model is to be asked with the token of a service account "
            "(leave one of them out: the api-key in the secret, or service_account)"
        )
    file = token_file()
    # what OpenShift puts beside the token: the CA of the services in the cluster
    cluster_ca = file.with_name("service-ca.crt")
    return replace(
        found,
        api_key=_value(file),
        ca_cert=found.ca_cert or (cluster_ca if cluster_ca.is_file() else None),
        token_file=file,
    )


def token_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file with the token of the service account.

    Raises:
        EvalHubError: there is none, or nothing in it.
    """
    named = environ.get(SERVICE_ACCOUNT_TOKEN)
    # an adapter works in a folder of its own; links are left alone, because they lead to the next token
    file = Path(named).absolute() if named else POD_TOKEN
    try:
        if file.read_bytes().strip():
            return file
        what = "is empty"
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
    cure = (
        "the service account of a run must have its token mounted: automountServiceAccountToken; outside a cluster, "
        f"write one into a file, as kubectl create token does, and name that in {SERVICE_ACCOUNT_TOKEN}"
    )
    raise EvalHubError(f"{file}: the token of the service account {what} ({cure})")


def advice(known: ModelCredentials, role: str = "model") -> str:
    """Return what may be wrong where a server refuses these credentials; `role` says whose server it is."""
    if known.token_file:
        return "may the run's service account get this InferenceService?"
    return f"is api-key of the {role}'s secret right?" if known.api_key else "the run has no API key"


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
