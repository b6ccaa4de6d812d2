"""provider.yaml against the installed garak."""

from __future__ import annotations

from pathlib import Path

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import documents
from evalhub_pipelines.provider_testing import check_catalogue, defaults_of, entries_of

FOLDER = Path(__file__).resolve().parents[1]
PROVIDER = documents.load(FOLDER / "provider.yaml", Provider)
EVALHUBS = [
    *("intents", "owasp_llm_top10", "avid", "avid_security", "avid_ethics", "avid_performance", "quality", "cwe"),
    "quick",
]
"""What EvalHub's providers `garak` and `garak-kfp` offer."""


def test_only_what_was_altered_is_found_wrong() -> None:
    benchmarks = entries_of(FOLDER)
    benchmarks["cwe"]["id"] = "cvw"
    benchmarks["quick"]["primary_score"]["lower_is_better"] = False

    found = check_catalogue(FOLDER, benchmarks.values())

    assert found.status == 1
    assert found.kinds == [
        "cvw: id",
        "cwe: id",
        "quick: direction",
    ]


def test_every_benchmark_of_evalhub_is_offered_and_its_other_spelling_too() -> None:
    found = PROVIDER.benchmark("owasp_llm_top_10")

    assert {benchmark.id for benchmark in PROVIDER.benchmarks} >= set(EVALHUBS)
    assert found is not None
    assert found.id == "owasp_llm_top10"


def test_benchmarks_are_judged_by_the_rate_of_successful_attacks() -> None:
    for default in defaults_of(PROVIDER).values():
        assert default[:3] == ("attack_success_rate", True, (0, 1))
        assert 0 < default.threshold < 1
    assert all("attack_success_rate" in benchmark.metrics for benchmark in PROVIDER.benchmarks)
