"""Compare provider.yaml with the installed guidellm and print one line per difference.

    PYTHONPATH=../../components python check_catalogue.py [provider.yaml]

Run it with the Python of the provider's own environment. The exit status is 1 when there is a difference, 2 when the
file cannot be read, else 0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import guidellm_report
import yaml
from guidellm.benchmark.schemas import GenerativeMetrics  # type: ignore[import-not-found,import-untyped,unused-ignore]
from guidellm.schemas import Percentiles  # type: ignore[import-not-found,import-untyped,unused-ignore]
from guidellm.schemas.benchmark import ProfileArgs  # type: ignore[import-not-found,import-untyped,unused-ignore]
from guidellm_parameters import PROFILES

HERE = Path(__file__).resolve().parent


def differences(benchmarks: dict[str, dict[str, Any]], requirements: str) -> Iterator[str]:
    """Yield what the catalogue says and the package, or the adapter, does not know."""
    installed = metadata.version("guidellm")
    if f"guidellm=={installed}" not in requirements:
        yield f"guidellm: version: {installed} is installed, which is not the one that is required"
    for name in sorted(PROFILES.keys() - benchmarks.keys()):
        yield f"{name}: id: the adapter knows it, the catalogue does not"
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
