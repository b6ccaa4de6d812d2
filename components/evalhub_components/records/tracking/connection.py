"""MLflow's client: its settings and credentials, the patience it has, and its errors in words that name the cure."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from evalhub_components import credentials
from evalhub_components.errors import EvalHubError, MissingExtra, TrackingUnavailable
from evalhub_components.redaction import Redaction

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SETTINGS = {
    # MLflow's own defaults wait four minutes for a server that refuses and twenty for one that is silent
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
_SECRETS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD")
_SHOWN = 500  # characters of an error of MLflow's
_CURES = (
    (
        r"Invalid Host header",
        "refuses to be called {host} (start it with --allowed-hosts {host}, or use a name that it allows)",
    ),
    (
        r"error code 40[13] |UNAUTHENTICATED|PERMISSION_DENIED",
        "refuses these credentials (set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD; "
        "in a pipeline the input mlflow_secret)",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "has a certificate of an unknown CA (name the CA's file in MLFLOW_TRACKING_SERVER_CERT_PATH; "
        "in a pipeline the input ca_config_map)",
    ),
    (
        r"Connection refused",
        "nothing listens there (start the server, or check host and port)",
    ),
    (
        r"NameResolutionError|Name or service not known|name resolution",
        "there is no such host (check the address)",
    ),
    (
        r"(?i)timeout exception|timed out",
        "does not answer (is it up, and is it MLflow? MLFLOW_HTTP_REQUEST_TIMEOUT says how long to wait, in seconds)",
    ),
    (
        r"out-of-date database schema",
        "was made by an older MLflow (make a backup, then run `mlflow db upgrade {uri}`)",
    ),
)
"""What errors of MLflow and its transport mean, the most particular first."""


@contextmanager
def connected(uri: str) -> Iterator[MlflowClient]:
    """Yield a client for the MLflow at `uri`, and turn whatever it raises into errors of ours.

    Raises:
        MissingExtra: mlflow is not installed.
        TrackingUnavailable: MLflow refused, is silent, or cannot be written.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ.update(credentials.mlflow_environment())
    if find_spec("mlflow") is None:
        raise MissingExtra("mlflow", "MLflow")
    # it reports every retry; what came of them is reported here
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    try:
        yield _client(uri)
    except EvalHubError:
        raise
    except Exception as error:  # an MLflow client raises whatever its transport or database driver does
        # without its cause: a traceback would show what the words leave out
        raise TrackingUnavailable(f"MLflow at {address(uri)}: {_said(error, uri)}") from None


def address(uri: str) -> str:
    """Return `uri` without user and password."""
    return uri.replace(f"://{_login(uri)}@", "://", 1)


def _login(uri: str) -> str:
    """Return what stands for user and password in `uri`."""
    rest = uri.partition("://")[2]
    authority = re.split(r"[/?#]", rest)[0]
    if "@" in authority:
        return authority.rpartition("@")[0]
    host_and_port = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(:\d*)?", authority)
    return "" if host_and_port else rest.rpartition("@")[0]  # a password with a slash in it


def _client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    from evalhub_components.records.tracking import sqlite

    if sqlite.names(uri):
        sqlite.initialise(sqlite.database(uri))
        # writers wait for each other; the driver's own five seconds are too few on a busy machine
        uri += "" if "?" in uri else "?timeout=120"
    _ask_once_for_databricks()
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _ask_once_for_databricks() -> None:
    """Keep MLflow from asking at every request, by imports that fail, whether it runs there: half of its own time."""
    from mlflow.tracking.request_header.databricks_request_header_provider import DatabricksRequestHeaderProvider

    if not hasattr(DatabricksRequestHeaderProvider.in_context, "cache_info"):
        asked = cache(DatabricksRequestHeaderProvider.in_context)
        DatabricksRequestHeaderProvider.in_context = asked  # type: ignore[method-assign]


def _said(error: Exception, uri: str) -> str:
    """Return what went wrong in one line, without credentials."""
    text = " ".join(str(error).split()) or type(error).__name__
    for pattern, meaning in _CURES:
        if re.search(pattern, text):
            return meaning.format(host=urlsplit(address(uri)).netloc, uri=address(uri))
    login = _login(uri)
    password = login.partition(":")[2]
    secrets = [login, password, unquote(password), *(os.environ.get(name) for name in _SECRETS)]
    # of other addresses, such as that of a proxy, or of the server's own database
    text = re.sub(r"(://)\S*@", r"\1***@", Redaction(secrets).text(text))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
