"""`evalhub-kfp compare` on real runs, their directories and their evidence."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.evidence.reading import pull
from evalhub_components.evidence.reference import Reference
from evalhub_components.evidence.registry import push
from evalhub_components.evidence.registry.registry import Registry
from evalhub_pipelines import api, evidence_store
from evalhub_pipelines.demo_model import DemoModelServer

sys.path.insert(0, str(Path(__file__).parent))
from evidence_runs import SignedRun, build, edit, finished_run, key, set_score, signed
from registries import RunningRegistry, plain_registry, tls_registry

__all__ = ["finished_run", "key", "plain_registry", "signed", "tls_registry"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:olot")


def push_to(run: SignedRun, registry: RunningRegistry) -> str:
    repository = f"{registry.address}/team/evals"
    push.push(run.layout, Registry(Reference.parse(repository), secret=registry.secret, ca=registry.ca))
    return f"{repository}@{run.digest}"


def worse(signed: SignedRun, path: Path) -> SignedRun:
    """A copy of a run in which benchmark b scored 0.25, judged and with evidence of its own."""
    shutil.copytree(signed.path, path)
    set_score(path, "001-b", 0.25)
    return build(path, signed.key)


def words(out: str) -> list[list[str]]:
    """Return the lines of a table as lists of cells."""
    return [[cell for cell in line.split("  ") if cell.strip()] for line in out.splitlines()]


def test_two_runs_of_the_command_line_stand_side_by_side(
    cli: Any, collection: Callable[..., Path], model: DemoModelServer
) -> None:
    # of this provider only 0.75 comes with samples
    cli.run(collection(("a", {}), ("b", {"raise": "out of memory"}), ("c", {"score": 0.5})), model)
    cli.run(collection(("a", {}), ("b", {"score": 0.5}), ("c", {"score": 0.25, "size": 8})), model)
    first, second = cli.run_directories()
    done = cli("compare", first, second)
    assert (done.status, done.err) == (0, "")
    lines = [[cell.strip() for cell in line] for line in words(done.out)]
    assert lines[:2] == [["1", str(first)], ["2", str(second)]]
    assert ["verdict", "error", "pass"] in lines
    assert ["a", "0.75 ±0.41 pass", "0.75 ±0.41 pass", "the same"] in lines
    assert ["b", "error", "0.5 pass", "not comparable"] in lines
    assert ["c", "0.5 pass", "0.25 fail", "not comparable"] in lines
    assert "! b in 1: no score: failed: ValueError: out of memory" in done.out
    assert "! b, c: scores of 1 and 2 are not comparable: not the same parameters" in done.out
    assert "overall scores of 1 and 2 are not comparable: not the same parameters" in done.out
    assert ["c: parameters.score", "0.5", "0.25"] in lines
    assert "No verdict depends on it" in done.out


def test_json_and_yaml_hold_the_same_numbers(cli: Any, signed: SignedRun, tmp_path: Path) -> None:
    import yaml

    other = worse(signed, tmp_path / "worse")
    done = cli("compare", signed.path, other.path, "--format", "json")
    assert yaml.safe_load(cli("compare", signed.path, other.path, "--format", "yaml").out) == done.json
    assert [run["verdict"] for run in done.json["runs"]] == ["pass", "pass"]
    cell = done.json["benchmarks"][1]["results"][1]
    assert (cell["score"], cell["outcome"], cell["against_first"]["difference"]) == (0.25, "fail", -0.5)
    assert cell["against_first"]["in_doubt"] is True
    assert done.json["differences"] == []
    assert api.compare(signed.path, other.path).as_json() == done.json


def test_a_run_does_not_differ_from_its_evidence_wherever_it_is(
    cli: Any, signed: SignedRun, tmp_path: Path, plain_registry: RunningRegistry
) -> None:
    found = evidence_store.opened(signed.pinned)
    pull.pull(found.store, found.named, tmp_path / "pulled")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = cli(
        *("compare", signed.path, signed.layout, signed.pinned, f"{signed.path}@{signed.digest}", tmp_path / "pulled"),
        push_to(signed, plain_registry),
        *("--format", "json"),
        environ={"TMPDIR": str(temporary)},
    )
    assert done.status == 0, done.err
    assert done.json["differences"] == []
    assert all(
        cell["against_first"]["difference"] == 0 for row in done.json["benchmarks"] for cell in row["results"][1:]
    )
    runs = [{**run, "name": None, "against_first": None} for run in done.json["runs"]]
    assert len(runs) == 6
    assert all(run == runs[0] for run in runs)
    assert list(temporary.iterdir()) == []


def test_a_registry_that_asks_for_a_login_gets_the_named_secret(
    cli: Any, signed: SignedRun, tls_registry: RunningRegistry
) -> None:
    reference = push_to(signed, tls_registry)
    assert cli("compare", signed.path, reference, "--ca", tls_registry.ca).status == 2
    secrets = {"EVALHUB_SECRETS": str(tls_registry.secret.parent if tls_registry.secret else "")}
    name = tls_registry.secret.name if tls_registry.secret else ""
    done = cli("compare", signed.path, reference, "--ca", tls_registry.ca, "--registry-secret", name, environ=secrets)
    assert (done.status, done.err) == (0, "")
    assert "nothing differs" in done.out


def test_a_run_directory_is_read_itself_and_not_the_evidence_in_it(cli: Any, signed: SignedRun, tmp_path: Path) -> None:
    shutil.copytree(signed.path, tmp_path / "other")
    for blob in (tmp_path / "other/evidence/blobs/sha256").iterdir():
        blob.write_bytes(b"nothing of it")
    assert cli("compare", signed.path, tmp_path / "other").status == 0


def test_tampered_evidence_is_not_compared(cli: Any, signed: SignedRun, tmp_path: Path) -> None:
    shutil.copytree(signed.path, tmp_path / "other")
    other = SignedRun(tmp_path / "other", signed.digest, signed.key)
    blob = other.blob(other.layer("benchmarks/001-b/results.json"))
    blob.write_bytes(blob.read_bytes().replace(b"0.75", b"0.95"))
    done = cli("compare", signed.path, other.pinned)
    assert (done.status, done.out) == (1, "")
    assert "sha256" in done.err


@pytest.mark.parametrize("command", ["compare", "report"])
def test_results_that_give_another_verdict_are_an_error(
    cli: Any, signed: SignedRun, tmp_path: Path, command: str
) -> None:
    shutil.copytree(signed.path, tmp_path / "edited")
    set_score(tmp_path / "edited", "000-a", 0)
    before = (tmp_path / "edited/report.md").read_bytes()
    done = cli(command, tmp_path / "edited", *([signed.path] if command == "compare" else []))
    assert (done.status, done.out) == (2, "")
    assert "verdict.json says pass with score 0.75" in done.err
    assert "give fail with score 0.375" in done.err
    assert (tmp_path / "edited/report.md").read_bytes() == before


def test_a_verdict_that_was_edited_is_an_error(cli: Any, signed: SignedRun) -> None:
    edit(signed.path / "verdict.json", lambda verdict: verdict["benchmarks"][1].update(se=0.0001))
    done = cli("compare", signed.path, signed.layout)
    assert done.status == 2
    assert "something else of a benchmark" in done.err


def test_a_verdict_worded_by_another_version_is_the_same_verdict(cli: Any, signed: SignedRun) -> None:
    edit(signed.path / "verdict.json", lambda verdict: verdict.update(reasons=["it was good enough"]))
    done = cli("compare", signed.path, signed.layout, "--format", "json")
    assert done.status == 0
    assert done.json["runs"][0]["reasons"] == ["it was good enough"]


def test_evidence_with_a_verdict_that_its_results_do_not_give_is_an_error(
    cli: Any, signed: SignedRun, tmp_path: Path
) -> None:
    shutil.copytree(signed.path, tmp_path / "lying")
    verdict = api.judge(signed.path)
    set_score(tmp_path / "lying", "000-a", 0)
    lying = build(tmp_path / "lying", signed.key, verdict)
    done = cli("compare", signed.path, lying.pinned)
    assert done.status == 2
    assert "the results and criteria give fail" in done.err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "there is no such folder"),
        ("empty", "holds no run"),
        ("unfinished", "has no verdict.json"),
        ("file", "there is no such folder"),
        ("host.example/repository", "which evidence?"),
    ],
)
def test_what_is_no_run_is_named(cli: Any, signed: SignedRun, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("{}")
    shutil.copytree(signed.path, tmp_path / "unfinished")
    (tmp_path / "unfinished/verdict.json").unlink()
    done = cli("compare", signed.path, name)
    assert (done.status, done.out) == (2, "")
    assert f"{name}: " in done.err
    assert message in done.err


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_runs_are_a_usage_error(cli: Any, signed: SignedRun, count: int) -> None:
    done = cli("compare", *[signed.path] * count)
    assert (done.status, done.out) == (2, "")
    assert "at least two runs" in done.err


def on_terminal(columns: int) -> dict[str, str]:
    return {"FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": str(columns), "TERM": "xterm"}


def plain(out: str) -> list[str]:
    """Return the lines without bold print, which is no colour."""
    return [re.sub(r"\x1b\[\d*m", "", line).rstrip() for line in out.splitlines()]


@pytest.mark.parametrize(
    ("others", "columns", "expected"),
    [
        (1, 80, {"b 0.25 ±0.41 fail 0.75 ±0.41 pass better by 0.5, in doubt": 1}),
        (1, 50, {"1 0.25 ±0.41 fail": 1, "2 0.75 ±0.41 pass better by 0.5, in doubt": 1}),
        (
            4,
            80,
            {"1 0.25 ±0.41 fail": 1, "5 0.75 ±0.41 pass better by 0.5, in doubt": 1, "5 0.75 ±0.41 pass the same": 1},
        ),
    ],
    ids=["two", "two on a narrow one", "five"],
)
def test_a_terminal_shows_every_score_with_its_bounds(
    cli: Any, signed: SignedRun, tmp_path: Path, others: int, columns: int, expected: dict[str, int]
) -> None:
    runs = [worse(signed, tmp_path / "worse").path, *[signed.path] * others]
    done = cli("compare", *runs, environ=on_terminal(columns))
    assert done.status == 0
    lines = plain(done.out)
    words = [" ".join(line.split()) for line in lines]
    assert {line: words.count(line) for line in expected} == expected
    # the paths of runs are as long as they are
    tables = lines[len(runs) : next(n for n, line in enumerate(lines) if line.startswith("Scores are"))]
    assert max(map(len, tables)) <= columns


def test_what_is_not_shown_is_not_explained(cli: Any, collection: Callable[..., Path], model: DemoModelServer) -> None:
    lower = {"primary_score": {"metric": "acc", "lower_is_better": True}}
    # only 0.75 comes with samples, and so with bounds
    for name, parameters, keys in (("a", {}, {}), ("a", {}, lower), ("a", {"score": 0.5}, {})):
        cli.run(collection((name, parameters, keys)), model)
    said = []
    for run in cli.run_directories():
        done = cli("compare", run, run)
        table, legend = done.out.split("Scores are in the metric's units")
        assert ("±" in table) is ("±" in legend)
        assert ("(0.25)" in table) is ("in brackets" in legend)
        assert "in doubt" not in legend.split("what differs")[0]
        said.append(("±" in legend, "in brackets" in legend))
    assert said == [(True, False), (True, True), (False, False)]


def test_what_a_failed_benchmark_did_not_say_is_one_line(
    cli: Any, collection: Callable[..., Path], model: DemoModelServer
) -> None:
    cli.run(collection(("a", {}), ("b", {})), model)
    cli.run(collection(("a", {"raise": "no memory"}), ("b", {"raise": "no memory"})), model)
    first, second = cli.run_directories()
    done = cli("compare", first, second, first, second, first)
    assert "! run 2: no settings of the framework on record for 2 benchmarks" in done.out
    assert "! run 4: no settings of the framework on record for 2 benchmarks" in done.out
    differing = done.out.split("what differs")[1]
    assert "2 benchmarks: parameters.raise" in differing
    assert "framework." not in differing
    found = cli("compare", first, second, "--format", "json").json
    assert found["missing"] == [{"run": 1, "record": "settings of the framework", "benchmarks": ["a", "b"]}]


def test_hostile_names_cannot_take_over_the_terminal(cli: Any, signed: SignedRun, tmp_path: Path) -> None:
    hostile = "\x1b[2Jmodel\n::error::x [red]\x9b\u202e"
    shutil.copytree(signed.path, tmp_path / "hostile")
    edit(tmp_path / "hostile/run.json", lambda record: record.update(model_name=hostile, model_url=hostile))
    for path in tmp_path.glob("hostile/benchmarks/*/environment.json"):
        edit(path, lambda facts: facts.update({hostile: hostile}))
    done = cli("compare", signed.path, tmp_path / "hostile")
    assert done.status == 0
    assert "::error::x [red]" in done.out
    assert not [character for character in done.out if not character.isprintable() and character != "\n"]
    assert not [line for line in done.out.splitlines() if line.startswith("::")]
    for runs in ([signed.path, tmp_path / "hostile"], [signed.path, *[tmp_path / "hostile"] * 4]):
        shown = "\n".join(plain(cli("compare", *runs, environ=on_terminal(50)).out))
        assert not [character for character in shown if not character.isprintable() and character != "\n"]
    found = cli("compare", signed.path, tmp_path / "hostile", "--format", "json").json
    assert found["runs"][1]["model_name"] == hostile


def test_a_reader_that_leaves_early_is_no_failed_gate(cli: Any, signed: SignedRun) -> None:
    process = cli.start("compare", signed.path, signed.layout)
    process.stdout.close()
    assert process.wait(timeout=60) in (0, 2)


def test_the_interface_for_python_takes_paths(signed: SignedRun) -> None:
    found = api.compare(signed.path, str(signed.layout))
    assert [side.name for side in found.runs] == [str(signed.path), str(signed.layout)]
    assert json.loads(json.dumps(found.as_json())) == found.as_json()
