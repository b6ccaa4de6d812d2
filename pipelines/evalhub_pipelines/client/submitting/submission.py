"""Starts a run on Kubeflow Pipelines."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalhub_components.errors import EvalHubError
from evalhub_components.schema.evaluation import EvaluationConfig
from evalhub_pipelines import evaluation
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.client.connection import Connection, resolve
from evalhub_pipelines.client.runs import run_description
from evalhub_pipelines.client.runs.run_description import RunDescription
from evalhub_pipelines.client.submitting import (
    experiments,
    inputs,
    new_run,
    pipeline_source,
    pipeline_versions,
    request,
)
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
    is_awaited: bool = False,
    is_verified: bool = False,
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
        is_awaited: refuse a run whose verdict nobody could read when it is over.
        is_verified: refuse a run whose evidence has no signature that could be checked when it is over.

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
        "service_account": service_account,
        "image_pull_secrets": list(image_pull_secrets),
    }
    if isinstance(source, str | Path) and pipeline_source.is_compiled(source):
        if images or image_pull_secrets or private_hosts:
            raise EvalHubError(f"{source}: is compiled already: its images are decided (compile it with others)")
        asked = request.of_file(Path(source), model or {}, changes or {}, annotations or {}, around)
    else:
        found = _evaluation(source, Catalog.of(catalog), model, changes)
        pipeline = pipeline_source.of_evaluation(found, images or {}, tuple(image_pull_secrets), tuple(private_hosts))
        asked = request.of_evaluation(found, pipeline, annotations or {}, around)
    if is_verified and asked.unsigned:
        raise EvalHubError(f"--key: {asked.unsigned}")
    if is_awaited and not asked.is_recorded:
        raise EvalHubError(f"the run would end without a verdict that can be read ({inputs.RECORD})")
    folder = experiment or asked.value("experiment_name") or asked.pipeline.collection_id
    experiments.check_name(folder)
    description = _described(asked, tags, owner or run_description.owner_of(os.environ)).text()
    return _started(connection or resolve(), asked, folder, _named(name, asked), description, service_account)


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
        title = run_description.one_line(
            asked.config.name or f"{asked.pipeline.collection_id} {asked.value('model_name')}"
        )
        return f"{title[: NAME_LIMIT - 20]} {datetime.now(UTC):%Y%m%d-%H%M%S}"
    if not (name.strip() and name.isprintable() and len(name) <= NAME_LIMIT and max(name) <= run_description.WIDEST):
        raise EvalHubError(f"--name: must be one line of 1 to {NAME_LIMIT} characters, without emoji")
    return name


def _described(asked: Request, tags: Sequence[str], owner: str | None) -> RunDescription:
    config, pipeline = asked.config, asked.pipeline
    exports = config.exports
    annotations = exports.oci.coordinates.annotations if exports and exports.oci else {}
    return RunDescription(
        owner=owner,
        tags=tuple(dict.fromkeys([*config.tags, *tags])),
        submission=new_run.token(),
        collection=pipeline.collection_id,
        version=pipeline.collection_version,
        git_commit=run_description.commit_of(os.environ, annotations),
        model=asked.value("model_name"),
        description=config.description,
    )


def _started(
    connection: Connection,
    asked: Request,
    experiment: str,
    name: str,
    description: str,
    service_account: str,
) -> Submission:
    pipeline = asked.pipeline
    # asked first, and before anything is made: it tells whether there is such a namespace, and whether we may use it
    experiment_id = experiments.find(connection, experiment)
    version = pipeline_versions.find(connection, pipeline.name, pipeline.version)
    if version is None:
        # compiled before anything is made: what cannot be compiled leaves nothing
        text = pipeline.text()
        version = pipeline_versions.upload(
            connection, pipeline.name, pipeline.version, text, pipeline.title, pipeline.description
        )
    experiment_id = experiment_id or experiments.make(connection, experiment)
    body = {
        "display_name": name,
        "description": description,
        "experiment_id": experiment_id,
        "pipeline_version_reference": version.reference,
        "runtime_config": {"parameters": dict(asked.parameters)},
        "service_account": service_account,
    }
    run_id = new_run.start(connection, body)
    return Submission(
        run_id=run_id,
        name=name,
        dashboard=connection.run_page(run_id),
        mlflow=asked.mlflow_page,
        experiment=experiment,
        experiment_id=experiment_id,
        namespace=connection.namespace,
        pipeline=pipeline.name,
        pipeline_id=version.pipeline_id,
        pipeline_version=pipeline.title,
        pipeline_version_id=version.pipeline_version_id,
        plan_digest=pipeline.plan_digest,
        uploaded=version.is_new,
        notes=(*asked.notes, *pipeline.notes),
    )
