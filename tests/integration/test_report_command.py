"""`evalhub-kfp report`: the reports of a run that ended before, from its directory or its evidence."""

from __future__ import annotations

import shutil
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.reading import pull
from evalhub_components.evidence.reference import Reference
from evalhub_components.evidence.registry import push
from evalhub_components.evidence.registry.registry import Registry
from evalhub_pipelines import api, evidence_store
from evalhub_pipelines.demo_model import DemoModelServer

sys.path.insert(0, str(Path(__file__).parent))
from evidence_runs import SignedRun, edit, finished_run, key, set_score, signed
from registries import RunningRegistry, plain_registry

__all__ = ["finished_run", "key", "plain_registry", "signed"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:olot")

UNUSABLE = "sqlite:////proc/nowhere/mlflow.db"


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def pulled(signed: SignedRun, tmp_path: Path) -> Path:
    """The files of the evidence."""
    found = evidence_store.opened(signed.pinned)
    pull.pull(found.store, found.named, tmp_path / "pulled")
    return tmp_path / "pulled"


@pytest.fixture
def run_directory(cli: Any, collection: Callable[..., Path], model: DemoModelServer) -> Path:
    """The directory of a run that failed its gate."""
    assert cli.run(collection(("a", {"score": 0.25}), ("b", {})), model).status == 0
    return Path(cli.run_directory())


def test_the_reports_of_a_run_directory_are_written_again_as_they_were(cli: Any, run_directory: Path) -> None:
    cli("report", run_directory)
    before = files(run_directory)
    for name in ("report.md", "report.html"):
        (run_directory / name).write_text("lost")
    done = cli("report", run_directory.relative_to(cli.folder))
    assert (done.status, done.err) == (0, "")
    near = run_directory.relative_to(cli.folder)
    assert done.out.splitlines() == [f"markdown  {near}/report.md", f"html      {near}/report.html"]
    assert files(run_directory) == before


def test_report_md_is_what_the_run_itself_wrote(cli: Any, run_directory: Path) -> None:
    before = (run_directory / "report.md").read_bytes()
    cli("report", run_directory)
    assert (run_directory / "report.md").read_bytes() == before


def test_a_run_that_failed_is_reported_with_status_0(
    cli: Any, collection: Callable[..., Path], model: DemoModelServer
) -> None:
    assert cli.run(collection(("a", {"score": 0.25})), model).status == 1
    done = cli("report", cli.run_directory())
    assert done.status == 0
    assert "**Failed**" in (cli.run_directory() / "report.md").read_text()


def test_only_the_reports_that_are_asked_for_are_written(cli: Any, run_directory: Path, tmp_path: Path) -> None:
    before = files(run_directory)
    reports = {"junit": "out/junit.xml", "json": "out/verdict.json", "html": "out/r.html", "markdown": "r.md"}
    done = cli("report", run_directory, *(f"--report={kind}={path}" for kind, path in reports.items()))
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [f"{kind:<10}{path}" for kind, path in reports.items()]
    assert len(ElementTree.parse(tmp_path / "out/junit.xml").findall(".//testcase")) >= 2
    assert (tmp_path / "out/verdict.json").read_bytes() == (run_directory / "verdict.json").read_bytes()
    assert (tmp_path / "r.md").read_bytes() == (run_directory / "report.md").read_bytes()
    assert files(run_directory) == before


def test_of_evidence_the_report_in_it_is_printed(
    cli: Any, signed: SignedRun, pulled: Path, plain_registry: RunningRegistry
) -> None:
    repository = f"{plain_registry.address}/team/evals"
    push.push(signed.layout, Registry(Reference.parse(repository)))
    before = files(pulled)
    for name in (signed.pinned, signed.layout, pulled, f"{repository}@{signed.digest}"):
        done = cli("report", name)
        assert (done.status, done.err) == (0, "")
        assert done.out == (pulled / "report.md").read_text()
    assert files(pulled) == before


def test_of_evidence_other_reports_are_written_where_they_are_asked_for(
    cli: Any, signed: SignedRun, tmp_path: Path
) -> None:
    done = cli("report", signed.pinned, "--report", "junit=junit.xml")
    assert (done.status, done.out) == (0, "junit     junit.xml\n")
    assert len(ElementTree.parse(tmp_path / "junit.xml").findall(".//testcase")) >= 2


def test_reports_of_evidence_name_it(
    cli: Any, signed: SignedRun, tmp_path: Path, plain_registry: RunningRegistry
) -> None:
    repository = f"{plain_registry.address}/team/evals"
    push.push(signed.layout, Registry(Reference.parse(repository)))
    kinds = [f"--report={text}" for text in ("html=r.html", "markdown=r.md", "tekton=results", "junit=junit.xml")]
    place = repository.removeprefix("http://")
    environ = {"GITHUB_OUTPUT": str(tmp_path / "outputs"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    assert cli("report", f"{repository}@{signed.digest}", *kinds, environ=environ).status == 0
    assert (tmp_path / "results/EVIDENCE_DIGEST").read_text() == signed.digest
    assert (tmp_path / "results/EVIDENCE_REFERENCE").read_text() == f"{place}@{signed.digest}"
    properties = {
        item.get("name"): item.get("value") for item in ElementTree.parse(tmp_path / "junit.xml").iter("property")
    }
    assert properties["evidence_digest"] == signed.digest
    for name in ("r.html", "r.md", "summary"):
        text = (tmp_path / name).read_text()
        assert f"evalhub-kfp verify {repository}@{signed.digest} --key public.key" in text
        assert "not signed" not in text
        assert "/tmp/evalhub-" not in text
    assert f"\n{signed.digest}\n" in (tmp_path / "outputs").read_text()
    assert cli("report", signed.pinned, *kinds).status == 0
    assert (tmp_path / "results/EVIDENCE_REFERENCE").read_text() == str(signed.layout)
    for name in ("r.html", "r.md"):
        assert f"evalhub-kfp verify {signed.pinned} --key public.key" in (tmp_path / name).read_text()


def test_a_run_that_was_moved_is_reported_from_where_it_is(cli: Any, run_directory: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    run_directory.rename(moved)
    assert cli("report", moved, "--report", "tekton=results", "--report", "html=r.html").status == 0
    assert cli("report", moved).status == 0
    assert cli("judge", moved, "--report", "markdown=r.md").status == 0
    assert (tmp_path / "results/EVIDENCE_REFERENCE").read_text() == str(moved / "evidence")
    for path in (tmp_path / "r.html", tmp_path / "r.md", moved / "report.html", moved / "report.md"):
        assert f"evalhub-kfp verify {moved}/evidence@sha256:" in path.read_text()
        assert str(run_directory) not in path.read_text()


def test_a_step_of_a_runner_gets_what_it_asks_for(cli: Any, run_directory: Path, tmp_path: Path) -> None:
    environ = {"GITHUB_OUTPUT": str(tmp_path / "outputs"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    assert cli("report", run_directory, environ=environ).status == 0
    assert (tmp_path / "summary").read_bytes() == (run_directory / "report.md").read_bytes()
    assert (tmp_path / "outputs").read_text().startswith("verdict<<")


def test_tampered_evidence_is_not_reported(cli: Any, signed: SignedRun, tmp_path: Path) -> None:
    blob = signed.blob(signed.layer("benchmarks/001-b/results.json"))
    blob.write_bytes(blob.read_bytes().replace(b"0.75", b"0.95"))
    done = cli("report", signed.pinned, "--report", "json=v.json")
    assert (done.status, done.out) == (1, "")
    assert not (tmp_path / "v.json").exists()


def test_a_kind_that_is_none_is_a_mistake_before_anything_is_read(cli: Any) -> None:
    done = cli("report", "missing", "--report", "pdf=x.pdf")
    assert done.status == 2
    assert "pdf=x.pdf" in done.err


def test_a_report_that_cannot_be_written_is_an_error(cli: Any, run_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = cli("report", run_directory, "--report", "json=file/verdict.json")
    assert done.status == 2
    assert "json=file/verdict.json: cannot be written" in done.err


@pytest.fixture
def waiting(cli: Any, collection: Callable[..., Path], model: DemoModelServer, tmp_path: Path) -> Path:
    """The directory of a run that MLflow did not take."""
    pytest.importorskip("mlflow")
    arguments = [each for each in cli.arguments(collection(("a", {})), model) if each != "--no-mlflow"]
    done = cli(*arguments, "--mlflow-uri", UNUSABLE)
    assert done.status == 0, done.err
    found = Path(cli.run_directory())
    assert (found / "mlflow-spool.json").exists()
    return found


def test_a_run_that_waits_for_mlflow_is_sent_and_its_reports_say_so(cli: Any, waiting: Path, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'store.db'}"
    done = cli("report", waiting, "--mlflow-uri", store)
    assert done.status == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("mlflow")]
    sent = line.split()[3]
    assert line == f"mlflow    sent: run {sent} of {store}"
    assert not (waiting / "mlflow-spool.json").exists()
    for name in ("report.md", "report.html"):
        assert sent in (waiting / name).read_text()
    again = cli("report", waiting, "--mlflow-uri", store)
    assert (again.status, again.out.splitlines()[-1]) == (0, "mlflow    nothing waits to be sent")


def test_mlflow_that_still_does_not_work_is_a_warning(cli: Any, waiting: Path) -> None:
    (waiting / "report.html").unlink(missing_ok=True)
    done = cli("report", waiting)
    assert done.status == 0
    assert "warning: not sent to MLflow, and goes on waiting: " in done.err
    assert (waiting / "report.html").exists()
    assert (waiting / "mlflow-spool.json").exists()


def test_judging_sends_what_waits_too(cli: Any, waiting: Path, collection: Callable[..., Path], tmp_path: Path) -> None:
    failed = cli("judge", waiting)
    assert failed.status == 0
    assert "warning: not sent to MLflow, and goes on waiting: " in failed.err
    store = f"sqlite:///{tmp_path / 'store.db'}"
    edit(waiting / "mlflow-spool.json", lambda spool: spool.update(tracking_uri=store))
    other = cli("judge", waiting, "--config", collection(("a", {})), "--catalog", cli.catalog)
    assert (other.status, "MLflow" in other.err) == (0, False)
    assert (waiting / "mlflow-spool.json").exists()
    done = cli("judge", waiting, "--report", "junit=junit.xml")
    assert done.status == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("mlflow")]
    assert line.endswith(f" of {store}")
    assert not (waiting / "mlflow-spool.json").exists()
    assert line.split()[3] in (tmp_path / "junit.xml").read_text()


def test_mlflow_that_was_asked_for_and_does_not_work_is_an_error(cli: Any, waiting: Path) -> None:
    done = cli("report", waiting, "--mlflow-uri", UNUSABLE)
    assert done.status == 2
    assert (waiting / "mlflow-spool.json").exists()


def test_nothing_is_sent_of_a_run_whose_verdict_is_not_its_own(cli: Any, waiting: Path, tmp_path: Path) -> None:
    set_score(waiting, "000-a", 0)
    assert cli("report", waiting, "--mlflow-uri", f"sqlite:///{tmp_path / 'store.db'}").status == 2
    assert (waiting / "mlflow-spool.json").exists()
    assert not (tmp_path / "store.db").exists()


def test_evidence_has_nothing_that_waits_for_mlflow(cli: Any, signed: SignedRun) -> None:
    done = cli("report", signed.pinned, "--mlflow-uri", UNUSABLE)
    assert done.status == 2
    assert "name the run directory" in done.err


def test_the_interface_for_python_writes_the_same(signed: SignedRun, tmp_path: Path) -> None:
    shutil.copytree(signed.path, tmp_path / "other")
    done = api.report(tmp_path / "other")
    assert [(each.kind, each.path) for each in done.outputs] == [
        ("markdown", tmp_path / "other/report.md"),
        ("html", tmp_path / "other/report.html"),
    ]
    publication = api.report(signed.layout, {"json": tmp_path / "v.json"}).publication
    assert publication is not None
    assert (publication.evidence_digest, publication.evidence_address) == (signed.digest, signed.pinned)
    assert (tmp_path / "v.json").read_bytes() == (signed.path / "verdict.json").read_bytes()
    with pytest.raises(EvalHubError, match="no place for reports"):
        api.report(signed.layout)
