"""provider.yaml against EvalHub's catalogue, the adapter and the installed deepeval."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import environments

FOLDER = Path(__file__).resolve().parents[1]
PROVIDER_YAML = FOLDER / "provider.yaml"

CATALOGUE = {
    "deepeval-faithfulness": ("faithfulness_score", False, 0.5),
    "deepeval-relevancy": ("relevancy_score", False, 0.5),
    "deepeval-hallucination": ("hallucination_score", True, 0.3),
    "deepeval-correctness": ("correctness_score", False, 0.5),
    "deepeval-summarization": ("summarization_score", False, 0.5),
}


def check(*arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run check_catalogue.py with the Python that has deepeval."""
    command = [environments.python_of(FOLDER), "-B", str(FOLDER / "check_catalogue.py"), *map(str, arguments)]
    environ = {**os.environ, "PYTHONPATH": str(FOLDER.parents[1] / "components")}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600, check=False)


def test_provider_yaml_agrees_with_the_installed_package() -> None:
    done = check()
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]


def test_every_kind_of_difference_is_reported(tmp_path: Path) -> None:
    original = yaml.safe_load(PROVIDER_YAML.read_text(encoding="utf-8"))
    benchmarks = {each["id"]: each for each in original["benchmarks"]}
    benchmarks["deepeval-relevancy"]["id"] = "deepeval-relevance"
    benchmarks["deepeval-faithfulness"]["metrics"].append("truths_count")
    benchmarks["deepeval-hallucination"]["primary_score"]["lower_is_better"] = False
    benchmarks["deepeval-correctness"]["primary_score"]["metric"] = "correctness"
    benchmarks["deepeval-exact-match"]["judge"] = True
    benchmarks["deepeval-summarization"]["dataset_size"] = 9
    doctored = tmp_path / "provider.yaml"
    doctored.write_text(yaml.safe_dump(original), encoding="utf-8")

    done = check(doctored)

    assert done.returncode == 1, done.stderr[-2000:]
    assert sorted(line.rpartition(": ")[0] for line in done.stdout.splitlines()) == [
        "deepeval-correctness: primary_score",
        "deepeval-exact-match: judge",
        "deepeval-faithfulness: metrics",
        "deepeval-hallucination: direction",
        "deepeval-relevance: id",
        "deepeval-relevancy: id",
        "deepeval-summarization: dataset_size",
    ]


def test_the_benchmarks_of_evalhub_keep_their_metric_direction_and_threshold() -> None:
    provider = Provider.model_validate(yaml.safe_load(PROVIDER_YAML.read_text(encoding="utf-8")))
    found = {}
    for benchmark in provider.benchmarks:
        score, criteria = benchmark.primary_score, benchmark.pass_criteria
        assert score is not None
        assert criteria is not None
        assert score.range == (0, 1)
        found[benchmark.id] = (score.metric, score.lower_is_better, criteria.threshold)
    assert found.items() >= CATALOGUE.items()
