"""provider.yaml against EvalHub's catalogue and the installed LightEval."""

from __future__ import annotations

from pathlib import Path

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import documents
from evalhub_pipelines.provider_testing import check_catalogue, defaults_of, entries_of

FOLDER = Path(__file__).resolve().parents[1]
PROVIDER = documents.load(FOLDER / "provider.yaml", Provider)
EVALHUB = {
    *("commonsense_reasoning", "scientific_reasoning", "physical_commonsense", "truthfulness", "math", "knowledge"),
    *("language_understanding", "hellaswag", "winogrande", "openbookqa", "arc:easy", "arc:challenge", "piqa"),
    *("truthfulqa:mc", "truthfulqa:gen", "gsm8k", "math:algebra", "math:counting_and_probability", "aime24", "aime25"),
    *("mmlu", "triviaqa", "glue:cola", "glue:sst2", "glue:mrpc", "math_500", "gpqa:diamond", "lcb:codegeneration_v6"),
}
OURS = {"quickstart_arithmetic", "quickstart_comparison"}


def test_only_what_was_altered_is_found_wrong() -> None:
    benchmarks = entries_of(FOLDER)
    benchmarks["hellaswag"]["id"] = "hellaswagg"
    benchmarks["mmlu"]["metrics"].append("acc_norm")
    benchmarks["aime24"]["metrics"].remove("avg@1")
    benchmarks["glue:cola"]["primary_score"]["metric"] = "matthews_correlation"
    benchmarks["gsm8k"]["primary_score"]["lower_is_better"] = True
    del benchmarks["knowledge"]

    found = check_catalogue(FOLDER, benchmarks.values())

    assert found.status == 1
    assert found.kinds == [
        "aime24: metric",
        "glue:cola: primary metric",
        "gsm8k: direction",
        "hellaswagg: id",
        "knowledge: id",
        "mmlu: metric",
    ]


def test_every_benchmark_of_evalhub_is_offered_and_marked_as_not_run() -> None:
    marks = {each.id: "unverified" in (each.agent or {}) for each in PROVIDER.benchmarks}
    assert marks == {**dict.fromkeys(EVALHUB, True), **dict.fromkeys(OURS, False)}


def test_default_thresholds_lie_within_the_range_of_a_metric_that_is_reported() -> None:
    for name, default in defaults_of(PROVIDER).items():
        benchmark = PROVIDER.benchmark(name)
        assert benchmark is not None, name
        assert default.metric in benchmark.metrics, name
        assert default.lower_is_better is False, name
        assert default.range[0] < default.threshold < default.range[1], name


def test_our_own_benchmarks_have_as_many_examples_as_they_say() -> None:
    for name in OURS:
        benchmark = PROVIDER.benchmark(name)
        assert benchmark is not None
        data = FOLDER / "tasks" / "data" / name / "test.jsonl"
        assert benchmark.dataset_size == len(data.read_text("utf-8").splitlines())
