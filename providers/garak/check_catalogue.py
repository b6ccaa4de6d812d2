"""Compare provider.yaml with the installed garak and print one line per difference.

    python check_catalogue.py [provider.yaml]

Run it with the Python of the provider's own environment. The exit status is 1 when there is a difference, 2 when the
file cannot be read, else 0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from garak_benchmarks import BENCHMARKS, Selection

HERE = Path(__file__).resolve().parent
METRICS = ("attack_success_rate", "probe_mean")


def differences(provider: dict[str, Any]) -> Iterator[str]:
    """Yield every difference between provider.yaml's benchmarks, the adapter's and the package."""
    installed = metadata.version("garak")
    if f"garak=={installed}" not in (HERE / "requirements.in").read_text(encoding="utf-8").split():
        yield f"garak: version: {installed} is installed, which is not the one that is required"
    listed = {each["id"]: each for each in provider["benchmarks"]}
    for name in sorted(BENCHMARKS.keys() - listed.keys()):
        yield f"{name}: id: is a benchmark of the adapter that provider.yaml does not offer"
    for name, benchmark in listed.items():
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


def main(argv: list[str]) -> int:
    """Print the differences and return the exit status."""
    path = Path(argv[0]) if argv else HERE / "provider.yaml"
    try:
        provider = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        print(f"{path}: cannot be read: {error}", file=sys.stderr)
        return 2
    found = list(differences(provider))
    for difference in found:
        print(difference)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
