"""What is asked of Kubeflow Pipelines: which pipeline with which parameters, and what is to be said of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalhub_components.errors import InvalidDocument, Problem
from evalhub_components.schema.evaluation import EvaluationConfig
from evalhub_components.schema.exports import OCICoordinates
from evalhub_pipelines import documents, evaluation
from evalhub_pipelines.client.submitting import inputs, pipeline_source
from evalhub_pipelines.client.submitting.pipeline_source import Pipeline
from evalhub_pipelines.evaluation import Evaluation


@dataclass(frozen=True)
class Request:
    """A run before it is started.

    Attributes:
        parameters: values of the pipeline's inputs, beside its own defaults.
        notes: what whoever asks should know.
    """

    pipeline: Pipeline
    config: EvaluationConfig
    parameters: Mapping[str, Any]
    notes: tuple[str, ...]

    def value(self, name: str) -> str | None:
        """Return the value that an input will have, None for none."""
        return self.parameters.get(name) or self.pipeline.defaults.get(name)

    @property
    def is_recorded(self) -> bool:
        """Return whether the run's verdict can be read when it is over: from its evidence, or from MLflow."""
        return bool(self.value("oci_host") or self.value("mlflow_uri"))

    @property
    def unsigned(self) -> str | None:
        """Return why no signature can be checked when the run is over; None when one can."""
        signing = "--signing-secret, or exports.signing in an eval.yaml"
        if not self.value("oci_host"):
            with_key = "" if self.value("signing_secret") else f", and {signing}"
            return f"the run pushes no evidence ({inputs.PUSHED}{with_key})"
        return None if self.value("signing_secret") else f"nobody signs the evidence of the run (give {signing})"

    @property
    def mlflow_page(self) -> str | None:
        """Return where people will find the run in MLflow, None where it is not logged."""
        uri = self.value("mlflow_uri")
        return inputs.mlflow_page(uri, self.value("experiment_name") or self.pipeline.collection_id) if uri else None


def of_evaluation(
    found: Evaluation, pipeline: Pipeline, annotations: Mapping[str, str], surroundings: Mapping[str, Any]
) -> Request:
    """Return the request for a run of an evaluation.

    Args:
        annotations: of the evidence, before those in the evaluation.
        surroundings: keys of `inputs.Surroundings`.

    Raises:
        InvalidDocument: with every problem.
    """
    if found.config:
        found = replace(found, config=_annotated(found.config, annotations))
    parameters = inputs.of(found, **surroundings)
    return Request(pipeline, evaluation.need_config(found), parameters, tuple(inputs.notes(found, parameters)))


def of_file(
    path: Path,
    model: Mapping[str, Any],
    changes: Mapping[str, Any],
    annotations: Mapping[str, str],
    surroundings: Mapping[str, Any],
) -> Request:
    """Return the request for a run of a pipeline that was compiled before, with what it was compiled with or other.

    Args:
        model: keys of `model` in an eval.yaml.
        changes: other keys of an eval.yaml that inputs are made of.
        annotations: of the evidence.
        surroundings: keys of `inputs.Surroundings`.

    Raises:
        InvalidDocument: with every problem.
    """
    pipeline = pipeline_source.of_file(path)
    document = evaluation.merged(_document(pipeline.defaults), {**changes, **({"model": model} if model else {})})
    given = {f"{of}_{key}" for of in ("model", "judge") for key in document.get(of, {})}
    if absent := [name for name in pipeline.required if name not in given]:
        inputs.checked({}, None, absent, surroundings)
    document["collection"] = {"id": pipeline.collection_id}
    config = _annotated(documents.validate(document, EvaluationConfig, "arguments"), annotations)
    values = {
        name: value
        for name, value in evaluation.pipeline_defaults(config).items()
        if name in pipeline.inputs and value != pipeline.defaults.get(name)
    }
    parameters = inputs.checked(values, config, (), surroundings)
    notes = inputs.unreachable({**pipeline.defaults, **parameters})
    if config.judge and "judge_url" not in pipeline.inputs:
        notes.insert(0, "judge: no benchmark of this pipeline asks it")
    return Request(pipeline, config, parameters, tuple(notes))


def _document(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of an eval.yaml that the defaults of a pipeline come from, as far as other keys need them."""
    found: dict[str, Any] = {}
    for key in ("model", "judge"):
        found[key] = {
            name: defaults[f"{key}_{name}"] for name in ("url", "name", "digest") if f"{key}_{name}" in defaults
        }
    oci = {
        name: defaults[name] for name in ("oci_host", "oci_repository", "oci_tag", "oci_subject") if name in defaults
    }
    if oci:
        lines = defaults.get("oci_annotations", "").splitlines()
        oci["annotations"] = dict(line.split("=", 1) for line in lines)
        found["exports"] = {"oci": {"coordinates": oci}}
    return {key: value for key, value in found.items() if value}


def _annotated(config: EvaluationConfig, annotations: Mapping[str, str]) -> EvaluationConfig:
    if not annotations:
        return config
    exports = config.exports
    if exports is None or exports.oci is None:
        what = f"the evidence goes to no registry ({inputs.PUSHED})"
        raise InvalidDocument([Problem("--annotation", what)])
    coordinates = exports.oci.coordinates
    changed = coordinates.model_dump() | {"annotations": {**coordinates.annotations, **annotations}}
    oci = exports.oci.model_copy(update={"coordinates": documents.validate(changed, OCICoordinates, "--annotation")})
    return config.model_copy(update={"exports": exports.model_copy(update={"oci": oci})})
