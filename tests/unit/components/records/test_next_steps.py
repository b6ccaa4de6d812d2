"""What a reader is told to do, for each way in which a run can end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.records.next_steps import Step, next_steps
from evalhub_components.records.tracking import spool
from evalhub_components.run_directory import load
from evalhub_components.schema.run import Publication


def scored(value: float, stderr: float | None = None) -> dict[str, Any]:
    return {"metrics": {"acc": {"value": value, "stderr": stderr}}}


@pytest.fixture
def steps(tmp_path: Path, write_run: Callable[..., Path]) -> Callable[..., list[Step]]:
    def found(
        results: Mapping[int, Any],
        *,
        local: bool = True,
        header: Any = None,
        publication: Publication | None = None,
        raw: Mapping[str, str] | None = None,
        **run: Any,
    ) -> list[Step]:
        path = write_run(tmp_path / "run", results=results, **run)
        for name, content in (raw or {}).items():
            (path / "benchmarks" / "000-arc" / "raw" / name).write_text(content)
        loaded = load(path)
        verdict = loaded.judge().model_copy(update=header or {})
        return next_steps(loaded, verdict, local=local, publication=publication)

    return found


PUSHED = Publication(
    evidence_digest="sha256:" + "e" * 64,
    evidence_address=f"registry.example/evals@sha256:{'e' * 64}",
    evidence_pushed=True,
)


def test_a_run_that_passed_asks_for_nothing_but_to_keep_the_evidence(steps: Callable[..., list[Step]]) -> None:
    assert steps({}) == [Step("Nothing blocks this model.")]


def test_evidence_of_a_run_that_passed_comes_with_the_command_that_verifies_it(
    steps: Callable[..., list[Step]],
) -> None:
    first, keep = steps({}, publication=PUSHED)
    assert first.text == "Nothing blocks this model."
    assert keep.command == ("evalhub-kfp", "verify", PUSHED.evidence_address)


@pytest.mark.parametrize("local", [True, False])
def test_what_mlflow_did_not_take_is_sent_by_who_has_the_run_directory(
    steps: Callable[..., list[Step]], local: bool
) -> None:
    warning = f"MLflow at http://localhost:1 is silent; what would have been logged is in {spool.NAME}"
    found = steps({}, local=local, publication=Publication(warnings=["another", warning]))
    assert [step.command[:2] for step in found if step.command] == [("evalhub-kfp", "report")] * local


def test_a_benchmark_that_missed_its_threshold_in_a_run_that_passed_is_named(steps: Callable[..., list[Step]]) -> None:
    (only,) = steps({0: scored(0.4), 1: scored(0.9), 2: scored(0.9)})
    assert only.text.startswith("Nothing blocks this model. arc missed a threshold")


def test_a_score_that_is_too_low_names_what_costs_most_and_where_to_look(steps: Callable[..., list[Step]]) -> None:
    first, look, compare = steps({0: scored(0.1), 1: scored(0.5), 2: scored(0.9)})
    assert first.text == (
        "The overall score is 0.1 below its threshold. What costs it most, against a perfect score: arc (0.3), "
        "gsm8k (0.17), mmlu (0.033)."
    )
    assert "benchmarks/000-" in look.text
    assert compare.command[:2] == ("evalhub-kfp", "compare")
    assert compare.command[-1].endswith("/run")


def test_a_required_benchmark_that_failed_comes_first(steps: Callable[..., list[Step]]) -> None:
    first, look, _ = steps({1: scored(0.2)}, tasks={1: {"required": True}, 0: {"weight": 5}})
    assert first.text == "Start with gsm8k: it is required, and misses its threshold (0.2 < 0.5)."
    assert "gsm8k" in look.text


def test_where_questions_and_answers_are_is_said_by_name(steps: Callable[..., list[Step]]) -> None:
    _, look, _ = steps({0: scored(0.0), 1: scored(0.1)}, raw={"results_arc.json": "{}", "samples_arc.jsonl": "{}"})
    assert look.text == (
        "Look at what the model got wrong in arc: benchmarks/000-arc/samples.jsonl has the score of each example by "
        "its id; questions and answers are in benchmarks/000-arc/raw/samples_arc.jsonl."
    )


@pytest.mark.parametrize(
    ("publication", "seen"), [(None, True), (PUSHED, True), (Publication(), False)], ids=["evidence", "pushed", "none"]
)
def test_who_has_neither_folder_nor_evidence_is_told_no_path(
    steps: Callable[..., list[Step]], publication: Publication | None, seen: bool
) -> None:
    found = steps({0: scored(0.0), 1: scored(0.1)}, raw={"my_samples": ""}, local=False, publication=publication)
    assert ("benchmarks/000-arc/raw/my_samples" in found[1].text) == seen
    assert ("benchmarks/" in found[1].text) == seen


def test_benchmarks_of_one_id_are_told_apart(steps: Callable[..., list[Step]]) -> None:
    tasks = {n: {"benchmark_id": "arc", "required": n == 1} for n in (0, 1)}
    first, *_ = steps({1: scored(0.2)}, tasks=tasks)
    assert first.text.startswith("Start with arc (#1): ")


def test_a_missing_score_says_why_and_how_to_go_on(steps: Callable[..., list[Step]]) -> None:
    first, again = steps({1: {"status": "failed", "reason": "out of memory", "metrics": {}}})
    assert first.text.startswith("Cure why gsm8k has no score: failed: out of memory. Its log is benchmarks/")
    assert "/log.txt" in first.text
    assert again.command[:3] == ("evalhub-kfp", "run", "--resume")


def test_missing_scores_of_one_cause_are_one_step(steps: Callable[..., list[Step]]) -> None:
    cause = "no answer: " + "x" * 1000
    failed = {"status": "failed", "reason": cause, "metrics": {}}
    first, again = steps(dict.fromkeys(range(5), failed), benchmarks=tuple("abcde"))
    assert first.text.startswith("Cure why a, b, c and 2 more have no score: failed: no answer: xxx")
    assert first.text.endswith("xxx…. The first log is benchmarks/000-a/log.txt.")
    assert again.command[:2] == ("evalhub-kfp", "run")


def test_many_causes_of_missing_scores_are_counted(steps: Callable[..., list[Step]]) -> None:
    failed = {n: {"status": "failed", "reason": f"no {n}", "metrics": {}} for n in range(5)}
    found = steps(failed, benchmarks=tuple("abcde"))
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
    first, plan = steps(results, header={"verdict": "inconclusive", "score_se": 0.12, **verdict})
    assert said in first.text
    assert plan.command == ("evalhub-kfp", "plan", "SOURCE")


def test_a_run_that_its_own_limit_keeps_open_is_run_again_with_more_examples(steps: Callable[..., list[Step]]) -> None:
    uncertain = {"verdict": "inconclusive", "score": 0.6, "threshold": 0.5, "interval": (0.4, 0.8)}
    results = {index: scored(0.75, 0.1) for index in range(3)}
    _, again, limited = steps(results, header=uncertain, record={"num_examples": 3})
    assert again.command == ("evalhub-kfp", "run", "SOURCE", "--num-examples", "12")
    assert limited.text.startswith("Limited: ")


def test_benchmarks_without_a_standard_error_are_what_keeps_a_run_open(steps: Callable[..., list[Step]]) -> None:
    first, _ = steps({1: scored(0.8), 2: scored(0.8)}, header={"verdict": "inconclusive", "gate_mode": "assured"})
    assert first.text.startswith("gsm8k, mmlu gave no standard error, and gate mode assured needs one")
