"""The images of a pipeline that its catalogue does not decide: named on a command line, or in a lock."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.plan import EvaluationPlan
from evalhub_pipelines.catalog import Catalog

_PINNED = r"[^\s@]+@sha256:[0-9a-f]{64}"


def of(arguments: Sequence[str], lock: Path | None, catalog: Catalog) -> dict[str, str]:
    """Return the images by provider id, `components` among them.

    Args:
        arguments: `PROVIDER=REFERENCE`, which go before the lock's.
        lock: what `make push-images` wrote down.

    Raises:
        EvalHubError: an argument has another form or names no provider, or the file is no such lock.
    """
    named = parse(arguments)
    unknown = named.keys() - {"components", *catalog.provider_ids()}
    if unknown:
        raise EvalHubError(f"--image: there is no provider {sorted(unknown)[0]!r}")
    # a lock may have been made of a larger catalogue
    return (read_lock(lock) if lock else {}) | named


def parse(arguments: Sequence[str]) -> dict[str, str]:
    """Return the images of `PROVIDER=REFERENCE` arguments.

    Raises:
        EvalHubError: an argument has another form.
    """
    pairs = [argument.partition("=") for argument in arguments]
    wrong = [name for name, equals, image in pairs if not (name and equals and image)]
    if wrong:
        raise EvalHubError(f"--image: must be PROVIDER=REFERENCE, or components=REFERENCE, got {json.dumps(wrong[0])}")
    return {name: image for name, _, image in pairs}


def read_lock(path: Path) -> dict[str, str]:
    """Return the images that `make push-images` wrote down, by provider id, `components` among them.

    Raises:
        EvalHubError: the file is no such lock.
    """
    document = atomic.read_json(path)
    try:
        images = {"components": document["components"], **document["providers"]}
    except (KeyError, TypeError):
        raise EvalHubError(f"{path}: is no lock of images (make push-images writes one)") from None
    unpinned = [name for name, image in images.items() if not re.fullmatch(_PINNED, str(image))]
    if unpinned:
        raise EvalHubError(f"{path}: {', '.join(unpinned)}: not pinned by digest")
    return images


def with_images(plan: EvaluationPlan, images: Mapping[str, str]) -> EvaluationPlan:
    """Return `plan` with these images, by provider id, in place of its own."""
    runtimes = {
        name: runtime.model_copy(update={"image": images.get(name, runtime.image)})
        for name, runtime in plan.header.runtimes.items()
    }
    return EvaluationPlan(header=plan.header.model_copy(update={"runtimes": runtimes}), tasks=plan.tasks)
