"""The real deepeval against the demo model, which is the judge as well."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evalhub_pipelines.demo_model import DemoModelSettings, running
from evalhub_pipelines.demo_model.model import DemoModel
from evalhub_pipelines.provider_testing import NOWHERE, Outcome, Trial, hanging

PROVIDER = Path(__file__).resolve().parents[1]
KEY = "sk-test-8c02d4f1"
SKILL = 0.6

Records = list[dict[str, Any]]


def records_of(name: str) -> Records:
    return [json.loads(line) for line in (PROVIDER / "data" / name).read_text("utf-8").splitlines()]


def written(path: Path, records: Sequence[Any]) -> str:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), "utf-8")
    return str(path)


def is_right(record: dict[str, Any]) -> bool:
    """Return whether the demo model knows the answer: whatever stands around the question, it says the same."""
    return DemoModel(SKILL, 0, SKILL).answer(record["input"]).text == record["expected_output"]


QUESTIONS = records_of("questions.jsonl")
IN_CONTEXT = records_of("questions_in_context.jsonl")
TEXT = "The quay was closed in 1974. It is a market now. Farmers sell vegetables there."
SUMMARIES = [
    # what it says is in the text, which has three questions to answer
    {"id": "half", "input": TEXT, "actual_output": "It is a market now. The quay was closed in 1974."},
    {"id": "invented", "input": TEXT, "actual_output": "It is a market now. A bridge was opened."},
    {"id": "whole", "input": TEXT, "actual_output": TEXT},
]
STATEMENTS = [
    {"id": "answered", "input": "What is 2 + 3?", "actual_output": "5."},
    {"id": "beside it", "input": "What is 2 + 3?", "actual_output": "5. Bread is sold out by noon."},
    {"id": "no answer", "input": "What is 2 + 3?", "actual_output": "I do not know."},
    {"id": "asked", "input": "What is 17 + 25?"},
]
EMPTY = [
    {"input": "What is 2 + 3?", "expected_output": "5", "actual_output": "5"},
    {"input": "What is 2 + 4?", "expected_output": "6", "actual_output": "7"},
    {"input": "What is 2 + 5?", "expected_output": "7", "actual_output": " "},
    {"input": "What is 2 + 6?", "expected_output": "8", "actual_output": "8"},
]
WRONG = [["What is 2 + 3?"], {"input": 5}, {"input": "What is 2 + 3?", "expected": "5"}]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Run everything that one start of deepeval can run: a server, a key, the model as its own judge."""
    folder = tmp_path_factory.mktemp("deepeval")
    reverse = written(folder / "reverse.jsonl", QUESTIONS[::-1])
    summaries = written(folder / "summaries.jsonl", SUMMARIES)
    statements = written(folder / "statements.jsonl", STATEMENTS)
    empty = written(folder / "empty.jsonl", EMPTY)
    wrong = written(folder / "wrong.jsonl", WRONG)
    claimless = written(folder / "claimless.jsonl", [{**IN_CONTEXT[0], "actual_output": "I do not know."}])
    bad = {"promt": "?", "seed": 3, "prompt": "Go on", "concurrency": 0}
    entries: dict[str, dict[str, Any]] = {
        "exact": {"benchmark_id": "deepeval-exact-match"},
        "correctness": {"benchmark_id": "deepeval-correctness"},
        "reverse": {
            "benchmark_id": "deepeval-correctness",
            "parameters": {"data": reverse, "concurrency": 1},
            "num_examples": 7,
            "seed": 7,
        },
        "own criteria": {
            "benchmark_id": "deepeval-correctness",
            "parameters": {"criteria": "Is the answer right?", "system_prompt": "Be brief."},
            "num_examples": 3,
        },
        "faithfulness": {"benchmark_id": "deepeval-faithfulness", "parameters": {"include_reason": True}},
        "hallucination": {"benchmark_id": "deepeval-hallucination"},
        "summarization": {
            "benchmark_id": "deepeval-summarization",
            "parameters": {"data": summaries, "num_questions": 3},
        },
        "relevancy": {"benchmark_id": "deepeval-relevancy", "parameters": {"data": statements}},
        "empty allowed": {
            "benchmark_id": "deepeval-exact-match",
            "parameters": {"data": empty},
            "max_error_rate": 0.25,
        },
        "empty": {"benchmark_id": "deepeval-exact-match", "parameters": {"data": empty}},
        "claimless": {"benchmark_id": "deepeval-faithfulness", "parameters": {"data": claimless}},
        "bad parameters": {"benchmark_id": "deepeval-faithfulness", "parameters": bad},
        "unknown": {"benchmark_id": "deepeval-bias"},
        "relative": {"benchmark_id": "deepeval-correctness", "parameters": {"data": "own.jsonl"}},
        "wrong records": {"benchmark_id": "deepeval-correctness", "parameters": {"data": wrong}},
    }
    secret = {"api-key": KEY}
    with running(DemoModelSettings(skill=SKILL, api_key=KEY)) as server:
        url = server.base_url
        found = Trial(PROVIDER, folder).run_batch(
            list(entries.values()), url, secret, judge_url=url, judge_secret=secret
        )
    return dict(zip(entries, found, strict=True))


def test_scores_follow_the_skill(outcomes: dict[str, Outcome]) -> None:
    right = sum(map(is_right, QUESTIONS)) / len(QUESTIONS)
    assert 0 < right < 1
    assert outcomes["exact"].metrics == {"exact_match": right}
    assert outcomes["correctness"].metrics == {"correctness_score": right}
    assert outcomes["own criteria"].score == sum(map(is_right, QUESTIONS[:3])) / 3


def test_claims_are_held_against_the_context(outcomes: dict[str, Outcome]) -> None:
    right = sum(map(is_right, IN_CONTEXT))
    assert 0 < right < len(IN_CONTEXT)
    assert outcomes["faithfulness"].metrics == {
        "faithfulness_score": right / len(IN_CONTEXT),
        "claims_count": len(IN_CONTEXT),
        "supported_claims_count": right,
    }


def test_a_hallucination_is_a_contradicted_context_and_less_is_better(outcomes: dict[str, Outcome]) -> None:
    # one of a record's contexts is about its question, and that is the one a wrong answer contradicts
    shares = [0 if is_right(record) else 1 / len(record["retrieval_context"]) for record in IN_CONTEXT]
    assert outcomes["hallucination"].metrics == {
        "hallucination_score": pytest.approx(sum(shares) / len(shares)),
        "hallucination_detected": pytest.approx(sum(map(bool, shares)) / len(shares)),
    }


def test_recorded_outputs_are_judged_as_they_are(outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes["summarization"]
    scores = {sample["id"]: sample["score"] for sample in outcome.samples}
    assert scores == {"half": pytest.approx(2 / 3), "invented": pytest.approx(1 / 3), "whole": 1}
    assert outcome.score == pytest.approx(2 / 3)
    assert "requests" not in outcome.results.usage
    assert outcome.environment["recorded_outputs"] == 3


def test_only_outputs_that_are_not_recorded_are_asked_for(outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes["relevancy"]
    scores = {sample["id"]: sample["score"] for sample in outcome.samples}
    assert scores == {"answered": 1, "beside it": 0.5, "no answer": 0, "asked": 1}
    assert outcome.results.usage["requests"] == 1
    assert (outcome.environment["recorded_outputs"], outcome.environment["generated_outputs"]) == (3, 1)


def test_samples_are_the_same_in_every_order_and_with_every_seed(outcomes: dict[str, Outcome]) -> None:
    whole = {sample["id"]: sample for sample in outcomes["correctness"].samples}
    part = {sample["id"]: sample for sample in outcomes["reverse"].samples}
    assert list(part) == sorted(record["id"] for record in QUESTIONS[-7:])
    assert part == {name: whole[name] for name in part}
    assert outcomes["reverse"].environment["seed"] == 7
    assert outcomes["reverse"].results.num_requested == 7


def test_what_ran_is_recorded(outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes["faithfulness"]
    environment = outcome.environment
    assert environment["framework"] == {"name": "deepeval", "version": "4.3.1"}
    assert environment["judge"] == {"name": "demo-model", "temperature": 0}
    assert environment["judge_prompts"].startswith("sha256:")
    assert "{context}" in environment["prompts"][0]
    assert environment["settings"]["include_reason"] is True
    assert outcome.samples[0]["details"]["reason"]
    assert list(outcome.results.data_digests) == ["questions_in_context.jsonl"]
    # truths, claims, verdicts and a reason each
    assert (outcome.results.usage["requests"], outcome.results.usage["judge_requests"]) == (12, 48)
    [report] = outcome.raw.iterdir()
    assert len(json.loads(report.read_text("utf-8"))["testCases"]) == 12


def test_progress_counts_answers_and_judgements(outcomes: dict[str, Outcome]) -> None:
    events = [event for event in outcomes["correctness"].events if event.get("phase") == "running_evaluation"]
    assert events
    assert (events[-1]["completed"], events[-1]["total"]) == (40, 40)


def test_an_empty_output_is_an_error_and_no_zero(outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes["empty allowed"]
    assert outcome.score == pytest.approx(2 / 3)
    assert (outcome.results.num_evaluated, outcome.results.num_errors) == (3, 1)
    assert len(outcome.samples) == 3
    assert len({sample["id"] for sample in outcome.samples}) == 3
    assert list(outcome.environment["failures"].values()) == ["the output is empty"]
    assert "1 of 4 test cases have no score" in outcomes["empty"].reason


def test_an_output_without_claims_is_no_full_score(outcomes: dict[str, Outcome]) -> None:
    # deepeval itself scores it 1
    assert "finds no claim" in outcomes["claimless"].reason


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bad parameters", ["promt: unknown key (did you mean prompt?)", "seed: belongs", "{input}", "concurrency"]),
        ("unknown", ["deepeval-bias: is no benchmark", "deepeval-exact-match"]),
        ("relative", ["own.jsonl is relative", "test_data_ref"]),
        (
            "wrong records",
            ["line 1: must be an object", "line 2: input: must be text", "line 3: expected: unknown key", "is missing"],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_at_once(outcomes: dict[str, Outcome], name: str, expected: list[str]) -> None:
    reason = outcomes[name].reason
    assert [part for part in expected if part not in reason] == [], reason


def test_no_kept_file_has_the_key_or_the_relay_in_it(outcomes: dict[str, Outcome]) -> None:
    for outcome in outcomes.values():
        assert outcome.files_with(KEY) == []
        assert outcome.files_with("relay-") == []
        # the model's own address is the harness's to record
        assert set(outcome.files_with("127.0.0.1")) <= {"task.json"}


def test_a_model_that_cannot_be_asked_fails_with_the_reason(tmp_path: Path) -> None:
    trial = Trial(PROVIDER, tmp_path)
    short = {"request_timeout": 1, "tries": 1}
    entries = [{"benchmark_id": "deepeval-correctness", "parameters": short}]
    exact = [{"benchmark_id": "deepeval-exact-match", "parameters": short}]
    with running(DemoModelSettings(api_key=KEY)) as server, hanging() as silent:
        url, good, bad = server.base_url, {"api-key": KEY}, {"api-key": "sk-wrong"}
        [nowhere] = trial.run_batch(exact, NOWHERE)
        [wrong_key] = trial.run_batch(exact, url, bad)
        [slow] = trial.run_batch(exact, silent)
        [no_judge] = trial.run_batch(entries, url, good)
        [judge_nowhere] = trial.run_batch(entries, url, good, judge_url=NOWHERE)
        [unknown_model] = trial.run_batch(exact, url, good, model_name="other")
    assert "cannot connect: http://127.0.0.1:9" in nowhere.reason
    assert "HTTP 401" in wrong_key.reason
    assert wrong_key.files_with("sk-wrong") == []
    assert "no answer within 1 s" in slow.reason
    assert "needs a model that judges answers" in no_judge.reason
    assert "cannot connect: http://127.0.0.1:9" in judge_nowhere.reason
    assert "HTTP 404" in unknown_model.reason


def test_lost_requests_are_counted_and_never_scored(tmp_path: Path) -> None:
    lossy = {"parameters": {"tries": 1, "data": str(PROVIDER / "data" / "questions.jsonl")}}
    entries = [
        {"benchmark_id": "deepeval-exact-match", **lossy, "max_error_rate": 0.9},
        {"benchmark_id": "deepeval-exact-match", **lossy},
        {"benchmark_id": "deepeval-correctness", **lossy, "max_error_rate": 0.9},
        # the one file of the test data
        {"benchmark_id": "deepeval-correctness", "parameters": {"tries": 1}},
    ]
    data = tmp_path / "data"
    data.mkdir()
    written(data / "recorded.jsonl", [{**record, "actual_output": "42"} for record in QUESTIONS])
    with running(DemoModelSettings(skill=SKILL, error_rate=0.3)) as server:
        counted, failed, judged, judge_failed = Trial(PROVIDER, tmp_path).run_batch(
            entries, server.base_url, judge_url=server.base_url, test_data=data
        )
    for outcome in (counted, judged):
        results = outcome.results
        assert 0 < results.num_errors < 20
        assert results.num_evaluated == len(outcome.samples) == 20 - results.num_errors
        assert outcome.score == pytest.approx(sum(one["score"] for one in outcome.samples) / len(outcome.samples))
    right = {record["id"]: float(is_right(record)) for record in QUESTIONS}
    assert {one["id"]: one["score"] for one in counted.samples}.items() <= right.items()
    assert "HTTP 500" in counted.environment["lost_requests"]
    assert "HTTP 500" in judged.environment["lost_judge_requests"]
    assert "HTTP 500" in failed.reason
    assert "not judged: " in judge_failed.reason
    assert "HTTP 500" in judge_failed.reason
