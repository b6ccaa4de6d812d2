"""The evaluations of the suite: a provider that runs in the components' image, and collections of its benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evalhub_components.schema.collection import Collection
from evalhub_pipelines import chosen_images

REAL = "lm_evaluation_harness"
"""The provider of this repository that takes part in the first evaluation, when the lock has its image."""


def write_catalog(folder: Path, lock: Path) -> Path:
    """Write a catalogue with the suite's provider, and return its folder."""
    image = chosen_images.read_lock(lock)["components"]
    script = Path(__file__).with_name("probe.py").read_text("utf-8")
    runtime = {"image": image, "entrypoint": ["python3", "-c", script], "cpu_request": "50m", "memory_request": "128Mi"}
    benchmarks = [
        {"id": "answers", "primary_score": {"metric": "answered"}},
        {"id": "held", "primary_score": {"metric": "answered"}},
        {"id": "silence", "primary_score": {"metric": "silent"}},
    ]
    provider = {"id": "cluster-probe", "runtime": {"k8s": runtime}, "benchmarks": benchmarks}
    for name in ("collections", "providers/cluster-probe"):
        (folder / name).mkdir(parents=True)
    (folder / "providers" / "cluster-probe" / "provider.yaml").write_text(json.dumps(provider))
    return folder


def has_real_provider(lock: Path) -> bool:
    return REAL in chosen_images.read_lock(lock)


def entry(benchmark: str, **keys: Any) -> dict[str, Any]:
    return {"id": benchmark, "provider_id": "cluster-probe", **keys}


def real_entry() -> dict[str, Any]:
    """Return a benchmark that is evaluated for real; which score the model gets is no matter of this suite."""
    few = {"num_examples": 10, "pass_criteria": {"threshold": 0}}
    return {"id": "quickstart_arithmetic", "provider_id": REAL, **few}


def write_evaluation(
    catalog: Path, collection: str, benchmarks: list[dict[str, Any]], keys: dict[str, Any], **more: Any
) -> Path:
    """Write a collection into the catalogue and an eval.yaml of it, and return the latter's path.

    Args:
        keys: of the eval.yaml.
        more: keys of the collection.
    """
    document = {
        **{"id": collection, "version": "1", "pass_criteria": {"threshold": 0.5}, "gate": {"mode": "point"}, **more},
        "benchmarks": benchmarks,
    }
    Collection.model_validate(document)
    (catalog / "collections" / f"{collection}.yaml").write_text(json.dumps(document))
    path = catalog / f"{collection}.eval.yaml"
    path.write_text(json.dumps({"collection": {"id": collection}, **keys}))
    return path
