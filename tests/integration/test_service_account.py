"""A model that is asked with the token of a service account, as KServe wants it, and gets another one all the time."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from pipeline_interpreter import Interpreter
from registries import write_certificates
from rotating_tokens import RotatingTokens, files_with_a_token, guarded

from evalhub_components.adapter import ModelCredentials, ModelEndpoint
from evalhub_components.credentials import SERVICE_ACCOUNT_TOKEN
from evalhub_components.errors import EvalHubError
from evalhub_components.framework.relay import Relay
from evalhub_components.framework.upstream import Upstream
from evalhub_pipelines import compiler
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.demo_model import DemoModelServer
from evalhub_pipelines.evaluation import of

QUESTIONS = 12
ADAPTER = f"""\
import json
import os
import signal
import time
import urllib.request

from evalhub_components.adapter import EvaluationResult, FrameworkAdapter, JobResults
from evalhub_components.framework.relay import Relay


class Asking(FrameworkAdapter):
    def run_benchmark_job(self, config, callbacks):
        of = Relay.of_judge if config.benchmark_id == "judged" else Relay.of
        known = config.judge.credentials if config.benchmark_id == "judged" else config.credentials
        right = 0
        with of(config) as relay:
            for number in range({QUESTIONS}):
                # a framework that says whatever it gets hold of
                print("asking with", known.key())
                (config.raw_dir / f"{{number}}-{{known.key()}}.txt").write_text(f"Bearer {{known.key()}}")
                if config.benchmark_id.startswith("dying"):
                    known.token_file.write_text("eyJ.another.token")
                    print("and with", known.key())
                    if config.benchmark_id == "dying-last":
                        known.token_file.unlink()
                    os.kill(os.getppid(), signal.SIGKILL)
                    time.sleep(600)
                question = {{"role": "user", "content": "What is 2 + 3?"}}
                body = json.dumps({{"model": "demo-model", "messages": [question]}}).encode()
                headers = {{"Authorization": f"Bearer {{relay.token}}", "Content-Type": "application/json"}}
                request = urllib.request.Request(relay.url + "/chat/completions", body, headers)
                with urllib.request.urlopen(request) as response:
                    right += json.load(response)["choices"][0]["message"]["content"] == "5"
        return JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=[EvaluationResult("acc", right / {QUESTIONS})],
            num_examples_evaluated={QUESTIONS},
            environment={{"framework": {{"name": "asking", "version": "1", "key": known.key()}}}},
        )
"""


@pytest.fixture
def asking(tmp_path: Path) -> Path:
    """A catalogue with a provider that asks the model a dozen questions, or the judge, and writes down every token."""
    folder = tmp_path / "asking-catalog" / "providers" / "asking"
    folder.mkdir(parents=True)
    (folder / "adapter.py").write_text(ADAPTER)
    benchmarks: list[dict[str, Any]] = [
        {"id": "plain", "primary_score": {"metric": "acc"}},
        {"id": "judged", "judge": True, "primary_score": {"metric": "acc"}},
        {"id": "dying", "primary_score": {"metric": "acc"}},
        {"id": "dying-last", "primary_score": {"metric": "acc"}},
    ]
    image = {"k8s": {"image": "example.org/asking:1"}}
    (folder / "provider.yaml").write_text(yaml.safe_dump({"id": "asking", "runtime": image, "benchmarks": benchmarks}))
    (folder.parents[1] / "collections").mkdir()
    for name, entries in (("plain", ["plain"]), ("both", ["plain", "judged"]), ("dying", ["dying", "dying-last"])):
        listed = [{"id": entry, "provider_id": "asking"} for entry in entries]
        execution = {"batch": "none", "retries": 1}
        document = {"id": name, "version": "1", "execution": execution, "benchmarks": listed}
        (folder.parents[1] / "collections" / f"{name}.yaml").write_text(yaml.safe_dump(document))
    return folder.parents[1]


@pytest.fixture
def model(tmp_path: Path) -> Iterator[tuple[DemoModelServer, RotatingTokens]]:
    with guarded(tmp_path / "account", every=5, skill=1) as found:
        yield found


def credentials(tokens: RotatingTokens) -> ModelCredentials:
    return ModelCredentials(api_key=tokens.made[-1], token_file=tokens.file)


def evaluation(server: DemoModelServer, auth: dict[str, Any], collection: str = "plain") -> dict[str, Any]:
    found = {"model": {"url": server.base_url, "name": "demo-model", "auth": auth}, "collection": collection}
    return found | ({"judge": found["model"]} if collection == "both" else {})


# ---- the fingerprint step


def fingerprint(server: DemoModelServer, tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    argv = ["--model-url", server.base_url, "--model-name", "demo-model", "--model-auth", "service-account"]
    return subprocess.run(
        [sys.executable, "-m", "evalhub_components.fingerprint", *argv, "--output", str(tmp_path / "fingerprint.json")],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_fingerprint_is_that_of_the_model_and_holds_no_token(tmp_path: Path) -> None:
    with guarded(tmp_path / "account", every=1) as (server, tokens):
        done = fingerprint(server, tmp_path, **{SERVICE_ACCOUNT_TOKEN: str(tokens.file)})
        assert done.returncode == 0, done.stderr
        assert len(tokens.made) > 3
        kept = (tmp_path / "fingerprint.json").read_text()
        assert json.loads(kept)["answers"].startswith("sha256:")
        assert not [token for token in tokens.made if token in done.stdout + done.stderr + kept]


def test_a_refused_token_is_no_secret_to_look_for(tmp_path: Path) -> None:
    with guarded(tmp_path / "account") as (server, _):
        other = tmp_path / "other"
        other.write_text("another.account.entirely\n")
        done = fingerprint(server, tmp_path, **{SERVICE_ACCOUNT_TOKEN: str(other)})
    assert done.returncode == 2
    assert "refuses access, HTTP 401 (sent the token of the run's service account, which must be allowed" in done.stderr
    assert "it says: not with Bearer ***" in done.stderr
    assert "another.account" not in done.stderr


def test_of_a_refused_token_not_even_the_beginning_is_shown(tmp_path: Path) -> None:
    with guarded(tmp_path / "account") as (server, _):
        other = tmp_path / "other"
        other.write_text("eyJhbGciOi" + "x1" * 400)
        done = fingerprint(server, tmp_path, **{SERVICE_ACCOUNT_TOKEN: str(other)})
    assert done.returncode == 2
    assert "it says: not with Bearer" in done.stderr
    assert "eyJhbGciOi" not in done.stderr


# ---- the relay


def ask(upstream: Upstream) -> int:
    question = {"model": "demo-model", "messages": [{"role": "user", "content": "What is 2 + 3?"}]}
    return upstream.ask("POST", "/chat/completions", json.dumps(question).encode()).status


def test_no_request_is_lost_to_a_token_that_is_replaced(tmp_path: Path) -> None:
    body = json.dumps({"model": "demo-model", "messages": [{"role": "user", "content": "What is 2 + 3?"}]}).encode()
    # so seldom that on a busy machine too there is but one new token between the two tries of a request
    with (
        guarded(tmp_path / "account", every=40, skill=1) as (server, tokens),
        Relay(ModelEndpoint(server.base_url, "demo-model"), credentials(tokens), tmp_path) as relay,
        ThreadPoolExecutor(2) as pool,
    ):
        answers = list(pool.map(lambda _: relay.forward("POST", "/chat/completions", body), range(240)))
        assert {answer.status for answer in answers} == {200}
        assert relay.ledger.lost == []
        assert len(tokens.made) == 7
        assert relay.ledger.usage["requests"] == 240 + tokens.refused


def test_a_token_that_is_good_for_nothing_is_sent_once(
    tmp_path: Path, model: tuple[DemoModelServer, RotatingTokens]
) -> None:
    server, tokens = model
    other = tmp_path / "other"
    other.write_text("another.account.entirely")
    known = ModelCredentials(api_key="another.account.entirely", token_file=other)
    with (
        Relay(ModelEndpoint(server.base_url, "demo-model"), known, tmp_path) as relay,
        pytest.raises(EvalHubError, match=r"HTTP 401: .*not with Bearer \*\*\* \(may the run's service account get"),
    ):
        relay.check()
    assert tokens.refused == 2  # the list of models, and a question


def test_a_file_that_cannot_be_read_for_the_moment_costs_no_request(
    tmp_path: Path, model: tuple[DemoModelServer, RotatingTokens]
) -> None:
    server, tokens = model
    upstream = Upstream(ModelEndpoint(server.base_url, "demo-model"), credentials(tokens), tmp_path)
    tokens.file.unlink()
    assert ask(upstream) == 200
    upstream.close()


# ---- on this machine


def test_a_run_here_asks_with_the_token_in_a_file_and_keeps_none_of_them(
    cli: Any, asking: Path, model: tuple[DemoModelServer, RotatingTokens], write: Any
) -> None:
    server, tokens = model
    path = write("eval.yaml", evaluation(server, {"service_account": True}, "both"))
    known = {SERVICE_ACCOUNT_TOKEN: str(tokens.file)}
    done = cli("run", path, "--catalog", asking, "--jobs", "1", environ=known)
    assert done.status == 0, done.out + done.err
    assert len(tokens.made) > 5
    run = cli.run_directory()
    record = json.loads((run / "run.json").read_text())
    assert (record["model_service_account"], record["judge"]["service_account"]) == (True, True)
    for slug in ("000-plain", "001-judged"):
        results = json.loads((run / "benchmarks" / slug / "results.json").read_text())
        assert results["metrics"]["acc"]["value"] == 1.0
        assert results["redactions"] > QUESTIONS
        assert "asking with ***" in (run / "benchmarks" / slug / "log.txt").read_text()
    own = tokens.file.parent
    assert [file for file in files_with_a_token(cli.folder, tokens.made) if own not in file.parents] == []
    assert not [token for token in tokens.made if token in done.out + done.err]

    (run / "benchmarks" / "000-plain" / "results.json").unlink()
    again = cli("run", "--resume", run, "--catalog", asking, environ=known)
    assert again.status == 0, again.err


def test_of_a_step_that_was_killed_no_token_is_kept_either_neither_an_old_one_nor_one_whose_file_is_gone(
    cli: Any, asking: Path, model: tuple[DemoModelServer, RotatingTokens], write: Any
) -> None:
    server, tokens = model
    path = write("eval.yaml", evaluation(server, {"service_account": True}, "dying"))
    known = {SERVICE_ACCOUNT_TOKEN: str(tokens.file)}
    done = cli("run", path, "--catalog", asking, "--jobs", "1", "--no-mlflow", environ=known)
    assert done.status == 2, done.out + done.err
    run = cli.run_directory()
    for slug in ("000-dying", "001-dying-last"):
        assert "and with ***" in (run / "benchmarks" / slug / "log.txt").read_text()
        results = json.loads((run / "benchmarks" / slug / "results.json").read_text())
        assert results["status"] == "failed"
    assert files_with_a_token(run, [*tokens.made, "eyJ.another.token"]) == []


def test_the_options_say_the_same_and_the_secret_gives_the_rest(
    cli: Any, asking: Path, model: tuple[DemoModelServer, RotatingTokens], write: Any
) -> None:
    server, tokens = model
    write("secrets/hub/hf-token", "hf_0123456789")
    environ = {SERVICE_ACCOUNT_TOKEN: str(tokens.file), "EVALHUB_SECRETS": str(cli.folder / "secrets")}
    endpoint = ("--model-url", server.base_url, "--model-name", "demo-model", "--model-secret", "hub")
    path = asking / "collections" / "plain.yaml"
    done = cli(
        *("run", path, "--catalog", asking, *endpoint, "--model-service-account", "--no-mlflow"), environ=environ
    )
    assert done.status == 0, done.err
    record = json.loads((cli.run_directory() / "run.json").read_text())
    assert (record["model_secret"], record["model_service_account"]) == ("hub", True)


@pytest.mark.parametrize(
    ("token", "key", "words"),
    [
        (None, None, ["token: the token of the service account cannot be read (No such file", SERVICE_ACCOUNT_TOKEN]),
        ("\n", None, ["the token of the service account is empty", "kubectl create token"]),
        ("to\nken", None, ["token: must be one line of printable ASCII"]),
        ("good.token", "sk-key-of-a-secret", ["has an api-key", "leave one of them out", "service_account"]),
    ],
    ids=["no file", "nothing in it", "two lines", "a key as well"],
)
def test_what_cannot_be_sent_is_said_before_anything_runs(
    cli: Any,
    asking: Path,
    model: tuple[DemoModelServer, RotatingTokens],
    write: Any,
    token: str | None,
    key: str | None,
    words: list[str],
) -> None:
    auth: dict[str, Any] = {"service_account": True}
    if key:
        write("secrets/team/api-key", key)
        auth["secret_ref"] = "team"
    if token is not None:
        write("token", token)
    path = write("eval.yaml", evaluation(model[0], auth))
    environ = {SERVICE_ACCOUNT_TOKEN: str(cli.folder / "token"), "EVALHUB_SECRETS": str(cli.folder / "secrets")}
    done = cli("run", path, "--catalog", asking, "--no-mlflow", environ=environ)
    assert done.status == 2
    assert not [word for word in words if word not in done.err], done.err
    assert not [secret for secret in ("good.token", "sk-key") if secret in done.err]
    assert cli.run_directories() == []


# ---- in a pipeline


@contextmanager
def behind_tls(folder: Path, server: DemoModelServer) -> Iterator[str]:
    """Have the server speak TLS, with a certificate of the CA in `folder / "ca.crt"`; yield its address."""
    folder.mkdir()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write_certificates(folder))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    yield server.base_url.replace("http://", "https://")


def interpreter(asking: Path, tmp_path: Path, **environ: str) -> Interpreter:
    path = tmp_path / "both.yaml"
    path.write_text(compiler.compile_plan(of("both", Catalog.of(asking)).plan))
    provider = str(asking / "providers" / "asking")
    images = {
        compiler.COMPONENTS_IMAGE: (sys.executable, environ),
        "example.org/asking:1": (sys.executable, {**environ, "EVALHUB_PROVIDER_DIR": provider}),
    }
    return Interpreter(path, tmp_path / "work", images, {"ca": tmp_path / "ca"})


def test_a_pipeline_asks_model_and_judge_with_the_token_of_its_pods(
    asking: Path, model: tuple[DemoModelServer, RotatingTokens], tmp_path: Path
) -> None:
    server, tokens = model
    run = interpreter(asking, tmp_path, **{SERVICE_ACCOUNT_TOKEN: str(tokens.file)})
    with behind_tls(tmp_path / "tls", server) as url:
        (tmp_path / "ca").mkdir()
        (tmp_path / "ca" / "ca-bundle.crt").write_bytes((tmp_path / "tls" / "ca.crt").read_bytes())
        succeeded = run.run(
            **{"model_url": url, "model_name": "demo-model", "model_auth": "service-account"},
            **{"judge_url": url, "judge_name": "demo-model", "judge_auth": "service-account"},
            ca_config_map="ca",
        )
    assert succeeded, run.finished[-1].stderr
    verdict = json.loads(run["aggregate"].outputs["verdict"].read_bytes())
    assert [test["score"] for test in verdict["benchmarks"]] == [1.0, 1.0]
    assert len(tokens.made) > 5
    blobs = [blob.read_bytes() for blob in (run["aggregate"].outputs["evidence"] / "blobs" / "sha256").iterdir()]
    record = json.loads(next(blob for blob in blobs if b'"model_service_account"' in blob))
    # aggregate, which is told nothing of it, must not say that it was otherwise
    assert (record["model_service_account"], record["judge"]["service_account"]) == (None, None)
    assert files_with_a_token(tmp_path / "work", tokens.made) == []
    said = "".join(" ".join(task.argv) + task.stderr for task in run.finished)
    assert not [token for token in tokens.made if token in said]


def test_the_same_pipeline_asks_with_the_secrets_key_unless_it_is_told_otherwise(
    asking: Path, model: tuple[DemoModelServer, RotatingTokens], tmp_path: Path
) -> None:
    server, tokens = model
    run = interpreter(asking, tmp_path, **{SERVICE_ACCOUNT_TOKEN: str(tokens.file)})
    named = {"model_url": server.base_url, "model_name": "demo-model"}
    judge = {"judge_url": server.base_url, "judge_name": "demo-model"}
    assert not run.run(**named, **judge)
    assert (
        "(sent no key: set model.auth.secret_ref, or for KServe model.auth.service_account)" in run.finished[0].stderr
    )


def test_another_word_in_the_form_ends_the_run_before_the_benchmarks(
    asking: Path, model: tuple[DemoModelServer, RotatingTokens], tmp_path: Path
) -> None:
    run = interpreter(asking, tmp_path)
    named = {"model_url": model[0].base_url, "model_name": "demo-model"}
    judge = {"judge_url": model[0].base_url, "judge_name": "demo-model"}
    assert not run.run(**named, **judge, model_auth="sk-a-key-in-the-wrong-field")
    assert "model_auth: must be secret or service-account" in run.finished[0].stderr
    assert "sk-a-key" not in run.finished[0].stderr
    assert [task.name for task in run.finished] == ["fingerprint"]
