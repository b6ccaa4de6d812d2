"""Compare provider.yaml with the installed deepeval and the adapter, and print one line per difference.

    PYTHONPATH=../../components python check_catalogue.py [provider.yaml ...]

Run it with the Python of the provider's own environment. The exit status is 1 when there is a difference, 2 when a
file cannot be read, else 0.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from deepeval_benchmarks import BENCHMARKS

from evalhub_components.framework import catalogue_check
from evalhub_components.framework.catalogue_check import Benchmarks

HERE = Path(__file__).resolve().parent


def differences(benchmarks: Benchmarks) -> Iterator[str]:
    """Yield what the catalogue says and the package, or the adapter, does not know."""
    os.environ["DEEPEVAL_TELEMETRY_OPT_OUT"] = "1"
    try:
        # names the classes of the package that this provider uses
        from deepeval_metrics import MAKE, READ
    except ImportError as error:
        yield f"deepeval: metrics: {error}"
        return
    for name, said in benchmarks.items():
        known = BENCHMARKS.get(name)
        if known is None or name not in MAKE or name not in READ:
            yield f"{name}: id: the adapter does not know it"
            continue
        metrics = [known.metric, *known.counts]
        if said.get("metrics") != metrics:
            yield f"{name}: metrics: the adapter reports {', '.join(metrics)}"
        primary = said.get("primary_score", {})
        if primary.get("metric") != known.metric:
            yield f"{name}: primary_score: the adapter's samples are of {known.metric}"
        if primary.get("lower_is_better") is not (known.metric == "hallucination_score"):
            yield f"{name}: direction: of {known.metric} {'less' if 'hallu' in known.metric else 'more'} is better"
        if bool(said.get("judge")) is not known.judge:
            yield f"{name}: judge: {'needs one' if known.judge else 'needs none'}"
        size = len((HERE / "data" / known.data).read_text("utf-8").splitlines())
        if said.get("dataset_size") != size:
            yield f"{name}: dataset_size: data/{known.data} has {size} test cases"


if __name__ == "__main__":
    sys.exit(catalogue_check.main(differences, HERE, sys.argv[1:], packages=["deepeval"], known=BENCHMARKS))
