from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.records.comparison import side_by_side
from evalhub_components.records.comparison.differences import in_brief
from evalhub_components.records.comparison.run_facts import facts_of, flattened
from evalhub_components.records.comparison.side_by_side import Against, Comparison, Result
from evalhub_components.run_directory import load
from evalhub_components.schema.plan import ResolvedScore

WriteRun = Callable[..., Path]


def compared(*paths: Path) -> Comparison:
    facts = []
    for number, path in enumerate(paths, 1):
        run = load(path)
        facts.append(facts_of(f"run {number}", run, run.judge()))
    return side_by_side.compare(facts)


def result(found: Comparison, label: str, position: int = 1) -> Result:
    (row,) = [row for row in found.benchmarks if row.label == label]
    there = row.results[position]
    assert there is not None
    return there


def against(found: Comparison, label: str, position: int = 1) -> Against:
    said = result(found, label, position).against_first
    assert said is not None
    return said


def differences(found: Comparison) -> dict[str, list[str | None]]:
    return {difference.fact: difference.values for difference in found.differences}


def brief(found: Comparison) -> list[tuple[str, list[str], list[str | None]]]:
    ids = {row.label: row.benchmark_id for row in found.benchmarks}
    return [(each.fact, each.benchmarks, each.values) for each in in_brief(found.differences, ids)]


def say(path: Path, **facts: Any) -> None:
    """Let the framework of every benchmark say something."""
    for environment in environments(path):
        edit(environment, lambda said: said.update(facts))


def acc(value: float, stderr: float | None = None) -> dict[str, Any]:
    return {"metrics": {"acc": {"value": value, "stderr": stderr}}}


def edit(path: Path, change: Callable[[Any], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def environments(path: Path) -> list[Path]:
    return sorted(path.glob("benchmarks/*/environment.json"))


def test_nothing_differs_between_equal_runs(tmp_path: Path, write_run: WriteRun) -> None:
    found = compared(write_run(tmp_path / "a"), write_run(tmp_path / "b"))
    assert found.differences == []
    assert {side_by_side.in_words(against(found, name)) for name in ("arc", "gsm8k", "mmlu")} == {"the same"}
    assert found.runs[1].against_first is not None
    assert found.runs[1].against_first.difference == 0


@pytest.mark.parametrize(
    ("task", "first", "other", "words"),
    [
        ({}, 0.5, 0.75, "better by 0.25"),
        ({}, 0.75, 0.5, "worse by 0.25"),
        ({"lower_is_better": True}, 0.5, 0.75, "worse by 0.25"),
        ({"lower_is_better": True}, 0.75, 0.5, "better by 0.25"),
        ({"range": (0, 100)}, 50, 75, "better by 0.25"),
        ({"lower_is_better": True, "range": (0, 1000)}, 250, 200, "better by 0.05"),
    ],
    ids=["higher", "lower", "lower is better, higher", "lower is better, lower", "percent", "milliseconds"],
)
def test_better_and_worse_follow_the_metrics_direction_and_range(
    tmp_path: Path, write_run: WriteRun, task: dict[str, Any], first: float, other: float, words: str
) -> None:
    tasks = {0: {"primary_score": ResolvedScore(metric="acc", **task), "threshold": None}}
    runs = [
        write_run(tmp_path / name, benchmarks=["arc"], tasks=tasks, results={0: acc(score)})
        for name, score in (("a", first), ("b", other))
    ]
    said = side_by_side.in_words(against(compared(*runs), "arc"))
    assert said.removesuffix(", no standard error") == words


@pytest.mark.parametrize(("other", "in_doubt"), [(0.595, True), (0.605, False), (0.405, True), (0.395, False)])
def test_a_difference_is_in_doubt_within_twice_the_combined_standard_error(
    tmp_path: Path, write_run: WriteRun, other: float, in_doubt: bool
) -> None:
    # 1.96 * sqrt(0.03^2 + 0.04^2) = 0.098
    runs = [
        write_run(tmp_path / "a", benchmarks=["arc"], results={0: acc(0.5, 0.03)}),
        write_run(tmp_path / "b", benchmarks=["arc"], results={0: acc(other, 0.04)}),
    ]
    found = compared(*runs)
    said = against(found, "arc")
    assert said.se == pytest.approx(0.05)
    assert said.in_doubt is in_doubt
    assert side_by_side.in_words(said).endswith(", in doubt") is in_doubt
    overall = found.runs[1].against_first
    assert overall is not None
    assert overall.in_doubt is in_doubt


def test_without_a_standard_error_nothing_is_said_of_doubt(tmp_path: Path, write_run: WriteRun) -> None:
    runs = [
        write_run(tmp_path / "a", benchmarks=["arc"], results={0: acc(0.5)}),
        write_run(tmp_path / "b", benchmarks=["arc"], results={0: acc(0.9, 0.01)}),
    ]
    said = against(compared(*runs), "arc")
    assert (said.se, said.in_doubt) == (None, None)
    assert side_by_side.in_words(said) == "better by 0.4, no standard error"


def test_scores_over_other_data_are_not_compared(tmp_path: Path, write_run: WriteRun) -> None:
    other = {"data_digests": {"data.jsonl": f"sha256:{'cd' * 32}"}, **acc(0.5)}
    found = compared(write_run(tmp_path / "a"), write_run(tmp_path / "b", results={1: other}))
    said = against(found, "gsm8k")
    assert (said.not_comparable, said.difference) == (["not the same data"], None)
    assert side_by_side.in_words(said) == "not comparable"
    assert side_by_side.in_words(against(found, "arc")) == "the same"
    overall = found.runs[1].against_first
    assert overall is not None
    assert (overall.not_comparable, overall.difference) == (["not the same data"], None)
    (difference,) = [each for each in found.differences if each.fact == "data"]
    assert (difference.benchmarks, difference.values) == (
        ["gsm8k"],
        [f"sha256:{'ab' * 32}", f"sha256:{'cd' * 32}"],
    )


def test_data_is_the_same_whatever_its_file_was_called(tmp_path: Path, write_run: WriteRun) -> None:
    moved = {"data_digests": {"/elsewhere/data.jsonl": f"sha256:{'ab' * 32}"}}
    found = compared(write_run(tmp_path / "a"), write_run(tmp_path / "b", results=dict.fromkeys(range(3), moved)))
    assert found.differences == []
    assert against(found, "arc").not_comparable == []


def test_the_data_that_was_fetched_counts_as_data(tmp_path: Path, write_run: WriteRun) -> None:
    runs = [write_run(tmp_path / name, benchmarks=["arc"]) for name in "ab"]
    for run, letter in zip(runs, "ef", strict=True):
        digest = f"sha256:{letter * 64}"
        edit(run / "benchmarks/000-arc/task.json", lambda task, digest=digest: task.update(test_data_digest=digest))
    assert against(compared(*runs), "arc").not_comparable == ["not the same data"]


def test_without_digests_the_examples_tell_whether_the_data_is_the_same(tmp_path: Path, write_run: WriteRun) -> None:
    runs = [write_run(tmp_path / name, results={n: {"data_digests": {}} for n in range(3)}) for name in "ab"]
    samples = [{"id": f"other {n}", "score": float(n > 0)} for n in range(4)]
    (runs[1] / "benchmarks/001-gsm8k/samples.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in samples))
    (runs[1] / "benchmarks/002-mmlu/samples.jsonl").unlink()
    found = compared(*runs)
    assert (against(found, "arc").not_comparable, against(found, "arc").cautions) == ([], [])
    assert against(found, "gsm8k").not_comparable == ["not the same examples"]
    assert against(found, "mmlu").cautions == ["it is not known whether the data is the same"]


@pytest.mark.parametrize(("second", "cautioned"), [(359.1, True), (220.0, False), (5.0, False)])
def test_scores_beyond_a_clipped_range_are_not_quietly_the_same(
    tmp_path: Path, write_run: WriteRun, second: float, cautioned: bool
) -> None:
    score = {"metric": "acc", "range": [0, 10], "range_overflow": "clip"}
    runs = []
    for name, value in (("a", 220.0), ("b", second)):
        results = {0: {"metrics": {"acc": {"value": value}}}}
        runs.append(
            write_run(tmp_path / name, benchmarks=["arc"], tasks={0: {"primary_score": score}}, results=results)
        )
        (runs[-1] / "benchmarks/000-arc/samples.jsonl").unlink()
    words = "both scores, 220 and 359.1, are beyond the range [0, 10], where they count the same"
    assert (words in against(compared(*runs), "arc").cautions) is cautioned


def test_fewer_examples_of_the_same_data_are_a_caution(tmp_path: Path, write_run: WriteRun) -> None:
    runs = [
        write_run(tmp_path / "a", benchmarks=["arc"]),
        write_run(tmp_path / "b", benchmarks=["arc"], results={0: {"num_evaluated": 2}}, record={"num_examples": 2}),
    ]
    found = compared(*runs)
    assert against(found, "arc").cautions == ["4 and 2 examples"]
    assert differences(found) == {"examples limit": ["none", "2"], "examples": ["all", "at most 2"]}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"num_few_shot": 5}, "not the same parameters"),
        ({"parameters": {"prompt": "b"}}, "not the same parameters"),
        ({"primary_score": ResolvedScore(metric="acc", lower_is_better=True)}, "not the same metric"),
        ({"primary_score": ResolvedScore(metric="acc", range=(0, 2))}, "not the same range"),
    ],
    ids=["few-shot", "parameters", "direction", "range"],
)
def test_a_benchmark_run_otherwise_stands_in_the_same_row_and_is_not_compared(
    tmp_path: Path, write_run: WriteRun, changes: dict[str, Any], why: str
) -> None:
    found = compared(write_run(tmp_path / "a"), write_run(tmp_path / "b", tasks={1: changes}))
    assert [row.label for row in found.benchmarks] == ["arc", "gsm8k", "mmlu"]
    assert against(found, "gsm8k").not_comparable == [why]
    assert against(found, "mmlu").not_comparable == []


def test_another_seed_is_a_caution(tmp_path: Path, write_run: WriteRun) -> None:
    found = compared(write_run(tmp_path / "a"), write_run(tmp_path / "b", tasks={1: {"seed": 7}}))
    assert against(found, "gsm8k").cautions == ["seeds 1234 and 7"]
    assert against(found, "gsm8k").difference == 0


def test_benchmarks_are_matched_wherever_they_stand(tmp_path: Path, write_run: WriteRun) -> None:
    one = write_run(tmp_path / "a", benchmarks=["arc", "gsm8k"], results={0: acc(0.5), 1: acc(0.25)})
    two = write_run(tmp_path / "b", benchmarks=["gsm8k", "new", "arc"], results={0: acc(0.25), 2: acc(0.5)})
    found = compared(one, two)
    assert [(row.label, [there is not None for there in row.results]) for row in found.benchmarks] == [
        ("arc", [True, True]),
        ("gsm8k", [True, True]),
        ("new", [False, True]),
    ]
    assert (against(found, "arc").difference, against(found, "gsm8k").difference) == (0, 0)
    assert result(found, "new").against_first is None
    overall = found.runs[1].against_first
    assert overall is not None
    assert overall.not_comparable == ["not the same benchmarks"]


def test_a_benchmark_listed_twice_finds_the_one_with_its_settings(tmp_path: Path, write_run: WriteRun) -> None:
    few, none = {"num_few_shot": 5}, {"num_few_shot": 0}
    one = write_run(
        tmp_path / "a", benchmarks=["arc", "arc"], tasks={0: none, 1: few}, results={0: acc(0.2), 1: acc(0.9)}
    )
    two = write_run(
        tmp_path / "b", benchmarks=["arc", "arc"], tasks={0: few, 1: none}, results={0: acc(0.9), 1: acc(0.2)}
    )
    found = compared(one, two)
    assert [[there and there.score for there in row.results] for row in found.benchmarks] == [[0.2, 0.2], [0.9, 0.9]]
    assert len({row.label for row in found.benchmarks}) == 2


def test_every_run_is_compared_with_the_first(tmp_path: Path, write_run: WriteRun) -> None:
    scores = {"a": 0.5, "b": 0.75, "c": 0.25}
    runs = [write_run(tmp_path / name, benchmarks=["arc"], results={0: acc(score)}) for name, score in scores.items()]
    found = compared(*runs)
    assert result(found, "arc", 0).against_first is None
    assert [against(found, "arc", position).difference for position in (1, 2)] == [0.25, -0.25]


def test_a_benchmark_without_a_score_is_shown_and_not_compared(tmp_path: Path, write_run: WriteRun) -> None:
    failed = {"status": "failed", "reason": "out of memory", "metrics": {}, "data_digests": {}}
    found = compared(write_run(tmp_path / "a"), write_run(tmp_path / "b", results={1: failed}))
    there = result(found, "gsm8k")
    assert (there.outcome, there.score) == ("error", None)
    assert "out of memory" in there.reason
    assert (against(found, "gsm8k").difference, against(found, "gsm8k").not_comparable) == (None, [])
    assert found.runs[1].verdict == "error"
    assert "data" not in differences(found)


def test_what_differs_is_named_with_its_values_once(tmp_path: Path, write_run: WriteRun) -> None:
    one = write_run(tmp_path / "a", record={"declared_environment": {"engine": "vllm 0.10", "gpu": {"count": 1}}})
    two = write_run(tmp_path / "b", record={"declared_environment": {"engine": "vllm 0.11", "gpu": {"count": 1}}})
    for path in environments(two):
        edit(path, lambda facts: facts["python"].update(version="3.13.0"))
        edit(path, lambda facts: facts.update(packages={"numpy": "2.0"}, accelerators=[{"name": "L40S", "uuid": "x"}]))
    edit(environments(two)[1], lambda facts: facts["hardware"].update(cpu="y"))
    edit(two / "fingerprint.json", lambda found: found.update(answers=f"sha256:{'2' * 64}"))
    found = compared(one, two)
    assert [(each.fact, each.benchmarks, each.values) for each in found.differences] == [
        ("fingerprint answers", [], ["none", f"sha256:{'2' * 64}"]),
        ("declared engine", [], ["vllm 0.10", "vllm 0.11"]),
        ("python.version", ["arc", "gsm8k", "mmlu"], ["3.12.1", "3.13.0"]),
        ("accelerators[0].name", ["arc", "gsm8k", "mmlu"], [None, "L40S"]),
        ("hardware.cpu", ["gsm8k"], ["x", "y"]),
        ("packages.numpy", ["arc", "gsm8k", "mmlu"], [None, "2.0"]),
    ]


FAILED = {"status": "failed", "reason": "out of memory", "metrics": {}, "data_digests": {}}


def test_what_a_failed_benchmark_could_not_say_is_one_gap_and_no_difference(
    tmp_path: Path, write_run: WriteRun
) -> None:
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b"), write_run(tmp_path / "c", results={1: FAILED})]
    for run in runs:
        say(run, framework={"name": "lm-eval"}, model_args={"max_retries": 3, "timeout": 9}, data_digests={}, seed=1)
    # as a failed benchmark leaves it: the machine alone
    edit(environments(runs[2])[1], lambda said: [said.pop(name) for name in ("framework", "model_args")])
    found = compared(*runs)
    assert found.differences == []
    assert [(gap.run, gap.record, gap.benchmarks) for gap in found.missing] == [
        (2, "settings of the framework", ["gsm8k"])
    ]


def test_a_run_without_environments_has_one_gap(tmp_path: Path, write_run: WriteRun) -> None:
    runs = [write_run(tmp_path / name) for name in "abc"]
    for run in runs:
        say(run, framework={"name": "lm-eval"})
    for environment in environments(runs[1])[:2]:
        environment.unlink()
    edit(environments(runs[2])[0], lambda said: said["python"].update(version="3.13"))
    found = compared(*runs)
    assert [(gap.run, gap.record, gap.benchmarks) for gap in found.missing] == [(1, "environment", ["arc", "gsm8k"])]
    assert differences(found) == {"python.version": ["3.12.1", None, "3.13"]}


def test_what_no_run_has_on_record_is_no_gap(tmp_path: Path, write_run: WriteRun) -> None:
    runs = [write_run(tmp_path / name, benchmarks=["arc"]) for name in "ab"]
    for run in runs:
        environments(run)[0].unlink()
    assert compared(*runs).missing == []


def test_in_brief_facts_named_after_benchmarks_are_one(tmp_path: Path, write_run: WriteRun) -> None:
    runs = [write_run(tmp_path / name) for name in "ab"]
    for run, version in zip(runs, "12", strict=True):
        for path, name in zip(environments(run), ("arc", "gsm8k", "mmlu"), strict=True):
            hashes = {name: f"{name} {version}"} if name != "mmlu" else {"mmlu_law": version, "mmlu_art": version}
            edit(path, lambda said, hashes=hashes: said.update(task_hashes=hashes))
    found = compared(*runs)
    assert len(found.differences) == 4
    assert brief(found) == [("task_hashes", ["arc", "gsm8k", "mmlu"], ["arc 1 and 2 more", "arc 2 and 2 more"])]


def test_in_brief_other_settings_of_the_framework_keep_their_values(tmp_path: Path, write_run: WriteRun) -> None:
    # one benchmark is called as the settings begin
    runs = [write_run(tmp_path / name, benchmarks=["max", "arc"]) for name in "ab"]
    say(runs[0], model_args={"maximum": 256, "timeout": 60})
    say(runs[1], model_args={"maximum": 512, "timeout": 90})
    assert brief(compared(*runs)) == [
        ("model_args.maximum", ["max", "arc"], ["256", "512"]),
        ("model_args.timeout", ["max", "arc"], ["60", "90"]),
    ]


def test_in_brief_what_only_some_frameworks_say_is_one(tmp_path: Path, write_run: WriteRun) -> None:
    runs = [write_run(tmp_path / name) for name in "abc"]
    for run in runs:
        say(run, framework={"name": "lm-eval"})
    say(runs[1], model_args={"a": 1, "b": 2, "c": 3})
    found = compared(*runs)
    assert len(found.differences) == 3
    assert brief(found) == [("model_args.a and 2 more", ["arc", "gsm8k", "mmlu"], [None, "on record", None])]


def test_in_brief_criteria_and_machines_stay_as_they_are(tmp_path: Path, write_run: WriteRun) -> None:
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", tasks={0: {"weight": 2.0}, 1: {"required": True}})]
    edit(environments(runs[1])[0], lambda said: said["hardware"].update(cpu="y"))
    edit(environments(runs[1])[1], lambda said: said["hardware"].update(cpu="z"))
    found = compared(*runs)
    assert brief(found) == [(each.fact, each.benchmarks, each.values) for each in found.differences]
    assert len(found.differences) == 5


def test_of_a_servers_headers_only_those_count_that_describe_it(tmp_path: Path, write_run: WriteRun) -> None:
    runs = [write_run(tmp_path / name) for name in "ab"]
    for run, version, seconds in zip(runs, ("0.10", "0.11"), (11, 12), strict=True):
        headers = {
            "server": f"vllm/{version}",
            "date": f"Sat, 21 Nov 2026 15:40:{seconds} GMT",
            "content-length": str(seconds),
            "x-request-id": str(seconds),
            "openai-processing-ms": str(seconds),
        }
        observed = {"headers": headers, "model": {"id": "tiny", "created": seconds}}
        edit(run / "fingerprint.json", lambda found, observed=observed: found.update(observed=observed))
    assert differences(compared(*runs)) == {
        "server headers.server": ["vllm/0.10", "vllm/0.11"],
        "server model.created": ["11", "12"],
    }


def test_the_models_address_in_a_frameworks_settings_is_no_difference_of_its_own(
    tmp_path: Path, write_run: WriteRun
) -> None:
    runs = []
    for name, url in (("a", "http://localhost:1/v1"), ("b", "http://localhost:2/v1")):
        runs.append(write_run(tmp_path / name, benchmarks=["arc"], record={"model_url": url}))
        edit(
            environments(runs[-1])[0],
            lambda facts, url=url: facts.update(
                model_args={"base_url": f"{url}/completions", "server": url.removesuffix("/v1")}
            ),
        )
    assert set(differences(compared(*runs))) == {"model url"}


def test_what_a_framework_measured_is_no_difference_in_how(tmp_path: Path, write_run: WriteRun) -> None:
    runs = []
    for speed in (1.5, 2.5):
        runs.append(write_run(tmp_path / str(speed), benchmarks=["arc"]))
        edit(environments(runs[-1])[0], lambda facts, speed=speed: facts.update(measurements=[{"speed": speed}]))
    assert differences(compared(*runs)) == {}


def test_criteria_that_differ_are_named(tmp_path: Path, write_run: WriteRun) -> None:
    found = compared(
        write_run(tmp_path / "a"), write_run(tmp_path / "b", tasks={0: {"weight": 2.0}, 1: {"required": True}})
    )
    assert [(each.fact, each.benchmarks, each.values) for each in found.differences if each.fact != "plan"] == [
        ("weight", ["arc"], ["1", "2"]),
        ("weight", ["gsm8k"], ["1", "1, required"]),
    ]
    overall = found.runs[1].against_first
    assert overall is not None
    assert overall.not_comparable == ["not the same weights"]


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, '{"a": NaN', "[1, 2]", '{"a": ' * 500 + "1" + "}" * 500, "\0"],
    ids=["nested too deeply", "no JSON", "no object", "deep", "binary"],
)
def test_an_environment_that_cannot_be_read_is_left_out(tmp_path: Path, write_run: WriteRun, content: str) -> None:
    runs = [write_run(tmp_path / name, benchmarks=["arc"]) for name in "ab"]
    environments(runs[1])[0].write_text(content)
    found = compared(*runs)
    assert against(found, "arc").difference == 0
    assert len(json.dumps(found.as_json())) < 10_000


def test_an_environment_that_is_a_link_is_not_followed(tmp_path: Path, write_run: WriteRun) -> None:
    runs = [write_run(tmp_path / name, benchmarks=["arc"]) for name in "ab"]
    (tmp_path / "secret.json").write_text('{"key": "secret"}')
    environments(runs[1])[0].unlink()
    (runs[1] / "benchmarks/000-arc/environment.json").symlink_to(tmp_path / "secret.json")
    assert "secret" not in json.dumps(compared(*runs).as_json())


def test_values_are_plain_numbers_in_json(tmp_path: Path, write_run: WriteRun) -> None:
    found = compared(write_run(tmp_path / "a"), write_run(tmp_path / "b", results={0: acc(0.5, 0.1)}))
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert document["method"] == "unpaired"
    cell = document["benchmarks"][0]["results"][1]
    assert cell["against_first"]["difference"] == -0.25
    assert cell["interval"] == pytest.approx([0.5 - 1.6449 * 0.1, 0.5 + 1.6449 * 0.1], abs=1e-3)
    assert math.isclose(document["confidence"], 0.95)


def test_nested_values_are_flattened_by_their_path() -> None:
    assert flattened({"b": [{"c": 1}, "x"], "a": None, "d": {}}) == {"b[0].c": "1", "b[1]": "x", "d": "{}"}
