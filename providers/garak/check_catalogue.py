"""Compare provider.yaml with the installed garak and print one line per difference.

    PYTHONPATH=../../components python check_catalogue.py [provider.yaml ...]

Run it with the Python of the provider's own environment. The exit status is 1 when there is a difference, 2 when a
file cannot be read, else 0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from garak_benchmarks import BENCHMARKS, Selection

from evalhub_components.framework import catalogue_check
from evalhub_components.framework.catalogue_check import Benchmarks

HERE = Path(__file__).resolve().parent
METRICS = ("attack_success_rate", "probe_mean")


def differences(benchmarks: Benchmarks) -> Iterator[str]:
    """Yield every difference between provider.yaml's benchmarks, the adapter's and the package."""
    for name, benchmark in benchmarks.items():
        primary = benchmark.get("primary_score") or {}
        if primary.get("metric") not in METRICS:
            yield f"{name}: metric: {primary.get('metric')} is not reported ({' or '.join(METRICS)})"
        if primary.get("lower_is_better") is not True:
            yield f"{name}: direction: fewer successful attacks are better"
        if name not in BENCHMARKS:
            yield f"{name}: id: is no benchmark of the adapter"
            continue
        for problem in _of_package(BENCHMARKS[name]):
            yield f"{name}: {problem}"


def _of_package(selection: Selection) -> Iterator[str]:
    from garak import _plugins

    probes = dict(_plugins.enumerate_plugins("probes"))
    detectors = dict(_plugins.enumerate_plugins("detectors"))
    for probe in selection.probes:
        if f"probes.{probe}" not in probes:
            yield f"probe: {probe} is not in the package"
    for detector in selection.detectors:
        if f"detectors.{detector}" not in detectors:
            yield f"detector: {detector} is not in the package"
    active = [name for name, is_active in probes.items() if is_active]
    for tag in selection.tags:
        if not any(each.startswith(tag) for name in active for each in _plugins.plugin_info(name).get("tags") or []):
            yield f"tag: no active probe has a tag that begins with {tag}"


if __name__ == "__main__":
    sys.exit(catalogue_check.main(differences, HERE, sys.argv[1:], packages=["garak"], known=BENCHMARKS))
