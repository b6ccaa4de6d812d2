from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from evalhub_components.records import wording
from evalhub_components.records.ci import tekton
from evalhub_components.run_directory import load
from evalhub_components.schema.run import Publication

WriteRun = Callable[..., Path]

COUNT = {"type": "integer", "minimum": 0}
# what Konflux checks TEST_OUTPUT against (ADR 30)
SCHEMA = {
    "type": "object",
    "properties": {
        "result": {"enum": ["SUCCESS", "FAILURE", "WARNING", "SKIPPED", "ERROR"]},
        "namespace": {"type": "string"},
        "timestamp": {"pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})?$"},
        "successes": COUNT,
        "note": {"type": "string"},
        "failures": COUNT,
        "warnings": COUNT,
    },
    "required": ["result", "timestamp", "successes", "failures", "warnings"],
    "additionalProperties": False,
}


def acc(value: Any) -> dict[str, Any]:
    return {"metrics": {"acc": {"value": value}}}


def kept_by_tekton(results: dict[str, str]) -> bytes:
    """Return the message in which Tekton keeps results, as Go encodes it."""
    entries = [{"key": name, "value": value, "type": 1} for name, value in results.items()]
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


@pytest.mark.parametrize(
    ("write", "result", "counts"),
    [
        ({}, "SUCCESS", (4, 0, 0)),
        ({"results": {0: acc(0.1), 1: acc(0.1)}}, "FAILURE", (1, 3, 0)),
        ({"results": {0: acc(0.55), 1: acc(0.55), 2: acc(0.55)}}, "FAILURE", (3, 1, 0)),
        ({"results": {0: {"status": "failed", "reason": "x"}}}, "ERROR", (2, 2, 0)),
        ({"results": {0: acc(0.4)}}, "WARNING", (3, 0, 1)),
        ({"tasks": {0: {"weight": 0}}, "results": {0: acc(0.4)}}, "WARNING", (3, 0, 1)),
        ({"tasks": {0: {"weight": 0}}, "results": {0: acc(0.4), 1: acc(0.1)}}, "FAILURE", (1, 2, 1)),
        ({"record": {"num_examples": 2}}, "WARNING", (3, 0, 1)),
    ],
    ids=["pass", "fail", "gate alone", "error", "missed", "advisory", "advisory and fail", "limited"],
)
def test_test_output_counts_benchmarks_and_the_gate(
    tmp_path: Path, write_run: WriteRun, write: dict[str, Any], result: str, counts: tuple[int, int, int]
) -> None:
    run = load(write_run(tmp_path / "run", **write))
    found = json.loads(tekton.render(run, run.judge())["TEST_OUTPUT"])
    jsonschema.validate(found, SCHEMA)
    assert (found["result"], (found["successes"], found["failures"], found["warnings"])) == (result, counts)
    assert found["timestamp"] == "2026-01-02T03:04:02Z"
    assert "tiny on collection quick" in found["note"]


def test_an_inconclusive_gate_is_no_warning_that_passes(tmp_path: Path, write_run: WriteRun) -> None:
    run = load(write_run(tmp_path / "run"))
    verdict = run.judge().model_copy(update={"verdict": "inconclusive", "reasons": ["undecided"]})
    results = tekton.render(run, verdict)
    assert json.loads(results["TEST_OUTPUT"])["result"] == "FAILURE"
    assert results["VERDICT"] == "inconclusive"


def test_a_verdict_under_other_criteria_says_so_first(tmp_path: Path, write_run: WriteRun) -> None:
    run = load(write_run(tmp_path / "run"))
    found = json.loads(tekton.render(run, run.judge(), wording.judged_again("fail"))["TEST_OUTPUT"])
    said = "judged again under other criteria; the run's own verdict is fail. Passed: tiny"
    assert found["note"].startswith(said)


def test_a_run_without_a_verdict_is_an_error(tmp_path: Path) -> None:
    results = tekton.render_error("http://localhost:1/v1: refused\n" + "<😀>##[error]x" * 500)
    assert tuple(results) == tekton.NAMES
    assert tekton.size(results) <= tekton.LIMIT
    found = json.loads(results["TEST_OUTPUT"])
    jsonschema.validate(found, SCHEMA)
    assert (found["result"], found["successes"], found["failures"]) == ("ERROR", 0, 1)
    assert found["note"].startswith("No verdict: http://localhost:1/v1: refused")
    assert "##[" not in results["TEST_OUTPUT"]
    assert {name: value for name, value in results.items() if value} == {
        "VERDICT": "error",
        "TEST_OUTPUT": results["TEST_OUTPUT"],
    }


def test_results_are_bare_values(tmp_path: Path, write_run: WriteRun) -> None:
    run = load(write_run(tmp_path / "run"))
    publication = Publication(evidence_digest="sha256:" + "e" * 64, evidence_reference="localhost:1/r:t@sha256:e")
    results = tekton.render(run, run.judge(), publication)
    assert tuple(results) == tekton.NAMES
    del results["TEST_OUTPUT"]
    assert results == {
        "VERDICT": "pass",
        "SCORE": "0.75",
        "RUN_ID": "r-20260102",
        "EVIDENCE_DIGEST": "sha256:" + "e" * 64,
        "EVIDENCE_REFERENCE": "localhost:1/r:t@sha256:e",
    }


@pytest.mark.parametrize("character", ["<", "é", "😀", '"', "\\", "\n", "\x1b"])
def test_all_results_fit_in_what_tekton_keeps(tmp_path: Path, write_run: WriteRun, character: str) -> None:
    name = character * 3000
    run = load(write_run(tmp_path / "run", record={"model_name": name, "run_id": "r" * 100}))
    for length in (10, 200, 500, 1000, 3000):
        publication = Publication(evidence_digest="sha256:" + "e" * 64, evidence_reference=character * length)
        results = tekton.render(run, run.judge(), publication)
        assert len(kept_by_tekton(results)) <= tekton.size(results) + 2 <= 4096 - 256
        # whole or not at all
        assert results["EVIDENCE_REFERENCE"] in ("", character * length)
        jsonschema.validate(json.loads(results["TEST_OUTPUT"]), SCHEMA)
    assert tekton.render(run, run.judge(), Publication(evidence_reference="r" * 300))["EVIDENCE_REFERENCE"]
