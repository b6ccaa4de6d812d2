from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.records.tracking import limits, recording
from evalhub_components.run_directory import load
from evalhub_components.schema.results import MetricValue


def record(path: Path, report: str = "# Report", **more: Any) -> recording.Recording:
    run = load(path)
    given = {"report": report, "evidence_digest": "sha256:" + "e" * 64, "evidence_reference": "somewhere"}
    return recording.record(run, run.judge(), **given, **more)


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
    assert limits.metric_names({original: 1}) == {original: name}


def test_metric_names_that_meet_stay_apart() -> None:
    names = limits.metric_names(dict.fromkeys(["acc", "acc,none", "a@b", "a_at_b", "a?b", "a!b"]))
    assert len(set(names.values())) == 6


def test_a_metric_name_that_mlflow_takes_is_never_renamed() -> None:
    names = limits.metric_names(["acc,none", "acc", "acc_2", "a@b", "a_at_b"])
    assert names == {"acc": "acc", "acc_2": "acc_2", "a_at_b": "a_at_b", "acc,none": "acc_3", "a@b": "a_at_b_2"}


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
        "evalhub.score": "0.75",
        "evalhub.threshold": "0.6",
        "evalhub.state": "completed",
        "evalhub.model_url": "http://localhost:1/v1",
        "evalhub.fingerprint": load(path).fingerprint.digest(),
        "evalhub.evidence_reference": "somewhere",
        "evalhub.tags": "ci",
        "evalhub.collection": "quick@1.2",
        "evalhub.plan_digest": load(path).record.plan_digest,
        "evalhub.model_name": "tiny",
        "evalhub.evidence_digest": "sha256:" + "e" * 64,
        "mlflow.note.content": "# Report",
    }
    assert expected.items() <= parent.tags.items()
    assert parent.key == ("evalhub.run_id", "r-20260102")


def test_what_was_not_known_is_no_tag(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run", results={0: None, 1: None, 2: None}, record={"tags": []})
    tags = record(path).parent.tags
    absent = {
        "evalhub.score",
        "evalhub.tags",
        "evalhub.model_digest",
        "kfp.pipeline_run_id",
        "mlflow.source.git.commit",
    }
    assert not absent & set(tags)
    assert "gate/score" not in record(path).parent.metrics


def test_what_is_not_set_or_was_not_counted_is_left_out_of_a_child(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    path = write_run(tmp_path / "run", results={1: {"status": "failed", "reason": "crashed", "metrics": {}}})
    scored, failed, _ = record(path).children
    assert "null" not in [*scored.params.values(), *failed.params.values()]
    assert scored.metrics["evalhub/num_errors"] == 0
    assert "evalhub/num_errors" not in failed.metrics


def test_model_digest_commit_and_pipeline_are_tags_where_they_are_known(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    digest = "sha256:" + "d" * 64
    path = write_run(tmp_path / "run", record={"model_digest": digest, "engine": "kfp"})
    expected = {
        "evalhub.model_digest": digest,
        "mlflow.source.git.commit": "c0ffee",
        "kfp.pipeline_run_id": "r-20260102",
    }
    assert expected.items() <= record(path, commit="c0ffee").parent.tags.items()
    # whoever names a commit knows better than the environment
    own = write_run(tmp_path / "own", record={"experiment_tags": {"mlflow.source.git.commit": "beef"}})
    assert record(own, commit="c0ffee").parent.tags["mlflow.source.git.commit"] == "beef"


def test_tags_of_the_user_do_not_replace_the_decision(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    forged = {"evalhub.verdict": "pass", "evalhub,verdict": "pass", "mlflow.note.content": "all is well"}
    path = write_run(tmp_path / "run", results={0: {"status": "failed"}}, record={"experiment_tags": forged})
    tags = record(path).parent.tags
    assert (tags["evalhub.verdict"], tags["mlflow.note.content"]) == ("error", "# Report")


def test_the_reports_and_the_verdict_are_artifacts(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    assert set(record(path).artifacts) == {"verdict.json", "report.md"}
    whole = record(path, html="<!doctype html>").artifacts
    assert (whole["report.html"], whole["report.md"]) == ("<!doctype html>", "# Report")
    assert json.loads(whole["verdict.json"])["verdict"] == "pass"


@pytest.mark.parametrize(
    ("engine", "said", "found"),
    [
        ("kfp", "a" * 32, "a" * 32),
        ("kfp", "../" + "a" * 29, None),
        ("kfp", 7, None),
        ("kfp", None, None),
        ("process", "a" * 32, None),
    ],
    ids=["of a pipeline", "no id", "a number", "none", "on this machine"],
)
def test_a_child_knows_the_run_that_a_pipeline_made_for_its_task(
    tmp_path: Path, write_run: Callable[..., Path], engine: str, said: Any, found: str | None
) -> None:
    path = write_run(tmp_path / "run", record={"engine": engine}, results={1: None})
    (path / "benchmarks" / "000-arc" / "environment.json").write_text(json.dumps({"mlflow_run_id": said}))
    (path / "benchmarks" / "001-gsm8k" / "environment.json").write_text("[]")
    (path / "benchmarks" / "002-mmlu" / "environment.json").write_text("{")
    whole = record(path, task_run_id="b" * 32 if engine == "kfp" else None)
    assert [child.task_run_id for child in whole.children] == [found, None, None]
    assert whole.task_run_id == ("b" * 32 if engine == "kfp" else None)


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


def test_metrics_whose_names_meet_all_stay(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    metrics = {
        "acc": MetricValue(value=0.75, stderr=0.25),
        "acc,none": MetricValue(value=0.5, stderr=0.125),
        "acc_stderr": MetricValue(value=0.01),
        "evalhub/score": MetricValue(value=9),
        "usage/tokens": MetricValue(value=1),
        "big": MetricValue(value=10**400),
    }
    path = write_run(tmp_path / "run", results={0: {"metrics": metrics, "usage": {"tokens": 2.0}}})
    (first, *_) = record(path).children
    expected = {
        "acc": 0.75,
        "acc_2": 0.5,
        "acc_stderr": 0.01,
        "acc_stderr_2": 0.25,
        "acc_2_stderr": 0.125,
        "evalhub/score": 0.75,
        "evalhub/score_2": 9.0,
        "usage/tokens": 1.0,
        "usage/tokens_2": 2.0,
    }
    assert expected.items() <= first.metrics.items()
    assert "big" not in first.metrics


def test_everything_is_within_mlflows_limits(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    many = {f"p{number}": "\0" + "x" * 7000 for number in range(150)}
    path = write_run(
        tmp_path / "run",
        tasks={0: {"parameters": many}},
        results={0: {"metrics": {f"{'m' * 300}@{n}": MetricValue(value=1, stderr=1) for n in range(300)}}},
        record={
            "experiment_tags": {"a@b" * 100: "v" * 9000, "a_at_b" * 100: "w", "<script>": "\0"},
            "experiment_name": "e" * 900,
            "name": "n" * 900,
            "model_name": "m" * 9000,
        },
    )
    whole = record(path, report="r" * 9000)
    assert len(whole.experiment) == 500
    assert sum(name.startswith("m") for name in whole.children[0].metrics) == 600
    assert len([tag for tag in whole.parent.tags if tag.startswith("a_at_b")]) == 2
    assert "\0" not in json.dumps(whole.as_json(), ensure_ascii=False).replace("\\u0000", "\0")
    for run in (whole.parent, *whole.children):
        assert len(run.name) <= 250
        assert all(map(math.isfinite, run.metrics.values()))
        assert all(len(value) <= 8000 for value in run.tags.values())
        assert all(len(value) <= 6000 for value in run.params.values())
        assert len(run.params) <= 100
        for name in (*run.metrics, *run.params, *run.tags, *whole.experiment_tags):
            assert len(name) <= 250
            assert re.fullmatch(r"[/\w.\- ]+", name)
