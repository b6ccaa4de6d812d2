"""Compiles plans into Kubeflow pipelines, and providers into reusable components."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import yaml
from kfp.compiler import pipeline_spec_builder
from kfp.dsl.base_component import BaseComponent
from pydantic import TypeAdapter, ValidationError

from evalhub_components.benchmark.component import benchmark
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.document import SecretName
from evalhub_components.schema.plan import EvaluationPlan
from evalhub_pipelines.compiler import groups
from evalhub_pipelines.compiler.pipeline import Options, pipeline
from evalhub_pipelines.images import COMPONENTS_IMAGE

__all__ = ["COMPONENTS_IMAGE", "Options", "compile_component", "compile_plan", "without_sdk_version"]

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def compile_plan(plan: EvaluationPlan, options: Options | None = None) -> str:
    """Return the pipeline of `plan` as YAML: the same bytes for the same plan and versions.

    Raises:
        EvalHubError: an image is missing or not pinned, a name is none, or a cluster could not take a pipeline of this
            size.
    """
    chosen = options or Options()
    _check_images(plan, chosen)
    _check_pull_secrets(chosen)
    with _no_collection():
        made = pipeline(plan, chosen)
        documents = _documents(made)
        groups.check_size(documents, plan)
        return _text(documents, made)


def compile_component(provider_id: str, image: str, entrypoint: Sequence[str] = (), judge: bool = False) -> str:
    """Return the benchmark step of one provider as a component that any pipeline can load.

    Args:
        judge: whether it takes a model that judges answers; empty texts for none.
    """
    made = benchmark(image, name=f"benchmark-{provider_id}".replace("_", "-"), entrypoint=entrypoint, judge=judge)
    return _text(_documents(made), made)


def without_sdk_version(text: str) -> list[Any]:
    """Return a compiled file as data, without the version of kfp that wrote it."""
    documents = [document for document in yaml.load_all(text, Loader=groups.LOADER) if document]
    for document in documents:
        document.pop("sdkVersion", None)
    return documents


def _documents(component: BaseComponent) -> list[dict[str, Any]]:
    """Return what a compiled file says: the pipeline, and its settings for Kubernetes where it has some."""
    as_dict = pipeline_spec_builder.json_format.MessageToDict
    return [found for found in map(as_dict, (component.pipeline_spec, component.platform_spec)) if found]


def _text(documents: list[dict[str, Any]], component: BaseComponent) -> str:
    """Return what kfp's compiler writes; it writes YAML with Python, which takes longer than all before it."""
    comments = pipeline_spec_builder.extract_comments_from_pipeline_spec(documents[0], component.description)
    return _commented(comments + yaml.dump_all(documents, Dumper=_DUMPER, sort_keys=True))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from looking for garbage, of which a compilation has none before its end: a sixth of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _commented(text: str) -> str:
    """Return a compiled file whose header is all comment: kfp writes a default of several lines into it as it is."""
    header, start, rest = text.partition("\ncomponents:\n")
    lines = [line if line.startswith("#") else f"#      {line}" for line in header.splitlines()]
    return "\n".join(lines) + start + rest


def _check_pull_secrets(options: Options) -> None:
    for name in options.image_pull_secrets:
        try:
            TypeAdapter[str](SecretName).validate_python(name)
        except ValidationError:
            cure = "lower-case letters, digits, '-' and '.'"
            raise EvalHubError(f"image pull secret {name!r}: must be the name of a secret ({cure})") from None


def _check_images(plan: EvaluationPlan, options: Options) -> None:
    images = {name: runtime.image for name, runtime in plan.header.runtimes.items()}
    for name, image in {**images, "components": options.components_image}.items():
        if not image:
            raise EvalHubError(f"provider {name}: has no runtime.k8s.image (add it, or give --image {name}=REFERENCE)")
        tag = image.rpartition("/")[2].partition(":")[2]
        if "@sha256:" in image:
            continue
        if tag in ("", "latest"):
            raise EvalHubError(f"image of {name}: {image} may change (give a tag other than latest, or a digest)")
        if plan.header.execution.cache:
            why = "execution.cache needs images pinned by digest: KFP's cache key holds no image"
            raise EvalHubError(f"image of {name}: {image}: {why} (compile with --image-lock)")
