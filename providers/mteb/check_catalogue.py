"""Compare provider.yaml with the installed MTEB and print one line per difference.

    PYTHONPATH=../../components python check_catalogue.py [provider.yaml ...]

Run it with the Python of the provider's own environment. The exit status is 1 when there is a difference, 2 when a
file cannot be read, else 0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mteb_tasks
from mteb.abstasks.classification import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    ClassificationMetrics,
)
from mteb.abstasks.retrieval import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    AbsTaskRetrieval,
)
from mteb.abstasks.sts import STSMetrics  # type: ignore[import-not-found,import-untyped,unused-ignore]
from mteb_parameters import BUNDLED, QUICKSTART, OwnData, Parameters

from evalhub_components.errors import EvalHubError
from evalhub_components.framework import catalogue_check
from evalhub_components.framework.catalogue_check import Benchmarks

HERE = Path(__file__).resolve().parent

_OF_PAIRS = [f"{way}_{what}" for way in ("cosine", "max") for what in ("ap", "f1", "accuracy")]
_OF_SEARCHES = [
    f"{what}_at_{cut}"
    for what in ("ndcg", "map", "recall", "precision", "mrr", "hit_rate")
    for cut in AbsTaskRetrieval.k_values
]
_METRICS = {
    "STS": list(STSMetrics.__annotations__),
    "PairClassification": _OF_PAIRS,
    "Classification": list(ClassificationMetrics.__annotations__),
    "Clustering": ["v_measure", "ami"],
    "Retrieval": _OF_SEARCHES,
    "Reranking": _OF_SEARCHES,
}


def differences(benchmarks: Benchmarks) -> Iterator[str]:
    """Yield what the catalogue says and the package, or the adapter, does not know."""
    for name, benchmark in benchmarks.items():
        try:
            task, size = _bundled(name) if name in QUICKSTART else _of_mteb(name)
        except EvalHubError as error:
            yield f"{name}: id: {error}"
            continue
        if task.metadata.superseded_by:
            yield f"{name}: id: the package advises {task.metadata.superseded_by} in its place"
        primary = benchmark.get("primary_score", {})
        if primary.get("metric") != task.metadata.main_score:
            yield f"{name}: metric: the package's main score is {task.metadata.main_score}, not {primary.get('metric')}"
        if primary.get("lower_is_better") is not False:
            yield f"{name}: direction: more is better"
        for metric in benchmark.get("metrics", []):
            if metric not in _METRICS[task.metadata.type]:
                yield f"{name}: metric: {metric} is not reported"
        if benchmark.get("dataset_size") != size:
            yield f"{name}: size: {size} examples are evaluated, not {benchmark.get('dataset_size')}"


def _bundled(name: str) -> tuple[Any, int]:
    kind = QUICKSTART[name]
    folder = BUNDLED / kind
    file = folder / ("queries.jsonl" if kind in ("retrieval", "reranking") else "test.jsonl")
    task = mteb_tasks.found(name, Parameters(), OwnData(task_type=kind, folder=folder), seed=42)
    return task, len(file.read_text("utf-8").splitlines())


def _of_mteb(name: str) -> tuple[Any, int]:
    task = mteb_tasks.found(name, Parameters(), None, seed=42)
    size = 0
    for split in task.eval_splits:
        of_split = task.metadata.descriptive_stats[split]
        whole = of_split.get("num_queries", of_split["num_samples"])
        size += int(whole * (getattr(task, "max_fraction_of_documents_to_embed", None) or 1))
    return task, size


if __name__ == "__main__":
    sys.exit(catalogue_check.main(differences, HERE, sys.argv[1:], packages=["mteb"], known=QUICKSTART))
