"""The pipeline that is to be on the server: compiled from an evaluation when it is needed, or compiled before."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import evalhub_components
import evalhub_pipelines
from evalhub_components.errors import EvalHubError, MissingExtra
from evalhub_pipelines import chosen_images
from evalhub_pipelines.client.submitting import pipeline_versions
from evalhub_pipelines.evaluation import Evaluation
from evalhub_pipelines.images import COMPONENTS_IMAGE

FIRST_LINE = "# PIPELINE DEFINITION"
_DESCRIPTION = re.compile(r"Collection (\S+) version (.+), plan (sha256:[0-9a-f]{64})\.")


@dataclass(frozen=True)
class Pipeline:
    """A pipeline, known before it is compiled.

    Attributes:
        key: what decides its text beside the plan.
        text: compiles it, or returns what was compiled.
        inputs: their names, empty where nobody read them in a file.
        defaults: values of inputs that are part of it, by name.
        required: inputs without one.
        unpinned: images without a digest: they may change, or nobody has pushed them.
    """

    collection_id: str
    collection_version: str
    plan_digest: str
    key: str
    text: Callable[[], str]
    inputs: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    unpinned: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return what it is called on the server."""
        return pipeline_versions.pipeline_name(self.collection_id)

    @property
    def version(self) -> str:
        """Return what its version is called there."""
        return pipeline_versions.version_name(self.plan_digest, self.key)

    @property
    def title(self) -> str:
        """Return what people see as the version's name."""
        plan, _, rest = self.version.partition("-")
        return f"{self.collection_version[:200]} {plan[:12]}-{rest[:6]}"

    @property
    def notes(self) -> list[str]:
        """Return what whoever runs it should know."""
        if not self.unpinned:
            return []
        cure = "make images push-images builds and pushes them, and --image-lock names what it wrote"
        return [f"images without a digest, which may not be there: {', '.join(self.unpinned)} ({cure})"]

    @property
    def description(self) -> str:
        """Return a sentence about it."""
        return f"Collection {self.collection_id} version {self.collection_version}, plan {self.plan_digest}."


def of_evaluation(
    found: Evaluation,
    images: Mapping[str, str],
    image_pull_secrets: tuple[str, ...] = (),
    private_hosts: tuple[str, ...] = (),
) -> Pipeline:
    """Return the pipeline of an evaluation with these images, without the inputs of its eval.yaml.

    Those are given to every run, so that all models share a version.

    Raises:
        MissingExtra: kfp is not installed.
    """
    header = chosen_images.with_images(found.plan, images).header

    def text() -> str:
        from evalhub_pipelines import compiled_files

        return compiled_files.pipeline_of(replace(found, config=None), images, image_pull_secrets, private_hosts)

    decides = [images.get("components"), image_pull_secrets, private_hosts, *_compiler()]
    used = {images.get("components", COMPONENTS_IMAGE), *(str(runtime.image) for runtime in header.runtimes.values())}
    return Pipeline(
        header.collection_id,
        header.collection_version,
        header.digest(),
        json.dumps(decides),
        text,
        unpinned=tuple(sorted(image for image in used if "@sha256:" not in image)),
    )


def is_compiled(source: str | Path) -> bool:
    """Return whether `source` is a file that kfp compiled."""
    try:
        with Path(source).open(encoding="utf-8") as file:
            return file.readline().rstrip() == FIRST_LINE
    except (OSError, UnicodeDecodeError):
        return False


def of_file(path: Path) -> Pipeline:
    """Return the pipeline in a file of `evalhub-kfp compile`.

    Raises:
        EvalHubError: it holds another pipeline, a part of one, or none.
    """
    import yaml

    text = path.read_text("utf-8")
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        spec, *others = yaml.load_all(text, Loader=loader)
        said = _DESCRIPTION.search(spec["pipelineInfo"]["description"])
        inputs = spec["root"]["inputDefinitions"]["parameters"]
        defaults = {name: it["defaultValue"] for name, it in inputs.items() if it.get("defaultValue")}
        required = tuple(sorted(name for name, it in inputs.items() if not it.get("isOptional")))
        is_whole = _is_whole(spec, others)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        said = None
    if said is None:
        raise EvalHubError(f"{path}: is no pipeline of a collection (evalhub-kfp compile writes such files)")
    if not is_whole:
        # it would run, without secrets and so without a signature
        raise EvalHubError(f"{path}: is only a part of a pipeline: what its pods get is missing (compile it again)")
    return Pipeline(said[1], said[2], said[3], text, lambda: text, frozenset(inputs), defaults, required)


def _is_whole(spec: Mapping[str, Any], others: Sequence[Any]) -> bool:
    """Return whether a document says of every executor's pod what the compiler says of each."""
    try:
        (platforms,) = others
        pods = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        return all(
            pods[name]["securityContext"]["runAsNonRoot"] is True for name in spec["deploymentSpec"]["executors"]
        )
    except (KeyError, TypeError, ValueError):
        return False


def _compiler() -> list[str]:
    """Return what the compiler is: a checkout changes without its version, so its own files are part of it."""
    package, components = Path(evalhub_pipelines.__file__).parent, Path(evalhub_components.__file__).parent
    files = [*sorted((package / "compiler").glob("*.py")), *sorted(components.glob("*/component.py"))]
    files += [package / "compiled_files.py", components / "kfp_ports.py", components / "schema" / "run_inputs.py"]
    try:
        versions = [metadata.version("kfp"), metadata.version("kfp-kubernetes")]
    except metadata.PackageNotFoundError:
        raise MissingExtra("kfp", "compiling pipelines") from None
    return [evalhub_components.__version__, *versions, *(file.read_text("utf-8") for file in files)]
