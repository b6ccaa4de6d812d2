from __future__ import annotations

import html
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from evalhub_components.records import report
from evalhub_components.run_directory import load
from evalhub_components.schema.run import Publication

HOSTILE = (
    "<script>alert(1)</script>|cell|\n# heading\r- *bold* _it_ `x` [a](http://evil) ![i](x) \x1b[31m\u202eabc &lt;"
)


def rendered(path: Path, publication: Publication | None = None) -> str:
    run = load(path)
    return report.render(run, run.judge(), publication)


def test_the_verdict_is_the_first_sentence(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(
        tmp_path / "run", results={0: {"metrics": {"acc": {"value": 0.1}}}, 1: {"metrics": {"acc": {"value": 0.2}}}}
    )
    lines = rendered(path).splitlines()
    assert lines[0] == "# Evaluation `nightly`"
    assert lines[2].startswith("**Failed**: `tiny` on collection `quick` version 1.2: score 0.35 < 0.6")


def test_every_benchmark_has_a_line_with_its_reason(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(
        tmp_path / "run",
        benchmarks=["arc", "gsm8k", "mmlu", "toxicity"],
        tasks={1: {"required": True}, 3: {"weight": 0}},
        results={1: {"metrics": {"acc": {"value": 0.4}}}, 2: {"status": "failed", "reason": "out of memory"}},
    )
    rows = [line for line in rendered(path).splitlines() if re.match(r"\| \d", line)]
    assert [row.split(" | ")[1:3] for row in rows] == [
        ["`arc`", "pass"],
        ["`gsm8k`", "**fail**, required"],
        ["`mmlu`", "**error**"],
        ["`toxicity`", "pass, advisory"],
    ]
    assert "0.4 < 0.5" in rows[1]
    assert "out of memory" in rows[2]


def test_model_plan_and_environment_are_named(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    text = rendered(path)
    for fact in ("http://localhost:1/v1", load(path).record.plan_digest, "sha256:" + "1" * 64, '{"engine": "vllm"}'):
        assert f"`{fact}`" in text
    assert "3 benchmarks on Python 3.12.1, Debian, 2 x x" in text


def test_fewer_examples_than_the_collection_asks_for_is_said(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    assert "**Limited: " not in rendered(write_run(tmp_path / "all"))
    assert "**Limited: " in rendered(write_run(tmp_path / "few", record={"num_examples": 2}))


def test_publication_adds_where_to_look_and_its_absence_leaves_no_path(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    path = write_run(tmp_path / "run")
    assert str(tmp_path) not in rendered(path)
    publication = Publication(
        evidence_digest="sha256:" + "e" * 64,
        evidence_reference=str(path / "evidence"),
        evidence_address=f"{path / 'evidence'}@sha256:{'e' * 64}",
        mlflow_tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
        mlflow_experiment_id="4",
        mlflow_run_id="f00",
        warnings=["the moon is full"],
    )
    text = rendered(path, publication)
    for fact in (
        f"evalhub-kfp verify {path}/evidence@sha256:{'e' * 64}",
        "was not pushed to a registry",
        "not signed",
        f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db",
        f"evalhub-kfp judge {path}",
        "sha256:" + "e" * 64,
        "the moon is full",
    ):
        assert fact in text


def test_pushed_and_signed_evidence_is_named_with_the_command_that_verifies_it(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    digest = "sha256:" + "e" * 64
    publication = Publication(
        evidence_digest=digest,
        evidence_reference=f"registry.example/evals:run-r@{digest}",
        evidence_address=f"registry.example/evals@{digest}",
        evidence_pushed=True,
        evidence_key_id="sha256:" + "d" * 64,
    )
    text = rendered(write_run(tmp_path / "run"), publication)
    assert f"registry.example/evals:run-r@{digest}" in text
    assert f"evalhub-kfp verify registry.example/evals@{digest} --key public.key" in text
    assert f"evalhub-kfp pull registry.example/evals@{digest} evidence" in text
    assert "signed with key `sha256:dddd" in text
    assert "not pushed" not in text


def test_the_report_of_a_pod_names_no_folder_of_that_pod(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run", record={"engine": "kfp"})
    publication = Publication(evidence_digest="sha256:" + "e" * 64, evidence_reference=str(path / "evidence"))
    text = rendered(path, publication)
    assert str(tmp_path) not in text
    assert "the artifact `evidence` of this task" in text


def test_two_hundred_benchmarks_fit_and_the_bad_ones_are_shown(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    names = [f"benchmark-with-a-rather-long-name-{number}" for number in range(200)]
    bad = {"status": "failed", "reason": "the process was ended by signal 9 " * 20}
    path = write_run(
        tmp_path / "run",
        benchmarks=names,
        results={150: bad, 199: {"metrics": {"acc": {"value": 0.1}}}},
    )
    text = rendered(path)
    assert len(text) <= report.LIMIT
    rows = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    assert {150, 199} < {int(row.split(" | ")[0].strip("| ")) for row in rows}
    assert f"{200 - len(rows)} more are in verdict.json: {200 - len(rows)} pass." in text
    assert "## Where to look" in text


@pytest.mark.parametrize("count", [1, 200])
def test_hostile_text_stays_text(tmp_path: Path, write_run: Callable[..., Path], count: int) -> None:
    path = write_run(
        tmp_path / "run",
        benchmarks=[f"b{number}" for number in range(count)],
        tasks={0: {"benchmark_id": HOSTILE}},
        results={0: {"status": "failed", "reason": HOSTILE * 50}},
        record={
            "model_name": HOSTILE,
            "name": HOSTILE,
            "engine": HOSTILE,
            "declared_environment": {HOSTILE: HOSTILE * 100},
        },
    )
    (path / "benchmarks" / "000-b0" / "samples.jsonl").write_text(HOSTILE)
    text = rendered(path)
    assert len(text) <= report.LIMIT
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u2028\u2029\u202a-\u202e]", text)
    outside_code = re.sub(r"`[^`\n]*`", "", text)
    assert "`" not in outside_code.replace("\\`", "")
    assert not re.search(r"<[a-zA-Z/!?]", outside_code)
    assert not re.search(r"(?<![\\\w])[\[*_]\(?[a-z]", outside_code.replace("**", ""))
    rows = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 9 for row in rows)
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert [heading.split()[0] for heading in headings] == ["#", "##", "##", "##"]
    assert "<script>alert(1)</script>" in html.unescape(text)


def test_results_that_were_left_out_are_said(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    shutil.move(path / "benchmarks" / "001-gsm8k", path / "benchmarks" / "unknown")
    (path / "benchmarks" / "unknown" / "results.json").write_text("{}")
    assert "## Left out" in rendered(path)
