from __future__ import annotations

import dataclasses
import html
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from evalhub_components.records import report, wording
from evalhub_components.records.markdown import prose
from evalhub_components.records.next_steps import next_steps
from evalhub_components.run_directory import load
from evalhub_components.schema.plan import ResolvedScore, ResolvedThreshold
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


def test_other_criteria_than_the_runs_own_are_said_right_below_the_verdict(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    lines = rendered(write_run(tmp_path / "run"), wording.judged_again("fail")).splitlines()
    assert lines[4] == "**Judged again under other criteria; the run's own verdict is fail.**"


def test_every_benchmark_has_a_line_with_its_reason(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(
        tmp_path / "run",
        benchmarks=["arc", "gsm8k", "mmlu", "toxicity"],
        tasks={1: {"required": True}, 3: {"weight": 0}},
        results={1: {"metrics": {"acc": {"value": 0.4}}}, 2: {"status": "failed", "reason": "out of memory"}},
    )
    rows = [line for line in rendered(path).splitlines() if re.match(r"\| \d", line)]
    assert [row.split(" | ")[1:3] for row in rows] == [
        ["`mmlu`", "**error**"],
        ["`gsm8k`", "**fail**, required"],
        ["`arc`", "pass"],
        ["`toxicity`", "pass, advisory"],
    ]
    assert "0.4 < 0.5" in rows[1]
    assert "out of memory" in rows[0]


def test_a_score_comes_with_its_bounds_and_its_direction(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    score = ResolvedScore(metric="acc", lower_is_better=True, range=(0, 10))
    task = {"primary_score": score, "threshold": ResolvedThreshold(value=5, source="benchmark")}
    path = write_run(
        tmp_path / "run",
        benchmarks=["latency", "arc"],
        tasks={0: task},
        results={
            0: {"metrics": {"acc": {"value": 2.5, "stderr": 0.5}}},
            1: {"metrics": {"acc": {"value": 0.9}}, "num_evaluated": None},
        },
    )
    for samples in path.glob("benchmarks/*/samples.jsonl"):
        samples.unlink()
    first, second = [line for line in rendered(path).splitlines() if re.match(r"\| \d", line)]
    assert "| 2.5 `acc`, lower is better | 1.678 to 3.322 | 5 |" in first
    assert "| 0.9 `acc` | - | 0.5 |" in second
    assert "| score | 95% bounds | threshold |" in rendered(path)


def test_bounds_go_by_one_name_and_a_probability_is_never_certain(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    results = {n: {"metrics": {"acc": {"value": 0.65, "stderr": 0.1}}} for n in range(3)}
    run = load(write_run(tmp_path / "run", results=results))
    header = run.plan.header.model_copy(update={"gate_mode": "assured"})
    run = dataclasses.replace(run, plan=run.plan.model_copy(update={"header": header}))
    text = report.render(run, run.judge())
    bounds = re.findall(r"one-sided 95% bounds (\S+) and (\S+?)[ ,]", text)
    assert len(bounds) == 2
    assert bounds[0] == bounds[1]
    assert "interval" not in text
    assert "confidence" not in text
    assert wording.probability(1e-9) == "below 0.001"
    assert wording.probability(1 - 1e-9) == "above 0.999"
    assert wording.probability(0.25) == "0.250"


def test_benchmarks_that_share_a_cause_share_a_reason(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    failed = {"status": "failed", "reason": "HTTP 503 of tasks/001-b/x", "metrics": {}}
    path = write_run(tmp_path / "run", benchmarks=list("abcde"), results=dict.fromkeys(range(4), failed))
    run = load(path)
    assert wording.reasons(run.judge()) == [
        "a, b, c and 1 more have no score: failed: HTTP 503 of tasks/001-b/x",
        run.judge().reasons[-1],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "www.evil.example",
        "WWW.evil.example",
        "see (www.evil.example)",
        "a@evil.example",
        "https://evil.example",
        "mailto:a@evil.example",
        "`www.evil.example`",
        "`a@evil.example",
        "|www.evil.example|",
        "@everybody",
    ],
)
def test_no_text_becomes_a_link(text: str) -> None:
    found = prose(text, 100)
    outside_code = re.sub(r"`[^`]*`", "", found)
    assert not re.search(r"(?i)www\.|@|://|`|(?<!\\)\|", outside_code)
    assert found.count("`") == 2


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
    assert [int(row.split(" | ")[0].strip("| ")) for row in rows][:3] == [150, 199, 0]
    assert f"{200 - len(rows)} more are in verdict.json: {200 - len(rows)} pass." in text
    assert "## Where to look" in text


def test_a_table_of_any_length_leaves_the_advice_whole(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    names = [f"benchmark-with-a-rather-long-name-{number}" for number in range(200)]
    results = {n: {"metrics": {"acc": {"value": 0.1}}} for n in range(200)}
    tasks = {n: {"required": n == 198, "weight": float(n % 2 == 0)} for n in range(200)}
    run = load(write_run(tmp_path / "run", benchmarks=names, tasks=tasks, results=results))
    text = report.render(run, run.judge(), Publication())
    for step in next_steps(run, run.judge(), local=True, publication=Publication()):
        assert f"1. {step.text}" in text
    rows = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    assert rows[0].startswith("| 198 ")
    assert all("**fail**" in row and "advisory" not in row for row in rows)
    assert len(rows) > 5


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
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 10 for row in rows)
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert [heading.split()[0] for heading in headings] == ["#", "##", "##", "##"]
    assert "<script>alert(1)</script>" in html.unescape(text)


def test_results_that_were_left_out_are_said(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    shutil.move(path / "benchmarks" / "001-gsm8k", path / "benchmarks" / "unknown")
    (path / "benchmarks" / "unknown" / "results.json").write_text("{}")
    assert "## Left out" in rendered(path)
