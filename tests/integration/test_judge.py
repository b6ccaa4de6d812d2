"""A model that judges answers: asked by the benchmarks that need one, on this machine and in a pipeline."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from pipeline_interpreter import Interpreter

from evalhub_components.schema.plan import TaskRequest
from evalhub_pipelines import compiler
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.demo_model import DemoModelServer, DemoModelSettings, running
from evalhub_pipelines.evaluation import of

KEY = "sk-of-the-judge-77"
ADAPTER = '''\
"""Has the judge answer a question, and tells what it knows of it."""

import json
import os
import urllib.request

from evalhub_components.adapter import EvaluationResult, FrameworkAdapter, JobResults
from evalhub_components.framework.relay import Relay


class Judged(FrameworkAdapter):
    def run_benchmark_job(self, config, callbacks):
        with open(os.path.join(os.path.dirname(__file__), "starts"), "a") as file:
            file.write(config.benchmark_id + "\\n")
        score = 1.0
        if config.benchmark_id.startswith("judged"):
            with Relay.of_judge(config) as relay:
                question = {"role": "user", "content": "What is 2 + 3?"}
                body = json.dumps({"model": config.judge.endpoint.name, "messages": [question]}).encode()
                headers = {"Authorization": f"Bearer {relay.token}", "Content-Type": "application/json"}
                request = urllib.request.Request(relay.url + "/chat/completions", body, headers)
                with urllib.request.urlopen(request) as response:
                    score = float(json.load(response)["choices"][0]["message"]["content"] == "5")
            print("the judge's key is", config.judge.credentials.api_key)
        assert bool(config.judge) == config.benchmark_id.startswith("judged")
        return JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=[EvaluationResult("acc", score)],
            num_examples_evaluated=1,
        )
'''


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """A catalogue with a provider whose benchmark `judged` needs a judge, and whose benchmark `plain` needs none."""
    folder = tmp_path / "judged-catalog" / "providers" / "jury"
    folder.mkdir(parents=True)
    (folder / "adapter.py").write_text(ADAPTER)
    benchmarks: list[dict[str, Any]] = [
        {"id": "judged", "judge": True, "primary_score": {"metric": "acc"}},
        {"id": "plain", "primary_score": {"metric": "acc"}},
    ]
    image = {"k8s": {"image": "example.org/jury:1"}}
    provider = {"id": "jury", "runtime": image, "benchmarks": benchmarks}
    (folder / "provider.yaml").write_text(yaml.safe_dump(provider))
    (folder.parents[1] / "collections").mkdir()
    entries = [{"id": name, "provider_id": "jury"} for name in ("judged", "plain")]
    collection = {"id": "jury", "version": "1", "pass_criteria": {"threshold": 0.5}, "benchmarks": entries}
    collection["execution"] = {"batch": "none"}
    (folder.parents[1] / "collections" / "jury.yaml").write_text(yaml.safe_dump(collection))
    return folder.parents[1]


@contextmanager
def judge(skill: float = 1.0, port: int = 0) -> Iterator[DemoModelServer]:
    with running(DemoModelSettings(skill=skill, api_key=KEY, model_name="a-judge", port=port)) as server:
        yield server


def secrets(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "secrets" / "of-judge").mkdir(parents=True, exist_ok=True)
    (tmp_path / "secrets" / "of-judge" / "api-key").write_text(KEY)
    return {"EVALHUB_SECRETS": str(tmp_path / "secrets")}


def evaluation(model: DemoModelServer, url: str) -> dict[str, Any]:
    auth = {"secret_ref": "of-judge"}
    return {
        "model": {"url": model.base_url, "name": "demo-model"},
        "judge": {"url": url, "name": "a-judge", "auth": auth},
        "collection": "jury",
    }


def request(run: Path, slug: str) -> TaskRequest:
    return TaskRequest.model_validate_json((run / "benchmarks" / slug / "task.json").read_bytes())


def test_a_benchmark_asks_the_judge_and_no_other_knows_of_it(
    cli: Any, judged: Path, model: DemoModelServer, write: Any, tmp_path: Path
) -> None:
    with judge() as server:
        path = write("eval.yaml", evaluation(model, server.base_url))
        done = cli("run", path, "--catalog", judged, "--no-mlflow", environ=secrets(tmp_path))
    assert done.status == 0, done.err
    run = cli.run_directory()
    asked = request(run, "000-judged").judge
    assert asked is not None
    assert (asked.name, asked.url) == ("a-judge", server.base_url)
    assert (asked.fingerprint or "").startswith("sha256:")
    assert request(run, "001-plain").judge is None
    record = json.loads((run / "run.json").read_text())
    assert record["judge"] == {**asked.as_json(), "secret": "of-judge", "service_account": False}
    assert f"answers judged by `a-judge` at `{server.base_url}`" in (run / "report.md").read_text()
    assert "judge of answers" in (run / "report.html").read_text()
    kept = [file for file in run.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]
    assert kept == []
    assert "the judge's key is ***" in (run / "benchmarks" / "000-judged" / "log.txt").read_text()


def test_in_one_start_of_the_framework_too_only_who_needs_the_judge_gets_it(
    cli: Any, judged: Path, model: DemoModelServer, write: Any, tmp_path: Path
) -> None:
    path = judged / "collections" / "jury.yaml"
    document = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**document, "execution": {"batch": "provider"}}))
    with judge() as server:
        path = write("eval.yaml", evaluation(model, server.base_url))
        done = cli("run", path, "--catalog", judged, "--no-mlflow", environ=secrets(tmp_path))
    assert done.status == 0, done.out + done.err
    assert json.loads((cli.run_directory() / "verdict.json").read_text())["score"] == 1.0


def test_evidence_that_names_another_judge_than_the_run_is_no_evidence(
    cli: Any, judged: Path, model: DemoModelServer, write: Any, tmp_path: Path
) -> None:
    with judge() as server:
        path = write("eval.yaml", evaluation(model, server.base_url))
        assert cli("run", path, "--catalog", judged, "--no-mlflow", environ=secrets(tmp_path)).status == 0
    run = cli.run_directory()
    assert cli("verify", run).status == 0
    [config] = [
        blob
        for blob in (run / "evidence" / "blobs" / "sha256").iterdir()
        if b'"kind":"run"' in blob.read_bytes() and b'"judge"' in blob.read_bytes()
    ]
    said = json.loads(config.read_bytes())
    assert said["judge"] == {"url": server.base_url, "name": "a-judge", "fingerprint": said["judge"]["fingerprint"]}
    card = next(file for file in run.rglob("eval-card.json"))
    assert "of-judge" not in card.read_text()


def test_a_run_without_the_judge_it_needs_ends_before_it_begins(cli: Any, judged: Path, model: DemoModelServer) -> None:
    endpoint = ("--model-url", model.base_url, "--model-name", "demo-model")
    done = cli("run", "jury", "--catalog", judged, *endpoint, "--no-mlflow")
    assert done.status == 2
    assert "judged: needs a model that judges answers (set judge: {url, name} in eval.yaml, or --judge-url)" in done.err
    assert cli.run_directories() == []


def test_a_judge_that_nobody_asks_is_said(cli: Any, judged: Path, model: DemoModelServer) -> None:
    endpoint = ("--model-url", model.base_url, "--model-name", "demo-model")
    named = ("--judge-url", model.base_url, "--judge-name", "demo-model")
    done = cli("run", "--provider", "jury", "-b", "plain", "--catalog", judged, *endpoint, *named, "--no-mlflow")
    assert done.status == 0, done.err
    assert "no benchmark of this plan asks the judge" in done.err
    assert json.loads((cli.run_directory() / "run.json").read_text())["judge"] is None


def test_a_judge_that_refuses_the_key_ends_the_run_before_it_begins(
    cli: Any, judged: Path, model: DemoModelServer
) -> None:
    endpoint = ("--model-url", model.base_url, "--model-name", "demo-model")
    with judge() as server:
        named = ("--judge-url", server.base_url, "--judge-name", "a-judge")
        done = cli("run", "jury", "--catalog", judged, *endpoint, *named, "--no-mlflow")
    assert done.status == 2
    assert f"the judge: {server.base_url}: refuses access" in done.err
    assert "judge.auth.secret_ref" in done.err
    assert "model.auth" not in done.err
    assert cli.run_directories() == []


def test_a_judge_that_is_not_there_ends_the_run_before_it_begins(
    cli: Any, judged: Path, model: DemoModelServer
) -> None:
    endpoint = ("--model-url", model.base_url, "--model-name", "demo-model")
    named = ("--judge-url", "http://127.0.0.1:9/v1", "--judge-name", "a-judge")
    done = cli("run", "jury", "--catalog", judged, *endpoint, *named, "--no-mlflow")
    assert done.status == 2
    assert "the judge: http://127.0.0.1:9/v1: nothing listens there" in done.err
    assert "check host and port in judge.url" in done.err
    assert cli.run_directories() == []


def test_another_judge_judges_anew_and_what_needs_none_is_kept(
    cli: Any, judged: Path, model: DemoModelServer, write: Any, tmp_path: Path
) -> None:
    starts = judged / "providers" / "jury" / "starts"
    with judge() as server:
        path = write("eval.yaml", evaluation(model, server.base_url))
        assert cli("run", path, "--catalog", judged, "--no-mlflow", environ=secrets(tmp_path)).status == 0
        again = cli("run", "--resume", cli.run_directory(), "--catalog", judged, environ=secrets(tmp_path))
        assert again.status == 0, again.err
        assert sorted(starts.read_text().split()) == ["judged", "plain"]
    with judge(skill=0.0, port=server.port):
        again = cli("run", "--resume", cli.run_directory(), "--catalog", judged, environ=secrets(tmp_path))
    assert sorted(starts.read_text().split()) == ["judged", "judged", "plain"]
    assert again.status == 0, again.err  # one of two benchmarks is half the score, and half is enough
    verdict = json.loads((cli.run_directory() / "verdict.json").read_text())
    assert [test["score"] for test in verdict["benchmarks"]] == [0.0, 1.0]


def pipeline_of(judged: Path, folder: Path, kept: dict[str, Path]) -> Interpreter:
    """The compiled pipeline of the jury, ready to run; `kept` are the secrets that the namespace has."""
    path = folder / "jury.yaml"
    path.write_text(compiler.compile_plan(of("jury", Catalog.of(judged)).plan))
    images = {
        compiler.COMPONENTS_IMAGE: (sys.executable, {}),
        "example.org/jury:1": (sys.executable, {"EVALHUB_PROVIDER_DIR": str(judged / "providers" / "jury")}),
    }
    return Interpreter(path, folder / "work", images, kept)


def test_a_pipeline_asks_for_the_judge_and_hands_it_to_whoever_needs_it(
    judged: Path, model: DemoModelServer, tmp_path: Path
) -> None:
    secrets(tmp_path)
    run = pipeline_of(judged, tmp_path, {"of-judge": tmp_path / "secrets" / "of-judge"})
    with judge() as server:
        succeeded = run.run(
            model_url=model.base_url,
            model_name="demo-model",
            judge_url=server.base_url,
            judge_name="a-judge",
            judge_secret="of-judge",
        )
    assert succeeded, run.finished[-1].stderr
    assert "fingerprint of the judge" in [task.name for task in run.finished]
    verdict = json.loads(run["aggregate"].outputs["verdict"].read_bytes())
    assert [test["score"] for test in verdict["benchmarks"]] == [1.0, 1.0]
    assert f"answers judged by `a-judge` at `{server.base_url}`" in run["aggregate"].outputs["report_text"].read_text()


@pytest.mark.parametrize("key", [None, "another-key"], ids=["no-secret", "wrong-key"])
def test_a_pipeline_whose_judge_refuses_says_whose_key_it_was(
    judged: Path, model: DemoModelServer, tmp_path: Path, key: str | None
) -> None:
    secrets(tmp_path)
    folder = tmp_path / "secrets" / "of-judge"
    if key:
        (folder / "api-key").write_text(key)
    run = pipeline_of(judged, tmp_path, {"of-judge": folder} if key else {})
    with judge() as server:
        named = {"judge_url": server.base_url, "judge_name": "a-judge", **({"judge_secret": "of-judge"} if key else {})}
        assert not run.run(model_url=model.base_url, model_name="demo-model", **named)
    [said] = [task.stderr for task in run.finished if task.name == "fingerprint of the judge"]
    expected = "the key in judge.auth.secret_ref" if key else "no key: set judge.auth.secret_ref"
    assert f"refuses access, HTTP 401 (sent {expected}" in said
    assert "model.auth" not in said


def test_a_large_pipeline_hands_the_judge_into_its_groups(judged: Path) -> None:
    path = judged / "collections" / "jury.yaml"
    document = yaml.safe_load(path.read_text())
    document["benchmarks"] *= 20
    path.write_text(yaml.safe_dump(document))
    [spec, *_] = compiler.without_sdk_version(compiler.compile_plan(of("jury", Catalog.of(judged)).plan))
    groups = [component for name, component in spec["components"].items() if "dag" in component]
    assert len(groups) == 2
    assert all("judge_url" in group["inputDefinitions"]["parameters"] for group in groups)


def test_a_pipeline_without_judged_benchmarks_asks_for_none() -> None:
    [spec, *_] = compiler.without_sdk_version(compiler.compile_plan(of("quickstart-v1", Catalog.of()).plan))
    assert not [name for name in spec["root"]["inputDefinitions"]["parameters"] if "judge" in name]
