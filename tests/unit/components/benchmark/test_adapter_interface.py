"""An adapter written for EvalHub runs with its import changed and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evalhub_components import adapter


@pytest.fixture(scope="module")
def outcome(module_step: Any, a_task: Any) -> Any:
    return module_step.adapter("evalhub_style").run([a_task(0, num_examples=4), a_task(1, fail=True)])


def test_its_results_are_kept(outcome: Any) -> None:
    results = outcome.results(0)
    assert results["reason"] is None
    assert results["metrics"] == {"acc": {"value": 0.75, "stderr": None}}
    assert results["num_evaluated"] == 4


def test_its_metadata_is_kept_with_the_environment(outcome: Any) -> None:
    environment = json.loads((outcome.entry(0) / "environment.json").read_bytes())
    assert environment["evaluation_metadata"] == {"framework": "quiz", "parameters": {}}
    assert environment["additional_info"] == {"zero_shot": True}


def test_its_oci_artifact_is_kept_among_the_raw_files(outcome: Any) -> None:
    [artifact] = (outcome.entry(0) / "raw").rglob("quiz.json")
    assert json.loads(artifact.read_text()) == {"limit": 4}


def test_its_progress_is_told(outcome: Any) -> None:
    told = [
        (event["phase"], event["completed"], event["total"])
        for event in outcome.events
        if event["event"] == "status" and event["index"] == 0
    ]
    assert told[-2:] == [("initializing", 0, 100), ("running_evaluation", 2, 4)]


def test_its_exception_is_the_reason(outcome: Any) -> None:
    assert outcome.reason(1) == "RuntimeError: the quiz master left"


@pytest.mark.parametrize(
    "name",
    [
        *("FrameworkAdapter", "JobCallbacks", "JobSpec", "JobResults", "JobStatusUpdate", "JobStatus", "JobPhase"),
        *("EvaluationResult", "ErrorInfo", "MessageInfo", "ModelCredentials", "OCIArtifactSpec", "OCIArtifactResult"),
    ],
)
def test_the_names_of_evalhubs_interface_are_there(name: str) -> None:
    assert hasattr(adapter, name)
