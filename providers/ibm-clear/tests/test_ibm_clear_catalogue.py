"""provider.yaml against EvalHub's catalogue and the installed clear."""

from __future__ import annotations

from pathlib import Path

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import documents
from evalhub_pipelines.provider_testing import check_catalogue, defaults_of, entries_of

FOLDER = Path(__file__).resolve().parents[1]
PROVIDER = documents.load(FOLDER / "provider.yaml", Provider)


def test_only_what_was_altered_is_found_wrong() -> None:
    benchmarks = entries_of(FOLDER)
    agentic, responses = benchmarks.values()
    agentic["id"] = "agentic-evaluations"
    responses["judge"] = False
    responses["metrics"].remove("total_issues")
    responses["primary_score"] = {"metric": "mean_score", "lower_is_better": True}

    found = check_catalogue(FOLDER, benchmarks.values())

    assert found.status == 1
    assert found.kinds == [
        "agentic-evaluation: id",
        "agentic-evaluations: id",
        "response-analysis: direction",
        "response-analysis: judge",
        "response-analysis: metric",
        "response-analysis: metric",
    ]


def test_the_benchmark_of_evalhub_keeps_its_metrics_and_threshold() -> None:
    benchmark = PROVIDER.benchmark("agentic-evaluation")
    assert benchmark is not None
    assert benchmark.judge
    assert benchmark.category == "error-analysis"
    assert set(benchmark.metrics) == {
        *("total_interactions", "total_issues", "interactions_with_issues", "interactions_no_issues", "total_agents"),
        *("pct_interactions_with_issues", "issues_per_interaction", "average_score"),
    }
    assert defaults_of(PROVIDER)["agentic-evaluation"] == ("average_score", False, (0, 1), 0.5)
