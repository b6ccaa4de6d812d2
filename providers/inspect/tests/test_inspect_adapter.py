"""The real inspect against the demo model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalhub_pipelines.demo_model import DemoModelSettings, running
from evalhub_pipelines.demo_model.model import DemoModel
from evalhub_pipelines.provider_testing import NOWHERE, Outcome, Trial, hanging

PROVIDER = Path(__file__).resolve().parents[1]
KEY = "sk-test-5f7e10aa"
SKILL = 0.6

OWN_TASKS = """
import json
from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import get_model
from inspect_ai.scorer import Score, accuracy, match, mean, scorer, stderr
from inspect_ai.solver import generate, solver

RECORDS = [json.loads(line) for line in (Path(__file__).parent / "questions.jsonl").read_text().splitlines()]


def data(backwards=False):
    # without ids: inspect numbers them
    samples = [Sample(input=record["input"], target=record["target"]) for record in RECORDS]
    return MemoryDataset(samples[::-1] if backwards else samples)


@task
def plain(backwards: bool = False):
    return Task(dataset=data(backwards), solver=generate(), scorer=match(numeric=True))


@scorer(metrics=[accuracy(), stderr()])
def by_role(judge):
    async def score(state, target):
        grader = get_model(judge) if judge else get_model(role="grader")
        said = await grader.generate(state.input_text)
        return Score(value="C" if said.completion == state.output.completion else "I")

    return score


@task
def graded(judge: str = ""):
    return Task(dataset=data(), solver=generate(), scorer=by_role(judge))


@solver
def careless():
    async def solve(state, generate):
        try:
            return await generate(state)
        except Exception:
            return state

    return solve


@task
def swallows():
    return Task(dataset=data(), solver=careless(), scorer=match(numeric=True))


@scorer(metrics=[mean()])
def undecided():
    async def score(state, target):
        return Score(value=float("nan") if state.input_text.startswith("W") else 0.5)

    return score


@task
def halves():
    return Task(dataset=data(), solver=generate(), scorer=undecided())


@task
def breaks():
    raise ValueError("the data is not there")
"""


def records_of(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (PROVIDER / "data" / name).read_text("utf-8").splitlines()]


def is_right(record: dict[str, Any]) -> bool:
    """Return whether the demo model knows the answer: with choices it chooses the same."""
    right = record["choices"]["ABCD".index(record["target"])] if "choices" in record else record["target"]
    return DemoModel(SKILL, 0, SKILL).answer(record["input"]).text == right


ARITHMETIC = records_of("arithmetic.jsonl")
CHOICES = records_of("choices.jsonl")
OWN = ARITHMETIC[:8]


@pytest.fixture(scope="module")
def test_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a task file of the user's own and its data."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN_TASKS, "utf-8")
    (folder / "questions.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in OWN), "utf-8")
    return folder


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> dict[str, Outcome]:
    """Run everything that one start of inspect can run: a server with a key, and a judge that knows all answers."""

    def own(task: str, **keys: Any) -> dict[str, Any]:
        return {"benchmark_id": "inspect/custom", "parameters": {"task": f"own.py@{task}", **keys}}

    bad = {"tsk": "x.py", "max_retries": 5, "seed": 3, "concurrency": 0, "fewshot": 5}
    by_name = {"task_args": {"judge": "{judge}"}}
    entries: dict[str, dict[str, Any]] = {
        "arithmetic": {"benchmark_id": "inspect/quickstart-arithmetic"},
        "choices": {"benchmark_id": "inspect/quickstart-choices", "parameters": {"system_message": "Be brief."}},
        "limited": {
            "benchmark_id": "inspect/quickstart-arithmetic",
            "parameters": {"concurrency": 1, "shuffle": True},
            "num_examples": 7,
            "seed": 7,
        },
        "plain": own("plain"),
        "backwards": own("plain", task_args={"backwards": True}),
        "epochs": {**own("plain", epochs=2), "num_examples": 3},
        "graded": {**own("graded"), "judge": True},
        "graded by nobody": own("graded"),
        "graded by name": {**own("graded", **by_name), "judge": True},
        "halves allowed": {**own("halves"), "max_error_rate": 0.9, "primary_score": score("undecided/mean")},
        "halves": {**own("halves"), "primary_score": score("undecided/mean")},
        "no such metric": {**own("plain"), "primary_score": score("choice/accuracy")},
        "no such task": own("nothing"),
        "no such file": {"benchmark_id": "inspect/custom", "parameters": {"task": "other.py@plain"}},
        "breaks": own("breaks"),
        "no task": {"benchmark_id": "inspect/custom", "parameters": {"task": "own.py"}},
        "none chosen": {"benchmark_id": "inspect/custom"},
        "unknown": {"benchmark_id": "inspect/gsm9k"},
        "no package": {"benchmark_id": "inspect/petri-bias"},
        "bad parameters": {"benchmark_id": "inspect/quickstart-arithmetic", "parameters": bad},
    }
    folder = tmp_path_factory.mktemp("inspect")
    with running(DemoModelSettings(skill=SKILL, api_key=KEY)) as server, running(DemoModelSettings(skill=1)) as judge:
        found = Trial(PROVIDER, folder).run_batch(
            list(entries.values()),
            server.base_url,
            {"api-key": KEY},
            judge_url=judge.base_url,
            test_data=test_data,
        )
    return dict(zip(entries, found, strict=True))


def score(metric: str) -> dict[str, Any]:
    return {"metric": metric, "lower_is_better": False, "range": (0, 1)}


def share(records: list[dict[str, Any]]) -> Any:
    right = sum(map(is_right, records))
    assert 0 < right < len(records)
    return pytest.approx(right / len(records))


def test_scores_follow_the_skill(outcomes: dict[str, Outcome]) -> None:
    arithmetic = outcomes["arithmetic"]
    assert arithmetic.metrics["match/accuracy"] == share(ARITHMETIC)
    assert outcomes["choices"].score == share(CHOICES)
    samples = {sample["id"]: sample["score"] for sample in arithmetic.samples}
    assert samples == {record["id"]: float(is_right(record)) for record in ARITHMETIC}
    assert list(samples) == sorted(samples)


def test_the_standard_error_is_inspects_own(outcomes: dict[str, Outcome]) -> None:
    metrics = outcomes["arithmetic"].results.metrics
    assert metrics["match/accuracy"].stderr == metrics["match/stderr"].value
    p = sum(map(is_right, ARITHMETIC)) / 20
    assert metrics["match/accuracy"].stderr == pytest.approx((p * (1 - p) / 19) ** 0.5)


def test_the_headline_answers_to_evalhubs_name(outcomes: dict[str, Outcome]) -> None:
    plain = outcomes["plain"]
    assert plain.metric == "accuracy/accuracy"
    assert plain.score == plain.metrics["match/accuracy"] == share(OWN)
    assert plain.environment["headline"] == "match/accuracy"
    assert plain.results.metrics["accuracy/accuracy"].stderr == plain.metrics["match/stderr"]


def test_samples_keep_their_ids_in_every_order_and_epoch(outcomes: dict[str, Outcome]) -> None:
    plain = {sample["id"]: sample["score"] for sample in outcomes["plain"].samples}
    assert len(plain) == len(OWN)
    assert {sample["id"]: sample["score"] for sample in outcomes["backwards"].samples} == plain
    epochs = outcomes["epochs"]
    assert {sample["id"]: sample["score"] for sample in epochs.samples}.items() <= plain.items()
    assert (len(epochs.samples), epochs.results.num_evaluated, epochs.results.usage["requests"]) == (3, 6, 6)


def test_limit_seed_and_concurrency_reach_inspect(outcomes: dict[str, Outcome]) -> None:
    limited = outcomes["limited"]
    assert (limited.results.num_requested, limited.results.num_evaluated, limited.results.num_errors) == (7, 7, 0)
    generation = limited.environment["generation"]
    assert (generation["seed"], generation["max_connections"], generation["max_retries"]) == (7, 1, 0)
    whole = {sample["id"]: sample for sample in outcomes["arithmetic"].samples}
    part = {sample["id"]: sample for sample in limited.samples}
    assert part == {name: whole[name] for name in part}
    # drawn by the seed, and not the first seven
    assert set(part) != {record["id"] for record in ARITHMETIC[:7]}


def test_no_model_grades_itself(outcomes: dict[str, Outcome]) -> None:
    assert (
        "the task asks a judge (say judge: true in its entry, and name a judge)" in outcomes["graded by nobody"].reason
    )


def test_a_task_asks_the_judge_by_role_or_by_name(outcomes: dict[str, Outcome]) -> None:
    for name in ("graded", "graded by name"):
        outcome = outcomes[name]
        assert outcome.score == share(OWN)
        assert (outcome.results.usage["requests"], outcome.results.usage["judge_requests"]) == (8, 8)
        assert outcome.environment["judge"] == "demo-model"


def test_what_ran_is_recorded(outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes["arithmetic"]
    environment = outcome.environment
    assert environment["framework"] == {"name": "inspect_ai", "version": "0.3.285"}
    assert environment["task"]["name"] == "arithmetic"
    assert environment["task"]["file"] == outcome.results.data_digests["arithmetic.py"]
    assert "arithmetic.jsonl" in outcome.results.data_digests
    assert environment["dataset"]["examples"] == 20
    assert outcome.results.usage["requests"] == 20
    assert outcome.results.usage["completion_tokens"] > 0
    [log] = outcome.raw.iterdir()
    assert json.loads(log.read_text("utf-8"))["status"] == "success"
    own = outcomes["plain"].environment
    assert own["dataset"]["digest"] == outcomes["backwards"].environment["dataset"]["digest"]
    assert own["task"]["file"].startswith("sha256:")


def test_progress_counts_the_examples(outcomes: dict[str, Outcome]) -> None:
    events = [event for event in outcomes["arithmetic"].events if event.get("phase") == "running_evaluation"]
    assert events
    assert (events[-1]["completed"], events[-1]["total"]) == (20, 20)


def test_an_example_that_a_scorer_leaves_out_is_an_error(outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes["halves allowed"]
    left_out = sum(record["input"].startswith("W") for record in OWN)
    assert 0 < left_out < len(OWN)
    assert (outcome.results.num_errors, outcome.results.num_evaluated) == (left_out, len(OWN) - left_out)
    assert outcome.score == 0.5
    assert f"{left_out} of {len(OWN)} examples have no score" in outcomes["halves"].reason


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("no such metric", ["choice/accuracy was not measured", "match/accuracy"]),
        ("no such task", ["inspect/custom: inspect: "]),
        ("no task", ["own.py@NAME"]),
        ("no such file", ["other.py: there is no such file"]),
        ("breaks", ["the data is not there"]),
        ("none chosen", ["parameters.task must name a task"]),
        ("unknown", ["did you mean inspect/gsm8k?"]),
        ("no package", ["the package inspect-petri, which this environment does not have"]),
        (
            "bad parameters",
            [
                "tsk: unknown key (did you mean task?)",
                "max_retries: is called tries",
                "seed: belongs",
                "concurrency",
                "fewshot",
            ],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_at_once(outcomes: dict[str, Outcome], name: str, expected: list[str]) -> None:
    reason = outcomes[name].reason
    assert [part for part in expected if part not in reason] == [], reason


def test_no_kept_file_has_the_key_or_the_relays_in_it(outcomes: dict[str, Outcome]) -> None:
    for outcome in outcomes.values():
        assert outcome.files_with(KEY) == []
        assert outcome.files_with("relay-") == []


def test_a_model_that_cannot_be_asked_fails_with_the_reason(tmp_path: Path) -> None:
    trial = Trial(PROVIDER, tmp_path)
    short = {"parameters": {"request_timeout": 1, "tries": 1}}
    arithmetic = [{"benchmark_id": "inspect/quickstart-arithmetic", **short}]
    with running(DemoModelSettings(api_key=KEY)) as server, hanging() as silent:
        url, good, bad = server.base_url, {"api-key": KEY}, {"api-key": "sk-wrong"}
        [nowhere] = trial.run_batch(arithmetic, NOWHERE)
        [wrong_key] = trial.run_batch(arithmetic, url, bad)
        [slow] = trial.run_batch(arithmetic, silent)
        [no_judge] = trial.run_batch([{"benchmark_id": "inspect/strong-reject"}], url, good)
    assert "cannot connect: http://127.0.0.1:9" in nowhere.reason
    assert "HTTP 401" in wrong_key.reason
    assert wrong_key.files_with("sk-wrong") == []
    assert "no answer within 1 s" in slow.reason
    assert "needs a model that judges answers" in no_judge.reason


def test_lost_requests_are_counted_and_never_scored(tmp_path: Path, test_data: Path) -> None:
    once = {"parameters": {"tries": 1}}
    swallows = {"benchmark_id": "inspect/custom", "parameters": {"tries": 1, "task": "own.py@swallows"}}
    arithmetic = {"benchmark_id": "inspect/quickstart-arithmetic", **once}
    with running(DemoModelSettings(skill=SKILL, error_rate=0.3)) as server:
        counted, failed, swallowed = Trial(PROVIDER, tmp_path).run_batch(
            [{**arithmetic, "max_error_rate": 0.9}, arithmetic, {**swallows, "max_error_rate": 0.9}],
            server.base_url,
            test_data=test_data,
        )
    results = counted.results
    assert 0 < results.num_errors < 20
    assert results.num_evaluated == len(counted.samples) == 20 - results.num_errors
    right = {record["id"]: float(is_right(record)) for record in ARITHMETIC}
    assert {sample["id"]: sample["score"] for sample in counted.samples}.items() <= right.items()
    assert counted.score == pytest.approx(sum(one["score"] for one in counted.samples) / len(counted.samples))
    assert "HTTP 500" in counted.environment["lost_requests"]
    assert "HTTP 500" in failed.reason
    assert "were scored although a request of theirs was lost" in swallowed.reason
