from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from evalhub_components.records import recording
from evalhub_components.run_directory import load
from evalhub_components.schema.results import MetricValue


def record(path: Path, report: str = "# Report") -> recording.Recording:
    run = load(path)
    return recording.record(
        run, run.judge(), report=report, evidence_digest="sha256:" + "e" * 64, evidence_reference="somewhere"
    )


@pytest.mark.parametrize(
    ("original", "name"),
    [
        ("acc,none", "acc"),
        ("exact_match,strict-match", "exact_match/strict-match"),
        ("pass@1", "pass_at_1"),
        ("mmlu/acc", "mmlu/acc"),
        ("/../a//b/", "a/b"),
        ("f1 (macro) % <b>", "f1 _macro_ _ _b_"),
        ("größe", "gr__e"),
        (",none", "metric"),
        ("m" * 400, "m" * 238),
    ],
)
def test_metric_names_become_what_mlflow_takes(original: str, name: str) -> None:
    assert recording.metric_names({original: 1}) == {original: name}


def test_metric_names_that_meet_stay_apart() -> None:
    names = recording.metric_names(dict.fromkeys(["acc", "acc,none", "a@b", "a_at_b", "a?b", "a!b"]))
    assert len(set(names.values())) == 6


def test_the_parent_holds_the_decision(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run", benchmarks=["arc", "mmlu", "mmlu", "gate"])
    parent = record(path).parent
    assert parent.metrics == {
        "gate/score": 0.75,
        "gate/score_se": parent.metrics["gate/score_se"],
        "gate/threshold": 0.6,
        "gate/pass": 1.0,
        "arc/score": 0.75,
        "001-mmlu/score": 0.75,
        "002-mmlu/score": 0.75,
        "003-gate/score": 0.75,
    }
    expected = {
        "team": "blue",
        "evalhub.verdict": "pass",
        "evalhub.collection": "quick@1.2",
        "evalhub.plan_digest": load(path).record.plan_digest,
        "evalhub.model_name": "tiny",
        "evalhub.evidence_digest": "sha256:" + "e" * 64,
        "mlflow.note.content": "# Report",
    }
    assert expected.items() <= parent.tags.items()
    assert parent.key == ("evalhub.run_id", "r-20260102")


@pytest.mark.parametrize(
    ("results", "state", "status"),
    [
        ({}, "running", "FINISHED"),
        ({0: {"metrics": {"acc": {"value": 0.0}}}, 1: {"metrics": {"acc": {"value": 0.0}}}}, "running", "FINISHED"),
        ({0: {"status": "failed", "reason": "no"}}, "running", "FAILED"),
        ({0: None}, "cancelled", "KILLED"),
    ],
    ids=["pass", "fail", "error", "cancelled"],
)
def test_a_failed_gate_is_a_finished_run_and_a_missing_verdict_a_failed_one(
    tmp_path: Path, write_run: Callable[..., Path], results: dict[int, object], state: str, status: str
) -> None:
    assert record(write_run(tmp_path / "run", results=results, record={"state": state})).parent.status == status


def test_a_child_holds_every_number_the_benchmark_reported(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    metrics = {
        "acc": MetricValue(value=0.75, stderr=0.25),
        "f1,none": MetricValue(value=1),
        "label": MetricValue(value="high"),
        "flag": MetricValue(value=True),
        "nothing": MetricValue(value=None),
    }
    path = write_run(
        tmp_path / "run",
        tasks={0: {"parameters": {"temperature": 0, "stop": ["\n"]}}},
        results={0: {"metrics": metrics, "usage": {"total tokens": 12.0}}, 1: {"status": "failed", "reason": "hang"}},
    )
    first, failed, _ = record(path).children
    reported = {name: value for name, value in first.metrics.items() if not name.startswith("evalhub/")}
    assert reported == {"acc": 0.75, "acc_stderr": 0.25, "f1": 1.0, "usage/total tokens": 12.0}
    assert {"seed": "1234", "parameters.temperature": "0", "parameters.stop": '["\\n"]'}.items() <= first.params.items()
    assert first.dataset == recording.DatasetRecording(
        name="lm_evaluation_harness/arc", digest=("ab" * 18), source='{"data.jsonl": "sha256:' + "ab" * 32 + '"}'
    )
    assert (failed.status, failed.key) == ("FAILED", ("evalhub.task_key", "r-20260102/1"))
    assert "hang" in failed.tags["evalhub.reason"]


def test_everything_is_within_mlflows_limits(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    many = {f"p{number}": "x" * 7000 for number in range(150)}
    path = write_run(
        tmp_path / "run",
        tasks={0: {"parameters": many}},
        results={0: {"metrics": {f"m{number}@{number}": MetricValue(value=1) for number in range(300)}}},
        record={"experiment_tags": {"a@b" * 100: "v" * 9000}},
    )
    whole = record(path, report="r" * 9000)
    for run in (whole.parent, *whole.children):
        assert all(len(value) <= 8000 for value in run.tags.values())
        assert all(len(value) <= 6000 for value in run.params.values())
        assert len(run.params) <= 100
        for name in (*run.metrics, *run.params, *run.tags):
            assert len(name) <= 250
            assert re.fullmatch(r"[/\w.\- ]+", name)
