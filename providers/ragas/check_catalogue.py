"""Compare provider.yaml with the installed ragas and print one line per difference.

    PYTHONPATH=../../components python check_catalogue.py [provider.yaml]

Run it with the Python of the provider's own environment. The exit status is 1 when a difference is not acknowledged in
the benchmark's `agent` notes, 2 when the file cannot be read, else 0.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

os.environ["RAGAS_DO_NOT_TRACK"] = "true"  # read when ragas is imported

import ragas.metrics.collections as collections  # type: ignore[import-not-found,import-untyped,unused-ignore]
from ragas_catalogue import BENCHMARKS, METRICS

HERE = Path(__file__).resolve().parent


def differences(benchmarks: dict[str, dict[str, Any]], requirements: str) -> Iterator[str]:
    """Yield what the catalogue says and the package, or the adapter, does not know."""
    installed = metadata.version("ragas")
    if f"ragas=={installed}" not in requirements:
        yield f"ragas: version: {installed} is installed, which is not the one that is required"
    for name in sorted(BENCHMARKS.keys() - benchmarks.keys()):
        yield f"{name}: id: the adapter knows it, the catalogue does not"
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


def main(argv: list[str]) -> int:
    """Return the exit status."""
    path = Path(argv[0]) if argv else HERE / "provider.yaml"
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        benchmarks = {benchmark["id"]: benchmark for benchmark in document["benchmarks"]}
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        print(f"{path}: cannot be read: {error}", file=sys.stderr)
        return 2
    found = list(differences(benchmarks, (HERE / "requirements.in").read_text(encoding="utf-8")))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
