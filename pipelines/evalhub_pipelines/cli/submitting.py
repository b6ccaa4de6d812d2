"""`evalhub-kfp submit`: an evaluation on Kubeflow Pipelines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalhub_components.errors import ExitStatus
from evalhub_pipelines.cli import connecting, options, output, waiting
from evalhub_pipelines.cli.planning import evaluation_of
from evalhub_pipelines.manifests.tenant import RUNNER

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection
    from evalhub_pipelines.client.submitting.submission import Submission


@click.command(short_help="run an evaluation on Kubeflow Pipelines")
@options.source
@click.option("--config", metavar="FILE", help="an eval.yaml, as SOURCE")
@options.model
@options.judge
@click.option("--name", help="name of the run  [default: the evaluation's, else collection and model, with the time]")
@click.option("--experiment", metavar="NAME", help="experiment in Kubeflow  [default: MLflow's, else the collection]")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="tag of the run; repeatable")
@click.option("--owner", metavar="NAME", help="who submits  [default: who started the CI job, else your login]")
@click.option("--annotation", multiple=True, metavar="KEY=VALUE", help="annotation of the evidence; repeatable")
@click.option("--wait", is_flag=True, help="wait for the verdict and exit with its status")
@waiting.options
@click.option("--detach", is_flag=True, help="print JSON and nothing else")
@click.option("--service-account", metavar="NAME", default=RUNNER, help="service account of the run's pods")
@options.images
@click.option("--mlflow-uri", metavar="URI", help="MLflow as pods reach it  [default: $MLFLOW_TRACKING_URI if http]")
@click.option("--mlflow-secret", metavar="NAME", help="secret with MLflow's token, or username and password")
@click.option("--ca-config-map", metavar="NAME", help="config map with CA certificates (ca-bundle.crt)")
@options.publishing
@options.catalog
@options.output_format
@connecting.connection
def submit(
    connection: Connection,
    source: str | None,
    provider: str | None,
    benchmarks: tuple[str, ...],
    num_examples: int | None,
    config: str | None,
    name: str | None,
    experiment: str | None,
    tags: tuple[str, ...],
    owner: str | None,
    annotation: tuple[str, ...],
    wait: bool,
    wanted: waiting.Wanted,
    detach: bool,
    service_account: str,
    image: tuple[str, ...],
    image_lock: Path | None,
    image_pull_secret: tuple[str, ...],
    private_host: tuple[str, ...],
    mlflow_uri: str | None,
    mlflow_secret: str | None,
    ca_config_map: str | None,
    push_to: str | None,
    registry_secret: str | None,
    signing_secret: str | None,
    catalog_dir: Path | None,
    form: str,
    **models: Any,
) -> ExitStatus | None:
    """start an eval.yaml, a collection, benchmarks of a provider, or a compiled pipeline on Kubeflow Pipelines

    SOURCE is an eval.yaml, a collection's file or id, or a file of `evalhub-kfp compile`. The pipeline is uploaded when
    the server has none of this content. Names of secrets and config maps are those in the namespace; credentials never
    leave them.

    Without --wait the exit status is 0 as soon as the run is started; with it, the verdict's.
    """
    from evalhub_pipelines import chosen_images
    from evalhub_pipelines.catalog import Catalog
    from evalhub_pipelines.client.runs import run_record
    from evalhub_pipelines.client.submitting import pipeline_source, submission

    if source and config:
        raise click.UsageError("give either SOURCE or --config")
    if wait and detach:
        raise click.UsageError("--detach does not wait (leave out --wait, or --detach)")
    if not wait and (wanted.timeout is not None or wanted.reports or any(wanted.record.values())):
        raise click.UsageError("only --wait reads a verdict: give it too, or leave out what is for waiting")
    # what cannot be read or written is said before anything runs
    run_record.check(**wanted.record)
    if wanted.reports:
        from evalhub_components.records import outputs

        outputs.prepare(wanted.reports)
    source = source or config
    changes = options.exports(push_to, registry_secret, signing_secret)
    model, judge = _models(models)
    changes |= {"judge": judge} if judge else {}
    chosen = chosen_images.of(image, image_lock, Catalog.of(catalog_dir))
    compiled = bool(source and pipeline_source.is_compiled(source))
    if compiled and (provider or benchmarks):
        raise click.UsageError("give either SOURCE, or --provider and at least one -b")
    with _options_named(push_to, registry_secret):
        started = submission.submit(
            str(source) if compiled else evaluation_of(source, provider, benchmarks, catalog_dir, model, changes),
            connection=connection,
            model=model,
            changes=changes,
            num_examples=num_examples,
            images=chosen,
            image_pull_secrets=image_pull_secret,
            private_hosts=private_host,
            experiment=experiment,
            name=name,
            service_account=service_account,
            mlflow_uri=mlflow_uri or _mlflow_of_environment(),
            mlflow_secret=mlflow_secret,
            ca_config_map=ca_config_map,
            annotations=_annotations(annotation),
            tags=tags,
            owner=owner,
            is_awaited=wait,
            is_verified=wanted.record.get("key") is not None,
        )
    if detach:
        click.echo(json.dumps(started.as_json(), ensure_ascii=False))
    elif form == "table":
        _show(started)
        if not wait:
            click.echo(f"{'watch it':<11} {output.command('evalhub-kfp', 'status', started.run_id, '--watch')}")
    elif not wait:
        output.emit(started.as_json(), form)
    else:
        _show(started, err=True)
    return waiting.follow(connection, started.run_id, wanted, form, is_new=True) if wait else None


def _models(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the keys of `model` and `judge` that the options give."""
    model, judge = (
        options.model_keys(
            given[f"{role}_url"],
            given[f"{role}_name"],
            given[f"{role}_secret"],
            given.get(f"{role}_digest"),
            service_account=given[f"{role}_service_account"],
        )
        for role in ("model", "judge")
    )
    return model, judge


def _mlflow_of_environment() -> str | None:
    """Return what the environment says of MLflow; a file or folder here is nothing to a pod.

    Raises:
        InvalidDocument: it is an address that no run may be given, such as one with a password.
    """
    from evalhub_components.errors import InvalidDocument, Problem
    from evalhub_pipelines import documents
    from evalhub_pipelines.client.submitting import inputs

    variable = "MLFLOW_TRACKING_URI"
    uri = os.environ.get(variable, "")
    if not uri.startswith(("http://", "https://")):
        return None
    try:
        return documents.validate({"mlflow_uri": uri}, inputs.Surroundings, variable).mlflow_uri
    except InvalidDocument as error:
        cure = "unset it, or give --mlflow-uri, which goes before it"
        raise InvalidDocument([Problem(variable, f"{problem.what}; {cure}") for problem in error.problems]) from None


@contextmanager
def _options_named(push_to: str | None, registry_secret: str | None) -> Iterator[None]:
    """Name the option where a document has a problem only because of it."""
    from evalhub_components.errors import InvalidDocument, Problem
    from evalhub_pipelines.client.submitting import inputs

    try:
        yield
    except InvalidDocument as error:
        if push_to or not registry_secret:
            raise
        named = Problem("--registry-secret", f"the evidence goes to no registry ({inputs.PUSHED})")
        raise InvalidDocument(
            [named if problem.where.endswith(": exports.oci.coordinates") else problem for problem in error.problems]
        ) from None


def _annotations(arguments: Sequence[str]) -> dict[str, str]:
    """Return the annotations of `KEY=VALUE` arguments.

    Raises:
        InvalidDocument: with every argument that has another form, or names a key again.
    """
    from evalhub_components.errors import InvalidDocument, Problem

    found: dict[str, str] = {}
    problems = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not (key and equals and value):
            problems.append(Problem("--annotation", f"must be KEY=VALUE, got {json.dumps(argument)}"))
        elif key in found:
            problems.append(Problem("--annotation", f"must name every key once, got {key} again"))
        found[key] = value
    if problems:
        raise InvalidDocument(problems)
    return found


def _show(started: Submission, *, err: bool = False) -> None:
    """Print what was started, for people."""
    uploaded = "uploaded now" if started.uploaded else "was there"
    rows = {
        "run": started.run_id,
        "name": started.name,
        "dashboard": started.dashboard,
        "MLflow": started.mlflow,
        "experiment": started.experiment,
        "namespace": started.namespace,
        "pipeline": f"{started.pipeline} {started.pipeline_version} ({uploaded})",
    }
    for key, value in rows.items():
        if value:
            click.echo(f"{key:<11} {output.clean(value)}", err=err)
    for note in started.notes:
        click.echo(f"{'note':<11} {output.clean(note)}", err=err)
