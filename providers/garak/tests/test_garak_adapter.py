"""The adapter with the real garak against the demo model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from evalhub_pipelines.demo_model import DemoModelSettings, running
from evalhub_pipelines.demo_model.model import COMPLIANCE, DemoModel
from evalhub_pipelines.provider_testing import NOWHERE, Outcome, Trial, hanging

PROVIDER = Path(__file__).resolve().parents[1]
KEY, WRONG_KEY = "sk-test-3f9a7c1e", "sk-wrong-77aa12"
PROBE, DETECTOR = "donotanswer.MaliciousUses", "shields.Up"
HALF = 0.5  # of the requests for harm that the model understands are refused

Outcomes = Mapping[str, Outcome]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """Run everything once, two at a time."""
    folder = tmp_path_factory.mktemp("garak")
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:

        def serve(**settings: Any) -> str:
            return stack.enter_context(running(DemoModelSettings(**settings))).base_url

        def start(name: str, url: str, benchmark: str = "malicious_requests", **keys: Any) -> None:
            trial = Trial(PROVIDER, folder / name)
            run: Callable[..., Outcome] = trial.run
            futures[name] = pool.submit(run, benchmark, url, environ={"HF_HUB_OFFLINE": "1"}, **keys)

        futures: dict[str, Any] = {}
        guarded = serve(refusal_rate=HALF, api_key=KEY)
        strict, slow = serve(refusal_rate=1.0), serve(latency=3)
        once = {"max_retries": 1}
        alone = {"num_concurrent": 1}
        start("guarded", guarded, num_examples=40, parameters=alone, secret={"api-key": KEY})
        start("flaky", serve(refusal_rate=HALF, error_rate=0.2), num_examples=40, parameters={"max_retries": 12})
        lossy = serve(refusal_rate=HALF, error_rate=0.2)
        start("lossy", lossy, num_examples=40, seed=7, parameters={**once, **alone}, max_error_rate=0.5)
        start("spoilt", serve(error_rate=0.5), num_examples=40, parameters=once)
        start("quick", strict, "quick", num_examples=4)
        start("quick again", strict, "quick", num_examples=4)
        twice = {"probes": ["latentinjection.LatentWhois"], "generations": 2}
        start("own probes", strict, "ours", num_examples=3, parameters=twice)
        start("slow", slow, num_examples=3, parameters={**once, "request_timeout": 1})
        start("unknown probe", strict, parameters={"probes": ["dan.Nothing"]})
        start("no detector", strict, parameters={"probes": ["lmrc.Bullying"]})
        start("unknown detector", strict, parameters={"detectors": ["shields.Up", "mitigation.Nothing"]})
        # garak is not started for these
        start("silent", stack.enter_context(hanging()), parameters={**once, "request_timeout": 1})
        start("unreachable", NOWHERE, parameters=once)
        start("wrong key", guarded, secret={"api-key": WRONG_KEY})
        start("unknown benchmark", strict, "jailbraek")
        wrong = {"generation": 5, "probe_spec": "dan", "num_concurrent": 0, "probes": [], "limit": 3}
        start("wrong parameters", strict, parameters=wrong)
        yield {name: future.result() for name, future in futures.items()}


def entries(outcome: Outcome, kind: str) -> list[dict[str, Any]]:
    lines = (outcome.raw / "garak.report.jsonl").read_text("utf-8").splitlines()
    return [entry for line in lines if (entry := json.loads(line))["entry_type"] == kind]


def complied(outcome: Outcome) -> list[bool]:
    """Return for each judged prompt whether the model does what it asks."""
    model = DemoModel(skill=DemoModelSettings().skill, seed=DemoModelSettings().seed, refusal_rate=HALF)
    judged = [entry for entry in entries(outcome, "attempt") if entry["status"] == 2 and entry["outputs"] != [None]]
    return [model.answer(entry["prompt"]["turns"][-1]["content"]["text"]).text == COMPLIANCE for entry in judged]


def counts(outcome: Outcome) -> tuple[int | None, int | None, int]:
    found = outcome.results
    return found.num_requested, found.num_evaluated, found.num_errors


def test_attacks_succeed_as_often_as_the_model_complies(outcomes: Outcomes) -> None:
    outcome = outcomes["guarded"]
    expected = complied(outcome)

    assert 0 < sum(expected) < len(expected) == 40
    assert outcome.score == pytest.approx(sum(expected) / 40)
    assert counts(outcome) == (40, 40, 0)


def test_score_is_the_mean_of_the_samples_and_what_garak_counts(outcomes: Outcomes) -> None:
    outcome = outcomes["guarded"]
    scores = [sample["score"] for sample in outcome.samples]
    [garaks] = outcome.environment["evaluations"]

    assert sum(scores) / len(scores) == outcome.score
    assert (garaks["fails"], garaks["total_evaluated"]) == (sum(scores), len(scores))


def test_samples_are_the_same_at_any_concurrency_and_after_repeated_requests(outcomes: Outcomes) -> None:
    guarded, flaky = outcomes["guarded"], outcomes["flaky"]

    assert guarded.samples == flaky.samples
    assert len({sample["id"] for sample in guarded.samples}) == 40
    assert all(s["id"] == f"{s['cluster']}/{DETECTOR}" and s["cluster"].startswith(PROBE) for s in guarded.samples)
    assert guarded.environment["probe_hashes"] == flaky.environment["probe_hashes"]
    assert (counts(flaky), flaky.environment["lost_requests"]) == ((40, 40, 0), None)
    assert flaky.results.usage["requests"] > 40


def test_equal_seeds_choose_equal_prompts(outcomes: Outcomes) -> None:
    assert len(outcomes["quick"].samples) > 8
    assert outcomes["quick"].samples == outcomes["quick again"].samples


def test_another_seed_asks_others_and_names_the_same_ones_alike(outcomes: Outcomes) -> None:
    one, other = ({s["id"]: s["score"] for s in outcomes[name].samples} for name in ("guarded", "lossy"))
    both = one.keys() & other.keys()

    assert both
    assert one.keys() != other.keys()
    assert {name: one[name] for name in both} == {name: other[name] for name in both}


def test_lost_answers_count_as_errors_and_not_as_resisted_attacks(outcomes: Outcomes) -> None:
    outcome = outcomes["lossy"]
    expected = complied(outcome)
    errors = outcome.results.num_errors

    assert 0 < errors < 20
    assert counts(outcome) == (40, 40 - errors, errors)
    assert len(outcome.samples) == len(expected) == 40 - errors
    assert outcome.score == pytest.approx(sum(expected) / len(expected))
    assert f"{errors} x HTTP 500" in outcome.environment["lost_requests"]


def test_quick_scan_runs_three_probes_without_any_hub(outcomes: Outcomes) -> None:
    outcome = outcomes["quick"]

    assert len(outcome.environment["probes"]) == 3
    assert outcome.score == outcome.metrics["probe_mean"] == 0.0
    assert sum(name.startswith("attack_success_rate,") for name in outcome.metrics) == 3


def test_probe_that_ignores_garaks_limit_keeps_to_num_examples(outcomes: Outcomes) -> None:
    outcome = outcomes["own probes"]

    assert counts(outcome) == (6, 6, 0)
    assert outcome.results.usage["requests"] == 6


def test_answers_to_one_prompt_share_a_cluster(outcomes: Outcomes) -> None:
    samples = outcomes["own probes"].samples

    assert len({sample["cluster"] for sample in samples}) == 3
    assert {sample["id"].split("/")[2] for sample in samples} == {"0", "1"}


def test_settings_of_the_run_reach_garak(outcomes: Outcomes) -> None:
    for name, seed, threads in (("guarded", 42, 1), ("lossy", 7, 1), ("flaky", 42, 8)):
        [setup] = entries(outcomes[name], "start_run setup")
        settings = outcomes[name].environment["settings"]
        told = [setup["run.seed"], setup["run.soft_probe_prompt_cap"], setup["system.parallel_attempts"]]
        assert told == [seed, 40, threads]
        assert settings["plugins"]["generators"]["openai"]["OpenAICompatible"]["seed"] == seed


def test_progress_and_usage_are_reported(outcomes: Outcomes) -> None:
    outcome = outcomes["guarded"]
    done = [event["completed"] for event in outcome.events if event.get("phase") == "running_evaluation"]

    assert 0 < done[0] <= done[-1] <= 100
    assert done == sorted(done)
    assert outcome.results.usage["requests"] == 40
    assert outcome.results.usage["prompt_tokens"] > outcome.results.usage["completion_tokens"] > 0


def test_raw_files_and_facts_of_the_run_are_kept(outcomes: Outcomes) -> None:
    outcome = outcomes["guarded"]
    kept = {path.name for path in outcome.raw.iterdir()}

    assert {"garak.report.jsonl", "garak.report.html", "garak.hitlog.jsonl", "garak.yaml", "garak.log"} <= kept
    assert outcome.environment["framework"] == {"name": "garak", "version": "0.17.1"}
    assert outcome.environment["probes"] == {PROBE: [DETECTOR]}
    # the address that garak is told differs in every run
    assert "127.0.0.1" not in json.dumps([outcome.environment["settings"], outcome.samples])


def test_keys_are_in_no_kept_file_and_never_came_near_one(outcomes: Outcomes) -> None:
    assert [
        name for name, outcome in outcomes.items() if outcome.files_with(KEY) or outcome.files_with(WRONG_KEY)
    ] == []
    assert [name for name, outcome in outcomes.items() if outcome.results.redactions] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("spoilt", " x HTTP 500"),
        ("slow", "no answer within 1 s"),
        ("silent", "no answer within 1 s"),
        ("unreachable", "cannot connect: http://127.0.0.1:9/v1"),
        ("wrong key", "HTTP 401"),
        ("unknown benchmark", "jailbraek: is no benchmark of this provider"),
        ("unknown probe", "Unknown run.spec"),
        ("no detector", "lmrc.Bullying: its detector unsafe_content.ToxicCommentModel cannot be loaded"),
        ("unknown detector", "mitigation.Nothing"),
    ],
)
def test_benchmark_that_cannot_be_scored_says_why(outcomes: Outcomes, name: str, words: str) -> None:
    assert words in outcomes[name].reason, outcomes[name].log[-3000:]


def test_every_parameter_that_is_not_understood_is_named(outcomes: Outcomes) -> None:
    reason = outcomes["wrong parameters"].reason

    for expected in (
        "parameters.generation: unknown key (did you mean generations?)",
        "parameters.probe_spec: is called probes here",
        "parameters.limit: is the entry's own key num_examples",
        "parameters.num_concurrent: ",
        "parameters.probes: ",
    ):
        assert expected in reason


def test_report_that_breaks_off_is_no_result(
    outcomes: Outcomes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(PROVIDER))
    from garak_report import Report

    text = (outcomes["quick"].raw / "garak.report.jsonl").read_text("utf-8")
    broken = tmp_path / "garak.report.jsonl"
    for length in (0, len(text) // 2, len(text) - 10):
        broken.write_text(text[:length], "utf-8")
        with pytest.raises(Exception, match="garak ended before its report was complete"):
            Report.read(broken, 0.5, 1)


def test_attempts_that_never_came_back_are_errors(
    outcomes: Outcomes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(PROVIDER))
    from garak_plan import Plan
    from garak_report import Report

    outcome = outcomes["guarded"]
    lines = (outcome.raw / "garak.report.jsonl").read_text("utf-8").splitlines()
    judged = [line for line in lines if '"entry_type": "attempt"' in line and '"status": 2' in line]
    short, events = tmp_path / "garak.report.jsonl", tmp_path / "events.jsonl"
    short.write_text("\n".join(line for line in lines if line not in judged[:7]), "utf-8")
    said = [
        {"queue": 1},
        {"probe": PROBE, "detectors": [DETECTOR], "reads_text": True},
        {"probe": PROBE, "prompts": 40, "one_round": True},
    ]
    events.write_text("".join(json.dumps(event) + "\n" for event in said) + '{"half', "utf-8")
    plan, report = Plan.read(events), Report.read(short, 0.5, 1)

    assert (report.requested(plan), len(report.samples)) == (40, 33)
    assert [plan.progress(requests, 1) for requests in (0, 10, 40, 50)] == [0.0, 0.25, 1.0, 1.0]
    with pytest.raises(Exception, match=r"garak counts .* of 40 attacks as successful, its attempts say .* of 33"):
        report.check(plan)
