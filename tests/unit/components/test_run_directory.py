from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from evalhub_components.errors import EvalHubError
from evalhub_components.run_directory import load


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_results_and_samples_of_every_task_are_read(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    run = load(write_run(tmp_path / "run"))
    assert {index: outcome.results.metrics["acc"].value for index, outcome in run.outcomes.items()} == {
        0: 0.75,
        1: 0.75,
        2: 0.75,
    }
    assert [sample.score for sample in run.outcomes[1].samples] == [0.0, 1.0, 1.0, 1.0]
    assert run.completed_at() == "2026-01-02T03:04:02Z"
    verdict = run.judge()
    assert (verdict.verdict, verdict.state, verdict.score) == ("pass", "completed", 0.75)


def test_results_belong_to_the_task_they_name_whatever_their_folder_is_called(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    path = write_run(tmp_path / "run", results={0: {"metrics": {"acc": {"value": 0.25}}}})
    benchmarks = path / "benchmarks"
    (benchmarks / "000-arc").rename(benchmarks / "swap")
    (benchmarks / "001-gsm8k").rename(benchmarks / "000-arc")
    (benchmarks / "swap").rename(benchmarks / "001-gsm8k")
    run = load(path)
    assert run.outcomes[0].results.metrics["acc"].value == 0.25
    assert run.folders[0].name == "001-gsm8k"


def test_of_two_results_for_a_task_the_completed_one_counts(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    shutil.copytree(path / "benchmarks" / "000-arc", path / "benchmarks" / "999-later")
    edit(
        path / "benchmarks" / "999-later" / "results.json",
        status="failed",
        reason="out of memory",
        completed_at="2026-01-03T00:00:00Z",
    )
    assert load(path).outcomes[0].results.status == "completed"


def test_results_of_another_plan_are_left_out_and_said_so(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    edit(path / "benchmarks" / "001-gsm8k" / "results.json", task_digest="sha256:" + "9" * 64)
    run = load(path)
    assert 1 not in run.outcomes
    assert any("001-gsm8k" in note and "another plan" in note for note in run.notes)
    assert run.judge().verdict == "error"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "Expecting value"),
        ("{", "cannot be used"),
        ("[1, 2]", "cannot be used"),
        ("[" * 100_000, "nested too deeply"),
        ('{"schema_version": 1, "colour": "blue"}', "provider_id"),
        ("\udcff", "cannot be used"),
        (None, "there is no results.json"),
    ],
    ids=["empty", "cut short", "a list", "a bomb", "other keys", "no text", "missing"],
)
def test_results_that_cannot_be_read_are_no_score_with_the_reason(
    tmp_path: Path, write_run: Callable[..., Path], content: str | None, said: str
) -> None:
    path = write_run(tmp_path / "run")
    file = path / "benchmarks" / "001-gsm8k" / "results.json"
    file.unlink()
    if content is not None:
        file.write_bytes(content.encode("utf-8", "surrogateescape"))
    verdict = load(path).judge()
    assert (verdict.verdict, verdict.state) == ("error", "partially_failed")
    assert verdict.benchmarks[1].score is None
    assert said in verdict.benchmarks[1].reason
    assert verdict.benchmarks[0].score == 0.75


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, '"0.9"', "true", "null"])
def test_a_metric_that_is_no_finite_number_is_not_a_score(
    tmp_path: Path, write_run: Callable[..., Path], value: str
) -> None:
    path = write_run(tmp_path / "run")
    file = path / "benchmarks" / "001-gsm8k" / "results.json"
    file.write_text(file.read_text().replace("0.75", value))
    verdict = load(path).judge()
    assert verdict.verdict == "error"
    assert verdict.benchmarks[1].score is None


def test_a_standard_error_that_is_nan_costs_only_itself(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    folder = path / "benchmarks" / "001-gsm8k"
    (folder / "samples.jsonl").unlink()
    (folder / "results.json").write_text((folder / "results.json").read_text().replace("0.25", "NaN"))
    test = load(path).judge().benchmarks[1]
    assert (test.score, test.se_source) == (0.75, "none")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "9", "score": NaN}', "line 5"),
        ('{"id": "9", "score": ', "line 5"),
        ('{"id": "9", "score": "high"}', "line 5"),
        ('{"id": "' + "x" * 2**21 + '", "score": 1}', "line 5 is longer"),
    ],
    ids=["nan", "cut short", "text", "endless"],
)
def test_one_bad_sample_makes_the_samples_unusable_but_not_the_score(
    tmp_path: Path, write_run: Callable[..., Path], line: str, said: str
) -> None:
    path = write_run(tmp_path / "run")
    with (path / "benchmarks" / "001-gsm8k" / "samples.jsonl").open("a") as file:
        file.write(line + "\n")
    run = load(path)
    assert list(run.outcomes[1].samples) == []
    assert any("001-gsm8k/samples.jsonl" in note and said in note for note in run.notes)
    assert run.judge().benchmarks[1].score == 0.75


def test_a_cancelled_run_is_judged_as_cancelled(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run", record={"state": "cancelled"})
    shutil.rmtree(path / "benchmarks" / "002-mmlu")
    verdict = load(path).judge()
    assert (verdict.verdict, verdict.state) == ("error", "cancelled")


def test_an_edited_threshold_in_the_plan_is_refused(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    plan = json.loads((path / "plan.json").read_text())
    plan["tasks"][1]["threshold"]["value"] = 0.1
    (path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(EvalHubError, match="not the ones its header lists"):
        load(path)


def test_the_plan_of_another_run_is_refused(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path, other = write_run(tmp_path / "run"), write_run(tmp_path / "other", benchmarks=["arc"])
    shutil.copy(other / "plan.json", path / "plan.json")
    with pytest.raises(EvalHubError, match="not the plan of this run"):
        load(path)


@pytest.mark.parametrize("name", ["run.json", "plan.json"])
def test_a_missing_document_is_named(tmp_path: Path, write_run: Callable[..., Path], name: str) -> None:
    path = write_run(tmp_path / "run")
    (path / name).unlink()
    with pytest.raises(EvalHubError, match=f"{name}: no such file"):
        load(path)


def test_a_run_id_that_is_no_tag_is_refused(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run", record={"run_id": "a' OR 1=1"})
    with pytest.raises(EvalHubError, match="run_id: must be"):
        load(path)
