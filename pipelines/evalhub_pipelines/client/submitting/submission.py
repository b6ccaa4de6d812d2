"""Starts a run on Kubeflow Pipelines."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evalhub_components.errors import Cancelled, EvalHubError
from evalhub_components.schema.evaluation import EvaluationConfig
from evalhub_pipelines import evaluation
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.client import creation
from evalhub_pipelines.client.connection import Connection, resolve
from evalhub_pipelines.client.failures import Unavailable
from evalhub_pipelines.client.runs import run_description
from evalhub_pipelines.client.runs.run_description import RunDescription
from evalhub_pipelines.client.submitting import experiments, pipeline_source, pipeline_versions, request
from evalhub_pipelines.client.submitting.request import Request
from evalhub_pipelines.evaluation import Evaluation
from evalhub_pipelines.manifests.tenant import RUNNER

NAME_LIMIT = 200


@dataclass(frozen=True)
class Submission:
    """A run that was started.

    Attributes:
        dashboard: where people look at it.
        mlflow: where it will be in MLflow, None where it is not logged.
        namespace: None where an installation has one user.
        uploaded: the version of the pipeline was not there before.
        notes: what whoever submitted should know.
    """

    run_id: str
    name: str
    dashboard: str
    mlflow: str | None
    experiment: str
    experiment_id: str
    namespace: str | None
    pipeline: str
    pipeline_id: str
    pipeline_version: str
    pipeline_version_id: str
    plan_digest: str
    uploaded: bool
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the submission as JSON values."""
        return {**asdict(self), "notes": list(self.notes)}


def submit(
    source: str | Path | EvaluationConfig | Evaluation,
    *,
    connection: Connection | None = None,
    model: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    num_examples: int | None = None,
    catalog: Path | None = None,
    images: Mapping[str, str] | None = None,
    image_pull_secrets: Sequence[str] = (),
    private_hosts: Sequence[str] = (),
    experiment: str | None = None,
    name: str | None = None,
    service_account: str = RUNNER,
    mlflow_uri: str | None = None,
    mlflow_secret: str | None = None,
    ca_config_map: str | None = None,
    annotations: Mapping[str, str] | None = None,
    tags: Sequence[str] = (),
    owner: str | None = None,
) -> Submission:
    """Start an evaluation on Kubeflow Pipelines and return at once; its pipeline is uploaded when it is not there.

    Args:
        source: an eval.yaml, a collection file, a collection's id, an `EvaluationConfig`, or a pipeline that
            `evalhub-kfp compile` wrote.
        connection: by default what the environment and the user's profiles say.
        model: `{"url": ..., "name": ..., "auth": {"secret_ref": ...}}`, where `source` names no model.
        changes: other keys of eval.yaml that go before the document's own, at any depth.
        num_examples: evaluate at most so many examples a benchmark.
        catalog: folder with `collections/` and `providers/` over the built-in ones.
        images: references by provider id, and by `components`, in place of the catalogue's.
        image_pull_secrets: names of the secrets that images are pulled with.
        private_hosts: hosts in the cluster that test data may come from by git.
        experiment: of Kubeflow Pipelines; by default the MLflow experiment in `source`, else the collection's id.
        name: of the run; by default the evaluation's, else collection and model, with the time.
        service_account: that the run's pods use.
        mlflow_uri: tracking server, as pods reach it; None for no tracking.
        mlflow_secret: name of the secret with its token, or username and password.
        ca_config_map: name of the config map with CA certificates.
        annotations: of the evidence, such as the commit and the pull request.
        tags: of the run, after those in `source`.
        owner: who submits; by default who started the CI job, else the login name.

    Raises:
        InvalidDocument: with everything that is wrong or missing; nothing was sent.
        EvalHubError: the server cannot be asked, refuses, or does not say whether it started the run.
        Cancelled: interrupted while the run was being started.
    """
    around = {
        "num_examples": num_examples,
        "mlflow_uri": mlflow_uri,
        "mlflow_secret": mlflow_secret,
        "ca_config_map": ca_config_map,
    }
    if isinstance(source, str | Path) and pipeline_source.is_compiled(source):
        if images or image_pull_secrets or private_hosts:
            raise EvalHubError(f"{source}: is compiled already: its images are decided (compile it with others)")
        asked = request.of_file(Path(source), model or {}, changes or {}, annotations or {}, around)
    else:
        found = _evaluation(source, Catalog.of(catalog), model, changes)
        pipeline = pipeline_source.of_evaluation(found, images or {}, tuple(image_pull_secrets), tuple(private_hosts))
        asked = request.of_evaluation(found, pipeline, annotations or {}, around)
    folder = experiment or asked.value("experiment_name") or asked.pipeline.collection_id
    experiments.check_name(folder)
    described = _described(asked, tags, owner or run_description.owner_of(os.environ))
    return _started(connection or resolve(), asked, folder, _named(name, asked), described, service_account)


def _evaluation(
    source: str | Path | EvaluationConfig | Evaluation,
    catalog: Catalog,
    model: Mapping[str, Any] | None,
    changes: Mapping[str, Any] | None,
) -> Evaluation:
    if isinstance(source, Evaluation):
        return source
    if isinstance(source, EvaluationConfig):
        return evaluation.of_config(source, catalog)
    return evaluation.of(source, catalog, model=model, changes=changes)


def _named(name: str | None, asked: Request) -> str:
    if name is None:
        title = asked.config.name or f"{asked.pipeline.collection_id} {asked.value('model_name')}"
        return f"{title[: NAME_LIMIT - 20]} {datetime.now(UTC):%Y%m%d-%H%M%S}"
    if not (name.strip() and name.isprintable() and len(name) <= NAME_LIMIT):
        raise EvalHubError(f"--name: must be one line of 1 to {NAME_LIMIT} characters")
    return name


def _described(asked: Request, tags: Sequence[str], owner: str | None) -> RunDescription:
    config, pipeline = asked.config, asked.pipeline
    exports = config.exports
    annotations = exports.oci.coordinates.annotations if exports and exports.oci else {}
    return RunDescription(
        collection=pipeline.collection_id,
        version=pipeline.collection_version,
        plan=pipeline.plan_digest,
        model=asked.value("model_name"),
        owner=owner,
        tags=tuple(dict.fromkeys([*config.tags, *tags])),
        git_commit=run_description.commit_of(os.environ, annotations),
        submission=uuid.uuid4().hex,
        description=config.description,
    )


def _started(
    connection: Connection,
    asked: Request,
    experiment: str,
    name: str,
    described: RunDescription,
    service_account: str,
) -> Submission:
    pipeline, namespace = asked.pipeline, connection.namespace
    # asked first, and before anything is made: it tells whether there is such a namespace, and whether we may use it
    experiment_id = experiments.find(connection, experiment, namespace)
    version = pipeline_versions.find(connection, pipeline.name, pipeline.version)
    if version is None:
        text = pipeline.text()
        version = pipeline_versions.upload(
            connection, pipeline.name, pipeline.version, text, pipeline.title, pipeline.description
        )
    experiment_id = experiment_id or experiments.make(connection, experiment, namespace)
    body = {
        "display_name": name,
        "description": described.text(),
        "experiment_id": experiment_id,
        "pipeline_version_reference": {
            "pipeline_id": version.pipeline_id,
            "pipeline_version_id": version.pipeline_version_id,
        },
        "runtime_config": {"parameters": dict(asked.parameters)},
        "service_account": service_account,
    }
    run_id = _run(connection, body, str(described.submission))
    return Submission(
        run_id=run_id,
        name=name,
        dashboard=connection.run_page(run_id),
        mlflow=_mlflow_page(asked),
        experiment=experiment,
        experiment_id=experiment_id,
        namespace=namespace,
        pipeline=pipeline.name,
        pipeline_id=version.pipeline_id,
        pipeline_version=pipeline.title,
        pipeline_version_id=version.pipeline_version_id,
        plan_digest=pipeline.plan_digest,
        uploaded=version.is_new,
        notes=asked.notes,
    )


def _run(connection: Connection, body: Mapping[str, Any], submission: str) -> str:
    """Start a run, once: where the answer is lost it is looked for, so that none is lost and none started twice."""
    name = body["display_name"]

    def find() -> str | None:
        page = connection.runs.run_service_list_runs(
            experiment_id=body["experiment_id"],
            filter=creation.equals("display_name", name),
            sort_by="created_at desc",
            page_size=50,
        )
        for run in page.runs or []:
            if run_description.parse(run.description).submission == submission:
                return str(run.run_id)
        return None

    unknown = f"whether run {name!r} was started is not known (look before you submit again: evalhub-kfp list)"
    try:
        return str(connection.runs.run_service_create_run(run=body).run_id)
    except Unavailable as error:
        run_id = creation.look(find)
        if run_id is None:
            raise Unavailable(f"{error}; {unknown}") from None
        return run_id
    except KeyboardInterrupt:
        raise Cancelled(f"interrupted: {unknown}") from None


def _mlflow_page(asked: Request) -> str | None:
    uri = asked.value("mlflow_uri")
    if not uri:
        return None
    experiment = asked.value("experiment_name") or asked.pipeline.collection_id
    return f"{uri.rstrip('/')}/#/experiments?experimentSearchFilter={quote(experiment, safe='')}"
