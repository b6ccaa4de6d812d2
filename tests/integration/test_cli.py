"""The command line itself: help, forms of output, terminals and pipes, the catalogue, missing parts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import evalhub_components
from evalhub_pipelines.demo_model import DemoModelServer

HEAVY = {"pydantic", "rich", "yaml", "mlflow", "kfp", "olot", "oras", "uv"}


def test_help_lists_the_commands_and_the_statuses(cli: Any) -> None:
    short, long = cli("-h"), cli("--help")
    assert (short.status, short.err) == (0, "")
    assert short.out == long.out
    for command in ("run", "plan", "judge", "report", "compare", "providers", "collections", "demo-model", "version"):
        assert re.search(rf"^  {command} ", short.out, re.MULTILINE)
    assert "0 pass, 1 gate failed, 2 error, 3 inconclusive" in short.out


def test_every_command_has_help(cli: Any) -> None:
    groups = {"providers": ["list", "describe", "install"], "collections": ["list", "describe", "validate", "init"]}
    for command in ("run", "plan", "judge", "report", "compare", "demo-model", "version"):
        assert cli(command, "-h").out.startswith(f"Usage: evalhub-kfp {command}")
    for group, commands in groups.items():
        said = cli(group, "-h").out
        assert all(re.search(rf"^  {command} ", said, re.MULTILINE) for command in commands)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rum"], "No such command 'rum'"),
        (["run", "--modle-url", "x"], "No such option '--modle-url'"),
        (["run", "x", "--format", "xml"], "'xml' is not one of 'table', 'json', 'yaml'"),
        (["run", "x", "--num-examples", "0"], "0 is not in the range 1<=x<=1000000000"),
        (["run"], "nothing to evaluate (give an eval.yaml, a collection, or --provider and -b)"),
        (["run", "--provider", "obedient"], "give either SOURCE, or --provider and at least one -b"),
        (["plan", "x", "-b", "a", "--provider", "p"], "give either SOURCE, or --provider and at least one -b"),
        (["judge", "nowhere"], "'nowhere' does not exist"),
        ([], "Usage: evalhub-kfp"),
    ],
    ids=["command", "option", "choice", "range", "nothing", "no benchmark", "both", "no run", "no command"],
)
def test_wrong_usage_exits_2_and_prints_nothing_to_stdout(cli: Any, arguments: list[str], said: str) -> None:
    done = cli(*arguments)
    assert done.status == 2
    assert done.out == ""
    assert said.lower() in done.err.lower()


def test_version_is_the_package_version(cli: Any) -> None:
    assert cli("version").out == f"{evalhub_components.__version__}\n"


def imported(code: str, *wanted: str) -> set[str]:
    code = f"import sys; sys.argv = ['evalhub-kfp', *{wanted!r}]\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_help_imports_nothing_heavy() -> None:
    run = "from evalhub_pipelines.cli import main\ntry: main()\nexcept SystemExit: pass"
    assert "click" in imported(run, "run", "--help")
    assert not HEAVY & imported(run, "--help")
    assert not HEAVY & imported(run, "run", "--help")


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_machine_forms_go_to_stdout_alone(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], form: str
) -> None:
    read = yaml.safe_load  # JSON is YAML
    done = cli.run(collection(("a", {}), ("b", {"raise": "boom"}, {"weight": 0})), model, "--format", form)
    assert done.status == 0
    assert read(done.out)["verdict"]["verdict"] == "pass"
    assert "asking the model who it is\n" in done.err
    assert f"run directory {cli.run_directory()}\n" in done.err
    assert "000-a completed in" in done.err
    assert "001-b failed in" in done.err
    assert "\x1b" not in done.out + done.err
    quiet = cli.run("trial.yaml", model, "--format", form, "--quiet")
    assert quiet.err == ""
    assert read(quiet.out)["run_directory"]
    judged = cli("judge", read(done.out)["run_directory"], "--format", form)
    assert read(judged.out) == read(done.out)["verdict"]
    planned = cli("plan", "trial.yaml", "--catalog", cli.catalog, "--format", form)
    assert read(planned.out)["digest"] == read(judged.out)["plan_digest"]
    assert read(planned.out)["plan"]["header"]["threshold"] == 0.5


@pytest.mark.parametrize(
    "arguments",
    [
        ["providers", "list"],
        ["providers", "describe", "obedient"],
        ["providers", "describe", "obedient", "-b", "a"],
        ["collections", "list"],
        ["collections", "describe", "trial.yaml"],
        ["collections", "describe", "quickstart-v1"],
        ["plan", "trial.yaml"],
        ["plan", "--provider", "obedient", "-b", "a"],
    ],
    ids=" ".join,
)
def test_every_report_has_three_forms(cli: Any, collection: Callable[..., Path], arguments: list[str]) -> None:
    collection(("a", {}))
    done = {form: cli(*arguments, "--catalog", cli.catalog, "--format", form) for form in ("table", "json", "yaml")}
    assert {form: one.status for form, one in done.items()} == dict.fromkeys(done, 0)
    assert yaml.safe_load(done["json"].out) == yaml.safe_load(done["yaml"].out)
    assert done["json"].out.lstrip()[0] in "[{"
    assert all(one.err == "" for one in done.values())
    assert all(line == line.rstrip() for line in done["table"].out.splitlines())


def test_describe_shows_what_the_document_says(cli: Any, collection: Callable[..., Path]) -> None:
    path = collection(("a", {}, {"weight": 2, "required": True}))
    found = cli("collections", "describe", path, "--catalog", cli.catalog, "--format", "json").json
    assert found["benchmarks"][0]["weight"] == 2
    benchmark = cli("providers", "describe", "obedient", "-b", "a", "--catalog", cli.catalog, "--format", "json").json
    assert benchmark == {"id": "a", "primary_score": {"metric": "acc"}, "dataset_size": 4}
    listed = cli("providers", "list", "--catalog", cli.catalog, "--format", "json").json
    assert {"obedient", "other", "lm_evaluation_harness"} <= {provider["id"] for provider in listed}
    unknown = cli("providers", "describe", "obedeint", "--catalog", cli.catalog)
    assert unknown.status == 2
    assert "did you mean 'obedient'?" in unknown.err


def test_table_gives_the_reason_of_every_line_and_keeps_the_score_on_its_scale(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    done = cli.run(collection(("a", {}, {"required": True}), ("b", {"score": 0.2, "size": 1})), model)
    lines = done.out.splitlines()
    assert re.fullmatch(r"000  a +acc +0.75 +0.75 +0.5 norm. +1 required  pass +0.75 >= 0.5", lines[1])
    assert re.fullmatch(r"001  b +acc +0.2 +0.2 +0.5 norm. +1 +fail +0.2 < 0.5", lines[2])
    assert all(line == line.rstrip() for line in lines)
    cli.run(collection(("a", {})), model)
    shown = cli("judge", cli.run_directories()[-1]).out
    low, high = re.search(r"one-sided 95% bounds (\S+) and (\S+);", shown).groups()  # type: ignore[union-attr]
    assert 0 <= float(low) < 0.75 < float(high) == 1


def test_a_narrow_terminal_shows_whole_names_and_the_reason(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    cli.run(collection(("a", {}), ("b", {"score": 0.2})), model)
    shown = on_a_terminal(cli, "judge", cli.run_directories()[-1], NO_COLOR="1", columns=80)
    assert re.search(r"^000 +a +0.75 +0.5 norm. +pass +0.75 >= 0.5", shown, re.MULTILINE), shown


def on_a_terminal(cli: Any, *arguments: object, columns: int = 200, **environ: str) -> str:
    """Return what a command shows on a terminal of its own for both outputs."""
    master, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (40, columns))
    process = cli.start(
        *arguments, environ={"TERM": "xterm-256color", **environ}, stdout=terminal, stderr=terminal, preexec_fn=None
    )
    os.close(terminal)
    seen = b""
    try:
        while chunk := os.read(master, 65536):
            seen += chunk
    except OSError:
        pass  # Linux says so when the other side of the terminal is closed
    os.close(master)
    process.wait()
    return seen.decode()


def test_terminal_gets_colours_and_no_color_is_honoured(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7]m|\x1b\[38;")
    arguments = cli.arguments(collection(("a", {})), model)
    colourful = on_a_terminal(cli, *arguments)
    plain = on_a_terminal(cli, *arguments, NO_COLOR="1")
    assert re.search(r"\x1b\[1;32mPASS", colourful)
    assert "all benchmarks" in colourful
    assert "PASS" in plain
    assert "000-a completed" in plain
    assert not colour.search(plain)


def test_reader_of_a_verdict_that_leaves_does_not_change_the_status(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    failing = collection(("a", {}), pass_criteria={"threshold": 0.9})
    process = cli.start(*cli.arguments(failing, model), stdout=writing)
    _, err = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "Broken" not in err
    passing = collection(("a", {}), pass_criteria={"threshold": 0.1})
    process = cli.start("judge", cli.run_directory(), "--config", passing, "--catalog", cli.catalog, stdout=writing)
    _, err = process.communicate()
    os.close(writing)
    assert (process.returncode, err) == (0, "")


def test_reader_of_a_list_that_leaves_is_not_taken_for_a_failed_gate(cli: Any) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = cli.start("collections", "list", stdout=writing)
    os.close(writing)
    _, err = process.communicate()
    assert (process.returncode, err) == (2, "")


def test_mistake_of_this_program_is_not_taken_for_a_failed_gate() -> None:
    code = "from evalhub_pipelines import api, cli; api.run = None; cli.main()"
    arguments = ["run", "quickstart-v1", "--model-url", "http://127.0.0.1:9/v1", "--model-name", "m"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert "TypeError" in done.stderr


def test_judge_gives_the_same_verdict_and_another_under_other_criteria(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], write: Callable[..., Path]
) -> None:
    path = collection(("a", {}), ("b", {"score": 0.6}))
    assert cli.run(path, model).status == 0
    directory = cli.run_directory()
    before = {file: file.read_bytes() for file in cli.folder.rglob("*") if file.is_file()}
    same = cli("judge", directory, "--format", "json")
    assert same.status == 0
    assert same.json == yaml.safe_load((directory / "verdict.json").read_text())
    stricter = write("own/collections/stricter.yaml", {**yaml.safe_load(path.read_text()), "benchmarks": []})
    document = yaml.safe_load(path.read_text())
    stricter.write_text(yaml.safe_dump({**document, "pass_criteria": {"threshold": 0.7}}))
    (cli.folder / "own" / "providers").symlink_to(cli.catalog / "providers")
    by_id = cli("judge", directory, "--config", "stricter", "--catalog", "own", "--format", "json")
    assert by_id.status == 1
    assert by_id.json["collection_id"] == "stricter"
    assert by_id.json["score"] == same.json["score"]
    entries = document["benchmarks"]
    entries[1] |= {"required": True, "pass_criteria": {"threshold": 0.65}}
    config = {"model": {"url": model.base_url, "name": "demo-model"}, "benchmarks": entries}
    by_file = cli("judge", directory, "--config", write("eval.yaml", config), "--catalog", cli.catalog)
    assert by_file.status == 1
    assert "  b is required and misses its threshold" in by_file.out
    assert {file: file.read_bytes() for file in before} == before
    written = cli("judge", directory, "--report", "json=again.json")
    assert written.status == 0
    assert (cli.folder / "again.json").read_bytes() == (directory / "verdict.json").read_bytes()


def test_plan_says_what_decides(cli: Any, collection: Callable[..., Path]) -> None:
    path = collection(("a", {}, {"weight": 3}), ("b", {}, {"weight": 0}), version="7")
    done = cli("plan", path, "--catalog", cli.catalog, "--num-examples", 2)
    assert "collection   trial 7" in done.out
    assert "passes when  the weighted score reaches 0.5 (from collection)" in done.out
    assert "note         advisory, decides nothing: 001-b" in done.out
    assert "note         limited to 2 examples, fewer than asked for: 000-a, 001-b" in done.out


def test_initialised_collection_is_valid_and_never_overwritten(cli: Any) -> None:
    done = cli("collections", "init", "my-gate")
    assert done.status == 0, done.err
    path = cli.folder / "collections" / "my-gate.yaml"
    assert cli("collections", "validate", path).status == 0
    content = path.read_text()
    again = cli("collections", "init", "my-gate")
    assert again.status == 2
    assert "collections/my-gate.yaml: exists already" in again.err
    assert path.read_text() == content
    wrong = cli("collections", "init", "../My Gate")
    assert wrong.status == 2
    assert "is no id for a collection" in wrong.err


def test_file_that_cannot_be_written_is_named(cli: Any, write: Callable[..., Path]) -> None:
    write("file", "")
    done = cli("collections", "init", "my-gate", "--directory", "file")
    assert done.status == 2
    assert "file" in done.err


@pytest.mark.parametrize("module", ["click", "rich"])
def test_command_line_without_its_extra_says_how_to_install_it(module: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; from evalhub_pipelines.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "collections", "list"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "the command line needs an optional part: pip install 'evalhub-kfp[cli]'\n"


def without(cli: Any, module: str) -> dict[str, str]:
    """Return an environment in which the command and its steps cannot import `module`."""
    (cli.folder / "sitecustomize.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n")
    return {"PYTHONPATH": str(cli.folder)}


def test_missing_mlflow_is_a_warning_with_the_cure(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    arguments = [word for word in cli.arguments(collection(("a", {})), model) if word != "--no-mlflow"]
    done = cli(*arguments, environ=without(cli, "mlflow"))
    assert done.status == 0, done.err
    assert "pip install 'evalhub-kfp[mlflow]'" in done.out
    assert not (cli.folder / "mlflow.db").exists()


def test_missing_mlflow_is_an_error_where_it_is_required(
    cli: Any, model: DemoModelServer, write: Callable[..., Path]
) -> None:
    document = {
        "model": {"url": model.base_url, "name": "demo-model"},
        "benchmarks": [{"id": "a", "provider_id": "obedient"}],
        "experiment": {"required": True},
    }
    done = cli("run", write("eval.yaml", document), "--catalog", cli.catalog, environ=without(cli, "mlflow"))
    assert done.status == 2
    assert "pip install 'evalhub-kfp[mlflow]'" in done.err


def test_missing_oci_libraries_are_an_error_before_anything_runs(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], starts: Callable[[], list[list[str]]]
) -> None:
    done = cli.run(collection(("a", {})), model, environ=without(cli, "olot"))
    assert done.status == 2
    assert "pip install 'evalhub-kfp[oci]'" in done.err
    assert starts() == []
    assert cli.run_directories() == []


@pytest.mark.parametrize(
    "words",
    [("verify",), ("pull",), ("results",), ("report",), ("evidence", "show")],
    ids=" ".join,
)
def test_what_reads_a_registry_says_which_extra_it_needs(cli: Any, words: tuple[str, ...]) -> None:
    place = ["pulled"] if words == ("pull",) else []
    done = cli(*words, "registry.example/team/evals:nightly", *place, environ=without(cli, "tenacity"))
    assert done.status == 2
    assert "pip install 'evalhub-kfp[oci]'" in done.err


def test_missing_uv_says_how_to_install_it(cli: Any, write: Callable[..., Path]) -> None:
    write("own/providers/tiny/provider.yaml", {"id": "tiny"})
    write("own/providers/tiny/requirements.txt", "tiny==1.0\n")
    environ = {**without(cli, "uv"), "PATH": "/nowhere"}
    done = cli("providers", "install", "tiny", "--catalog", "own", environ=environ)
    assert done.status == 2
    assert "pip install 'evalhub-kfp[cli]'" in done.err
