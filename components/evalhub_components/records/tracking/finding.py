"""The MLflow run that records an evaluation, found by its tag."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from evalhub_components.errors import NotFound, TrackingUnavailable
from evalhub_components.records.tracking.connection import address, connected
from evalhub_components.records.tracking.recording import RUN_ID

if TYPE_CHECKING:
    from mlflow import MlflowClient


_MOST_PARTS = 1000
"""Of a thousand experiments each."""


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
    condition = f"tags.`{RUN_ID}` = '{run_id}'"
    with connected(uri) as client:
        found = [run for page in _experiments(client) for run in client.search_runs(page, condition)]
        if len(found) != 1:
            many = "no run" if not found else f"{len(found)} runs"
            raise NotFound(f"MLflow at {address(uri)}: has {many} with the tag {RUN_ID} = {run_id}")
        info = found[0].info
        return Found(
            address(uri), str(info.experiment_id), str(info.run_id), str(info.status), dict(found[0].data.tags)
        )


def _experiments(client: MlflowClient) -> Iterator[list[str]]:
    """Yield the ids of all experiments, in parts that one request can name."""
    token: str | None = None
    for _ in range(_MOST_PARTS):
        page = client.search_experiments(page_token=token)
        if page:
            yield [experiment.experiment_id for experiment in page]
        token = page.token
        if not token:
            return
    raise TrackingUnavailable("MLflow: has no end of experiments (is it MLflow?)")
