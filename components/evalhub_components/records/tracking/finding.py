"""The MLflow run that records an evaluation, found by its tag."""

from __future__ import annotations

from typing import NamedTuple

from evalhub_components.errors import NotFound
from evalhub_components.records.tracking.connection import address, connected
from evalhub_components.records.tracking.recording import RUN_ID


class Found(NamedTuple):
    """A run of MLflow.

    Attributes:
        uri: of the server, without credentials.
        status: FINISHED, FAILED or KILLED; RUNNING while somebody may still write to it.
    """

    uri: str
    experiment_id: str
    run_id: str
    status: str
    tags: dict[str, str]


def find(uri: str, run_id: str) -> Found:
    """Return the only MLflow run that records the evaluation `run_id`.

    Args:
        uri: of the tracking server.
        run_id: letters, digits and hyphens.

    Raises:
        MissingExtra: mlflow is not installed.
        NotFound: there is no such run, or there are several.
        TrackingUnavailable: MLflow refused or is silent.
    """
    with connected(uri) as client:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        found = client.search_runs(experiments, f"tags.`{RUN_ID}` = '{run_id}'") if experiments else []
        if len(found) != 1:
            many = "no run" if not found else f"{len(found)} runs"
            raise NotFound(f"MLflow at {address(uri)}: has {many} with the tag {RUN_ID} = {run_id}")
        info = found[0].info
        return Found(
            address(uri), str(info.experiment_id), str(info.run_id), str(info.status), dict(found[0].data.tags)
        )
