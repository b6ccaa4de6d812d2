"""provider.yaml against EvalHub's catalogue and the installed ragas."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import documents
from evalhub_pipelines.provider_testing import check_catalogue, defaults_of, entries_of

FOLDER = Path(__file__).resolve().parents[1]
PROVIDER = documents.load(FOLDER / "provider.yaml", Provider)


def test_only_what_was_altered_is_found_wrong() -> None:
    benchmarks = entries_of(FOLDER)
    default, full, overlap = benchmarks.values()
    default["id"] = "ragas_rag_defalt"
    default["judge"] = False
    default["primary_score"]["lower_is_better"] = True
    del full["agent"]
    overlap["metrics"].append("chrf_score")
    overlap["primary_score"]["metric"] = "bleu"

    found = check_catalogue(FOLDER, benchmarks.values())

    assert found.status == 1
    assert found.kinds == [
        "ragas_rag_defalt: direction",
        "ragas_rag_defalt: id",
        "ragas_rag_defalt: judge",
        "ragas_rag_default: id",
        "ragas_rag_full: name",
        *["ragas_text_overlap: metric"] * 3,
    ]


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("ragas_rag_default", {"answer_relevancy", "context_precision", "faithfulness", "context_recall"}),
        (
            "ragas_rag_full",
            {
                *("answer_relevancy", "answer_similarity", "context_precision", "faithfulness", "context_recall"),
                *("context_entity_recall", "factual_correctness", "noise_sensitivity"),
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_benchmarks_of_evalhub_keep_their_metrics_and_threshold(name: str, metrics: set[str]) -> None:
    benchmark = PROVIDER.benchmark(name)
    assert benchmark is not None
    assert benchmark.judge
    assert (benchmark.category, set(benchmark.metrics)) == ("rag_evaluation", metrics)
    assert defaults_of(PROVIDER)[name] == ("faithfulness", False, (0, 1), 0.5)
