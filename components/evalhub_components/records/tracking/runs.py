"""Single runs in MLflow: made with all their tags, filled with one batch, and ended; doing it again changes nothing."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING

from evalhub_components.records.tracking.recording import DatasetRecording, RunRecording

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"
_DATASET_ATTEMPTS = 5
_ALL = 50_000


class Runs:
    """The runs of one experiment; may be used by several threads."""

    def __init__(self, client: MlflowClient, experiment_id: str) -> None:
        self._client = client
        self.experiment_id = experiment_id

    def find(self, condition: str) -> list[Run]:
        """Return the runs that are so: `tags.x = 'y'`."""
        return list(self._client.search_runs([self.experiment_id], condition, max_results=_ALL))

    def create(self, run: RunRecording, parent_id: str | None) -> str:
        """Return the id of a new run with the tags of `run`."""
        ours = {
            run.key[0]: run.key[1],
            # a client that is not MLflow's fluent one sets none of these
            "mlflow.user": _user(),
            "mlflow.source.name": "evalhub_components.aggregate",
            "mlflow.source.type": "JOB",
        }
        tags = {**ours, **run.tags, **({PARENT: parent_id} if parent_id else {})}
        created = self._client.create_run(self.experiment_id, run.started, tags, run.name)
        return str(created.info.run_id)

    def log(self, run_id: str, run: RunRecording, *, tags: bool) -> None:
        """Log the metrics, parameters and data set of `run`, and its tags where it was not created with them."""
        from mlflow.entities import Metric, Param, RunTag

        # MLflow's client cuts it to what one request may hold
        self._client.log_batch(
            run_id,
            [Metric(name, value, run.ended, 0) for name, value in run.metrics.items()],
            [Param(name, value) for name, value in run.params.items()],
            [RunTag(name, value) for name, value in {run.key[0]: run.key[1], **run.tags}.items()] if tags else [],
        )
        if run.dataset:
            self._log_dataset(run_id, run.dataset)

    def attach(self, run_id: str, name: str, text: str) -> None:
        """Keep a text file with the run, in the place of one that has the name."""
        self._client.log_text(run_id, text, name)

    def end(self, run_id: str, run: RunRecording) -> None:
        """End the run as `run` ended."""
        self._client.set_terminated(run_id, run.status, run.ended)

    def _log_dataset(self, run_id: str, dataset: DatasetRecording) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        data = Dataset(name=dataset.name, digest=dataset.digest, source_type="evalhub", source=dataset.source)
        tags = [InputTag("mlflow.data.context", "evaluation")]
        for attempt in range(1, _DATASET_ATTEMPTS + 1):
            try:
                self._client.log_inputs(run_id, datasets=[DatasetInput(data, tags)])
                return
            except MlflowException as error:
                # two writers that meet both insert the data set, and MLflow refuses the second; then it is there
                if attempt == _DATASET_ATTEMPTS or "constraint" not in str(error).lower():
                    raise


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's arbitrary user has no name
        return f"uid {os.getuid()}"
