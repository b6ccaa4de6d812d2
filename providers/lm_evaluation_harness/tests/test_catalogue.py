"""provider.yaml against the installed lm-eval package, and the collections against provider.yaml."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalhub_components.schema.collection import BenchmarkConfig, Collection
from evalhub_components.schema.provider import Provider

PROVIDER_DIRECTORY = Path(__file__).resolve().parents[1]
PROVIDER_YAML = PROVIDER_DIRECTORY / "provider.yaml"
COLLECTIONS = sorted((PROVIDER_DIRECTORY.parents[1] / "collections").glob("*.yaml"))

Check = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider.model_validate(yaml.safe_load(PROVIDER_YAML.read_text(encoding="utf-8")))


@pytest.fixture
def check() -> Check:
    """Run check_catalogue.py with the Python that has lm-eval."""
    python = os.environ.get("EVALHUB_LM_EVAL_PYTHON")
    if not python:
        pytest.skip("EVALHUB_LM_EVAL_PYTHON does not name a Python that has lm-eval")

    def run(*arguments: Path) -> subprocess.CompletedProcess[str]:
        script = PROVIDER_DIRECTORY / "check_catalogue.py"
        command = [python, "-B", str(script), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)

    return run


def own_entries(path: Path) -> list[BenchmarkConfig]:
    collection = Collection.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    return [entry for entry in collection.benchmarks if entry.provider_id == "lm_evaluation_harness"]


def test_provider_yaml_agrees_with_the_installed_package(check: Check) -> None:
    done = check()
    unexplained = [line for line in done.stdout.splitlines() if "(acknowledged: " not in line]
    assert (done.returncode, unexplained) == (0, []), done.stderr[-2000:]
    assert "mrcr: id: is no task" in done.stdout  # acknowledged, and still reported


def test_every_kind_of_difference_is_reported(check: Check, tmp_path: Path) -> None:
    original = yaml.safe_load(PROVIDER_YAML.read_text(encoding="utf-8"))
    benchmarks: dict[str, dict[str, Any]] = {each["id"]: each for each in original["benchmarks"]}
    benchmarks["arc_easy"]["metrics"].append("accuracy")
    benchmarks["gsm8k"]["primary_score"]["metric"] = "exact_match,strict_match"
    benchmarks["wikitext"]["primary_score"]["lower_is_better"] = False
    benchmarks["hellaswag"]["id"] = "hellaswagg"
    benchmarks["bbh"]["num_few_shot"] = 5
    benchmarks["mmlu"]["agent"]["missing_in_package"] = "no longer true"
    del benchmarks["winogender"]["agent"]["metrics_differ"]
    del benchmarks["mrcr"]["agent"]
    original["benchmarks"].remove(benchmarks["quickstart_refusal"])
    doctored = tmp_path / "provider.yaml"
    doctored.write_text(yaml.safe_dump(original), encoding="utf-8")

    done = check(doctored)

    assert done.returncode == 1, done.stderr[-2000:]
    found = [line for line in done.stdout.splitlines() if "(acknowledged: " not in line]
    assert sorted(line.split(": ")[0] + ": " + line.split(": ")[1] for line in found) == [
        "arc_easy: metric",
        "bbh: few-shot",
        "gsm8k: metric",
        "hellaswagg: id",
        "mmlu: note",
        "mrcr: id",
        "quickstart_refusal: id",
        "wikitext: direction",
        "winogender: metric",
    ]


def test_a_file_that_is_not_there_is_an_error_of_its_own(check: Check, tmp_path: Path) -> None:
    done = check(tmp_path / "none.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "none.yaml: cannot be read" in done.stderr


def test_default_thresholds_lie_within_the_range_of_their_metric(provider: Provider) -> None:
    for benchmark in provider.benchmarks:
        score, criteria = benchmark.primary_score, benchmark.pass_criteria
        assert score is not None, benchmark.id
        assert score.range is not None, benchmark.id
        assert criteria is not None, benchmark.id
        assert score.range[0] < criteria.threshold < score.range[1], benchmark.id
        assert score.metric in benchmark.metrics, benchmark.id


@pytest.mark.parametrize("path", COLLECTIONS, ids=lambda path: path.stem)
def test_collections_judge_by_metrics_that_the_provider_reports_and_on_their_scale(
    path: Path, provider: Provider
) -> None:
    for entry in own_entries(path):
        benchmark = provider.benchmark(entry.id)
        assert benchmark is not None, entry.id
        assert "missing_in_package" not in (benchmark.agent or {}) or entry.weight == 0, entry.id
        default = benchmark.primary_score
        score = entry.primary_score or default
        assert default is not None, entry.id
        assert score is not None, entry.id
        assert score.metric in benchmark.metrics, entry.id
        low, high = score.range or (default.range if score.metric == default.metric else None) or (0, 1)
        criteria = entry.pass_criteria or benchmark.pass_criteria
        assert criteria is not None, entry.id
        assert low < criteria.threshold < high, entry.id


@pytest.mark.parametrize("path", COLLECTIONS, ids=lambda path: path.stem)
def test_every_threshold_of_a_collection_says_why(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    thresholds = re.findall(r"^ *threshold: .*$", text, flags=re.MULTILINE)
    assert thresholds or re.search(r"^# No pass_criteria: \S", text, flags=re.MULTILINE)
    assert [line for line in thresholds if not re.search(r"  # \S", line)] == []
