"""Providers made for EvalHub, with an image or a command of their own and no adapter of ours, run unmodified."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_interpreter import Interpreter

from evalhub_components.schema.verdict import Verdict
from evalhub_pipelines import compiler
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.demo_model import DemoModelSettings, running
from evalhub_pipelines.evaluation import of

# what EvalHub's own SDK does on the wire, in a few lines
ADAPTER = """\
import json, os, urllib.request

job = json.load(open(os.environ["EVALHUB_JOB_SPEC_PATH"]))
event = {
    "provider_id": job["provider_id"],
    "id": job["benchmark_id"],
    "benchmark_index": job["benchmark_index"],
    "status": "completed",
    "metrics": {"acc": job["parameters"].get("score", 0.75)},
}
if job["parameters"].get("silent"):
    raise SystemExit(0)
url = f"{job['callback_url']}/api/v1/evaluations/jobs/{job['id']}/events"
body = json.dumps({"benchmark_status_event": event}).encode()
urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}))
"""

PROVIDER = """\
id: foreign
name: Foreign
runtime:
  k8s:
    image: example.org/foreign:1
    entrypoint: [python3, main.py]
  local:
    command: python3 main.py
benchmarks:
  - {id: quiz, primary_score: {metric: acc}}
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    folder = tmp_path / "catalog"
    (folder / "providers" / "foreign").mkdir(parents=True)
    (folder / "collections").mkdir()
    (folder / "providers" / "foreign" / "provider.yaml").write_text(PROVIDER)
    (folder / "providers" / "foreign" / "main.py").write_text(ADAPTER)
    entries = [
        {"id": "quiz", "provider_id": "foreign"},
        {"id": "quiz", "provider_id": "foreign", "parameters": {"score": 0.5}},
        {"id": "quiz", "provider_id": "foreign", "weight": 0, "parameters": {"silent": True}},
    ]
    (folder / "collections" / "c.yaml").write_text(json.dumps({"id": "c", "version": "1", "benchmarks": entries}))
    return folder


def check(verdict: Verdict) -> None:
    assert verdict.verdict == "pass"
    assert verdict.score == pytest.approx(0.625)
    assert "reported no results" in verdict.benchmarks[2].reason


def test_a_local_command_runs_as_a_process(catalog: Path, tmp_path: Path) -> None:
    with running(DemoModelSettings()) as server:
        argv = ["run", "c", "--catalog", str(catalog), "--model-url", server.base_url, "--model-name", "demo-model"]
        done = subprocess.run(
            [Path(sys.executable).with_name("evalhub-kfp"), *argv, "--no-mlflow", "--format", "json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    check(Verdict.model_validate(json.loads(done.stdout)["verdict"]))


def test_an_entrypoint_runs_in_a_compiled_pipeline_whose_image_has_no_package_of_ours(
    catalog: Path, tmp_path: Path
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(compiler.compile_plan(of("c", Catalog.of(catalog)).plan))
    images = {
        compiler.COMPONENTS_IMAGE: (sys.executable, {}),
        "example.org/foreign:1": (sys.executable, {"PWD": str(catalog / "providers" / "foreign")}),
    }
    (tmp_path / "work").mkdir()
    run = Interpreter(path, tmp_path / "work", images)
    with running(DemoModelSettings()) as server:
        assert run.run(model_url=server.base_url, model_name="demo-model"), run.finished[-1].stderr
    check(Verdict.model_validate_json(run["aggregate"].outputs["verdict"].read_bytes()))
