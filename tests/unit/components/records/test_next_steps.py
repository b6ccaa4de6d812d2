"""What a reader is told to do, for each way in which a run can end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.records.next_steps import Step, next_steps
from evalhub_components.run_directory import load


def scored(value: float, stderr: float | None = None) -> dict[str, Any]:
    return {"metrics": {"acc": {"value": value, "stderr": stderr}}}


@pytest.fixture
def steps(tmp_path: Path, write_run: Callable[..., Path]) -> Callable[..., list[Step]]:
    def found(results: Mapping[int, Any], *, local: bool = True, header: Any = None, **run: Any) -> list[Step]:
        path = write_run(tmp_path / "run", results=results, **run)
        loaded = load(path)
        verdict = loaded.judge()
        return next_steps(loaded, verdict.model_copy(update=header or {}), local=local)

    return found


def test_a_run_that_passed_asks_for_nothing(steps: Callable[..., list[Step]]) -> None:
    assert steps({}) == []


def test_a_benchmark_that_missed_its_threshold_in_a_run_that_passed_is_named(steps: Callable[..., list[Step]]) -> None:
    (only,) = steps({0: scored(0.4), 1: scored(0.9), 2: scored(0.9)})
    assert only.text.startswith("Nothing blocks this model. arc missed a threshold")


def test_a_score_that_is_too_low_names_what_costs_most_and_where_to_look(steps: Callable[..., list[Step]]) -> None:
    first, look, compare = steps({0: scored(0.1), 1: scored(0.5), 2: scored(0.9)})
    assert (
        first.text
        == "The overall score is 0.1 below its threshold. What costs it most: arc (0.3), gsm8k (0.17), mmlu (0.033)."
    )
    assert "benchmarks/000-" in look.text
    assert compare.command[:2] == ("evalhub-kfp", "compare")
    assert compare.command[-1].endswith("/run")


def test_a_required_benchmark_that_failed_comes_first(steps: Callable[..., list[Step]]) -> None:
    first, look, _ = steps({1: scored(0.2)}, tasks={1: {"required": True}, 0: {"weight": 5}})
    assert first.text == "Start with gsm8k: it is required, and misses its threshold (0.2 < 0.5)."
    assert "gsm8k" in look.text


def test_a_missing_score_says_why_and_how_to_go_on(steps: Callable[..., list[Step]]) -> None:
    first, again = steps({1: {"status": "failed", "reason": "out of memory", "metrics": {}}})
    assert first.text.startswith("Cure why gsm8k has no score: failed: out of memory. Its log is benchmarks/")
    assert "/log.txt" in first.text
    assert again.command[:3] == ("evalhub-kfp", "run", "--resume")


def test_many_missing_scores_are_counted(steps: Callable[..., list[Step]]) -> None:
    failed = {"status": "failed", "reason": "no", "metrics": {}}
    found = steps(dict.fromkeys(range(5), failed), benchmarks=tuple("abcde"))
    assert [step.text[:9] for step in found] == ["Cure why "] * 3 + ["2 more be", "Then go o"]


def test_who_has_no_run_directory_gets_no_command_that_names_one(steps: Callable[..., list[Step]]) -> None:
    assert all(not step.command for step in steps({0: scored(0.0), 1: scored(0.1)}, local=False))


def test_a_limited_run_says_so_last(steps: Callable[..., list[Step]]) -> None:
    found = steps({}, record={"num_examples": 1})
    assert found[-1].text.startswith("Limited: fewer examples")


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ({"score": 0.6, "threshold": 0.5, "interval": (0.4, 0.8)}, "About 4 times as many examples"),
        ({"score": 0.5, "threshold": 0.5, "interval": (0.4, 0.6)}, "No number of examples"),
    ],
    ids=["near", "on it"],
)
def test_an_uncertain_score_says_how_many_examples_would_decide(
    steps: Callable[..., list[Step]], verdict: dict[str, Any], said: str
) -> None:
    results = {index: scored(0.75, 0.1) for index in range(3)}
    (only,) = steps(results, header={"verdict": "inconclusive", "score_se": 0.12, **verdict})
    assert said in only.text


def test_benchmarks_without_a_standard_error_are_what_keeps_a_run_open(steps: Callable[..., list[Step]]) -> None:
    (only,) = steps({1: scored(0.8), 2: scored(0.8)}, header={"verdict": "inconclusive", "gate_mode": "assured"})
    assert only.text.startswith("gsm8k, mmlu gave no standard error, and gate mode assured needs one")
