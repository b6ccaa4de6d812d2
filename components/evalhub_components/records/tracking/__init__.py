"""MLflow: sends a recording to a server or a SQLite file. Nothing outside of this package imports mlflow."""

from __future__ import annotations

from typing import NamedTuple

from evalhub_components.records.tracking import finding
from evalhub_components.records.tracking.connection import address, connected
from evalhub_components.records.tracking.recording import Recording

__all__ = ["Tracked", "address", "send", "tags_of"]


class Tracked(NamedTuple):
    """Where a recording is.

    Attributes:
        uri: without credentials.
        run_id: of the parent.
        warning: what is not as it was meant to be.
    """

    uri: str
    experiment_id: str
    run_id: str
    warning: str | None = None


def send(recording: Recording, uri: str) -> Tracked:
    """Write `recording` to the MLflow at `uri`; what is there already is found again and not repeated.

    Raises:
        MissingExtra: mlflow is not installed.
        TrackingUnavailable: MLflow refused, is silent, too slow, or cannot be written.
    """
    with connected(uri) as client:
        from evalhub_components.records.tracking import kfp_tree, own_tree

        tree, warning = kfp_tree.find(client, recording)
        tree = tree or own_tree.find(client, recording, uri)
        tree.write(recording)
        return Tracked(address(uri), tree.experiment_id, tree.run_id, warning)


def tags_of(uri: str, run_id: str) -> dict[str, str]:
    """Return the tags of the MLflow run that records the evaluation `run_id`.

    Raises:
        MissingExtra: mlflow is not installed.
        NotFound: there is no such run, or there are several.
        TrackingUnavailable: MLflow refused or is silent.
    """
    return finding.find(uri, run_id).tags
