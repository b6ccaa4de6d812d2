"""provider.yaml against EvalHub's catalogue and the installed LightEval."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import environments

FOLDER = Path(__file__).resolve().parents[1]
EVALHUB = {
    *("commonsense_reasoning", "scientific_reasoning", "physical_commonsense", "truthfulness", "math", "knowledge"),
    *("language_understanding", "hellaswag", "winogrande", "openbookqa", "arc:easy", "arc:challenge", "piqa"),
    *("truthfulqa:mc", "truthfulqa:gen", "gsm8k", "math:algebra", "math:counting_and_probability", "aime24", "aime25"),
    *("mmlu", "triviaqa", "glue:cola", "glue:sst2", "glue:mrpc", "math_500", "gpqa:diamond", "lcb:codegeneration_v6"),
}
OURS = {"quickstart_arithmetic", "quickstart_comparison"}


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider.model_validate(yaml.safe_load((FOLDER / "provider.yaml").read_text("utf-8")))


def check(*arguments: Path) -> subprocess.CompletedProcess[str]:
    command = [str(environments.python_of(FOLDER)), "-B", str(FOLDER / "check_catalogue.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(environments.components_path())}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_the_check_finds_every_kind_of_difference_and_none_in_ours(tmp_path: Path) -> None:
    original = yaml.safe_load((FOLDER / "provider.yaml").read_text("utf-8"))
    benchmarks = {each["id"]: each for each in original["benchmarks"]}
    benchmarks["hellaswag"]["id"] = "hellaswagg"
    benchmarks["mmlu"]["metrics"].append("acc_norm")
    benchmarks["aime24"]["metrics"].remove("avg@1")
    benchmarks["glue:cola"]["primary_score"]["metric"] = "matthews_correlation"
    benchmarks["gsm8k"]["primary_score"]["lower_is_better"] = True
    original["benchmarks"].remove(benchmarks["knowledge"])
    doctored = tmp_path / "provider.yaml"
    doctored.write_text(yaml.safe_dump(original), "utf-8")

    done = check(FOLDER / "provider.yaml", doctored)

    assert done.returncode == 1, done.stderr[-2000:]
    assert sorted(line.split(": ")[:2] for line in done.stdout.splitlines()) == [
        ["aime24", "metric"],
        ["glue:cola", "primary metric"],
        ["gsm8k", "direction"],
        ["hellaswagg", "id"],
        ["knowledge", "id"],
        ["mmlu", "metric"],
    ]


def test_a_file_that_is_not_there_is_an_error_of_its_own(tmp_path: Path) -> None:
    done = check(tmp_path / "none.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "none.yaml: cannot be read" in done.stderr


def test_every_benchmark_of_evalhub_is_offered_and_marked_as_not_run(provider: Provider) -> None:
    marks = {each.id: "unverified" in (each.agent or {}) for each in provider.benchmarks}
    assert marks == {**dict.fromkeys(EVALHUB, True), **dict.fromkeys(OURS, False)}


def test_default_thresholds_lie_within_the_range_of_their_metric(provider: Provider) -> None:
    for benchmark in provider.benchmarks:
        score, criteria = benchmark.primary_score, benchmark.pass_criteria
        assert score is not None, benchmark.id
        assert score.range is not None, benchmark.id
        assert criteria is not None, benchmark.id
        assert score.metric in benchmark.metrics, benchmark.id
        assert score.lower_is_better is False, benchmark.id
        assert score.range[0] < criteria.threshold < score.range[1], benchmark.id


def test_our_own_benchmarks_have_as_many_examples_as_they_say(provider: Provider) -> None:
    for name in OURS:
        benchmark = provider.benchmark(name)
        assert benchmark is not None
        data = FOLDER / "tasks" / "data" / name / "test.jsonl"
        assert benchmark.dataset_size == len(data.read_text("utf-8").splitlines())
