"""Runs of the real LightEval: scores that follow from the demo model's skill, and failures that must not become scores.

Its start is what takes time, so two of them serve all tests; what fails before it starts costs none.
"""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evalhub_pipelines.demo_model import DemoModelServer, DemoModelSettings, running
from evalhub_pipelines.demo_model.model import DemoModel
from evalhub_pipelines.provider_testing import NOWHERE, Outcome, Trial, hanging

PROVIDER = Path(__file__).resolve().parents[1]
KEY = "sk-test-91c4e0d2"
SKILL = 0.6

CUSTOM_TASKS = """
from pathlib import Path
from lighteval.metrics.metrics import Metrics
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc

def ask(line, task_name):
    return Doc(task_name=task_name, query=line["question"], choices=[line["answer"]], gold_index=0)

def task(name, **keys):
    return LightevalTaskConfig(name=name, prompt_function=ask, hf_repo=str(Path(__file__).parent / "faq"),
                               hf_subset="default", hf_avail_splits=["validation", "test"], **keys)

TASKS_TABLE = [
    task("faq:both", evaluation_splits=["validation", "test"], metrics=[Metrics.exact_match], generation_size=9),
    task("faq:test", evaluation_splits=["test"], metrics=[Metrics.exact_match]),
    task("faq_twice", evaluation_splits=["test"],
         metrics=[Metrics.pass_at_k_math(sample_params={"k": 1, "n": 2})]),
]
"""
FAQ = {
    "validation": [("What is 3 + 4?", "7"), ("What is 30 + 4?", "34"), ("What is 31 - 5?", "26")],
    "test": [("What is 8 * 4?", "32"), ("What is 9 + 9?", "18"), ("What is 7 * 6?", "42"), ("What is 5 + 6?", "11")],
}


def rows(task: str) -> list[dict[str, Any]]:
    text = (PROVIDER / "tasks" / "data" / task / "test.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def is_right(prompt: str, answer: str, skill: float = SKILL) -> bool:
    return DemoModel(skill, 0, skill).answer(prompt).text == answer


ARITHMETIC = [is_right(f"{row['question']}\nAnswer:", row["answer"]) for row in rows("quickstart_arithmetic")]
COMPARISON = [
    is_right(f"Question: {row['question']}\nAnswer:", row["choices"][row["gold"]])
    for row in rows("quickstart_comparison")
]


def score(metric: str) -> dict[str, Any]:
    """Return the primary score of a benchmark that the catalogue does not have."""
    return {"metric": metric, "lower_is_better": False, "range": [0, 1]}


def ids_and_scores(outcome: Outcome) -> dict[str, float]:
    return {sample["id"]: sample["score"] for sample in outcome.samples}


def model_settings(outcome: Outcome) -> dict[str, Any]:
    """Return what LightEval's own file says of the settings it ran with."""
    [file] = outcome.raw.glob("results/**/results_*.json")
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))["config_general"]
    return found


def watched(server: DemoModelServer) -> list[dict[str, Any]]:
    """Return the list that gets what the server is asked to generate."""
    asked: list[dict[str, Any]] = []
    handle = server.protocol.handle

    def note(method: str, path: str, authorization: str | None, body: bytes) -> Any:
        if path.endswith("/completions"):
            asked.append(json.loads(body))
        return handle(method, path, authorization, body)

    server.protocol.handle = note  # type: ignore[method-assign]
    return asked


@contextmanager
def hub() -> Iterator[tuple[str, list[str]]]:
    """Serve a hub that has nothing; yield its address and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Runs against a server that has a key and is right now and then."""
    data = tmp_path_factory.mktemp("test-data")
    (data / "mine.py").write_text(CUSTOM_TASKS, "utf-8")
    (data / "faq").mkdir()
    for split, pairs in FAQ.items():
        lines = [json.dumps({"question": question, "answer": answer}) + "\n" for question, answer in pairs]
        (data / "faq" / f"{split}.jsonl").write_text("".join(lines), "utf-8")
    (data / "broken.py").write_text("import a_module_that_nobody_has\n", "utf-8")
    entries: dict[str, dict[str, Any]] = {
        "arithmetic": {"benchmark_id": "quickstart_arithmetic"},
        "again": {"benchmark_id": "quickstart_arithmetic"},
        "few": {
            "benchmark_id": "quickstart_arithmetic",
            "num_examples": 7,
            "seed": 7,
            "parameters": {"num_fewshot": 2, "num_concurrent": 1, "system_prompt": "Be brief.", "max_new_tokens": 9},
        },
        "comparison": {"benchmark_id": "quickstart_comparison"},
        "group": {"benchmark_id": "faq", "parameters": {"custom_tasks": "mine.py"}, "primary_score": score("em")},
        "twice": {
            "benchmark_id": "faq_twice",
            "parameters": {"custom_tasks": "mine.py"},
            "primary_score": score("pass@1"),
        },
        "renamed": {
            "benchmark_id": "whatever",
            "parameters": {"task": "quickstart_comparison"},
            "num_examples": 3,
            "primary_score": score("acc"),
        },
        "unknown": {"benchmark_id": "quickstart_arithmetics", "parameters": {"custom_tasks": "mine.py"}},
        "broken": {"benchmark_id": "faq", "parameters": {"custom_tasks": "broken.py"}},
        "download": {"benchmark_id": "gsm8k"},
    }
    with running(DemoModelSettings(skill=SKILL, api_key=KEY)) as server, hub() as (address, asked):
        trial = Trial(PROVIDER, tmp_path_factory.mktemp("first"))
        outcomes = trial.run_batch(
            list(entries.values()), server.base_url, {"api-key": KEY}, {"HF_ENDPOINT": address}, test_data=data
        )
    assert asked
    # what brings its data is not looked up
    assert [path for path in asked if "gsm8k" not in path] == []
    return dict(zip(entries, outcomes, strict=True))


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Runs against another server, which is always right and often unable."""
    one_try = {"max_retries": 1, "num_concurrent": 2}
    entries: dict[str, dict[str, Any]] = {
        "repeated": {"benchmark_id": "quickstart_arithmetic", "parameters": {"max_retries": 9, "num_concurrent": 20}},
        "some": {"benchmark_id": "quickstart_arithmetic", "parameters": one_try, "max_error_rate": 0.9},
        "some_choices": {"benchmark_id": "quickstart_comparison", "parameters": one_try, "max_error_rate": 0.9},
        "none": {"benchmark_id": "quickstart_arithmetic", "parameters": one_try},
        "too_many": {"benchmark_id": "quickstart_arithmetic", "parameters": one_try, "max_error_rate": 0.01},
    }
    # LightEval takes any name with "o1" in it for one of OpenAI's models, which have no temperature
    with running(DemoModelSettings(skill=1.0, error_rate=0.2, model_name="pro1-demo")) as server:
        asked = watched(server)
        trial = Trial(PROVIDER, tmp_path_factory.mktemp("second"))
        outcomes = trial.run_batch(list(entries.values()), server.base_url, model_name="pro1-demo")
    assert {(body["temperature"], body["seed"]) for body in asked} == {(0, 42)}
    return dict(zip(entries, outcomes, strict=True))


def test_two_endpoints_of_different_skill_get_two_scores(first: dict[str, Outcome], second: dict[str, Outcome]) -> None:
    assert first["arithmetic"].score == pytest.approx(sum(ARITHMETIC) / 40)
    assert second["repeated"].score == 1.0
    assert 0 < sum(ARITHMETIC) < 40
    for outcome in (first["arithmetic"], first["again"]):
        # answers of an earlier run, as litellm keeps them, would need no request
        assert outcome.results.usage["requests"] == 40
    assert second["repeated"].results.usage["requests"] > 40


def test_answers_that_are_generated_are_scored_by_what_the_model_says(first: dict[str, Outcome]) -> None:
    outcome = first["arithmetic"]
    assert outcome.metrics == {"extractive_match": outcome.score, "em": outcome.score}
    assert ids_and_scores(outcome) == {str(number): float(right) for number, right in enumerate(ARITHMETIC)}
    assert [sample["id"] for sample in outcome.samples] == [str(number) for number in range(40)]
    assert outcome.results.metrics["em"].stderr == pytest.approx((outcome.score * (1 - outcome.score) / 39) ** 0.5)
    assert (outcome.results.num_requested, outcome.results.num_evaluated, outcome.results.num_errors) == (40, 40, 0)
    assert outcome.results.usage["completion_tokens"] >= 40
    assert "quickstart_arithmetic/test.jsonl" in outcome.results.data_digests


def test_choices_are_compared_by_their_likelihood(first: dict[str, Outcome]) -> None:
    outcome = first["comparison"]
    assert outcome.score == pytest.approx(sum(COMPARISON) / 40)
    assert ids_and_scores(outcome) == {str(number): float(right) for number, right in enumerate(COMPARISON)}
    assert outcome.results.usage["requests"] == 160


def test_limit_seed_and_settings_reach_lighteval_and_change_no_ids(first: dict[str, Outcome]) -> None:
    outcome = first["few"]
    assert outcome.results.num_evaluated == 7
    assert len(outcome.samples) == 7
    assert ids_and_scores(outcome).items() <= ids_and_scores(first["arithmetic"]).items()
    config = model_settings(outcome)
    generation = config["model_config"]["generation_parameters"]
    assert (config["max_samples"], config["model_config"]["concurrent_requests"]) == (7, 1)
    assert (generation["seed"], generation["temperature"], generation["max_new_tokens"]) == (7, 0, 9)
    [file] = outcome.raw.glob("details/**/*.parquet")
    assert "|2_" in file.name
    # two examples and a system prompt
    tokens = [first[name].results.usage["prompt_tokens"] / len(first[name].samples) for name in ("arithmetic", "few")]
    assert tokens[1] > 2 * tokens[0]


def test_the_environment_says_what_ran(first: dict[str, Outcome]) -> None:
    facts = first["few"].environment
    assert facts["framework"] == {"name": "lighteval", "version": "0.13.0"}
    task = facts["tasks"]["quickstart_arithmetic|2"]
    assert (task["data"], task["num_fewshot"], task["splits"]) == ("quickstart_arithmetic", 2, ["test"])
    assert task["hashes"]["hash_examples"]
    assert task["hashes"] != first["arithmetic"].environment["tasks"]["quickstart_arithmetic|0"]["hashes"]
    assert facts["seeds"]["request"] == 7
    assert facts["lost_requests"] is None
    assert first["again"].environment["tasks"] == first["arithmetic"].environment["tasks"]
    # where the relay listened, and its token, would make two runs differ
    assert "127.0.0.1" not in json.dumps(facts)
    assert "relay-" not in json.dumps(facts)


def test_tasks_of_ones_own_are_averaged_by_task_and_numbered_apart(first: dict[str, Outcome]) -> None:
    outcome = first["group"]
    right = {split: [is_right(*pair) for pair in pairs] for split, pairs in FAQ.items()}
    both = right["validation"] + right["test"]
    assert outcome.metrics["em"] == pytest.approx((sum(both) / 7 + sum(right["test"]) / 4) / 2)
    assert outcome.results.metrics["em"].stderr is None
    # their answers end differently, which is no reason to ask twice
    assert outcome.results.num_evaluated == outcome.results.usage["requests"] == 11
    assert {"faq/test.jsonl", "faq/validation.jsonl"} <= set(outcome.results.data_digests)


def test_a_task_that_asks_several_times_does_so_above_temperature_zero(first: dict[str, Outcome]) -> None:
    outcome = first["twice"]
    assert outcome.metrics == {"pass@1": pytest.approx(sum(is_right(*pair) for pair in FAQ["test"]) / 4)}
    assert outcome.environment["settings"]["temperature"] == 0.7


def test_a_benchmark_may_name_any_task(first: dict[str, Outcome]) -> None:
    assert first["renamed"].metrics.keys() == {"acc"}
    assert first["renamed"].results.num_evaluated == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unknown", "quickstart_arithmetics: LightEval has no task 'quickstart_arithmetics'"),
        ("broken", "faq: the tasks cannot be loaded: ModuleNotFoundError: No module named 'a_module_that_nobody_has'"),
        ("download", "gsm8k: the data cannot be loaded"),
    ],
)
def test_a_task_that_cannot_be_had_fails_alone(first: dict[str, Outcome], name: str, expected: str) -> None:
    assert first[name].reason.startswith(expected)


def test_the_key_is_in_no_kept_file(first: dict[str, Outcome]) -> None:
    assert [(name, outcome.files_with(KEY)) for name, outcome in first.items() if outcome.files_with(KEY)] == []
    assert all(outcome.results.redactions == 0 for outcome in first.values())


def test_examples_without_an_answer_are_errors_and_not_wrong(second: dict[str, Outcome]) -> None:
    for name in ("some", "some_choices"):
        outcome = second[name]
        assert 0 < outcome.results.num_errors < 40, name
        assert outcome.results.num_evaluated == 40 - outcome.results.num_errors == len(outcome.samples), name
        assert outcome.score == 1.0, name
        assert "HTTP 500" in outcome.environment["lost_requests"], name


def test_a_request_is_repeated_as_often_as_the_entry_says(second: dict[str, Outcome]) -> None:
    assert second["repeated"].results.num_errors == 0
    assert second["repeated"].environment["lost_requests"] is None


def test_more_lost_examples_than_allowed_fail_the_benchmark(second: dict[str, Outcome]) -> None:
    assert "got no answer, more than max_error_rate 0 allows: 1 x HTTP 500" in second["none"].reason
    assert "got no answer, more than max_error_rate 0.01 allows" in second["too_many"].reason
    assert not list(second["none"].raw.rglob("*.parquet"))


def test_what_cannot_be_asked_fails_before_lighteval_starts(tmp_path: Path) -> None:
    trial = Trial(PROVIDER, tmp_path)
    entries = [
        {"benchmark_id": "quickstart_arithmetic", "parameters": {"max_retries": 1}},
        {"benchmark_id": "faq", "parameters": {"custom_tasks": "faq.py"}},
        {"benchmark_id": "faq", "parameters": {"custom_tasks": "/nowhere/faq.py"}},
        {"benchmark_id": "lcb:codegeneration_v6"},
        {
            "benchmark_id": "gsm8k",
            "parameters": {"max_samples": 3, "temperatur": 1, "num_concurrent": 0, "task": "gsm8k|5"},
        },
    ]
    unreachable, relative, missing, code, wrong = trial.run_batch(entries, NOWHERE)
    assert "cannot connect" in unreachable.reason
    assert "'faq.py' is relative" in relative.reason
    assert missing.reason == "faq: parameters.custom_tasks: /nowhere/faq.py is not a file"
    assert "parameters.confirm_run_unsafe_code" in code.reason
    for part in (
        "parameters.max_samples: is the entry's own key num_examples",
        "parameters.temperatur: unknown key (did you mean temperature?)",
        "parameters.num_concurrent: input should be greater than or equal to 1",
        "parameters.task: string should match pattern",
    ):
        assert part in wrong.reason


def test_a_wrong_key_fails_at_once(tmp_path: Path) -> None:
    with running(DemoModelSettings(api_key=KEY)) as server:
        outcome = Trial(PROVIDER, tmp_path).run(
            "quickstart_arithmetic", server.base_url, secret={"api-key": "sk-other"}
        )
    assert "HTTP 401" in outcome.reason
    assert "is api-key of the model's secret right?" in outcome.reason
    assert outcome.files_with("sk-other") == []


def test_a_server_that_hangs_fails_after_the_request_s_time(tmp_path: Path) -> None:
    with hanging() as url:
        parameters = {"request_timeout": 1, "max_retries": 1}
        outcome = Trial(PROVIDER, tmp_path).run("quickstart_arithmetic", url, parameters=parameters)
    assert "no answer within 1 s" in outcome.reason


@pytest.fixture(scope="module")
def loglikelihood() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lighteval_loglikelihood", PROVIDER / "lighteval_loglikelihood.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def logprobs(*tokens: tuple[str, float | None, float]) -> dict[str, Any]:
    """Return what a server says of tokens, each with its log-probability and the best one at its place."""
    return {
        "logprobs": {
            "tokens": [text for text, _, _ in tokens],
            "token_logprobs": [value for _, value, _ in tokens],
            "top_logprobs": [None if value is None else {text: value, "?": best} for text, value, best in tokens],
        }
    }


def test_the_tokens_of_a_choice_are_found_behind_marks_that_no_text_has(loglikelihood: ModuleType) -> None:
    start, said = ("<s>", None, 0.0), ("\n", -0.1, -0.1)
    choice = logprobs(start, ("Sum:", -5.0, -1.0), (" 4", -0.5, -0.5), ("2", -0.25, -0.25), said)
    assert loglikelihood.of_continuation(choice, 1, " 42") == (-0.75, True, 2)
    choice = logprobs(start, ("Sum:", -5.0, -1.0), (" 4", -0.5, -0.5), ("2", -3.0, -0.25), said)
    assert loglikelihood.of_continuation(choice, 1, " 42") == (-3.5, False, 2)
    # a token that reaches from the question into the choice is part of the choice
    choice = logprobs(start, ("Sum", -5.0, -1.0), (": 42", -0.5, -0.5))
    assert loglikelihood.of_continuation(choice, 0, " 42") == (-0.5, True, 1)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"logprobs": None}, "gives no log-probabilities of a prompt"),
        (logprobs(("\n", -0.1, -0.1)), "gives no log-probabilities of a prompt"),
        (logprobs(("Sum:", None, 0.0), ("\ufffd", -1.0, -1.0), ("x", -1.0, -1.0)), "gives no log-probabilities"),
        (logprobs((" 42", None, 0.0), ("x", -1.0, -1.0)), "whose first token has no log-probability"),
    ],
    ids=["none", "of the answer alone", "of other text", "of the first token"],
)
def test_tokens_that_are_not_the_choice_are_no_score(
    loglikelihood: ModuleType, choice: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        loglikelihood.of_continuation(choice, 1, " 42")
