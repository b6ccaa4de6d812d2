"""Compare provider.yaml with the installed guidellm and print one line per difference.

    PYTHONPATH=../../components python check_catalogue.py [provider.yaml ...]

Run it with the Python of the provider's own environment. The exit status is 1 when there is a difference, 2 when a
file cannot be read, else 0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import guidellm_report
from guidellm.benchmark.schemas import GenerativeMetrics  # type: ignore[import-not-found,import-untyped,unused-ignore]
from guidellm.schemas import Percentiles  # type: ignore[import-not-found,import-untyped,unused-ignore]
from guidellm.schemas.benchmark import ProfileArgs  # type: ignore[import-not-found,import-untyped,unused-ignore]
from guidellm_parameters import PROFILES

from evalhub_components.framework import catalogue_check
from evalhub_components.framework.catalogue_check import Benchmarks

HERE = Path(__file__).resolve().parent


def differences(benchmarks: Benchmarks) -> Iterator[str]:
    """Yield what the catalogue says and the package, or the adapter, does not know."""
    kinds = set(ProfileArgs.registry or {})
    reported = set(_reported())
    for name, benchmark in benchmarks.items():
        profile = PROFILES.get(name, {}).get("profile")
        if profile is None:
            yield f"{name}: id: the adapter does not know it"
        elif profile not in kinds:
            yield f"{name}: id: the package has no profile {profile}"
        metrics = benchmark.get("metrics", [])
        for metric in metrics:
            if metric not in reported:
                yield f"{name}: metric: {metric} is not reported"
        primary = benchmark.get("primary_score", {})
        if primary.get("metric") not in metrics:
            yield f"{name}: metric: {primary.get('metric')} decides and is not among the metrics"
        faster_is_more = str(primary.get("metric")).endswith("_per_second")
        if primary.get("lower_is_better") is faster_is_more:
            yield f"{name}: direction: {primary.get('metric')} is better the {'higher' if faster_is_more else 'lower'}"


def _reported() -> Iterator[str]:
    """Yield our names of the metrics that the package measures."""
    measured = set(GenerativeMetrics.model_fields)
    for metric in guidellm_report.METRICS:
        statistic, _, name = metric.partition("_")
        theirs = guidellm_report.PER_REQUEST.get(name, metric)
        known = statistic not in ("p95", "p99") or statistic in Percentiles.model_fields
        if theirs in measured and known:
            yield metric


if __name__ == "__main__":
    sys.exit(catalogue_check.main(differences, HERE, sys.argv[1:], packages=["guidellm"], known=PROFILES))
