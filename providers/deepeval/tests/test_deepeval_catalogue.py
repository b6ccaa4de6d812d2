"""provider.yaml against EvalHub's catalogue, the adapter and the installed deepeval."""

from __future__ import annotations

from pathlib import Path

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import documents
from evalhub_pipelines.provider_testing import check_catalogue, defaults_of, entries_of

FOLDER = Path(__file__).resolve().parents[1]
PROVIDER = documents.load(FOLDER / "provider.yaml", Provider)

CATALOGUE = {
    "deepeval-faithfulness": ("faithfulness_score", False, 0.5),
    "deepeval-relevancy": ("relevancy_score", False, 0.5),
    "deepeval-hallucination": ("hallucination_score", True, 0.3),
    "deepeval-correctness": ("correctness_score", False, 0.5),
    "deepeval-summarization": ("summarization_score", False, 0.5),
}


def test_only_what_was_altered_is_found_wrong() -> None:
    benchmarks = entries_of(FOLDER)
    benchmarks["deepeval-relevancy"]["id"] = "deepeval-relevance"
    benchmarks["deepeval-faithfulness"]["metrics"].append("truths_count")
    benchmarks["deepeval-hallucination"]["primary_score"]["lower_is_better"] = False
    benchmarks["deepeval-correctness"]["primary_score"]["metric"] = "correctness"
    benchmarks["deepeval-exact-match"]["judge"] = True
    benchmarks["deepeval-summarization"]["dataset_size"] = 9

    found = check_catalogue(FOLDER, benchmarks.values())

    assert found.status == 1
    assert found.kinds == [
        "deepeval-correctness: primary_score",
        "deepeval-exact-match: judge",
        "deepeval-faithfulness: metrics",
        "deepeval-hallucination: direction",
        "deepeval-relevance: id",
        "deepeval-relevancy: id",
        "deepeval-summarization: dataset_size",
    ]


def test_the_benchmarks_of_evalhub_keep_their_metric_direction_and_threshold() -> None:
    defaults = defaults_of(PROVIDER)
    assert {default.range for default in defaults.values()} == {(0, 1)}
    found = {name: (default.metric, default.lower_is_better, default.threshold) for name, default in defaults.items()}
    assert found.items() >= CATALOGUE.items()
