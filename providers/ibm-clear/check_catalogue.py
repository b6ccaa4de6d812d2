"""Compare provider.yaml with the installed clear and print one line per difference.

    PYTHONPATH=../../components python check_catalogue.py [provider.yaml ...]

Run it with the Python of the provider's own environment. The exit status is 1 when there is a difference, 2 when a
file cannot be read, else 0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import clear_report
import yaml
from clear_parameters import BENCHMARKS
from clear_report import Judged

from evalhub_components.framework import catalogue_check
from evalhub_components.framework.catalogue_check import Benchmarks

HERE = Path(__file__).resolve().parent

_CONFIGURATIONS = {
    "traces": ("agentic/pipeline/setup/default_agentic_config.yaml", "pipeline/setup/default_config.yaml"),
    "responses": ("pipeline/setup/default_config.yaml",),
}
_SETTINGS = {
    "provider", "inference_backend", "eval_model_params", "max_workers", "evaluation_criteria",
    "predefined_issues", "issues_format", "high_score_threshold", "max_shortcomings", "run_name", "checkpoint_every",
}  # fmt: skip
_OWN_SETTINGS = {
    "traces": {"data_dir", "results_dir", "from_raw_traces", "overwrite", "run_step_by_step", "run_full_trajectory"},
    "responses": {"task", "perform_generation", "resume_enabled", "is_reference_based", "data_path", "output_dir"},
}
_PIPELINES = {
    "traces": ("agentic/pipeline/run_clear_agentic_eval.py", "agentic/pipeline/preprocess_traces/preprocess_traces.py"),
    "responses": ("analysis_runner.py",),
}


def differences(benchmarks: Benchmarks) -> Iterator[str]:
    """Yield what the catalogue says and the package, or the adapter, does not know."""
    for name, benchmark in benchmarks.items():
        kind = BENCHMARKS.get(name)
        if kind is None:
            yield f"{name}: id: the adapter does not know it"
            continue
        yield from (f"{name}: {text}" for text in _of_package(kind))
        one = Judged("", "", "", 1.0, (), "")
        reported = {result.metric_name for result in clear_report.metrics([one], of_traces=kind == "traces")}
        metrics = set(benchmark.get("metrics", []))
        if metrics != reported:
            yield f"{name}: metric: {', '.join(sorted(metrics ^ reported))} is in one of catalogue and adapter"
        primary = benchmark.get("primary_score", {})
        if primary.get("metric") not in metrics:
            yield f"{name}: metric: {primary.get('metric')} decides and is not among the metrics"
        if primary.get("lower_is_better") is not False:
            yield f"{name}: direction: a higher {primary.get('metric')} is better"
        if not benchmark.get("judge"):
            yield f"{name}: judge: one is needed"


def _of_package(kind: str) -> Iterator[str]:
    """Yield what the package no longer has of what the adapter uses."""
    package = resources.files("clear_eval")
    known: set[str] = set()
    for path in _CONFIGURATIONS[kind]:
        known |= set(yaml.safe_load(package.joinpath(path).read_text("utf-8")))
    for setting in sorted((_SETTINGS | _OWN_SETTINGS[kind]) - known):
        yield f"setting: the package has no {setting}"
    for path in _PIPELINES[kind]:
        if not package.joinpath(path).is_file():
            yield f"pipeline: the package has no {path}"


if __name__ == "__main__":
    sys.exit(catalogue_check.main(differences, HERE, sys.argv[1:], packages=["clear-eval"], known=BENCHMARKS))
