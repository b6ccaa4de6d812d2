"""The card of a run: EvalHub's EvaluationCard 1.0, whatever became of the run, and nothing that is not known."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from referencing import Registry, Resource

from evalhub_components import canonical
from evalhub_components.evidence.building.eval_card import eval_card
from evalhub_components.run_directory import load

SCHEMAS = Path(__file__).parent / "schemas"
EVALHUBS, OURS = (json.loads((SCHEMAS / name).read_text()) for name in ("evaluation-card-1.0.json", "eval-card.json"))
REGISTRY: Registry[Any] = Registry().with_resource(EVALHUBS["$id"], Resource.from_contents(EVALHUBS))
DIGEST = "sha256:" + "c" * 64

WriteRun = Callable[..., Path]


def card_of(path: Path) -> dict[str, Any]:
    run = load(path)
    return eval_card(run, run.judge())


def problems(card: dict[str, Any]) -> list[str]:
    """Return what keeps a card from being EvalHub's, or ours."""
    return [
        f"{error.json_path}: {error.message}"
        for schema in (EVALHUBS, OURS)
        for error in Draft202012Validator(schema, registry=REGISTRY).iter_errors(card)
    ]


def a_score(value: Any, **changes: Any) -> dict[str, Any]:
    return {"metrics": {"acc": {"value": value}}, **changes}


LOW = a_score(0.25)
FAILED = {"status": "failed", "reason": "no GPU", "metrics": {}, "num_evaluated": None, "num_requested": None}
BY_COLLECTION = {"value": 0.7, "source": "collection"}
RUNS: dict[str, dict[str, Any]] = {
    "pass": {},
    "fail": {"results": {0: LOW, 1: LOW, 2: LOW}},
    "fail-of-a-required-one": {"results": {2: LOW}, "tasks": {2: {"required": True}}},
    "error-without-results": {"results": {1: None}},
    "error-with-results-nobody-can-read": {"results": {1: "{"}},
    "error-of-a-framework": {"results": {1: FAILED}},
    "error-without-the-metric": {"results": {1: {"metrics": {"f1": {"value": 1}}}}},
    "error-of-a-metric-out-of-range": {"results": {1: a_score(75)}},
    "no-results-at-all": {"results": dict.fromkeys(range(3))},
    "cancelled": {"results": {1: None}, "record": {"state": "cancelled"}},
    "limited": {"record": {"num_examples": 2}},
    "advisory": {"tasks": {0: {"weight": 0}}, "results": {0: FAILED}},
    "no-thresholds": {"tasks": {n: {"threshold": None} for n in range(3)}},
    "threshold-of-the-collection": {"tasks": {0: {"threshold": BY_COLLECTION}}},
    "many-metrics": {
        "results": {
            0: {
                "metrics": {
                    "acc": {"value": 0.5, "stderr": 0.125},
                    "large": {"value": 1e300},
                    "name": {"value": "N/A"},
                    "nothing": {"value": None},
                    "flag": {"value": True},
                },
                "num_errors": 3,
            }
        }
    },
    "everything-said": {
        "record": {"model_digest": DIGEST, "num_examples": 3, "declared_environment": {"gpu": {"name": "é\u2028"}}},
        "tasks": {
            0: {
                "parameters": {"tokenizer": "tiny", "deep": [{"a": None}]},
                "num_examples": 2,
                "test_data_ref": {"git": {"url": "https://git.example/d", "ref": "main", "secret_ref": "git-secret"}},
            }
        },
    },
    "times-in-another-zone": {"results": {0: {"completed_at": "2027-01-01T00:30:00.25+02:00"}}},
    "no-times": {"results": {n: {"completed_at": "soon"} for n in range(3)}},
}


@pytest.fixture(params=RUNS)
def card(request: pytest.FixtureRequest, tmp_path: Path, write_run: WriteRun) -> dict[str, Any]:
    return card_of(write_run(tmp_path / "run", **RUNS[request.param]))


def test_a_card_is_evalhubs_with_what_we_add_and_nothing_else(card: dict[str, Any]) -> None:
    assert problems(card) == []


def test_a_card_survives_canonical_json(card: dict[str, Any]) -> None:
    assert json.loads(canonical.dumps(card)) == card


def test_a_card_says_of_every_benchmark_what_was_asked_and_what_came_of_it(card: dict[str, Any]) -> None:
    asked, came = card["context"]["benchmarks"], card["results"]["benchmarks"]
    assert [item["id"] for item in asked] == [item["id"] for item in came] == ["arc", "gsm8k", "mmlu"]
    for item in came:
        has_error = item["additional_info"].get("normalized_score") is None
        assert ("error_message" in item) == has_error
        assert not (has_error and "test" in item)


def test_the_schemas_are_schemas() -> None:
    for schema in (EVALHUBS, OURS):
        Draft202012Validator.check_schema(schema)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every key that has a name of its own, not one from a run."""
    free = {"parameters", "declared", "model", "metrics", "stderr", "data_digests", "test_data_ref"}
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*place, key)
            if key not in free:
                yield from places(item, (*place, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from places(item, (*place, number))


def test_the_schemas_know_every_key_of_a_card(tmp_path: Path, write_run: WriteRun) -> None:
    text = json.dumps(card_of(write_run(tmp_path / "run", **RUNS["everything-said"])))
    found = list(places(json.loads(text)))
    assert len(found) > 100
    for *parents, key in found:
        card = json.loads(text)
        inner = card
        for parent in parents:
            inner = inner[parent]
        inner[f"{key}_"] = inner.pop(key)
        assert problems(card), f"{parents} {key}"


def test_metadata_are_the_jobs_and_the_runs(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run", **RUNS["times-in-another-zone"])
    record = load(path).record
    assert card_of(path)["metadata"] == {
        "evaluation_job_id": record.job_id,
        "run_id": record.run_id,
        "name": "nightly",
        "created_at": "2026-01-02T03:00:00Z",
        "updated_at": "2026-12-31T22:30:00Z",
        "created_by": {"name": "evalhub-kfp", "version": "0.1.0", "engine": "process"},
    }


def test_a_time_that_nobody_knows_is_left_out(tmp_path: Path, write_run: WriteRun) -> None:
    card = card_of(write_run(tmp_path / "run", **RUNS["no-times"]))
    assert "updated_at" not in card["metadata"]
    assert "completed_at" not in card["results"]["benchmarks"][0]["additional_info"]


def test_the_context_is_what_was_asked_and_who_was_asked(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run", **RUNS["everything-said"])
    run, context = load(path), card_of(path)["context"]
    assert run.fingerprint is not None
    assert context["model"] == {"url": "http://localhost:1/v1", "name": "tiny", "digest": DIGEST}
    assert context["fingerprint"] == {
        "digest": run.fingerprint.digest(),
        "identity": run.fingerprint.identity,
        "missing": ["answers"],
    }
    assert context["environment"] == {"declared": {"gpu": {"name": "é\u2028"}}, "observed": {}}
    assert (context["collection_id"], context["collection_version"]) == ("quick", "1.2")
    assert context["criteria"] == {
        "threshold": 0.6,
        "threshold_source": "collection",
        "gate_mode": "point",
        "confidence": 0.95,
    }
    assert context["plan_digest"] == run.record.plan_digest
    assert context["benchmarks"][0] == {
        "id": "arc",
        "provider_id": "lm_evaluation_harness",
        "parameters": {"tokenizer": "tiny", "deep": [{"a": None}]},
        "primary_score": {"metric": "acc", "lower_is_better": False, "range": [0, 1]},
        "pass_criteria": {"threshold": 0.5},
        "weight": 1.0,
        "required": False,
        "benchmark_index": 0,
        "task_digest": run.plan.tasks[0].digest(),
        "num_few_shot": 0,
        "num_examples": 2,
        "dataset_size": 4,
        "seed": 1234,
        "timeout": 600,
        "max_error_rate": 0.0,
        "test_data_ref": {"type": "data_set", "git": {"url": "https://git.example/d", "ref": "main"}},
        "data_digests": {"data.jsonl": "sha256:" + "ab" * 32},
    }
    assert context["benchmarks"][1]["num_examples"] == 3  # the run's own limit


def test_results_are_the_metrics_their_errors_and_the_test(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run", **RUNS["many-metrics"])
    verdict, results = load(path).judge(), card_of(path)["results"]
    assert results["benchmarks"][0] == {
        "id": "arc",
        "provider_id": "lm_evaluation_harness",
        "status": "completed",
        "metrics": {"acc": 0.5, "large": 1e300, "name": "N/A", "nothing": None, "flag": True},
        "additional_info": {
            "benchmark_index": 0,
            "started_at": "2026-01-02T03:00:00Z",
            "completed_at": "2026-01-02T03:04:00Z",
            "num_requested": 4,
            "num_evaluated": 4,
            "num_errors": 3,
            "stderr": {"acc": 0.125},
            "normalized_score": 0.5,
            "normalized_se": verdict.benchmarks[0].se,
            "se_source": verdict.benchmarks[0].se_source,
            "threshold_source": "benchmark",
            "reason": "0.5 >= 0.5",
        },
        "artifacts": {"folder": "benchmarks/000-arc"},
        "test": {"primary_score": 0.5, "threshold": 0.5, "pass": True},
    }
    assert results["collection"] == {"test": {"score": verdict.score, "threshold": 0.6, "pass": True}}
    assert results["status"]["state"] == "completed"
    assert results["verdict"] | {"interval": list(verdict.interval or ())} == results["verdict"]
    assert (results["verdict"]["verdict"], results["verdict"]["limited"]) == ("pass", False)
    assert results["verdict"]["reasons"] == verdict.reasons


def test_standard_errors_come_from_the_samples(tmp_path: Path, write_run: WriteRun) -> None:
    """Their mean is the metric: that is what makes them samples of it."""
    path = write_run(tmp_path / "run")
    assert {test.se_source for test in load(path).judge().benchmarks} == {"samples"}
    info = card_of(path)["results"]["benchmarks"][0]["additional_info"]
    assert (info["se_source"], info["normalized_se"]) == ("samples", load(path).judge().benchmarks[0].se)


@pytest.mark.parametrize(
    ("name", "state", "passed", "test"),
    [
        ("pass", "completed", True, {"primary_score": 0.75, "threshold": 0.5, "pass": True}),
        ("fail", "completed", False, {"primary_score": 0.25, "threshold": 0.5, "pass": False}),
        ("fail-of-a-required-one", "completed", False, {"primary_score": 0.75, "threshold": 0.5, "pass": True}),
        ("error-without-results", "partially_failed", None, None),
        ("no-results-at-all", "failed", None, None),
        ("cancelled", "cancelled", None, None),
        ("no-thresholds", "completed", True, None),
    ],
)
def test_what_evalhub_reads_is_the_verdict(
    tmp_path: Path, write_run: WriteRun, name: str, state: str, passed: bool | None, test: dict[str, Any] | None
) -> None:
    results = card_of(write_run(tmp_path / "run", **RUNS[name]))["results"]
    assert results["status"]["state"] == state
    assert (results["collection"]["test"]["pass"] if "collection" in results else None) == passed
    assert results["benchmarks"][1].get("test") == test


@pytest.mark.parametrize(
    ("name", "status", "code", "words"),
    [
        ("error-without-results", "failed", "benchmark_failed", "there is no results.json"),
        ("error-with-results-nobody-can-read", "failed", "benchmark_failed", "results.json cannot be used"),
        ("error-of-a-framework", "failed", "benchmark_failed", "no GPU"),
        ("error-without-the-metric", "completed", "no_score", "metric missing"),
        ("error-of-a-metric-out-of-range", "completed", "no_score", "out of range"),
        ("cancelled", "cancelled", "results_missing", "cancelled"),
    ],
)
def test_a_benchmark_without_a_score_says_why(
    tmp_path: Path, write_run: WriteRun, name: str, status: str, code: str, words: str
) -> None:
    outcome = card_of(write_run(tmp_path / "run", **RUNS[name]))["results"]["benchmarks"][1]
    assert outcome["status"] == status
    assert outcome["error_message"]["message_code"] == code
    assert words in outcome["error_message"]["message"]


def test_a_benchmark_that_left_nothing_says_so(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run")
    shutil.rmtree(path / "benchmarks" / "001-gsm8k")
    card = card_of(path)
    outcome = card["results"]["benchmarks"][1]
    assert (outcome["status"], outcome["error_message"]["message_code"]) == ("failed", "results_missing")
    assert "artifacts" not in outcome
    assert problems(card) == []


def test_what_a_benchmark_without_results_did_is_not_guessed(tmp_path: Path, write_run: WriteRun) -> None:
    card = card_of(write_run(tmp_path / "run", **RUNS["error-with-results-nobody-can-read"]))
    outcome = card["results"]["benchmarks"][1]
    assert outcome["additional_info"].keys() == {"benchmark_index", "se_source", "threshold_source", "reason"}
    assert "metrics" not in outcome
    assert "data_digests" not in card["context"]["benchmarks"][1]


def test_a_limited_run_says_so(tmp_path: Path, write_run: WriteRun) -> None:
    card = card_of(write_run(tmp_path / "run", **RUNS["limited"]))
    assert card["results"]["verdict"]["limited"] is True
    assert card["context"]["num_examples"] == 2


@pytest.mark.parametrize(
    ("score", "threshold"),
    [
        ({}, 0.7),
        ({"lower_is_better": True}, 0.3),
        ({"range": (0, 100)}, 70),
        ({"range": (0, 50), "lower_is_better": True}, 15),
    ],
    ids=["as it is", "lower is better", "percent", "both"],
)
def test_score_and_threshold_are_on_one_scale(
    tmp_path: Path, write_run: WriteRun, score: dict[str, Any], threshold: float
) -> None:
    task = {"primary_score": {"metric": "acc", **score}, "threshold": BY_COLLECTION}
    card = card_of(write_run(tmp_path / "run", tasks={0: task}, results={0: a_score(threshold)}))
    assert card["context"]["benchmarks"][0]["pass_criteria"] == {"threshold": threshold}
    assert card["results"]["benchmarks"][0]["test"] == {
        "primary_score": threshold,
        "threshold": threshold,
        "pass": True,
    }


def test_a_run_without_a_fingerprint_has_none_in_its_card(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run")
    (path / "fingerprint.json").unlink()
    card = card_of(path)
    assert "fingerprint" not in card["context"]
    assert problems(card) == []


def observe(path: Path, observed: str) -> None:
    file = path / "fingerprint.json"
    file.write_text(file.read_text().replace('"observed": {}', f'"observed": {observed}'))


def test_what_the_server_said_is_there_without_headers_and_answers(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run")
    said = {"model": {"id": "tiny", "max_model_len": 4096}, "system_fingerprints": ["fp_1"]}
    observe(path, json.dumps({**said, "headers": {"x-session": "sekrit"}, "answers": ["forty-two"]}))
    card = card_of(path)
    assert card["context"]["environment"]["observed"] == said
    assert "sekrit" not in json.dumps(card)
    assert problems(card) == []


@pytest.mark.parametrize("value", ["NaN", "1e999", "1152921504606846977", r'"\ud800"', r'{"\udc00": 1}'])
def test_what_canonical_json_cannot_hold_is_left_out(tmp_path: Path, write_run: WriteRun, value: str) -> None:
    path = write_run(tmp_path / "run")
    observe(path, f'{{"model": {{"id": {value}}}, "system_fingerprints": ["fp_1"]}}')
    card = card_of(path)
    assert card["context"]["environment"]["observed"] == {"system_fingerprints": ["fp_1"]}
    canonical.dumps(card)


def test_the_names_of_secrets_are_not_in_a_card(tmp_path: Path, write_run: WriteRun) -> None:
    refs = {
        0: {"s3": {"bucket": "b", "key": "k", "secret_ref": "secret-of-s3"}},
        1: {"git": {"url": "https://git.example/d", "ref": "main", "secret_ref": "secret-of-git"}},
        2: {"hf": {"repo_id": "a/b", "secret_ref": "secret-of-hf"}},
    }
    coordinates = {"oci_host": "r.example", "oci_repository": "a"}
    exports = {"oci": {"coordinates": coordinates}, "signing": {"secret_ref": "secret-of-signing"}}
    record = {"model_secret": "secret-of-model", "exports": exports}
    tasks = {index: {"test_data_ref": ref} for index, ref in refs.items()}
    card = card_of(write_run(tmp_path / "run", tasks=tasks, record=record))
    assert "secret" not in json.dumps(card)
    assert [next(iter(item["test_data_ref"].keys() - {"type"})) for item in card["context"]["benchmarks"]] == [
        *("s3", "git", "hf")
    ]


PRINT = """
import sys
from pathlib import Path
from evalhub_components import canonical
from evalhub_components.evidence.building.eval_card import eval_card
from evalhub_components.run_directory import load
run = load(Path(sys.argv[1]))
sys.stdout.buffer.write(canonical.dumps(eval_card(run, run.judge())))
"""


def test_the_same_run_has_the_same_card_wherever_it_is_made(tmp_path: Path, write_run: WriteRun) -> None:
    seen = set()
    for place, zone, seed in (("here", "UTC", "1"), ("elsewhere/far away", "Asia/Kathmandu", "2")):
        path = write_run(tmp_path / place / "run", **RUNS["everything-said"])
        environ = {**os.environ, "TZ": zone, "PYTHONHASHSEED": seed, "USER": place, "HOME": str(path), "LC_ALL": "C"}
        command = [sys.executable, "-c", PRINT, str(path)]
        seen.add(subprocess.run(command, env=environ, cwd=path, check=True, capture_output=True).stdout)
    assert seen == {canonical.dumps(card_of(path))}
