"""Compare provider.yaml with the installed ragas and print one line per difference.

    PYTHONPATH=../../components python check_catalogue.py [provider.yaml ...]

Run it with the Python of the provider's own environment. The exit status is 1 when a difference is not acknowledged in
the benchmark's `agent` notes, 2 when a file cannot be read, else 0.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ["RAGAS_DO_NOT_TRACK"] = "true"  # read when ragas is imported

import ragas.metrics.collections as collections  # type: ignore[import-not-found,import-untyped,unused-ignore]
from ragas_catalogue import BENCHMARKS, METRICS

from evalhub_components.framework import catalogue_check
from evalhub_components.framework.catalogue_check import Benchmarks

HERE = Path(__file__).resolve().parent


def differences(benchmarks: Benchmarks) -> Iterator[str]:
    """Yield what the catalogue says and the package, or the adapter, does not know."""
    for name, benchmark in benchmarks.items():
        metrics = benchmark.get("metrics", [])
        if name not in BENCHMARKS:
            yield f"{name}: id: the adapter does not know it"
        elif set(metrics) != set(BENCHMARKS[name]):
            yield f"{name}: metric: the adapter has {', '.join(BENCHMARKS[name])}"
        notes = benchmark.get("agent") or {}
        for metric in metrics:
            for kind, text in _of_metric(metric):
                if kind != "name" or metric not in notes.get("named_otherwise", ""):
                    yield f"{name}: {kind}: {text}"
        primary = benchmark.get("primary_score", {})
        if primary.get("metric") not in metrics:
            yield f"{name}: metric: {primary.get('metric')} decides and is not among the metrics"
        elif primary["metric"] in METRICS and primary["lower_is_better"] != METRICS[primary["metric"]].lower_is_better:
            yield f"{name}: direction: {primary['metric']}"
        if benchmark.get("judge", False) != any(METRICS[metric].judge for metric in metrics if metric in METRICS):
            yield f"{name}: judge: {'none' if benchmark.get('judge') else 'one'} is needed"


def _of_metric(metric: str) -> Iterator[tuple[str, str]]:
    """Yield what the package has otherwise than the adapter thinks."""
    if metric not in METRICS:
        yield "metric", f"{metric} is not known to the adapter"
        return
    kind = getattr(collections, METRICS[metric].class_name, None)
    if kind is None:
        yield "metric", f"the package has no {METRICS[metric].class_name}"
        return
    given = set(inspect.signature(kind.ascore).parameters) - {"self"}
    if given != set(METRICS[metric].inputs):
        yield "metric", f"{metric} takes {', '.join(sorted(given))}"
    made = inspect.signature(kind.__init__).parameters
    if ("llm" in made, "embeddings" in made) != (METRICS[metric].judge, METRICS[metric].embeddings):
        yield "metric", f"{metric} is made of {', '.join(made)}"
    default = made["name"].default if "name" in made else metric
    if default != metric:
        yield "name", f"the package calls {metric} {default}"


if __name__ == "__main__":
    sys.exit(catalogue_check.main(differences, HERE, sys.argv[1:], packages=["ragas"], known=BENCHMARKS))
