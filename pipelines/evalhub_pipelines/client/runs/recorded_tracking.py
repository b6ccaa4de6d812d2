"""The MLflow run that tells the verdict of a run, and which MLflow may be asked for it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, get_args

from evalhub_components.credentials import MLFLOW_SECRET
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.verdict import Decision
from evalhub_pipelines.client.runs.run_state import RunState

if TYPE_CHECKING:
    from evalhub_components.records.tracking.finding import Found

VERDICT, REASON = "evalhub.verdict", "evalhub.reason"
"""Tags of the MLflow run."""

_TRACKING_URI = "MLFLOW_TRACKING_URI"
_CREDENTIALS = (
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_TRACKING_AWS_SIGV4",
    MLFLOW_SECRET,
)
_CREDENTIALS_FILE = "~/.mlflow/credentials"
"""What MLflow's client reads where no variable names user and password (mlflow.utils.credentials)."""

_ADDRESS = re.compile(
    r"(https?://)(?:[^\s@/?#\\]*@)?((?:\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::\d+)?)(?:/[^\s@?#\\]*)?", re.ASCII
)
"""Of a server, in a form that every library reads as the same one: scheme, then host and port."""

_UNFINISHED = ("RUNNING", "SCHEDULED")
_PAUSES = (2.0, 4.0)
"""Seconds before MLflow is asked again for a run that somebody may still end: Kubeflow Pipelines ends its own."""


def addresses(state: RunState, given: str | None, environ: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Yield where MLflow is to be asked, each with a reason not to ask it after all."""
    if given:
        yield given, None
        return
    own = environ.get(_TRACKING_URI, "").strip()
    if own.startswith(("http://", "https://")):
        yield own, None
    told = str(state.parameters.get("mlflow_uri") or "").strip()
    if not told or told.rstrip("/") == own.rstrip("/"):
        return
    server, credentials = _server(told), _credentials(environ)
    if server is None:
        yield told, "MLflow: the run logs to no server (name it as it is seen from here: --tracking-uri URI)"
    elif credentials and server != _server(own):
        # a run's inputs are whoever started it's: they must not say who gets these
        what = f"your credentials ({', '.join(credentials)}) are for another (to send them there: --tracking-uri URI)"
        yield told, f"MLflow at {server}: was not asked, for {what}"
    else:
        yield told, None


def _credentials(environ: Mapping[str, str]) -> list[str]:
    """Return where MLflow's client would find what it sends to every server that it asks."""
    found = [name for name in _CREDENTIALS if environ.get(name)]
    # as that client looks for it, which takes a user without a home folder too
    return [*found, _CREDENTIALS_FILE] if os.path.exists(os.path.expanduser(_CREDENTIALS_FILE)) else found


def _server(uri: str) -> str | None:
    """Return scheme, host and port; None of what is no address of a server."""
    parts = _ADDRESS.fullmatch(uri)
    return parts[1] + parts[2] if parts else None


def find(state: RunState, uri: str, sleep: Callable[[float], None]) -> Found:
    """Return the MLflow run that tells the verdict of a run in its tag `VERDICT`.

    Raises:
        EvalHubError: there is none that tells one verdict for good, or MLflow cannot be asked.
        MissingExtra: mlflow is not installed.
    """
    from evalhub_components.records.tracking import finding

    if not re.fullmatch(r"[0-9A-Za-z-]+", state.run_id):
        raise EvalHubError(f"MLflow: cannot be asked for this id: {state.run_id[:100]!r}")
    found = finding.find(uri, state.run_id)
    for pause in _PAUSES:
        if found.status not in _UNFINISHED:
            break
        sleep(pause)
        found = finding.find(uri, state.run_id)
    at = f"MLflow at {found.uri}: run {found.run_id}"
    if found.status in _UNFINISHED:
        raise EvalHubError(f"{at} is still {found.status}, so what it holds may change (try again)")
    verdict = found.tags.get(VERDICT)
    if verdict not in get_args(Decision):
        said = f"has no tag {VERDICT}" if verdict is None else f"has the tag {VERDICT} = {verdict[:50]!r}"
        raise EvalHubError(f"{at} {said} (a verdict is {', '.join(get_args(Decision))})")
    return found
