"""provider.yaml against EvalHub's catalogue and the installed clear."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import environments

FOLDER = Path(__file__).resolve().parents[1]
BOTH = "import check_catalogue, sys; print(check_catalogue.main([])); print(check_catalogue.main(sys.argv[1:]))"


def check(doctored: Path) -> list[str]:
    """Return what check_catalogue prints of provider.yaml, its exit status, and both for a doctored one."""
    command = [str(environments.python_of(FOLDER)), "-B", "-c", BOTH, str(doctored)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(environments.components_path()), str(FOLDER)])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_only_a_file_that_differs_from_the_installed_package_is_found_wrong(tmp_path: Path) -> None:
    original = yaml.safe_load((FOLDER / "provider.yaml").read_text("utf-8"))
    agentic, responses = original["benchmarks"]
    agentic["id"] = "agentic-evaluations"
    responses["judge"] = False
    responses["metrics"].remove("total_issues")
    responses["primary_score"] = {"metric": "mean_score", "lower_is_better": True}
    doctored = tmp_path / "provider.yaml"
    doctored.write_text(yaml.safe_dump(original), "utf-8")
    of_ours, *lines, of_doctored = check(doctored)
    assert (of_ours, of_doctored) == ("0", "1")
    assert sorted(": ".join(line.split(": ")[:2]) for line in lines) == [
        "agentic-evaluation: id",
        "agentic-evaluations: id",
        "response-analysis: direction",
        "response-analysis: judge",
        "response-analysis: metric",
        "response-analysis: metric",
    ]


def test_the_benchmark_of_evalhub_keeps_its_metrics_and_threshold() -> None:
    provider = Provider.model_validate(yaml.safe_load((FOLDER / "provider.yaml").read_text("utf-8")))
    benchmark = provider.benchmark("agentic-evaluation")
    assert benchmark is not None
    assert benchmark.judge
    assert benchmark.category == "error-analysis"
    assert set(benchmark.metrics) == {
        *("total_interactions", "total_issues", "interactions_with_issues", "interactions_no_issues", "total_agents"),
        *("pct_interactions_with_issues", "issues_per_interaction", "average_score"),
    }
    score, criteria = benchmark.primary_score, benchmark.pass_criteria
    assert score is not None
    assert criteria is not None
    assert (score.metric, score.lower_is_better, score.range) == ("average_score", False, (0, 1))
    assert criteria.threshold == 0.5
