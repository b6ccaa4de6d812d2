"""The project's benchmark figures: `make bench`. Ratios and CPU seconds where they can be had; nothing is asserted.

A module a family; each can be run alone: `python tests/bench_compile.py`.
"""

from __future__ import annotations

import platform

import bench_compile
import bench_images
import bench_mlflow
import bench_providers
import bench_registry
import bench_reports
import bench_runs
import bench_scoring
import bench_submit

import evalhub_components
from evalhub_components.environment import capture

FAMILIES = (
    bench_runs,
    bench_scoring,
    bench_compile,
    bench_registry,
    bench_mlflow,
    bench_reports,
    bench_submit,
    bench_providers,
    bench_images,
)


def main() -> None:
    """Print every figure with the machine and versions it was taken on."""
    here = capture()
    packages = here["packages"]
    versions = ", ".join(f"{name} {packages[name]}" for name in ("pydantic", "click", "mlflow", "kfp"))
    print(f"evalhub-kfp {evalhub_components.__version__}, Python {platform.python_version()}, {versions}")
    print(f"{here['hardware']['cpus']} x {here['hardware']['cpu']}, {here['os']['distribution']}\n")
    for family in FAMILIES:
        family.main()


if __name__ == "__main__":
    main()
