"""Runs of the real ragas: scores that follow from the demo model's skill, and failures that must not become scores."""

from __future__ import annotations

import json
import math
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from evalhub_pipelines.demo_model import DemoModelServer, DemoModelSettings, running
from evalhub_pipelines.demo_model.embeddings import embed
from evalhub_pipelines.demo_model.model import DemoModel
from evalhub_pipelines.provider_testing import NOWHERE, Outcome, Trial, hanging

PROVIDER = Path(__file__).resolve().parents[1]
ROWS = [json.loads(line) for line in (PROVIDER / "data" / "rag.jsonl").read_text("utf-8").splitlines()]
SKILL = 0.6
KEY = "sk-test-2f8c11d0"
JUDGE_KEY = "sk-test-judge-77aa"
ONE_AT_A_TIME = 7
"""The seed of the entry whose requests must not overlap: requests tell by it whose they are."""


def answer(row: dict[str, Any]) -> str:
    """Return what the demo model says; the contexts do not matter to it."""
    return DemoModel(SKILL, 0, SKILL).answer(f"Question: {row['user_input']}\nAnswer:").text


def cosine(left: str, right: str) -> float:
    return math.fsum(a * b for a, b in zip(embed(left), embed(right), strict=True))


def found_at(row: dict[str, Any]) -> int | None:
    """Return which context holds the reference."""
    return next((at for at, text in enumerate(row["retrieved_contexts"]) if row["reference"] in text), None)


@dataclass
class Traffic:
    """The generation requests that a server got."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def watch(self, server: DemoModelServer) -> None:
        handle, lock, open_now = server.protocol.handle, threading.Lock(), defaultdict[int, int](int)

        def watched(method: str, path: str, authorization: str | None, body: bytes) -> Any:
            if not path.endswith("/chat/completions"):
                return handle(method, path, authorization, body)
            document = json.loads(body)
            seed = document["seed"]
            with lock:
                self.bodies.append(document)
                open_now[seed] += 1
                self.most_at_once[seed] = max(self.most_at_once[seed], open_now[seed])
            try:
                return handle(method, path, authorization, body)
            finally:
                with lock:
                    open_now[seed] -= 1

        server.protocol.handle = watched  # type: ignore[method-assign]


@dataclass(frozen=True)
class Run:
    outcomes: dict[str, Outcome]
    asked: Traffic
    judged: Traffic


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return Trial(PROVIDER, tmp_path_factory.mktemp("ragas"))


@pytest.fixture(scope="module")
def run(trial: Trial, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run everything that needs a good server in one start of ragas."""
    folder = tmp_path_factory.mktemp("rows")

    def rows(name: str, lines: list[dict[str, Any]]) -> dict[str, str]:
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
        return {"data": str(folder / name)}

    plain = {"user_input": "Which way?", "retrieved_contexts": ["Left."], "reference": "left"}
    given = {"user_input": "Who wrote it?", "reference": "Ann", "response": "It was Ann."}
    entities = ["context_entity_recall"]
    entries: dict[str, dict[str, Any]] = {
        "full": {"benchmark_id": "ragas_rag_full", "seed": 3},
        "backwards": {
            "benchmark_id": "ragas_rag_default",
            "seed": ONE_AT_A_TIME,
            "parameters": {
                **rows("backwards.jsonl", ROWS[::-1]),
                **{"num_concurrent": 1, "metric_options": {"answer_relevancy": {"strictness": 1}}},
            },
        },
        "overlap": {"benchmark_id": "ragas_text_overlap"},
        "first three": {"benchmark_id": "ragas_text_overlap", "num_examples": 3, "seed": 11},
        "given": {"benchmark_id": "ragas_text_overlap", "parameters": rows("given.jsonl", [given]), "seed": 13},
        "nothing to score": {
            "benchmark_id": "ragas_rag_default",
            "parameters": {**rows("plain.jsonl", [plain, *ROWS[:3]]), "metrics": entities},
            "primary_score": {"metric": entities[0], "lower_is_better": False, "range": [0, 1]},
        },
        "bad parameters": {
            "benchmark_id": "ragas_rag_default",
            "parameters": {"metrics": ["faith"], "limit": 3, "num_concurent": 2, "prompt": "Say something"},
        },
        "bad options": {
            "benchmark_id": "ragas_rag_default",
            "parameters": {"metric_options": {"faithfulness": {"strictness": 3}}},
        },
        "unknown benchmark": {"benchmark_id": "ragas_rag_defalt"},
        "bad rows": {
            "benchmark_id": "ragas_rag_default",
            "parameters": rows("bad.jsonl", [{"user_input": "Who?"}, {"user_input": 3}, ROWS[0]]),
        },
        "no file": {"benchmark_id": "ragas_rag_default", "parameters": {"data": str(folder / "none.jsonl")}},
    }
    entries["nothing to score, allowed"] = {**entries["nothing to score"], "max_error_rate": 0.25}
    asked, judged = Traffic(), Traffic()
    with (
        running(DemoModelSettings(skill=SKILL, api_key=KEY)) as server,
        running(DemoModelSettings(api_key=JUDGE_KEY)) as judge,
    ):
        asked.watch(server)
        judged.watch(judge)
        secrets = {"secret": {"api-key": KEY}, "judge_secret": {"api-key": JUDGE_KEY}}
        outcomes = trial.run_batch(list(entries.values()), server.base_url, judge_url=judge.base_url, **secrets)
    return Run(dict(zip(entries, outcomes, strict=True)), asked, judged)


def test_scores_follow_from_the_skill_of_the_model(run: Run) -> None:
    right = [answer(row) == row["reference"] for row in ROWS]
    assert 0 < sum(right) < len(ROWS)
    places = [found_at(row) for row in ROWS]
    retrieved = [place is not None for place in places]
    assert run.outcomes["full"].metrics == pytest.approx(
        {
            "faithfulness": fmean(a and b for a, b in zip(right, retrieved, strict=True)),
            "factual_correctness": fmean(right),
            "context_recall": fmean(retrieved),
            "context_entity_recall": fmean(retrieved),
            "context_precision": fmean(0 if place is None else 1 / (place + 1) for place in places),
            "answer_relevancy": fmean(cosine(row["user_input"], f"What is {answer(row)}?") for row in ROWS),
            "answer_similarity": fmean(cosine(row["reference"], answer(row)) for row in ROWS),
            "noise_sensitivity": 0.0,
        },
        abs=1e-6,
    )


def test_text_overlap_needs_no_judge_to_follow_the_skill(run: Run) -> None:
    metrics = run.outcomes["overlap"].metrics
    right = fmean(answer(row) == row["reference"] for row in ROWS)
    assert metrics["exact_match"] == pytest.approx(right)
    assert metrics["string_present"] == pytest.approx(fmean(row["reference"] in answer(row) for row in ROWS))
    assert metrics["rouge_score"] == pytest.approx(right)
    assert right < metrics["non_llm_string_similarity"] < 1


def test_samples_are_the_same_in_another_order_under_another_seed(run: Run) -> None:
    forth, back = run.outcomes["full"].samples, run.outcomes["backwards"].samples
    assert len(forth) == len(ROWS)
    assert [(sample["id"], sample["score"]) for sample in forth] == [(one["id"], one["score"]) for one in back]
    assert fmean(sample["score"] for sample in forth) == pytest.approx(run.outcomes["full"].score)


def test_seed_and_concurrency_reach_model_and_judge(run: Run) -> None:
    assert sum(body["seed"] == 3 for body in run.asked.bodies) == len(ROWS)
    assert sum(body["seed"] == 3 for body in run.judged.bodies) > len(ROWS)
    assert run.asked.most_at_once[ONE_AT_A_TIME] == run.judged.most_at_once[ONE_AT_A_TIME] == 1


def test_the_limit_bounds_what_is_asked(run: Run) -> None:
    results = run.outcomes["first three"].results
    assert (results.num_requested, results.num_evaluated) == (3, 3)
    assert sum(body["seed"] == 11 for body in run.asked.bodies) == 3


def test_a_response_that_is_given_is_scored_and_not_asked_for(run: Run) -> None:
    outcome = run.outcomes["given"]
    assert (outcome.metrics["string_present"], outcome.metrics["exact_match"]) == (1, 0)
    assert not [body for body in run.asked.bodies if body["seed"] == 13]
    assert outcome.environment["responses"] == {"generated": 0, "given": 1}


def test_a_judgement_of_nothing_is_an_error_and_no_score(run: Run) -> None:
    assert "nothing to score" in run.outcomes["nothing to score"].reason
    allowed = run.outcomes["nothing to score, allowed"]
    assert (allowed.results.num_evaluated, allowed.results.num_errors) == (3, 1)
    assert allowed.score == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bad parameters", ["unknown: faith", "limit: is the entry's own key", "mean num_concurrent?", "{user_input}"]),
        ("bad options", ["metric_options.faithfulness", "strictness"]),
        ("unknown benchmark", ["ragas_rag_defalt", "known: ragas_rag_default"]),
        ("bad rows", ["line 1: has no retrieved_contexts, which", "line 1: has no reference", "line 2.user_input"]),
        ("no file", ["none.jsonl: there is no such file"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_run_says_all_that_is_wrong(run: Run, name: str, expected: list[str]) -> None:
    reason = run.outcomes[name].reason
    assert [part for part in expected if part not in reason] == [], reason


def test_what_ran_is_recorded(run: Run) -> None:
    outcome = run.outcomes["full"]
    environment = outcome.environment
    assert environment["framework"] == {"name": "ragas", "version": "0.4.3"}
    assert environment["seed"] == 3
    assert set(environment["metric_hashes"]) == set(outcome.metrics)
    assert environment["lost_requests"] is None
    assert "127.0.0.1" not in json.dumps(environment)
    assert set(outcome.results.data_digests) == {"rag.jsonl"}
    usage = outcome.results.usage
    assert usage["requests"] == len(ROWS)
    assert usage["judge_requests"] > usage["requests"]
    assert usage["judge_prompt_tokens"] > 0
    kept = [json.loads(line) for line in (outcome.raw / "scores.jsonl").read_text("utf-8").splitlines()]
    assert [row["response"] for row in kept] == [answer(row) for row in ROWS]
    assert kept[0]["metrics"]["faithfulness"]["judge"]


@pytest.mark.parametrize(("name", "total"), [("overlap", 2 * len(ROWS)), ("given", 1)])
def test_progress_counts_answers_and_scores_to_the_end(run: Run, name: str, total: int) -> None:
    steps = [(event["completed"], event["total"]) for event in run.outcomes[name].events if event.get("total")]
    assert steps == sorted(steps)
    assert steps[-1] == (total, total)


def test_no_key_is_in_a_kept_file(run: Run) -> None:
    for outcome in run.outcomes.values():
        assert outcome.files_with(KEY) == outcome.files_with(JUDGE_KEY) == outcome.files_with("relay-") == []


def test_a_row_whose_request_was_lost_is_an_error_and_no_zero(trial: Trial, run: Run, tmp_path: Path) -> None:
    given = [{**row, "response": answer(row)} for row in ROWS]
    (tmp_path / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given), "utf-8")
    asks = {"benchmark_id": "ragas_text_overlap", "parameters": {"max_retries": 1}}
    judges = {
        "benchmark_id": "ragas_rag_default",
        "parameters": {"max_retries": 1, "data": str(tmp_path / "given.jsonl")},
    }
    entries = [{**entry, "max_error_rate": rate} for entry in (asks, judges) for rate in (0.9, 0.0)]
    with (
        running(DemoModelSettings(skill=1.0, error_rate=0.3)) as server,
        running(DemoModelSettings(error_rate=0.04)) as judge,
    ):
        answered, unanswered, judged, unjudged = trial.run_batch(entries, server.base_url, judge_url=judge.base_url)
    for outcome in (answered, judged):
        results = outcome.results
        assert 0 < results.num_errors < len(ROWS)
        assert results.num_evaluated == len(ROWS) - results.num_errors == len(outcome.samples)
        assert outcome.score == pytest.approx(fmean(sample["score"] for sample in outcome.samples))
    assert answered.metrics["exact_match"] == 1.0
    full = {sample["id"]: sample["score"] for sample in run.outcomes["full"].samples}
    assert {sample["id"]: sample["score"] for sample in judged.samples}.items() <= full.items()
    assert "HTTP 500" in judged.environment["lost_requests"]["judge"]
    assert "HTTP 500" in unanswered.reason
    assert "judge: 1 x HTTP 500" in unjudged.reason


def test_a_server_that_cannot_be_used_fails_with_the_reason(trial: Trial) -> None:
    quick = {"request_timeout": 1, "max_retries": 1}
    entry = {"benchmark_id": "ragas_text_overlap", "parameters": quick}
    assert "cannot connect" in trial.run_batch([entry], NOWHERE)[0].reason
    with hanging() as url:
        assert "no answer within 1 s" in trial.run_batch([entry], url)[0].reason
    with running(DemoModelSettings(api_key=KEY)) as server:
        refused = trial.run_batch([entry], server.base_url, {"api-key": "sk-wrong-5150"})[0]
        assert "HTTP 401" in refused.reason
        assert refused.files_with("sk-wrong-5150") == []
        judged = {**entry, "benchmark_id": "ragas_rag_default"}
        [lone] = trial.run_batch([judged], server.base_url, {"api-key": KEY})
        assert "needs a model that judges" in lone.reason
        [unjudged] = trial.run_batch([judged], server.base_url, {"api-key": KEY}, judge_url=NOWHERE)
        assert "127.0.0.1:9" in unjudged.reason
