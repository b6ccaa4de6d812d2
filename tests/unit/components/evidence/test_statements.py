from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from evalhub_components import canonical
from evalhub_components.evidence.signing import statements
from evalhub_components.run_directory import load
from evalhub_components.schema.plan import EvaluationPlan

WriteRun = Callable[..., Path]

INDEX = "sha256:" + "1" * 64
MODEL = "sha256:" + "2" * 64
IMAGE = "sha256:" + "3" * 64
FILES = {"run.json": "a" * 64, "SHA256SUMS": "b" * 64, "benchmarks/000-arc/results.json": "c" * 64}

# what the specifications ask for; descriptors need one of three fields, and subjects a digest
URI = {"type": "string", "pattern": "^[a-z][a-z0-9+.-]*:[^ ]+$"}
TIMESTAMP = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
NAMES = {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True}
DIGESTS = {
    "type": "object",
    "minProperties": 1,
    "properties": {"sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
    "additionalProperties": {"type": "string"},
}
DESCRIPTOR = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "uri": URI,
        "digest": DIGESTS,
        "content": {"type": "string"},
        "downloadLocation": URI,
        "mediaType": {"type": "string"},
        "annotations": {"type": "object"},
    },
    "anyOf": [{"required": ["uri"]}, {"required": ["digest"]}, {"required": ["content"]}],
    "additionalProperties": False,
}


def statement_of(predicate_type: str, predicate: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "_type": {"const": "https://in-toto.io/Statement/v1"},
            "subject": {"type": "array", "minItems": 1, "items": {**DESCRIPTOR, "required": ["digest"]}},
            "predicateType": {"const": predicate_type},
            "predicate": predicate,
        },
        "required": ["_type", "subject", "predicateType", "predicate"],
        "additionalProperties": False,
    }


TEST_RESULT = statement_of(
    "https://in-toto.io/attestation/test-result/v0.1",
    {
        "type": "object",
        "properties": {
            "result": {"enum": ["PASSED", "WARNED", "FAILED"]},
            "configuration": {"type": "array", "items": DESCRIPTOR, "minItems": 1},
            "url": URI,
            "passedTests": NAMES,
            "warnedTests": NAMES,
            "failedTests": NAMES,
        },
        "required": ["result", "configuration"],
        "additionalProperties": False,
    },
)
PROVENANCE = statement_of(
    "https://slsa.dev/provenance/v1",
    {
        "type": "object",
        "properties": {
            "buildDefinition": {
                "type": "object",
                "properties": {
                    "buildType": URI,
                    "externalParameters": {"type": "object", "minProperties": 1},
                    "internalParameters": {"type": "object"},
                    "resolvedDependencies": {"type": "array", "items": DESCRIPTOR},
                },
                "required": ["buildType", "externalParameters"],
                "additionalProperties": False,
            },
            "runDetails": {
                "type": "object",
                "properties": {
                    "builder": {
                        "type": "object",
                        "properties": {
                            "id": URI,
                            "version": {"type": "object", "additionalProperties": {"type": "string"}},
                            "builderDependencies": {"type": "array", "items": DESCRIPTOR},
                        },
                        "required": ["id"],
                        "additionalProperties": False,
                    },
                    "metadata": {
                        "type": "object",
                        "properties": {
                            "invocationId": {"type": "string"},
                            "startedOn": TIMESTAMP,
                            "finishedOn": TIMESTAMP,
                        },
                        "additionalProperties": False,
                    },
                    "byproducts": {"type": "array", "items": DESCRIPTOR},
                },
                "required": ["builder"],
                "additionalProperties": False,
            },
        },
        "required": ["buildDefinition", "runDetails"],
        "additionalProperties": False,
    },
)


def facts_of(path: Path, **changes: Any) -> statements.Facts:
    run = load(path)
    verdict = run.judge().model_copy(update=changes)
    return statements.Facts(run=run, verdict=verdict, index=INDEX, files=FILES)


def both(facts: statements.Facts) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the two statements, as who reads their JSON sees them, checked against the schemas."""
    said = tuple(
        json.loads(canonical.dumps(made)) for made in (statements.test_result(facts), statements.provenance(facts))
    )
    for statement, schema in zip(said, (TEST_RESULT, PROVENANCE), strict=True):
        jsonschema.Draft202012Validator(schema).validate(statement)
    return said[0], said[1]


def test_a_run_that_passes_is_said_to_have_passed(tmp_path: Path, write_run: WriteRun) -> None:
    facts = facts_of(write_run(tmp_path / "run"))
    result, _ = both(facts)
    assert result["predicate"] == {
        "result": "PASSED",
        "configuration": [
            {
                "name": "quick",
                "digest": {"sha256": facts.run.plan.header.digest().removeprefix("sha256:")},
                "annotations": {"version": "1.2"},
            }
        ],
        "passedTests": [f"lm_evaluation_harness/{name}" for name in ("arc", "gsm8k", "mmlu")],
        "warnedTests": [],
        "failedTests": [],
    }


@pytest.mark.parametrize(
    ("verdict", "limited", "result"),
    [
        ("pass", False, "PASSED"),
        ("pass", True, "WARNED"),
        ("inconclusive", False, "WARNED"),
        ("inconclusive", True, "WARNED"),
        ("fail", False, "FAILED"),
        ("fail", True, "FAILED"),
        ("error", False, "FAILED"),
        ("error", True, "FAILED"),
    ],
)
def test_only_a_whole_run_that_passes_is_passed(
    tmp_path: Path, write_run: WriteRun, verdict: str, limited: bool, result: str
) -> None:
    said, _ = both(facts_of(write_run(tmp_path / "run"), verdict=verdict, limited=limited))
    assert said["predicate"]["result"] == result


def test_each_benchmark_is_in_the_list_it_belongs_to(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(
        tmp_path / "run",
        benchmarks=("good", "bad", "crashed", "silent", "free", "good"),
        tasks={4: {"threshold": None}},
        results={
            1: {"metrics": {"acc": {"value": 0.25}}},
            2: {"status": "failed", "reason": "out of memory", "metrics": {}},
            3: None,
        },
    )
    said, _ = both(facts_of(path))
    of = "lm_evaluation_harness/"
    assert said["predicate"]["result"] == "FAILED"
    assert said["predicate"]["passedTests"] == [f"{of}good#0", f"{of}good#5"]
    assert said["predicate"]["warnedTests"] == [f"{of}free"]
    assert said["predicate"]["failedTests"] == [f"{of}bad", f"{of}crashed", f"{of}silent"]


def test_a_benchmark_that_was_cut_short_has_not_passed_without_a_warning(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(
        tmp_path / "run",
        benchmarks=("short", "whole"),
        tasks={0: {"dataset_size": 1000}, 1: {"dataset_size": 2}},
        record={"num_examples": 4},
    )
    said, provenance = both(facts_of(path))
    assert said["predicate"]["result"] == "WARNED"
    assert said["predicate"]["passedTests"] == ["lm_evaluation_harness/whole"]
    assert said["predicate"]["warnedTests"] == ["lm_evaluation_harness/short"]
    assert provenance["predicate"]["buildDefinition"]["externalParameters"]["num_examples"] == 4


def test_subjects_are_the_index_each_file_and_the_tested_model(tmp_path: Path, write_run: WriteRun) -> None:
    evidence = [
        {"name": "run-r-20260102", "digest": {"sha256": "1" * 64}},
        {"name": "SHA256SUMS", "digest": {"sha256": "b" * 64}},
        {"name": "benchmarks/000-arc/results.json", "digest": {"sha256": "c" * 64}},
        {"name": "run.json", "digest": {"sha256": "a" * 64}},
    ]
    unknown = both(facts_of(write_run(tmp_path / "unknown")))
    assert [said["subject"] for said in unknown] == [evidence, evidence]
    result, provenance = both(facts_of(write_run(tmp_path / "known", record={"model_digest": MODEL})))
    assert result["subject"] == [*evidence, {"name": "model/tiny", "digest": {"sha256": "2" * 64}}]
    # no model comes from its evaluation
    assert provenance["subject"] == evidence


def test_of_very_many_files_the_sums_stand_for_all(tmp_path: Path, write_run: WriteRun) -> None:
    many = {**FILES, **{f"benchmarks/000-arc/raw/{number}": "d" * 64 for number in range(10_000)}}
    facts = replace(facts_of(write_run(tmp_path / "run")), files=many)
    for said in both(facts):
        assert [subject["name"] for subject in said["subject"]] == ["run-r-20260102", "SHA256SUMS"]


def test_provenance_names_what_went_in_who_ran_it_and_when(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(
        tmp_path / "run",
        benchmarks=("arc",),
        results={0: {"data_digests": {"b.jsonl": "sha256:" + "5" * 64, "a.jsonl": "sha256:" + "4" * 64, "odd": "md5"}}},
        record={"model_digest": MODEL, "engine": "kfp", "started_at": "2026-01-02T04:00:00+01:00"},
    )
    runtimes = {"second": {"image": "registry.example/second:1"}, "first": {"image": f"registry.example/first@{IMAGE}"}}
    give_runtimes(path, {**runtimes, "third": {}})
    facts = facts_of(path)
    plan = {"sha256": facts.run.plan.header.digest().removeprefix("sha256:")}
    assert facts.run.fingerprint is not None
    _, provenance = both(facts)
    assert provenance["predicate"] == {
        "buildDefinition": {
            "buildType": "https://eval-hub.github.io/evalhub-kfp/run/v1",
            "externalParameters": {
                "model": {"url": "http://localhost:1/v1", "name": "tiny"},
                "collection": {"id": "quick", "version": "1.2"},
                "num_examples": None,
            },
            "internalParameters": {"package_version": "0.1.0", "engine": "kfp"},
            "resolvedDependencies": [
                {"name": "plan", "digest": plan},
                {
                    "name": "tiny",
                    "uri": "http://localhost:1/v1",
                    "digest": {"sha256": "2" * 64},
                    "annotations": {"fingerprint": facts.run.fingerprint.digest()},
                },
                {
                    "name": "image/first",
                    "uri": f"oci://registry.example/first@{IMAGE}",
                    "digest": {"sha256": "3" * 64},
                },
                {"name": "image/second", "uri": "oci://registry.example/second:1"},
                {"name": "data/000-arc/a.jsonl", "digest": {"sha256": "4" * 64}},
                {"name": "data/000-arc/b.jsonl", "digest": {"sha256": "5" * 64}},
            ],
        },
        "runDetails": {
            "builder": {
                "id": "https://eval-hub.github.io/evalhub-kfp/builder/kfp",
                "version": {"evalhub-kfp": "0.1.0"},
            },
            "metadata": {
                "invocationId": "r-20260102",
                "startedOn": "2026-01-02T03:00:00Z",
                "finishedOn": "2026-01-02T03:04:00Z",
            },
        },
    }


def give_runtimes(path: Path, runtimes: dict[str, Any]) -> None:
    plan, record = json.loads((path / "plan.json").read_text()), json.loads((path / "run.json").read_text())
    plan["header"]["runtimes"] = runtimes
    (path / "plan.json").write_text(json.dumps(plan))
    digest = EvaluationPlan.model_validate(plan).header.digest()
    (path / "run.json").write_text(json.dumps({**record, "plan_digest": digest}))


def test_a_run_of_processes_has_used_no_image(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run")
    give_runtimes(path, {"lm_evaluation_harness": {"image": f"registry.example/first@{IMAGE}"}})
    _, provenance = both(facts_of(path))
    names = [each["name"] for each in provenance["predicate"]["buildDefinition"]["resolvedDependencies"]]
    assert not any(name.startswith("image/") for name in names)


def test_a_run_without_results_or_a_known_start_has_no_times(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run", results={0: None, 1: None, 2: None}, record={"started_at": "yesterday"})
    result, provenance = both(facts_of(path))
    assert result["predicate"]["result"] == "FAILED"
    assert provenance["predicate"]["runDetails"]["metadata"] == {"invocationId": "r-20260102"}


def test_the_same_run_is_said_the_same_of_in_any_folder(tmp_path: Path, write_run: WriteRun) -> None:
    said = [both(facts_of(write_run(tmp_path / name))) for name in ("here", "there")]
    assert said[0] == said[1]
