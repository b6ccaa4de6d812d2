"""Runs of the real clear: scores that follow from the demo model's skill, and failures that must not become scores."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from evalhub_pipelines import environments
from evalhub_pipelines.demo_model import DemoModelServer, DemoModelSettings, running
from evalhub_pipelines.demo_model.model import UNKNOWN, DemoModel
from evalhub_pipelines.demo_model.questions import last_question
from evalhub_pipelines.provider_testing import NOWHERE, Outcome, Trial, hanging

PROVIDER = Path(__file__).resolve().parents[1]
TRACES = PROVIDER / "data" / "traces"
ROWS = [json.loads(line) for line in (PROVIDER / "data" / "responses.jsonl").read_text("utf-8").splitlines()]
GIVEN = [
    {"id": "number", "model_input": "What is 7 plus 5?", "reference": "12", "response": "12"},
    {"id": "fraction", "model_input": "What is 7 plus 6?", "reference": "13", "response": "3.5"},
    {"id": "word", "model_input": "Which word is the longest: nil or None?", "reference": "None", "response": "None"},
]
"""Rows with responses that pandas would read as numbers and as nothing at all."""
SKILL = 0.6
KEY = "sk-test-90c41b7e"
JUDGE_KEY = "sk-test-judge-31d0"


def questions() -> dict[str, tuple[str, str]]:
    """Return agent and question by the step's id."""
    found = {}
    for path in sorted(TRACES.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                asked = json.loads(row["model_input"])[-1]["content"]
                found[f"{row['task_id']}_{row['step_in_trace_general']}"] = (row["Name"], asked)
    return found


def is_right(question: str) -> bool:
    known = last_question(question)
    return known is not None and DemoModel(SKILL, 0, SKILL).answer(question).text == known.right


@dataclass
class Traffic:
    """The generation requests that a server got."""

    bodies: list[dict[str, Any]] = field(default_factory=list)

    def watch(self, server: DemoModelServer) -> None:
        handle = server.protocol.handle

        def watched(method: str, path: str, authorization: str | None, body: bytes) -> Any:
            if path.endswith("/chat/completions"):
                self.bodies.append(json.loads(body))
            return handle(method, path, authorization, body)

        server.protocol.handle = watched  # type: ignore[method-assign]


@dataclass(frozen=True)
class Run:
    outcomes: dict[str, Outcome]
    asked: Traffic
    judged: Traffic


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return Trial(PROVIDER, tmp_path_factory.mktemp("clear"))


@pytest.fixture(scope="module")
def run(trial: Trial, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run everything that needs good servers."""
    folder = tmp_path_factory.mktemp("data")
    tracer = folder / "tracer"
    tracer.mkdir()
    [package] = (environments.environment_of(PROVIDER) / "lib").glob("python*/site-packages/clear_eval")
    samples = sorted((package / "sample_data/agentic/research_agent_traces/mlflow").glob("*.json"))
    shutil.copy(min(samples, key=lambda path: path.stat().st_size), tracer)
    (folder / "bad.jsonl").write_text('{"model_input": 3}\n{"model_input": "Who?", "reference": 1}\n[\n', "utf-8")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, *GIVEN]), "utf-8")
    two_agents = {**{"Name": "a", "task_id": "t", "step_in_trace_general": 1}, "model_input": "x"}
    (folder / "twice").mkdir()
    for name in ("one.csv", "two.csv"):
        with (folder / "twice" / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(two_agents))
            writer.writeheader()
            writer.writerow(two_agents)
    (folder / "twice" / "wrong.csv").write_text("Name,model_input\na,b\n", "utf-8")
    steps, rows = {"benchmark_id": "agentic-evaluation"}, {"benchmark_id": "response-analysis"}
    entries: dict[str, dict[str, Any]] = {
        "steps": {**steps, "seed": 3},
        "tracer": {
            **steps,
            "num_examples": 2,
            "parameters": {"data": str(tracer), "traces": "mlflow", "agent_framework": "langgraph"},
        },
        "rows": {**rows, "seed": 5, "parameters": {"data": str(folder / "rows.jsonl")}},
        "bad parameters": {**steps, "parameters": {"max_workers": 3, "isues_format": "x", "high_score_threshold": 2}},
        "of the other kind": {**rows, "parameters": {"traces": "mlflow", "agent_framework": "crewai"}},
        "unknown benchmark": {"benchmark_id": "agentic-evaluations"},
        "bad rows": {**rows, "parameters": {"data": str(folder / "bad.jsonl")}},
        "bad traces": {**steps, "parameters": {"data": str(folder / "twice")}},
        "no folder": {**steps, "parameters": {"data": str(folder / "none")}},
        "relative": {**steps, "parameters": {"data": "mine"}},
    }
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


def test_scores_and_issues_of_steps_follow_from_the_skill_of_the_model(run: Run) -> None:
    outcome, asked = run.outcomes["steps"], questions()
    right = {name: is_right(question) for name, (_, question) in asked.items()}
    wrong = sum(not one for one in right.values())
    assert 0 < wrong < len(right)
    assert outcome.metrics == pytest.approx(
        {
            "average_score": fmean(right.values()),
            "total_interactions": len(right),
            "total_issues": wrong,
            "interactions_with_issues": wrong,
            "interactions_no_issues": len(right) - wrong,
            "pct_interactions_with_issues": 100 * wrong / len(right),
            "issues_per_interaction": wrong / len(right),
            "total_agents": len({agent for agent, _ in asked.values()}),
        }
    )
    assert {sample["id"]: sample["score"] for sample in outcome.samples} == right
    assert [sample["id"] for sample in outcome.samples] == sorted(right)
    assert {sample["cluster"] for sample in outcome.samples} == {path.stem for path in TRACES.glob("*.csv")}


def test_scores_and_issues_of_responses_follow_from_the_skill_of_the_model(run: Run) -> None:
    outcome = run.outcomes["rows"]
    right = [is_right(row["model_input"]) for row in ROWS]
    assert 0 < sum(right) < len(ROWS)
    assert UNKNOWN in [DemoModel(SKILL, 0, SKILL).answer(row["model_input"]).text for row in ROWS]
    scores = [*right, True, False, True]
    assert outcome.score == pytest.approx(fmean(scores))
    assert outcome.metrics["interactions_with_issues"] == len(scores) - sum(scores)
    assert "total_agents" not in outcome.metrics


def test_the_judge_sees_responses_as_they_were_given(run: Run) -> None:
    outcome = run.outcomes["rows"]
    scores = {sample["id"]: sample["score"] for sample in outcome.samples}
    assert [scores[row["id"]] for row in GIVEN] == [1, 0, 1]
    assert outcome.environment["responses"] == {"generated": len(ROWS), "given": len(GIVEN)}
    seen = [body["messages"][-1]["content"] for body in run.judged.bodies if body["seed"] == 5]
    assert [row for row in GIVEN if not any(f"Output: '{row['response']}'\n" in one for one in seen)] == []
    assert sum("Reference: 'None'" in one for one in seen) == 1


def test_seed_and_conversation_reach_the_model(run: Run) -> None:
    bodies = [body for body in run.asked.bodies if body["seed"] == 3]
    assert len(bodies) == len(questions())
    assert [message["role"] for message in bodies[0]["messages"]] == ["system", "user"]
    assert len([body for body in run.judged.bodies if body["seed"] == 3]) > len(bodies)


def test_traces_of_a_tracer_are_judged_as_far_as_the_limit(run: Run) -> None:
    outcome = run.outcomes["tracer"]
    results = outcome.results
    assert (results.num_requested, results.num_evaluated) == (2, 2)
    assert outcome.metrics["total_interactions"] == 2
    assert outcome.environment["responses"] == {"generated": 0, "given": 2}
    assert len(results.data_digests) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "bad parameters",
            ["max_workers: is called num_concurrent", "did you mean issues_format?", "high_score"],
        ),
        ("of the other kind", ["parameters.agent_framework: is not a key of response-analysis", "parameters.traces"]),
        ("unknown benchmark", ["agentic-evaluations", "known: agentic-evaluation"]),
        ("bad rows", ["line 1: has no text model_input", "line 2: reference is no text", "line 3: is no JSON"]),
        ("bad traces", ["wrong.csv: has no task_id, step_in_trace_general", "t_1: is there 2 times"]),
        ("no folder", ["none: there is no such folder"]),
        ("relative", ["mine is relative", "test_data_ref"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_run_says_all_that_is_wrong(run: Run, name: str, expected: list[str]) -> None:
    reason = run.outcomes[name].reason
    assert [part for part in expected if part not in reason] == [], reason


def test_what_ran_is_recorded(run: Run) -> None:
    outcome = run.outcomes["steps"]
    environment = outcome.environment
    assert environment["framework"] == {"name": "clear-eval", "version": "2.0.5"}
    assert (environment["seed"], environment["lost_requests"]) == (3, None)
    assert "127.0.0.1" not in json.dumps(environment)
    assert set(outcome.results.data_digests) == {path.name for path in TRACES.glob("*.csv")}
    usage = outcome.results.usage
    assert usage["requests"] == len(questions())
    assert usage["judge_requests"] > usage["requests"]
    summary = json.loads((outcome.raw / "run" / "step_by_step" / "clear_results.json").read_text("utf-8"))
    assert summary["metadata"]["statistics"]["total_interactions_analyzed"] == len(questions())


def test_progress_counts_responses_and_judgements(run: Run) -> None:
    events = run.outcomes["steps"].events
    steps = [(event["completed"], event["total"]) for event in events if event.get("total")]
    assert steps
    assert steps == sorted(steps)
    # a response, a judgement, its summary, and which issues are in it
    assert {total for _, total in steps} == {4 * len(questions())}


def test_no_key_is_in_a_kept_file(run: Run) -> None:
    for outcome in run.outcomes.values():
        assert outcome.files_with(KEY) == outcome.files_with(JUDGE_KEY) == outcome.files_with("relay-") == []


def test_a_step_whose_request_was_lost_is_an_error_and_no_zero(trial: Trial, tmp_path: Path) -> None:
    stale = "".join(json.dumps({**row, "response": "of another model"}) + "\n" for row in ROWS)
    (tmp_path / "rows.jsonl").write_text(stale, "utf-8")
    again = {"data": str(tmp_path / "rows.jsonl"), "regenerate": True}
    entry = {"benchmark_id": "response-analysis", "parameters": {"max_retries": 1, **again}}
    predefined = {**entry["parameters"], "predefined_issues": ["Answers are wrong"]}
    with (
        running(DemoModelSettings(skill=1.0, error_rate=0.25)) as server,
        running(DemoModelSettings(error_rate=0.12, seed=1)) as judge,
    ):
        entries = [{**entry, "parameters": predefined, "max_error_rate": 0.9}, entry]
        allowed, unanswered = trial.run_batch(entries, server.base_url, judge_url=judge.base_url)
    results, lost = allowed.results, allowed.environment["lost_requests"]
    assert 0 < results.num_errors < len(ROWS)
    assert results.num_evaluated == len(ROWS) - results.num_errors == len(allowed.samples)
    # the model never errs, so the only 0 is for the row that it cannot know
    assert sorted(sample["score"] for sample in allowed.samples)[1:] == [1.0] * (results.num_evaluated - 1)
    assert "HTTP 500" in lost["model"]
    assert "HTTP 500" in lost["judge"]
    assert "have no response" in unanswered.reason
    assert "HTTP 500" in unanswered.reason
    with running(DemoModelSettings(skill=1.0)) as server, running(DemoModelSettings(error_rate=0.5)) as judge:
        [unjudged] = trial.run_batch([entry], server.base_url, judge_url=judge.base_url)
    assert "have no score" in unjudged.reason
    assert "HTTP 500" in unjudged.reason


def test_a_server_that_cannot_be_used_fails_with_the_reason(trial: Trial) -> None:
    quick = {"request_timeout": 1, "max_retries": 1}
    entry = {"benchmark_id": "agentic-evaluation", "parameters": quick}
    with running(DemoModelSettings(api_key=KEY)) as server:
        known = {"secret": {"api-key": KEY}, "judge_secret": {"api-key": KEY}, "judge_url": server.base_url}
        assert "cannot connect" in trial.run_batch([entry], NOWHERE, **known)[0].reason
        with hanging() as url:
            assert "no answer within 1 s" in trial.run_batch([entry], url, **known)[0].reason
        refused = trial.run_batch([entry], server.base_url, **{**known, "secret": {"api-key": "sk-wrong-5150"}})[0]
        assert "HTTP 401" in refused.reason
        assert refused.files_with("sk-wrong-5150") == []
        [lone] = trial.run_batch([entry], server.base_url, {"api-key": KEY})
        assert "needs a model that judges" in lone.reason
        [unjudged] = trial.run_batch([entry], server.base_url, **{**known, "judge_url": NOWHERE})
        assert "127.0.0.1:9" in unjudged.reason
