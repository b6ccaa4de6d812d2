"""MLflow: sends a recording to a server or a SQLite file. The one module that imports mlflow."""

from __future__ import annotations

import getpass
import logging
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from evalhub_components import credentials
from evalhub_components.errors import EvalHubError, MissingExtra, NotFound, TrackingUnavailable
from evalhub_components.records.recording import RUN_ID, DatasetRecording, Recording, RunRecording

if TYPE_CHECKING:
    from mlflow import MlflowClient

_CLIENT_SETTINGS = {
    # MLflow's own defaults wait four minutes for a server that refuses and twenty for one that is silent
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
_SQLITE = "sqlite:///"
_WRITERS = 6
_METRICS_PER_BATCH = 1000
_TAGS_PER_BATCH = 100
_LOCK_SECONDS = 120
_DATASET_ATTEMPTS = 5


class Tracked(NamedTuple):
    """Where a recording is; `uri` shows no credentials."""

    uri: str
    experiment_id: str
    run_id: str


def send(recording: Recording, uri: str) -> Tracked:
    """Write `recording` to the MLflow at `uri`; what is there already is found again and not repeated.

    Raises:
        MissingExtra: mlflow is not installed.
        TrackingUnavailable: MLflow refused, is silent, or cannot be written.
    """
    with _translated(uri):
        return _Sender(recording, _client(uri), uri).send()


def tags_of(uri: str, run_id: str) -> dict[str, str]:
    """Return the tags of the MLflow run that records the evaluation `run_id`.

    Raises:
        MissingExtra: mlflow is not installed.
        NotFound: there is no such run, or there are several.
        TrackingUnavailable: MLflow refused or is silent.
    """
    with _translated(uri):
        client = _client(uri)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        runs = client.search_runs(experiments, f"tags.`{RUN_ID}` = '{run_id}'")
        found = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        if len(found) != 1:
            many = "no run" if not found else f"{len(found)} runs"
            raise NotFound(f"MLflow at {redacted(uri)}: has {many} with the tag {RUN_ID} = {run_id}")
        return dict(found[0].data.tags)


def redacted(text: str) -> str:
    """Return `text` with the credentials of every address in it as `***`."""
    return re.sub(r"(://)[^/\s@]+@", r"\1***@", text)


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Set MLflow's client up, and turn whatever it raises into errors of ours."""
    for name, value in _CLIENT_SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ.update(credentials.mlflow_environment())
    if find_spec("mlflow") is None:
        raise MissingExtra("mlflow", "MLflow")
    # it reports every retry; what came of them is reported here
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    try:
        yield
    except EvalHubError:
        raise
    except Exception as error:  # an MLflow client raises whatever its transport or database driver does
        text = str(error).strip() or type(error).__name__
        raise TrackingUnavailable(f"MLflow at {redacted(uri)}: {redacted(text.splitlines()[0])[:500]}") from error


class _Sender:
    def __init__(self, recording: Recording, client: MlflowClient, uri: str) -> None:
        self._recording = recording
        self._client = client
        self._uri = uri

    def send(self) -> Tracked:
        parent = self._recording.parent
        experiment_id = self._experiment()
        known = self._known(experiment_id, [parent], parent.key[0], parent.key[1])
        run_id = known.get(parent.key[1]) or self._create(experiment_id, parent, None)
        self._children(experiment_id, run_id)
        self._log(run_id, parent)
        for name, text in self._recording.artifacts.items():
            self._client.log_text(run_id, text, name)
        self._client.set_terminated(run_id, parent.status, parent.ended)
        return Tracked(redacted(self._uri), experiment_id, run_id)

    def _experiment(self) -> str:
        """Return the experiment's id; creates it, also when others do so at the same moment."""
        from mlflow.exceptions import MlflowException

        name = self._recording.experiment
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, _artifacts(self._uri), self._recording.experiment_tags))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = self._client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage == "deleted":
            number = found.experiment_id if found else "ID"
            raise TrackingUnavailable(
                f"MLflow at {redacted(self._uri)}: experiment {name!r} is deleted "
                f"(restore it with `mlflow experiments restore --experiment-id {number}`, or name another one)"
            )
        return str(found.experiment_id)

    def _children(self, experiment_id: str, parent_id: str) -> None:
        children = self._recording.children
        known = self._known(experiment_id, children, "mlflow.parentRunId", parent_id)

        def write(child: RunRecording) -> None:
            run_id = known.get(child.key[1]) or self._create(experiment_id, child, parent_id)
            self._log(run_id, child)
            self._client.set_terminated(run_id, child.status, child.ended)

        with ThreadPoolExecutor(_WRITERS, "mlflow") as pool:
            futures = [pool.submit(write, child) for child in children]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _known(self, experiment_id: str, runs: list[RunRecording], tag: str, value: str) -> dict[str, str]:
        """Return the ids of `runs` that exist already by the value of their key; `tag` and `value` find them all."""
        if not runs:
            return {}
        found = self._client.search_runs([experiment_id], f"tags.`{tag}` = '{value}'", max_results=50_000)
        key = runs[0].key[0]
        return {run.data.tags[key]: run.info.run_id for run in found if key in run.data.tags}

    def _create(self, experiment_id: str, run: RunRecording, parent_id: str | None) -> str:
        tags = {
            run.key[0]: run.key[1],
            "mlflow.user": _user(),
            "mlflow.source.name": "evalhub_components.aggregate",
            "mlflow.source.type": "JOB",
        }
        if parent_id:
            tags["mlflow.parentRunId"] = parent_id
        created = self._client.create_run(experiment_id, run.started, tags, run.name)
        return str(created.info.run_id)

    def _log(self, run_id: str, run: RunRecording) -> None:
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(name, value, run.ended, 0) for name, value in run.metrics.items()]
        tags = [RunTag(name, value) for name, value in run.tags.items()]
        params = [Param(name, value) for name, value in run.params.items()]
        self._client.log_batch(run_id, metrics[:_METRICS_PER_BATCH], params, tags[:_TAGS_PER_BATCH])
        for start in range(_METRICS_PER_BATCH, len(metrics), _METRICS_PER_BATCH):
            self._client.log_batch(run_id, metrics[start : start + _METRICS_PER_BATCH])
        for start in range(_TAGS_PER_BATCH, len(tags), _TAGS_PER_BATCH):
            self._client.log_batch(run_id, tags=tags[start : start + _TAGS_PER_BATCH])
        if run.dataset:
            self._log_dataset(run_id, run.dataset)

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


def _client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    if uri.startswith(_SQLITE):
        _initialise(_database(uri))
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _initialise(database: Path) -> None:
    """Make the SQLite file, once, however many ask at the same time.

    It is made under another name and renamed when complete: creating it takes seconds, and MLflow can neither use nor
    mend a file whose creation was cut short.
    """
    from filelock import FileLock

    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.with_name(f".{database.name}.lock"), timeout=_LOCK_SECONDS):
        if database.exists() and database.stat().st_size:
            return
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        unfinished = database.with_name(f".{database.name}.part")
        unfinished.unlink(missing_ok=True)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        store = SqlAlchemyStore(f"{_SQLITE}{unfinished}", (database.parent / "mlartifacts").as_uri())  # type: ignore[no-untyped-call]
        store.engine.dispose()
        unfinished.replace(database)


def _database(uri: str) -> Path:
    return Path(uri.removeprefix(_SQLITE).partition("?")[0]).absolute()


def _artifacts(uri: str) -> str | None:
    """Return where the artifacts of a new experiment go: beside the SQLite file, for a server where the server says."""
    return (_database(uri).parent / "mlartifacts").as_uri() if uri.startswith(_SQLITE) else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's arbitrary user has no name
        return f"uid {os.getuid()}"
