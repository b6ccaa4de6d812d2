"""Reports for CI through the command line: JUnit, Tekton, a GitHub runner's files, and what the console may not say."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import junitparser
import pytest
import yaml

from evalhub_pipelines.demo_model import DemoModelServer

Collection = Callable[..., Path]

INJECTED = "<b>&lol;</failure>]]><!ENTITY"
BENCHMARK = f"::set-output{INJECTED}::`owned`"
METRIC = "::error::owned##[error]owned"
REASON = (
    f"boom\n::error::owned\r##[error]owned {INJECTED} **bold** [x](http://evil)\nverdict=pass\nEOF\nverdict<<EOF\npass"
)


@pytest.fixture
def runner(tmp_path: Path) -> dict[str, str]:
    """The variables of a GitHub Actions step."""
    found = {"GITHUB_ACTIONS": "true"}
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        (tmp_path / name).touch()
        found[name] = str(tmp_path / name)
    return found


def outputs(environ: dict[str, str]) -> dict[str, str]:
    """Return the outputs of a step, as its runner reads them."""
    found, lines = {}, iter(Path(environ["GITHUB_OUTPUT"]).read_text().split("\n"))
    for line in filter(None, lines):
        name, separator, delimiter = line.partition("<<")
        assert separator, line
        assert "=" not in name, line
        found[name] = "\n".join(iter(lambda end=delimiter: next(lines), delimiter))  # type: ignore[misc]
    return found


def cases(path: Path) -> dict[str, str]:
    """Return what became of each case, read with a parser of JUnit that others use."""
    found = {}
    for case in (case for suite in junitparser.JUnitXml.fromfile(str(path)) for case in suite):
        results = [type(each).__name__.lower() for each in case.result]
        found[str(case.name)] = results[0] if results else "passed"
    return found


def obeyed(text: str) -> list[str]:
    """Return the lines in which a runner would find a command."""
    lines = text.replace("\r", "\n").split("\n")
    return [line for line in lines if line.strip().startswith("::") or "##[" in line]


def test_a_run_writes_every_report_that_is_asked_for(
    cli: Any, model: DemoModelServer, collection: Collection, runner: dict[str, str]
) -> None:
    source = collection(
        ("a", {}), ("b", {"score": 0.2}, {"pass_criteria": {"threshold": 0.5}}), ("c", {}, {"weight": 0})
    )
    kinds = {"junit": "out/ci/junit.xml", "markdown": "out/r.md", "json": "out/v.json", "tekton": "out/results"}
    kinds["html"] = "out/r.html"
    arguments = [part for kind, path in kinds.items() for part in ("--report", f"{kind}={path}")]
    done = cli.run(source, model, "--quiet", *arguments, environ=runner)
    assert done.status == 1, done.err
    directory, out = cli.run_directory(), cli.folder / "out"
    assert cases(out / "ci" / "junit.xml") == {"a": "passed", "b": "failure", "c": "skipped", "gate": "failure"}
    assert (out / "v.json").read_bytes() == (directory / "verdict.json").read_bytes()
    assert (out / "r.md").read_text() == (directory / "report.md").read_text()
    assert "<html" in (out / "r.html").read_text()
    publication = json.loads((directory / "publication.json").read_text())
    results = {path.name: path.read_text() for path in (out / "results").iterdir()}
    assert json.loads(results.pop("TEST_OUTPUT"))["result"] == "FAILURE"
    assert results == {
        "VERDICT": "fail",
        "SCORE": "0.475",
        "RUN_ID": directory.name,
        "EVIDENCE_DIGEST": publication["evidence_digest"],
        "EVIDENCE_REFERENCE": publication["evidence_reference"],
    }
    assert outputs(runner) == {
        "verdict": "fail",
        "criteria": "own",
        "score": "0.475",
        "threshold": "0.5",
        "run_id": directory.name,
        "run_directory": str(directory),
        "evidence_reference": publication["evidence_reference"],
        "evidence_digest": publication["evidence_digest"],
        "mlflow_run_id": "",
    }
    assert Path(runner["GITHUB_STEP_SUMMARY"]).read_text() == (directory / "report.md").read_text()
    assert {"junit     out/ci/junit.xml", "tekton    out/results"} <= set(done.out.splitlines())


def test_judging_by_other_criteria_reports_that_verdict_and_claims_no_evidence(
    cli: Any, model: DemoModelServer, collection: Collection, runner: dict[str, str]
) -> None:
    entries = (("a", {}), ("b", {"raise": "boom"}, {"weight": 0}))
    assert cli.run(collection(*entries), model, "--quiet").status == 0
    directory = cli.run_directory()
    again = cli("judge", directory, "--catalog", cli.catalog, "--report", "junit=own.xml", environ=runner)
    assert again.status == 0, again.err
    assert cases(cli.folder / "own.xml") == {"a": "passed", "b": "skipped", "gate": "passed"}
    assert outputs(runner)["evidence_digest"].startswith("sha256:")
    stricter = collection(entries[1], entries[0], pass_criteria={"threshold": 0.9})
    Path(runner["GITHUB_OUTPUT"]).write_text("")
    reports = [f"--report={kind}=other.{kind}" for kind in ("html", "markdown", "tekton")]
    arguments = ("--config", stricter, "--catalog", cli.catalog, "--report", "junit=other.xml", "--format", "json")
    done = cli("judge", directory, *arguments, *reports, environ=runner)
    assert done.status == 1, done.err
    said = "judged again under other criteria; the run's own verdict is pass"
    assert f"warning: {said}" in done.err
    for name in ("other.xml", "other.html", "other.markdown", "other.tekton/TEST_OUTPUT"):
        assert said in html.unescape((cli.folder / name).read_text()), name
    assert done.json["verdict"] == "fail"
    assert cases(cli.folder / "other.xml") == {"b": "skipped", "a": "failure", "gate": "failure"}
    # b has moved to another place in the plan: its log is still its own
    assert "boom" in (cli.folder / "other.xml").read_text().split('name="a"')[0]
    found = outputs(runner)
    assert (found["verdict"], found["threshold"], found["evidence_digest"]) == ("fail", "0.9", "")
    assert found["criteria"] == "other"
    summary = Path(runner["GITHUB_STEP_SUMMARY"]).read_text()
    assert summary.count("# Evaluation") == 2


def test_reports_that_cannot_be_are_refused_before_anything_runs(
    cli: Any, model: DemoModelServer, collection: Collection, starts: Callable[[], list[list[str]]]
) -> None:
    source = collection(("a", {}))
    (cli.folder / "file").touch()
    (cli.folder / "folder").mkdir()
    bad = ("pdf=x", "junit", "html=", "json=x", "markdown=x", "tekton=t", "html=t/VERDICT", "junit=x/y.xml")
    done = cli.run(source, model, *(part for text in bad for part in ("--report", text)))
    assert (done.status, done.out) == (2, "")
    for text in ("pdf=x: must be KIND=PATH", "junit: has no path", "html=: has no path", "markdown=x: is written"):
        assert text in done.err
    for text in ("html=t/VERDICT: is written to already by tekton=t", "junit=x/y.xml: is written to already by json=x"):
        assert text in done.err
    bad = ("junit=file/x.xml", "json=folder", "tekton=file", "html=/dev/stdout")
    done = cli.run(source, model, *(part for text in bad for part in ("--report", text)))
    assert (done.status, done.out) == (2, "")
    for text in bad:
        assert f"{text}: cannot be written" in done.err
    assert Path("/dev/stdout").is_symlink()
    assert starts() == []
    assert not (cli.folder / "runs").exists()


@pytest.mark.parametrize("broken", ["model", "collection"])
def test_a_run_that_cannot_start_is_an_error_that_ci_sees(
    cli: Any, collection: Collection, starts: Callable[[], list[list[str]]], runner: dict[str, str], broken: str
) -> None:
    source = collection(("a" if broken == "model" else "unknown", {}))
    old = cli.folder / "junit.xml"
    old.write_text("<testsuites/>")
    kinds = ("junit=junit.xml", "tekton=results", "html=r.html")
    done = cli("run", source, "--catalog", cli.catalog, "--no-mlflow", *(f"--report={text}" for text in kinds),
               "--model-url", "http://127.0.0.1:1/v1", "--model-name", "gone", environ=runner)  # fmt: skip
    assert done.status == 2
    assert starts() == []
    reason = "127.0.0.1:1" if broken == "model" else "unknown"
    assert reason in done.err
    assert "html=r.html: not written: without a verdict there is nothing to show" in done.err
    assert cases(old) == {"gate": "error"}
    assert reason in old.read_text()
    told = json.loads((cli.folder / "results" / "TEST_OUTPUT").read_text())
    assert (told["result"], told["failures"]) == ("ERROR", 1)
    assert reason in told["note"]
    assert (cli.folder / "results" / "VERDICT").read_text() == "error"
    assert outputs(runner)["verdict"] == "error"
    assert reason in Path(runner["GITHUB_STEP_SUMMARY"]).read_text()


def test_judging_what_is_no_run_is_an_error_that_ci_sees(cli: Any, tmp_path: Path, runner: dict[str, str]) -> None:
    (tmp_path / "folder").mkdir()
    done = cli("judge", "folder", "--report", "junit=junit.xml", environ=runner)
    assert done.status == 2
    assert cases(cli.folder / "junit.xml") == {"gate": "error"}
    assert outputs(runner)["verdict"] == "error"


def test_the_records_of_a_run_are_no_place_for_reports(
    cli: Any, model: DemoModelServer, collection: Collection
) -> None:
    source = collection(("a", {}))
    assert cli.run(source, model, "--quiet").status == 0
    run = cli.run_directory()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    own = ("--report", f"html={run}/report.html", "--report", f"markdown={run}/report.md")
    inside = [f"junit={run}/verdict.json", f"json={run}/benchmarks/v.json", f"tekton={run}", f"html={run}/report.md"]
    arguments = [part for text in inside for part in ("--report", text)]
    commands: list[list[object]] = [
        ["judge", run, *arguments[:-2]],
        ["report", run, *arguments[:-2]],
        ["judge", run, "--config", source, "--catalog", cli.catalog, *own],
        ["run", *cli.arguments(source, model)[1:], *own],
        ["run", "--resume", run, "--catalog", cli.catalog, *arguments[-2:]],
    ]
    for command in commands:
        done = cli(*command)
        assert done.status == 2, command
        assert "is among the records of a run, which are not to change" in done.err, command
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before, command
    for command in ("judge", "report"):
        assert cli(command, run, *own).status == 0


@pytest.mark.parametrize(("score", "status"), [(0.75, 2), (0.1, 1)], ids=["a pass is an error", "a fail stays one"])
def test_a_report_that_fails_after_the_run_leaves_no_green_step(
    cli: Any,
    model: DemoModelServer,
    collection: Collection,
    eventually: Callable[..., Any],
    starts: Callable[[], list[list[str]]],
    score: float,
    status: int,
) -> None:
    go = cli.folder / "go"
    source = collection(("a", {"wait_for": str(go), "score": score}))
    arguments = ("--report", "junit=out/junit.xml", "--report", "json=verdict.json")
    process = cli.start(*cli.arguments(source, model), *arguments)
    eventually(starts)
    (cli.folder / "out").rmdir()
    (cli.folder / "out").touch()
    go.touch()
    done = cli.ended(process)
    assert done.status == status
    assert "error: junit=out/junit.xml: cannot be written" in done.err
    assert "verdict and evidence are in place" in done.err
    assert json.loads((cli.folder / "verdict.json").read_text()) == json.loads(
        (cli.run_directory() / "verdict.json").read_text()
    )


def test_a_runner_without_room_gets_a_warning_and_the_verdict(
    cli: Any, model: DemoModelServer, collection: Collection, runner: dict[str, str]
) -> None:
    environ = {**runner, "GITHUB_OUTPUT": str(cli.folder)}
    done = cli.run(collection(("a", {})), model, "--quiet", environ=environ)
    assert done.status == 0
    assert "warning: GITHUB_OUTPUT: " in done.err
    assert Path(runner["GITHUB_STEP_SUMMARY"]).read_text().startswith("# Evaluation")


@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_hostile_names_and_reasons_give_no_command_no_output_and_no_markup(
    cli: Any, model: DemoModelServer, collection: Collection, runner: dict[str, str], form: str
) -> None:
    own = cli.folder / "own" / "providers" / "obedient"
    own.mkdir(parents=True)
    (own / "adapter.py").symlink_to(cli.catalog / "providers" / "obedient" / "adapter.py")
    named = [{"id": name, "primary_score": {"metric": METRIC}} for name in (BENCHMARK, "a")]
    (own / "provider.yaml").write_text(yaml.safe_dump({"id": "obedient", "benchmarks": named}))
    cli.catalog = own.parent.parent
    good = {"metric": METRIC, "score": 0.9}
    source = collection(("a", {"raise": REASON}))
    document = yaml.safe_load(source.read_text())
    document["benchmarks"].append({**document["benchmarks"][0], "id": BENCHMARK, "parameters": good})
    document["name"] = METRIC
    source.write_text(yaml.safe_dump(document))
    arguments = ("--report", "junit=junit.xml", "--report", "tekton=results", "--format", form)
    done = cli.run(source, model, *arguments, environ=runner)
    assert done.status == 2
    assert "owned" in done.out + done.err
    assert obeyed(done.out) == obeyed(done.err) == []
    verdict = json.loads((cli.run_directory() / "verdict.json").read_text())
    if form == "json":
        assert done.json["verdict"] == verdict
    found = outputs(runner)
    assert len(found) == 9
    assert found["verdict"] == "error"
    assert cases(cli.folder / "junit.xml") == {"a": "error", BENCHMARK: "passed", "gate": "error"}
    assert b"<!" not in (cli.folder / "junit.xml").read_bytes()
    summary = Path(runner["GITHUB_STEP_SUMMARY"]).read_text()
    outside_code = "".join(summary.split("`")[::2])
    for marked in ("<b>", "</failure", "**bold", "[x](http"):
        assert marked not in outside_code
    assert json.loads((cli.folder / "results" / "TEST_OUTPUT").read_text())["result"] == "ERROR"
    assert (cli.folder / "results" / "VERDICT").read_text() == "error"


def test_without_a_runner_nothing_printed_is_changed(cli: Any, model: DemoModelServer, collection: Collection) -> None:
    done = cli.run(collection(("a", {"raise": "see ##[error]this"})), model, "--quiet")
    assert done.status == 2
    assert "##[error]this" in done.out
