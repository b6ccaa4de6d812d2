"""provider.yaml against the installed MTEB."""

from __future__ import annotations

from pathlib import Path

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import documents
from evalhub_pipelines.provider_testing import check_catalogue, defaults_of, entries_of

FOLDER = Path(__file__).resolve().parents[1]
PROVIDER = documents.load(FOLDER / "provider.yaml", Provider)
CATEGORIES = {
    *("semantic_similarity", "retrieval", "classification", "clustering", "pair_classification", "reranking"),
}
TASKS = {
    *("BIOSSES", "SICK-R", "SciFact", "NFCorpus", "ArguAna", "Banking77Classification.v2", "ImdbClassification.v2"),
    *("TwentyNewsgroupsClustering.v2", "MedrxivClusteringS2S.v2", "TwitterSemEval2015", "AskUbuntuDupQuestions"),
    "StackOverflowDupQuestions",
}


def test_only_what_was_altered_is_found_wrong() -> None:
    benchmarks = entries_of(FOLDER)
    benchmarks["quickstart_sts"]["id"] = "quickstart_stss"
    benchmarks["Banking77Classification.v2"]["id"] = "Banking77Classification"
    benchmarks["NFCorpus"]["metrics"].append("ndcg_at_7")
    benchmarks["ArguAna"]["primary_score"]["lower_is_better"] = True
    benchmarks["TwitterSemEval2015"]["primary_score"]["metric"] = "cosine_ap"
    benchmarks["quickstart_retrieval"]["dataset_size"] = 32

    found = check_catalogue(FOLDER, benchmarks.values())

    assert found.status == 1
    assert found.kinds == [
        "ArguAna: direction",
        "Banking77Classification: id",
        "Banking77Classification: size",
        "NFCorpus: metric",
        "TwitterSemEval2015: metric",
        "quickstart_retrieval: size",
        "quickstart_sts: id",
        "quickstart_stss: id",
    ]


def test_there_are_tasks_of_every_kind_and_those_that_nobody_ran_say_so() -> None:
    benchmarks = {benchmark.id: benchmark for benchmark in PROVIDER.benchmarks}
    bundled = {name for name in benchmarks if name.startswith("quickstart_")}

    assert benchmarks.keys() - bundled == TASKS
    for names in (bundled, TASKS):
        assert {benchmarks[name].category for name in names} == CATEGORIES
    assert {name for name, benchmark in benchmarks.items() if "unverified" in (benchmark.agent or {})} == TASKS


def test_thresholds_lie_inside_the_range() -> None:
    for name, default in defaults_of(PROVIDER).items():
        assert default.range == (0, 1), name
        assert 0 < default.threshold < 1, name
