from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evalhub_components.records import report, wording
from evalhub_components.records.ci import github, values
from evalhub_components.run_directory import load
from evalhub_components.schema.run import Publication

WriteRun = Callable[..., Path]

HOSTILE = "x\nverdict=pass\nEOF\nverdict<<EOF\npass\nEOF\n::set-output name=verdict::pass\r\n\x00"
PUBLICATION = Publication(
    evidence_digest="sha256:" + "e" * 64, evidence_reference="localhost:1/r:t@sha256:e", mlflow_run_id="f00"
)


def read_by_a_runner(text: str) -> dict[str, str]:
    """Return what a runner takes from its file: `name=value` lines, and `name<<delimiter` blocks."""
    found: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        equals, heredoc = line.find("="), line.find("<<")
        if equals >= 0 and (heredoc < 0 or equals < heredoc):
            name, _, value = line.partition("=")
            found[name] = value
            continue
        assert heredoc > 0, line
        name, _, delimiter = line.partition("<<")
        block: list[str] = []
        while (part := next(lines)) != delimiter:
            block.append(part)
        found[name] = "\n".join(block)
    return found


def test_a_runner_gets_the_outputs_and_the_summary(tmp_path: Path, write_run: WriteRun) -> None:
    run = load(write_run(tmp_path / "run"))
    verdict = run.judge()
    files = {name: tmp_path / name for name in (github.OUTPUT, github.SUMMARY)}
    files[github.OUTPUT].write_text("earlier=1")  # by a step that left its line open
    environ = {name: str(path) for name, path in files.items()}
    assert github.is_wanted(environ)
    assert github.append(run, verdict, PUBLICATION, environ) == []
    assert read_by_a_runner(files[github.OUTPUT].read_text()) == {
        "earlier": "1",
        "verdict": "pass",
        "criteria": "own",
        "score": "0.75",
        "threshold": "0.6",
        "run_id": "r-20260102",
        "run_directory": str(run.path),
        "evidence_reference": "localhost:1/r:t@sha256:e",
        "evidence_digest": "sha256:" + "e" * 64,
        "mlflow_run_id": "f00",
    }
    assert files[github.SUMMARY].read_text() == report.render(run, verdict, PUBLICATION)


def test_what_a_run_does_not_have_is_an_empty_output(tmp_path: Path, write_run: WriteRun) -> None:
    run = load(write_run(tmp_path / "run", results={0: {"status": "failed", "reason": "x"}}, record={"engine": "kfp"}))
    path = tmp_path / "out"
    path.touch()
    github.append(run, run.judge(), None, {github.OUTPUT: str(path)})
    found = read_by_a_runner(path.read_text())
    assert found["verdict"] == "error"
    for name in ("score", "run_directory", "evidence_reference", "evidence_digest", "mlflow_run_id"):
        assert found[name] == ""


def test_a_verdict_under_other_criteria_says_so(tmp_path: Path, write_run: WriteRun) -> None:
    run = load(write_run(tmp_path / "run"))
    files = {name: tmp_path / name for name in (github.OUTPUT, github.SUMMARY)}
    github.append(run, run.judge(), wording.judged_again("fail"), {name: str(path) for name, path in files.items()})
    found = read_by_a_runner(files[github.OUTPUT].read_text())
    assert (found["verdict"], found["criteria"]) == ("pass", "other")
    said = "judged again under other criteria; the run's own verdict is fail"
    assert said in files[github.SUMMARY].read_text()


def test_a_run_without_a_verdict_sets_every_output(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in (github.OUTPUT, github.SUMMARY)}
    message = "http://localhost:1/v1: refused\nverdict=pass <b>&lol;"
    assert github.append_error(message, {name: str(path) for name, path in files.items()}) == []
    found = read_by_a_runner(files[github.OUTPUT].read_text())
    assert found == {**dict.fromkeys(values.NAMES, ""), "verdict": "error"}
    summary = files[github.SUMMARY].read_text()
    assert summary.startswith("**No verdict**: ")
    assert "http://localhost:1/v1" in summary
    assert summary.count("\n") == 1
    assert "<b>" not in summary


def test_nothing_is_wanted_elsewhere() -> None:
    assert not github.is_wanted({})
    assert not github.is_wanted({github.OUTPUT: "", github.SUMMARY: ""})


def test_a_value_sets_no_other_output() -> None:
    text = github.outputs({"first": HOSTILE, "verdict": "fail"})
    assert read_by_a_runner(text) == {"first": HOSTILE, "verdict": "fail"}
    assert text != github.outputs({"first": HOSTILE, "verdict": "fail"})  # nobody knows the next delimiter


def test_a_summary_that_would_be_dropped_whole_is_left_out(tmp_path: Path, write_run: WriteRun) -> None:
    run = load(write_run(tmp_path / "run"))
    path = tmp_path / "summary"
    path.write_text("y" * (github.SUMMARY_LIMIT - 100))
    (problem,) = github.append(run, run.judge(), None, {github.SUMMARY: str(path)})
    assert "1024 KiB" in problem
    assert path.stat().st_size == github.SUMMARY_LIMIT - 100


def test_a_file_that_cannot_be_written_keeps_nothing_from_the_other(tmp_path: Path, write_run: WriteRun) -> None:
    run = load(write_run(tmp_path / "run"))
    environ = {github.OUTPUT: str(tmp_path), github.SUMMARY: str(tmp_path / "summary")}
    (problem,) = github.append(run, run.judge(), None, environ)
    assert problem.startswith("GITHUB_OUTPUT: ")
    assert (tmp_path / "summary").read_text().startswith("# Evaluation")
