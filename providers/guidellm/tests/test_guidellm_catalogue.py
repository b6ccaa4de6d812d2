"""provider.yaml against the installed guidellm, and against what its ranges and thresholds promise."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import environments

FOLDER = Path(__file__).resolve().parents[1]
PROVIDER_YAML = FOLDER / "provider.yaml"


def check(file: Path) -> subprocess.CompletedProcess[str]:
    """Run check_catalogue.py in the environment that has guidellm."""
    environ = {**os.environ, "PYTHONPATH": str(environments.components_path())}
    command = [str(environments.python_of(FOLDER)), "-B", str(FOLDER / "check_catalogue.py"), str(file)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider.model_validate(yaml.safe_load(PROVIDER_YAML.read_text(encoding="utf-8")))


def test_provider_yaml_differs_from_the_package_only_where_it_was_doctored(tmp_path: Path) -> None:
    original = yaml.safe_load(PROVIDER_YAML.read_text(encoding="utf-8"))
    benchmarks = {each["id"]: each for each in original["benchmarks"]}
    benchmarks["sweep"]["id"] = "swep"
    benchmarks["constant"]["metrics"].append("p50_ttft_ms")
    benchmarks["poisson"]["primary_score"]["metric"] = "mean_ttft_seconds"
    benchmarks["time_to_first_token"]["primary_score"]["lower_is_better"] = False
    doctored = tmp_path / "provider.yaml"
    doctored.write_text(yaml.safe_dump(original), encoding="utf-8")

    done = check(doctored)

    assert done.returncode == 1, done.stderr[-2000:]
    assert sorted(line.rsplit(": ", 1)[0] for line in done.stdout.splitlines()) == [
        "constant: metric",
        "poisson: direction",
        "poisson: metric",
        "sweep: id",
        "swep: id",
        "time_to_first_token: direction",
    ]


def test_all_benchmarks_of_evalhub_are_there_with_their_metric_direction_and_threshold(provider: Provider) -> None:
    loads = ("sweep", "throughput", "concurrent", "constant", "poisson", "comprehensive_perf_test")
    wanted = dict.fromkeys(loads, ("output_tokens_per_second", False, 10.0))
    wanted["quick_perf_test"] = ("requests_per_second", False, 1.0)
    for name, expected in wanted.items():
        benchmark = provider.benchmark(name)
        assert benchmark is not None, name
        assert benchmark.primary_score is not None, name
        assert benchmark.pass_criteria is not None, name
        score = benchmark.primary_score
        assert (score.metric, score.lower_is_better, benchmark.pass_criteria.threshold) == expected, name
        assert {"requests_per_second", "mean_ttft_ms", "mean_itl_ms"} <= set(benchmark.metrics), name


def test_a_server_faster_than_the_range_is_not_refused(provider: Provider) -> None:
    for benchmark in provider.benchmarks:
        score, criteria = benchmark.primary_score, benchmark.pass_criteria
        assert score is not None, benchmark.id
        assert score.range is not None, benchmark.id
        assert criteria is not None, benchmark.id
        assert score.range_overflow == "clip", benchmark.id
        assert score.range[0] < criteria.threshold < score.range[1], benchmark.id


def test_the_prompts_are_as_many_as_the_catalogue_says_and_all_different(provider: Provider) -> None:
    prompts = [json.loads(line)["prompt"] for line in (FOLDER / "data" / "prompts.jsonl").read_text().splitlines()]
    assert len(set(prompts)) == len(prompts)
    assert {benchmark.dataset_size for benchmark in provider.benchmarks} == {len(prompts)}
