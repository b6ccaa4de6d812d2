"""provider.yaml against the installed MTEB."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import environments

FOLDER = Path(__file__).resolve().parents[1]
PROVIDER_YAML = FOLDER / "provider.yaml"
CATEGORIES = {
    *("semantic_similarity", "retrieval", "classification", "clustering", "pair_classification", "reranking"),
}
TASKS = {
    *("BIOSSES", "SICK-R", "SciFact", "NFCorpus", "ArguAna", "Banking77Classification.v2", "ImdbClassification.v2"),
    *("TwentyNewsgroupsClustering.v2", "MedrxivClusteringS2S.v2", "TwitterSemEval2015", "AskUbuntuDupQuestions"),
    "StackOverflowDupQuestions",
}


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


def test_every_kind_of_difference_is_reported(tmp_path: Path) -> None:
    original = yaml.safe_load(PROVIDER_YAML.read_text("utf-8"))
    benchmarks = {each["id"]: each for each in original["benchmarks"]}
    benchmarks["quickstart_sts"]["id"] = "quickstart_stss"
    benchmarks["SciFact"]["id"] = "Banking77Classification"
    benchmarks["NFCorpus"]["metrics"].append("ndcg_at_7")
    benchmarks["ArguAna"]["primary_score"]["lower_is_better"] = True
    benchmarks["TwitterSemEval2015"]["primary_score"]["metric"] = "cosine_ap"
    benchmarks["quickstart_retrieval"]["dataset_size"] = 32
    doctored = tmp_path / "provider.yaml"
    doctored.write_text(yaml.safe_dump(original), "utf-8")

    done = check(doctored)

    assert done.returncode == 1, done.stderr[-2000:]
    found = {tuple(line.split(": ")[:2]) for line in done.stdout.splitlines()}
    assert found >= {
        ("quickstart_sts", "id"),
        ("quickstart_stss", "id"),
        ("Banking77Classification", "id"),
        ("NFCorpus", "metric"),
        ("ArguAna", "direction"),
        ("TwitterSemEval2015", "metric"),
        ("quickstart_retrieval", "size"),
    }
    assert {name for name, _ in found} & TASKS == {"NFCorpus", "ArguAna", "TwitterSemEval2015"}


def test_there_are_tasks_of_every_kind_and_those_that_nobody_ran_say_so() -> None:
    benchmarks = {benchmark.id: benchmark for benchmark in read().benchmarks}
    bundled = {name for name in benchmarks if name.startswith("quickstart_")}

    assert benchmarks.keys() - bundled == TASKS
    for names in (bundled, TASKS):
        assert {benchmarks[name].category for name in names} == CATEGORIES
    assert {name for name, benchmark in benchmarks.items() if "unverified" in (benchmark.agent or {})} == TASKS


def test_thresholds_lie_inside_the_range() -> None:
    for benchmark in read().benchmarks:
        assert benchmark.primary_score is not None, benchmark.id
        assert benchmark.primary_score.range == (0, 1), benchmark.id
        assert benchmark.pass_criteria is not None, benchmark.id
        assert 0 < benchmark.pass_criteria.threshold < 1, benchmark.id
