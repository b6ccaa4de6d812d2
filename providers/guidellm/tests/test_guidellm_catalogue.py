"""provider.yaml against the installed guidellm, and against what its ranges and thresholds promise."""

from __future__ import annotations

import json
from pathlib import Path

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import documents
from evalhub_pipelines.provider_testing import check_catalogue, defaults_of, entries_of

FOLDER = Path(__file__).resolve().parents[1]
PROVIDER = documents.load(FOLDER / "provider.yaml", Provider)


def test_only_what_was_altered_is_found_wrong() -> None:
    benchmarks = entries_of(FOLDER)
    benchmarks["sweep"]["id"] = "swep"
    benchmarks["constant"]["metrics"].append("p50_ttft_ms")
    benchmarks["poisson"]["primary_score"]["metric"] = "mean_ttft_seconds"
    benchmarks["time_to_first_token"]["primary_score"]["lower_is_better"] = False

    found = check_catalogue(FOLDER, benchmarks.values())

    assert found.status == 1
    assert found.kinds == [
        "constant: metric",
        "poisson: direction",
        "poisson: metric",
        "sweep: id",
        "swep: id",
        "time_to_first_token: direction",
    ]


def test_all_benchmarks_of_evalhub_are_there_with_their_metric_direction_and_threshold() -> None:
    loads = ("sweep", "throughput", "concurrent", "constant", "poisson", "comprehensive_perf_test")
    wanted = dict.fromkeys(loads, ("output_tokens_per_second", False, 10.0))
    wanted["quick_perf_test"] = ("requests_per_second", False, 1.0)
    defaults = defaults_of(PROVIDER)
    for name, expected in wanted.items():
        benchmark = PROVIDER.benchmark(name)
        assert benchmark is not None, name
        default = defaults[benchmark.id]
        assert (default.metric, default.lower_is_better, default.threshold) == expected, name
        assert {"requests_per_second", "mean_ttft_ms", "mean_itl_ms"} <= set(benchmark.metrics), name


def test_a_server_faster_than_the_range_is_not_refused() -> None:
    overflow = {benchmark.primary_score and benchmark.primary_score.range_overflow for benchmark in PROVIDER.benchmarks}
    assert overflow == {"clip"}
    for name, default in defaults_of(PROVIDER).items():
        assert default.range[0] < default.threshold < default.range[1], name


def test_the_prompts_are_as_many_as_the_catalogue_says_and_all_different() -> None:
    prompts = [json.loads(line)["prompt"] for line in (FOLDER / "data" / "prompts.jsonl").read_text().splitlines()]
    assert len(set(prompts)) == len(prompts)
    sizes = {benchmark.id: benchmark.dataset_size for benchmark in PROVIDER.benchmarks}
    assert sizes.pop("quick_perf_test") == 20
    assert set(sizes.values()) == {len(prompts)}
