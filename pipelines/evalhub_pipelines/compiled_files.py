"""The folder `compiled/`: a pipeline a collection, a component a provider, and whether they are what they should be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from evalhub_components import atomic
from evalhub_components.errors import InvalidDocument, Problem
from evalhub_pipelines import compiler, evaluation
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.chosen_images import with_images
from evalhub_pipelines.evaluation import Evaluation

_HEADER = re.compile(
    r"^# Description: Collection (\S+) version (.+), plan (sha256:[0-9a-f]{64})(.*those of an eval\.yaml)?",
    re.MULTILINE,
)


def pipeline_of(
    found: Evaluation,
    images: Mapping[str, str],
    image_pull_secrets: tuple[str, ...] = (),
    private_hosts: tuple[str, ...] = (),
) -> str:
    """Return the pipeline of an evaluation with these images; its eval.yaml gives the inputs their defaults.

    Raises:
        EvalHubError: an image is missing or may change, or a cluster could not take a pipeline of this size.
    """
    options = compiler.Options(
        components_image=images.get("components", compiler.COMPONENTS_IMAGE),
        image_pull_secrets=image_pull_secrets,
        defaults=evaluation.pipeline_defaults(found.config),
        private_hosts=private_hosts,
    )
    return compiler.compile_plan(with_images(found.plan, images), options)


def components(catalog: Catalog, images: Mapping[str, str]) -> dict[str, str]:
    """Return the reusable component of every provider that has an image, by file name."""
    found = {}
    for provider_id in catalog.provider_ids():
        provider = catalog.provider(provider_id)
        runtime, judge = provider.runtime.k8s, any(benchmark.judge for benchmark in provider.benchmarks)
        image = images.get(provider_id) or (runtime.image if runtime else None)
        if image:
            entrypoint = (runtime.entrypoint if runtime else None) or ()
            found[f"components/{provider_id}.yaml"] = compiler.compile_component(provider_id, image, entrypoint, judge)
    return found


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write `files` into `folder`.

    Raises:
        InvalidDocument: a collection has changed under the version that a file there holds already, or a file there
            is another pipeline.
    """
    problems = [problem for name, text in files.items() for problem in _in_the_way(folder / name, text)]
    if problems:
        raise InvalidDocument(problems)
    for name, text in files.items():
        atomic.write_text(folder / name, text)


def check(files: Mapping[str, str], folder: Path) -> None:
    """Compare `folder` with what would be written into it, the version of kfp aside.

    Raises:
        InvalidDocument: with every file that is missing, outdated, or left from a collection that is gone.
    """
    problems = []
    for name, text in files.items():
        path = folder / name
        if not path.is_file():
            problems.append(Problem(str(path), "is missing (compile it without --check)"))
        elif changed := _in_the_way(path, text):
            problems += changed
        elif compiler.without_sdk_version(path.read_text("utf-8")) != compiler.without_sdk_version(text):
            problems.append(Problem(str(path), "is not what the sources compile to (compile it without --check)"))
    for path in sorted(folder.rglob("*.yaml")):
        if path.relative_to(folder).as_posix() not in files:
            problems.append(Problem(str(path), "belongs to no collection or provider (remove it)"))
    if problems:
        raise InvalidDocument(problems)


def _in_the_way(path: Path, text: str) -> list[Problem]:
    """Return the problem of a file that is another pipeline, or a version of a collection that had another content."""
    new = _HEADER.search(text)
    if new is None or not path.is_file():
        return []
    old = _HEADER.search(path.read_text("utf-8"))
    if old is None or bool(old[4]) != bool(new[4]):
        whose = "an eval.yaml" if old and old[4] else "a collection" if old else "something else"
        return [Problem(str(path), f"is the file of {whose} (name another folder with --output)")]
    # an eval.yaml has no version: its criteria are its own
    if new[4] or old[2] != new[2] or old[3] == new[3]:
        return []
    what = f"collection {new[1]} is not what version {new[2]} was when it was compiled (give it a new version)"
    return [Problem(str(path), what)]
