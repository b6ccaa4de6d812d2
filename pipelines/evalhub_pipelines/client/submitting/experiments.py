"""Experiments of Kubeflow Pipelines: the folders that runs are listed in."""

from __future__ import annotations

from typing import Any

from evalhub_components.errors import EvalHubError
from evalhub_pipelines.client import creation
from evalhub_pipelines.client.connection import Connection

NAME_LIMIT = 128
"""Bytes of a name (backend/src/apiserver/validation/length.go of kubeflow/pipelines)."""


def check_name(name: str) -> None:
    """Refuse what the server would.

    Raises:
        EvalHubError: the name is empty or too long.
    """
    size = len(name.encode())
    if not name.strip() or size > NAME_LIMIT:
        raise EvalHubError(f"experiment {name[:40]!r}: must have 1 to {NAME_LIMIT} bytes, got {size} (--experiment)")


def find(connection: Connection, name: str) -> str | None:
    """Return the id of an experiment, None when there is none."""
    answer = connection.experiments.experiment_service_list_experiments(
        filter=creation.equals("display_name", name), page_size=1, **connection.place
    )
    return str(answer.experiments[0].experiment_id) if answer.experiments else None


def make(connection: Connection, name: str) -> str:
    """Return the id of a new experiment, or of the one that somebody else made in this moment."""
    body: dict[str, Any] = {"display_name": name, **connection.place}

    def made() -> str:
        return str(connection.experiments.experiment_service_create_experiment(experiment=body).experiment_id)

    return creation.once(lambda: find(connection, name), made)
