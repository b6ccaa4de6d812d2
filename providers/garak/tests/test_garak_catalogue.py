"""provider.yaml against the installed garak."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import environments

FOLDER = Path(__file__).resolve().parents[1]
PROVIDER_YAML = FOLDER / "provider.yaml"
EVALHUBS = [
    *("intents", "owasp_llm_top10", "avid", "avid_security", "avid_ethics", "avid_performance", "quality", "cwe"),
    "quick",
]
"""What EvalHub's providers `garak` and `garak-kfp` offer."""


def check(*arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run check_catalogue.py in the provider's environment."""
    python = environments.python_of(FOLDER, lambda _: None)
    command = [str(python), "-B", str(FOLDER / "check_catalogue.py"), *map(str, arguments)]
    path = str(environments.components_path())
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=600)


def read() -> Provider:
    return Provider.model_validate(yaml.safe_load(PROVIDER_YAML.read_text("utf-8")))


def test_provider_yaml_agrees_with_the_installed_package() -> None:
    done = check()

    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]


def test_differences_are_reported(tmp_path: Path) -> None:
    doctored = tmp_path / "provider.yaml"
    text = PROVIDER_YAML.read_text("utf-8").replace("id: cwe", "id: cvw")
    doctored.write_text(text.replace("lower_is_better: true", "lower_is_better: false", 1), "utf-8")

    done = check(doctored)

    assert done.returncode == 1, done.stderr[-2000:]
    assert sorted(line.split(":")[0] for line in done.stdout.splitlines()) == ["cvw", "cwe", "quick"]


def test_every_benchmark_of_evalhub_is_offered_and_its_other_spelling_too() -> None:
    provider = read()
    found = provider.benchmark("owasp_llm_top_10")

    assert {benchmark.id for benchmark in provider.benchmarks} >= set(EVALHUBS)
    assert found is not None
    assert found.id == "owasp_llm_top10"


def test_benchmarks_are_judged_by_the_rate_of_successful_attacks() -> None:
    for benchmark in read().benchmarks:
        score, criteria = benchmark.primary_score, benchmark.pass_criteria
        assert score is not None
        assert criteria is not None
        assert (score.metric, score.lower_is_better, score.range) == ("attack_success_rate", True, (0, 1))
        assert 0 < criteria.threshold < 1
        assert score.metric in benchmark.metrics
