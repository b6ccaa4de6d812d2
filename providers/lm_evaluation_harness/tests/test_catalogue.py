"""provider.yaml against the installed lm-eval package, and the collections against provider.yaml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evalhub_components.schema.collection import BenchmarkConfig, Collection
from evalhub_components.schema.provider import Provider
from evalhub_pipelines import documents
from evalhub_pipelines.provider_testing import check_catalogue, defaults_of, entries_of

FOLDER = Path(__file__).resolve().parents[1]
PROVIDER = documents.load(FOLDER / "provider.yaml", Provider)
COLLECTIONS = sorted((FOLDER.parents[1] / "collections").glob("*.yaml"))


def own_entries(path: Path) -> list[BenchmarkConfig]:
    collection = documents.load(path, Collection)
    return [entry for entry in collection.benchmarks if entry.provider_id == "lm_evaluation_harness"]


def test_only_what_was_altered_is_found_wrong() -> None:
    benchmarks = entries_of(FOLDER)
    benchmarks["arc_easy"]["metrics"].append("accuracy")
    benchmarks["gsm8k"]["primary_score"]["metric"] = "exact_match,strict_match"
    benchmarks["wikitext"]["primary_score"]["lower_is_better"] = False
    benchmarks["hellaswag"]["id"] = "hellaswagg"
    benchmarks["bbh"]["num_few_shot"] = 5
    benchmarks["mmlu"]["agent"]["missing_in_package"] = "no longer true"
    del benchmarks["winogender"]["agent"]["metrics_differ"]
    del benchmarks["mrcr"]["agent"]
    del benchmarks["quickstart_refusal"]

    found = check_catalogue(FOLDER, benchmarks.values())

    assert found.status == 1
    assert found.kinds == [
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
    # of provider.yaml itself: acknowledged, and still reported
    assert any(line.startswith("mrcr: id: is no task") and "(acknowledged: " in line for line in found.lines)


def test_default_thresholds_lie_within_the_range_of_a_metric_that_is_reported() -> None:
    for name, default in defaults_of(PROVIDER).items():
        benchmark = PROVIDER.benchmark(name)
        assert benchmark is not None, name
        assert default.range[0] < default.threshold < default.range[1], name
        assert default.metric in benchmark.metrics, name


@pytest.mark.parametrize("path", COLLECTIONS, ids=lambda path: path.stem)
def test_collections_judge_by_metrics_that_the_provider_reports_and_on_their_scale(path: Path) -> None:
    for entry in own_entries(path):
        benchmark = PROVIDER.benchmark(entry.id)
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
