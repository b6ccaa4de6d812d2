"""What bad input gets: exit status 2 and one message that names the place, or one failed benchmark among others."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evalhub_pipelines.demo_model import DemoModelServer, DemoModelSettings, running

ENTRY = {"id": "a", "provider_id": "obedient"}
MODEL = {"url": "http://127.0.0.1:9/v1", "name": "demo-model"}


class Done(NamedTuple):
    status: int
    out: str
    err: str


def refused(cli: Any, done: Any, *said: str) -> None:
    """Check that a command ended with one message and left nothing."""
    assert done.status == 2, done
    assert done.out == ""
    for text in said:
        assert text in done.err
    assert done.err.count("error: ") == 1
    assert cli.run_directories() == []
    assert not (cli.folder / "mlflow.db").exists()


DOCUMENTS = {
    "unknown key": (
        {"model": MODEL, "benchmarks": [{**ENTRY, "wieght": 2}]},
        ["eval.yaml: benchmarks[0].wieght: unknown key (did you mean 'weight'?)"],
    ),
    "two unknown keys at once": (
        {"modell": MODEL, "model": MODEL, "benchmarks": [{**ENTRY, "wieght": 2}]},
        ["eval.yaml: modell: unknown key", "eval.yaml: benchmarks[0].wieght: unknown key"],
    ),
    "unknown benchmark": (
        {"model": MODEL, "benchmarks": [{"id": "zz", "provider_id": "obedient"}]},
        ["benchmarks[0].id: provider obedient has no benchmark 'zz'"],
    ),
    "unknown provider": (
        {"model": MODEL, "benchmarks": [{"id": "a", "provider_id": "obedeint"}]},
        ["there is no provider 'obedeint' (did you mean 'obedient'?)"],
    ),
    "unknown collection": (
        {"model": MODEL, "collection": {"id": "quickstart-v2"}},
        ["'quickstart-v2'", "no such collection (did you mean 'quickstart-v1'?)"],
    ),
    "threshold out of range": (
        {"model": MODEL, "benchmarks": [{**ENTRY, "pass_criteria": {"threshold": 70}}]},
        ["benchmarks[0].pass_criteria.threshold: must be within the range [0, 1] of acc, got 70; percent?"],
    ),
    "overall threshold out of range": (
        {"model": MODEL, "benchmarks": [ENTRY], "pass_criteria": {"threshold": 70}},
        ["pass_criteria.threshold: must be within [0, 1]", "got 70"],
    ),
    "unset variable": (
        {"model": {**MODEL, "url": "${NO_SUCH_URL}"}, "benchmarks": [ENTRY]},
        ["eval.yaml: model.url: ${NO_SUCH_URL} is not set (export NO_SUCH_URL, or write ${NO_SUCH_URL:-default})"],
    ),
    "required without a threshold": (
        {"model": MODEL, "benchmarks": [{**ENTRY, "required": True}]},
        ["benchmarks[0]: is required and so must have a threshold"],
    ),
    "nothing with weight": (
        {"model": MODEL, "benchmarks": [{**ENTRY, "weight": 0}]},
        ["no benchmark has a weight above 0"],
    ),
    "not YAML": ("model: [", ["eval.yaml: is not valid YAML: line 2, column 1"]),
    "not a mapping": ("- a\n- b\n", ["eval.yaml: must be a mapping of keys, got a list"]),
    "empty": ("", ["eval.yaml: is empty"]),
    "bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{n}: &{n} [{', '.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True)),
        ["eval.yaml: expands to more than 200000 values"],
    ),
    "parameters of the model": (
        {"model": {**MODEL, "parameters": {"temperature": 1}}, "benchmarks": [ENTRY]},
        ["model.parameters: not yet supported (give them as parameters of the benchmarks)"],
    ),
    "a password in an address of data": (
        {
            "model": MODEL,
            "benchmarks": [
                {**ENTRY, "test_data_ref": {"git": {"url": "https://me:hunter2@host.example/x", "ref": "a"}}}
            ],
        },
        ["benchmarks[0].test_data_ref.git.url: must be an http or https address", "a secret: secret_ref"],
    ),
    "a file as an address of data": (
        {"model": MODEL, "benchmarks": [{**ENTRY, "test_data_ref": {"git": {"url": "file:///srv/x", "ref": "a"}}}]},
        ["benchmarks[0].test_data_ref.git.url: must be an http or https address"],
    ),
    "judge": (
        {"model": MODEL, "judge": {"url": "localhost:8000", "key": "s3cret"}, "benchmarks": [ENTRY]},
        ["judge.url: must be an http or https address", "judge.name: is missing", "judge.key: unknown key"],
    ),
}


@pytest.mark.parametrize(("document", "said"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_bad_document_is_refused(cli: Any, write: Callable[..., Path], document: Any, said: list[str]) -> None:
    done = cli("run", write("eval.yaml", document), "--catalog", cli.catalog)
    refused(cli, done, *said)
    assert not any(secret in done.err for secret in ("s3cret", "hunter2"))


def test_file_that_is_not_there_is_refused(cli: Any) -> None:
    refused(cli, cli("run", "nowhere.yaml"), "nowhere.yaml: no such file")


def test_unreadable_file_is_refused(cli: Any) -> None:
    (cli.folder / "folder.yaml").mkdir()
    refused(cli, cli("run", "folder.yaml"), "folder.yaml: cannot be read (Is a directory)")


def test_binary_file_is_refused(cli: Any) -> None:
    (cli.folder / "model.yaml").write_bytes(b"\x80\x04\x95" + bytes(range(256)))
    refused(cli, cli("run", "model.yaml"), "model.yaml: is not UTF-8 text (byte 0)")


def test_50_mb_of_yaml_are_refused_in_little_memory(cli: Any) -> None:
    with (cli.folder / "huge.yaml").open("w") as file:
        file.write("benchmarks:\n")
        for _ in range(50):
            file.write("  - {id: a, provider_id: obedient}\n" * (1_000_000 // 36))
    # a process counts as its own what it had before `exec`, and this one has much: so a small one starts the command
    measured = (
        "import resource, subprocess, sys; status = subprocess.call(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(status)"
    )
    argv = [sys.executable, "-S", "-c", measured, Path(sys.executable).with_name("evalhub-kfp"), "run", "huge.yaml"]
    done = subprocess.run(argv, cwd=cli.folder, capture_output=True, text=True)
    refused(cli, Done(done.returncode, "", done.stderr), "huge.yaml: is larger than 2 MB (split the document)")
    assert int(done.stdout) < 100_000  # KiB; the interpreter and pydantic need some 40 000


def test_every_problem_of_every_collection_is_reported_at_once(cli: Any, write: Callable[..., Path]) -> None:
    write("one.yaml", {"benchmarks": [{**ENTRY, "wieght": 2}]})
    write("two.yaml", {"benchmarks": [{"id": "zz", "provider_id": "obedient"}, {"id": "yy", "provider_id": "other"}]})
    done = cli("collections", "validate", "one.yaml", "two.yaml", "--catalog", cli.catalog)
    refused(cli, done, "one.yaml: benchmarks[0].wieght", "benchmarks[0].id: provider", "benchmarks[1].id: provider")


def test_no_model_is_refused(cli: Any, collection: Callable[..., Path]) -> None:
    done = cli("run", collection(("a", {})), "--catalog", cli.catalog)
    refused(cli, done, "no model to evaluate (give --model-url and --model-name, or an eval.yaml with a model)")


def test_unreachable_model_is_refused(cli: Any, collection: Callable[..., Path]) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/v1"
        arguments = ["--catalog", cli.catalog, "--model-url", url, "--model-name", "m"]
        done = cli("run", collection(("a", {})), *arguments)
    refused(cli, done, f"{url}: nothing listens there (start the model server")


def test_wrong_key_is_refused(cli: Any, collection: Callable[..., Path], write: Callable[..., Path]) -> None:
    write("secrets/team/api-key", "wrong-key-1234")
    path = collection(("a", {}))
    with running(DemoModelSettings(api_key="right-key-1234")) as server:
        without = cli.run(path, server)
        secrets = {"EVALHUB_SECRETS": str(cli.folder / "secrets")}
        wrong = cli.run(path, server, "--model-secret", "team", environ=secrets)
    refused(cli, without, "refuses access, HTTP 401 (sent no key: set model.auth.secret_ref, or for KServe")
    refused(cli, wrong, "refuses access, HTTP 401 (sent the key in model.auth.secret_ref)")
    assert "wrong-key" not in wrong.err


def test_unknown_model_is_refused(cli: Any, model: DemoModelServer, collection: Callable[..., Path]) -> None:
    done = cli.run(collection(("a", {})), model, "--model-name", "gpt-9")
    refused(cli, done, "does not serve a model named 'gpt-9' (it serves: demo-model)")


def test_provider_that_cannot_be_started_is_refused(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], write: Callable[..., Path]
) -> None:
    provider = {"id": "hollow", "benchmarks": [{"id": "a", "primary_score": {"metric": "acc"}}]}
    write("own/providers/hollow/provider.yaml", provider)
    done = cli.run(collection(("hollow/a", {})), model, "--catalog", "own")
    refused(cli, done, "own/providers/hollow: has neither adapter.py nor runtime.local.command")


def test_command_that_does_not_exist_fails_its_benchmark_and_is_named(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], write: Callable[..., Path]
) -> None:
    provider = {
        "id": "typo",
        "runtime": {"local": {"command": "/no/such/program --fast"}},
        "benchmarks": [{"id": "a", "primary_score": {"metric": "acc"}}],
    }
    write("own/providers/typo/provider.yaml", provider)
    done = cli.run(collection(("typo/a", {})), model, "--catalog", "own")
    assert done.status == 2
    assert "/no/such/program: not found" in done.out
    assert json.loads((cli.run_directory() / "run.json").read_text())["state"] == "failed"


def test_failing_benchmarks_say_why_and_the_others_go_on(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    done = cli.run(
        collection(
            ("a", {"raise": "the data set is gone"}),
            ("b", {"sleep": 600}, {"timeout": 1}),
            ("c", {"kill": 11}),
            ("d", {"exit": 7}),
            ("e", {"metric": "f1"}),
            ("f", {"score": "nan"}),
            ("g", {"size": 10, "errors": 3}),
            ("h", {"size": 10, "errors": 1}),
            ("other/a", {}),
            ("a", {"score": "0.9"}),
            execution={"max_error_rate": 0.2},
        ),
        model,
        "--format",
        "json",
    )
    assert done.status == 2
    verdict = done.json["verdict"]
    assert (verdict["verdict"], verdict["state"]) == ("error", "partially_failed")
    reasons = {test["slug"]: test["reason"] for test in verdict["benchmarks"] if test["status"] == "failed"}
    expected = {
        "000-a": "ValueError: the data set is gone",
        "001-b": "timed out after 1 s",
        "002-c": "was ended by SIGSEGV",
        "003-d": "exited with status 7",
        "004-e": "primary metric 'acc' is missing (the framework reported: f1)",
        "005-f": "primary metric 'acc' is not a finite number",
        "006-g": "3 of 10 examples (30 %) had errors, more than max_error_rate 0.2 allows",
        "009-a": "primary metric 'acc' is not a number: '0.9'",
    }
    assert reasons.keys() == expected.keys()
    for slug, text in expected.items():
        assert text in reasons[slug]
        assert any(slug in reason for reason in verdict["reasons"])
    assert [test["slug"] for test in verdict["benchmarks"] if test["status"] == "completed"] == ["007-h", "008-a"]


def test_failed_advisory_benchmark_is_reported_and_decides_nothing(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    done = cli.run(collection(("a", {}), ("b", {"raise": "boom"}, {"weight": 0})), model)
    assert done.status == 0
    assert "advisory: no score: failed: ValueError: boom" in done.out


def test_what_an_adapter_raises_cannot_drive_the_terminal(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path]
) -> None:
    done = cli.run(collection(("a", {"raise": "\x1b]0;owned\x07\x1b[31mred[/bold]"})), model)
    assert done.status == 2
    assert "owned" in done.err
    assert "red[/bold]" in done.out
    assert "\x1b" not in done.err + done.out
