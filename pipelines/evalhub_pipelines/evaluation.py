"""What is to be evaluated: an eval.yaml, a collection, or a few benchmarks, each resolved into a plan."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalhub_components.credentials import Auth
from evalhub_components.errors import EvalHubError, InvalidDocument, Problem
from evalhub_components.schema.collection import Collection
from evalhub_components.schema.evaluation import EvaluationConfig, ModelAuth
from evalhub_components.schema.plan import EvaluationPlan
from evalhub_pipelines import bounded_yaml, documents, resolution
from evalhub_pipelines.catalog import Catalog, load_collection


@dataclass(frozen=True)
class Evaluation:
    """A plan, the collection it was resolved from, and the eval.yaml; `config` is None where no model was named."""

    plan: EvaluationPlan
    collection: Collection
    config: EvaluationConfig | None


def of(
    source: str | Path,
    catalog: Catalog,
    *,
    model: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Return the evaluation of `source`: an eval.yaml, a collection file, or a collection's id.

    Args:
        source: a path that exists or ends in `.yaml`, else an id.
        catalog: where ids are looked up.
        model: keys of `model` that go before the document's own.
        environ: for `${VAR}` in eval.yaml; the process's environment by default.
        changes: keys of eval.yaml that go before the document's own, at any depth.

    Raises:
        InvalidDocument: with every problem.
    """
    path = Path(source)
    if not (path.suffix in (".yaml", ".yml") or path.is_file()):
        collection = catalog.collection(str(source))
        return _of_collection(collection, catalog, model, changes, str(catalog.collection_file(str(source))))
    data = bounded_yaml.read(path)
    if isinstance(data, dict) and not {"model", "collection", "collection_id"} & data.keys():
        return _of_collection(load_collection(path), catalog, model, changes, str(path))
    data = bounded_yaml.substitute(data, os.environ if environ is None else environ, str(path))
    if isinstance(data, dict):
        data = merged(data, changes or {})
        if model and isinstance(data.get("model", {}), dict):
            data["model"] = merged(data.get("model", {}), model)
    return of_config(documents.validate(data, EvaluationConfig, str(path)), catalog, str(path))


def merged(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `data` with `changes` in it; a map goes into a map, anything else in the place of what was there."""
    found = dict(data)
    for key, value in changes.items():
        before = found.get(key)
        found[key] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return found


def of_benchmarks(
    provider_id: str,
    benchmark_ids: Sequence[str],
    catalog: Catalog,
    *,
    model: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Return the evaluation of some benchmarks of one provider, each with weight 1.

    Raises:
        InvalidDocument: with every problem.
    """
    entries = [{"id": benchmark_id, "provider_id": provider_id} for benchmark_id in benchmark_ids]
    name = (changes or {}).get("name") or provider_id
    collection = documents.validate({"id": resolution.slug_text(name), "benchmarks": entries}, Collection, "arguments")
    return _of_collection(collection, catalog, model, changes, f"--provider {provider_id}")


def of_config(config: EvaluationConfig, catalog: Catalog, where: str = "eval.yaml") -> Evaluation:
    """Return the evaluation of an eval.yaml that was read already; `where` names it in problems.

    Raises:
        InvalidDocument: with every problem.
    """
    with _named("", f"{where}: "):
        _refuse(config)
        named = catalog.collection(config.collection.id) if config.collection else None
        collection = resolution.collection_of(config, named)
    place = str(catalog.collection_file(named.id)) if named else where
    return Evaluation(_resolved(collection, catalog, config, place, where), collection, config)


def _refuse(config: EvaluationConfig) -> None:
    """Refuse what no adapter is handed yet: without it something else would be measured than was asked for."""
    problems = []
    if config.model.parameters:
        problems.append(Problem("model.parameters", "not yet supported (give them as parameters of the benchmarks)"))
    if problems:
        raise InvalidDocument(problems)


def _of_collection(
    collection: Collection,
    catalog: Catalog,
    model: Mapping[str, Any] | None,
    changes: Mapping[str, Any] | None,
    where: str,
) -> Evaluation:
    config = None
    if model:
        data = {**(changes or {}), "model": dict(model), "collection": {"id": collection.id}}
        config = documents.validate(data, EvaluationConfig, "arguments")
    return Evaluation(_resolved(collection, catalog, config, where, "arguments"), collection, config)


def _resolved(
    collection: Collection, catalog: Catalog, config: EvaluationConfig | None, where: str, job: str
) -> EvaluationPlan:
    providers = catalog.providers_of(collection)
    # what is no problem of the collection is one of the job
    with _named("", f"{job}: "), _named(f"collection {collection.id}: ", f"{where}: "):
        if config is None:
            return resolution.resolve(collection, providers)
        return resolution.resolve_job(config, collection, providers)


@contextmanager
def _named(prefix: str, place: str) -> Iterator[None]:
    """Put `place` before the problems whose place begins with `prefix`, in its stead; one that has a file keeps it."""
    try:
        yield
    except InvalidDocument as error:
        raise InvalidDocument(
            [
                Problem(place + problem.where.removeprefix(prefix), problem.what)
                if problem.where.startswith(prefix) and (prefix or ": " not in problem.where)
                else problem
                for problem in error.problems
            ]
        ) from None


def need_config(evaluation: Evaluation) -> EvaluationConfig:
    """Return the evaluation's eval.yaml.

    Raises:
        EvalHubError: no model was named.
    """
    if evaluation.config is None:
        raise EvalHubError("no model to evaluate (give --model-url and --model-name, or an eval.yaml with a model)")
    return evaluation.config


def pipeline_defaults(config: EvaluationConfig | None) -> dict[str, Any]:
    """Return what an eval.yaml says of a compiled pipeline's inputs, by their names."""
    if config is None:
        return {}
    found: dict[str, Any] = {"model_url": config.model.url, "model_name": config.model.name}
    found |= _auth("model", config.model.auth)
    if config.judge:
        found |= {"judge_url": config.judge.url, "judge_name": config.judge.name, **_auth("judge", config.judge.auth)}
    found["num_examples"] = config.num_examples
    found["model_digest"] = config.model.digest
    if config.experiment:
        found["experiment_name"] = config.experiment.name
        found["experiment_tags"] = _lines(config.experiment.tags)
    if config.exports and config.exports.signing:
        found["signing_secret"] = config.exports.signing.secret_ref
    if config.exports and config.exports.oci:
        oci = config.exports.oci
        found["registry_secret"] = oci.k8s.connection if oci.k8s else None
        found |= oci.coordinates.model_dump(exclude={"annotations"})
        found["oci_annotations"] = _lines(oci.coordinates.annotations)
    return {name: value for name, value in found.items() if value}


def _auth(role: str, auth: ModelAuth | None) -> dict[str, Any]:
    if auth is None:
        return {}
    kind: Auth | None = "service-account" if auth.service_account else None
    return {f"{role}_secret": auth.secret_ref, f"{role}_auth": kind}


def _lines(values: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={value}" for key, value in values.items())
