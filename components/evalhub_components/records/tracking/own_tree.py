"""The tree of runs that an evaluation makes in the experiment it was told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalhub_components.errors import TrackingUnavailable
from evalhub_components.records.tracking import sqlite
from evalhub_components.records.tracking.connection import address
from evalhub_components.records.tracking.recording import Recording
from evalhub_components.records.tracking.runs import PARENT, Runs
from evalhub_components.records.tracking.tree import Place, Tree

if TYPE_CHECKING:
    from mlflow import MlflowClient


def find(client: MlflowClient, recording: Recording, uri: str) -> Tree:
    """Return the tree of the recorded run: what an earlier attempt left, else a new parent.

    Raises:
        TrackingUnavailable: the experiment is deleted.
    """
    runs = Runs(client, _experiment(client, recording, uri))
    parent = recording.parent
    found = runs.find(f"tags.`{parent.key[0]}` = '{parent.key[1]}'")
    if not found:
        return Tree(runs, runs.create(parent, None), {}, created=True)
    run_id = str(found[0].info.run_id)
    places = {}
    for child in runs.find(f"tags.`{PARENT}` = '{run_id}'"):
        for key, value in {child.key for child in recording.children}:
            if child.data.tags.get(key) == value:
                places[value] = Place(str(child.info.run_id), run_id)
    return Tree(runs, run_id, places)


def _experiment(client: MlflowClient, recording: Recording, uri: str) -> str:
    """Return the experiment's id; creates it, also when others do so at the same moment."""
    from mlflow.exceptions import MlflowException

    name = recording.experiment
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, sqlite.artifacts(uri), recording.experiment_tags))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage == "deleted":
        number = found.experiment_id if found else "ID"
        raise TrackingUnavailable(
            f"MLflow at {address(uri)}: experiment {name!r} is deleted "
            f"(restore it with `mlflow experiments restore --experiment-id {number}`, or name another one)"
        )
    return str(found.experiment_id)
