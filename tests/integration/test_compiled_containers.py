"""Compiled pipelines, executed in containers of the project's own images, as a user that no image knows."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from container_engine import Engine, base_image, built_images, engine, missing
from executors import Containers
from pipeline_interpreter import Interpreter
from registries import RunningRegistry, plain_registry
from test_images import mlflow_server

from evalhub_components.evidence.signing import keys
from evalhub_components.schema.verdict import Verdict
from evalhub_pipelines import compiler
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.demo_model import DemoModelServer, DemoModelSettings, running
from evalhub_pipelines.evaluation import of

__all__ = ["base_image", "built_images", "engine", "plain_registry"]  # fixtures

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of mlflow

COMMAND = Path(sys.executable).with_name("evalhub-kfp")
QUICKSTART = Path(__file__).resolve().parents[2] / "compiled" / "quickstart-v1.yaml"
SOMEBODY = random.SystemRandom().randrange(10_000, 1_000_000_000)
KEY = "sk-91c7-never-to-be-seen"
PATIENCE = 120  # seconds until a command that should end does not

ADAPTER = """\
import os
import signal
import time

from evalhub_components.adapter import EvaluationResult, FrameworkAdapter, JobResults


def fill(folder):
    with open(folder / "full.bin", "wb", buffering=0) as file:
        while True:
            file.write(b"x" * (1 << 20))


class Faulty(FrameworkAdapter):
    def run_benchmark_job(self, config, callbacks):
        fault = config.benchmark_id
        if fault == "crashes":
            os._exit(3)
        if fault == "hangs":
            time.sleep(3600)
        if fault == "is_killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "grows":
            # to between 95 % of the limit and the limit, where the kernel has no reason to act
            hoard = [b"x" * (1 << 20) for _ in range(225)]
            time.sleep(3600)
        if fault == "bursts":
            hoard = b"x" * (1 << 30)
        if fault == "fills_its_workspace":
            fill(config.work_dir)
        if fault == "fills_its_results":
            try:
                fill(config.raw_dir)
            except OSError:
                pass  # as a framework that does not look whether its files could be written
        return JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=[EvaluationResult("acc", 0.75)],
            num_examples_evaluated=4,
        )
"""

FAULTS = {
    "crashes": "exited with status 3",
    "hangs": "timed out after",
    "is_killed": "ended by SIGKILL",
    "grows": "out of memory",
    "bursts": "out of memory",
    "fills_its_workspace": "No space left on device",
    "fills_its_results": "the disk is full",
}
"""What the benchmarks of that name do, and what is to be said of them."""


def verdict_of(run: Interpreter) -> Verdict:
    return Verdict.model_validate_json(run["aggregate"].outputs["verdict"].read_bytes())


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as uri:
        yield uri


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, Path]:
    """The secrets of a namespace: the model's key, and a pair of keys that signs."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "api-key").write_text(KEY)
    keys.generate(tmp_path / "signer")
    return {"model": tmp_path / "model", "signer": tmp_path / "signer"}


def quickstart(
    executor: Containers,
    registry: RunningRegistry,
    tracking: str,
    secrets: Mapping[str, Path],
    work: Path,
    skill: float,
) -> tuple[Interpreter, bool]:
    """Run the committed file of the quickstart; returns the run and whether every task succeeded."""
    run = Interpreter(QUICKSTART, work, executor, secrets)
    with running(DemoModelSettings(skill=skill, api_key=KEY)) as server:
        succeeded = run.run(
            model_url=server.base_url,
            model_name="demo-model",
            model_secret="model",
            mlflow_uri=tracking,
            experiment_name=run.run_id,
            oci_host=registry.address,
            oci_repository="team/evidence",
            oci_tag="latest-quickstart",
            signing_secret="signer",
        )
    return run, succeeded


@pytest.mark.parametrize(("skill", "verdict"), [(0.9, "pass"), (0.4, "fail")])
def test_the_quickstart_runs_as_compiled_and_its_evidence_is_pushed_signed_and_tracked(
    engine: Engine,
    built_images: Mapping[str, str],
    plain_registry: RunningRegistry,
    tracking: str,
    secrets: dict[str, Path],
    tmp_path: Path,
    skill: float,
    verdict: str,
) -> None:
    provider = Catalog.of().provider("lm_evaluation_harness").runtime.k8s
    assert provider is not None
    images = {
        compiler.COMPONENTS_IMAGE: built_images["components"],
        str(provider.image): built_images["lm_evaluation_harness"],
    }
    run = Interpreter(QUICKSTART, tmp_path / "work", Containers(engine, images, SOMEBODY), secrets)
    with running(DemoModelSettings(skill=skill, api_key=KEY)) as server:
        succeeded = run.run(
            model_url=server.base_url,
            model_name="demo-model",
            model_secret="model",
            mlflow_uri=tracking,
            experiment_name=run.run_id,
            oci_host=plain_registry.address,
            oci_repository="team/evidence",
            oci_tag="latest-quickstart",
            signing_secret="signer",
        )
    said = "\n".join(f"{task.name}: {task.returncode}\n{task.stderr[-2000:]}" for task in run.finished)
    assert run.finished[-1].name == "gate", said
    assert (succeeded, run["gate"].returncode) == ((True, 0) if verdict == "pass" else (False, 1)), said
    judged = verdict_of(run)
    assert (judged.verdict, len(judged.benchmarks)) == (verdict, 6)
    assert {benchmark.status for benchmark in judged.benchmarks} == {"completed"}

    # anybody finds the evidence by the id of the run, and checks it without this machine's files
    reference = f"{plain_registry.address}/team/evidence:run-{run.run_id}"
    key = tmp_path / "signer" / "public.key"
    checked = subprocess.run(
        [COMMAND, "verify", reference, "--key", key, "--require-pass"], capture_output=True, text=True, timeout=PATIENCE
    )
    assert checked.returncode == (0 if verdict == "pass" else 1), checked.stdout + checked.stderr
    signed = subprocess.run([COMMAND, "verify", reference, "--key", key], capture_output=True, text=True)
    assert signed.returncode == 0, signed.stdout + signed.stderr
    with urllib.request.urlopen(f"{plain_registry.address}/v2/team/evidence/tags/list", timeout=PATIENCE) as answer:
        tags = set(json.load(answer)["tags"])
    assert {f"run-{run.run_id}", "latest-quickstart"} <= tags
    assert {tag.rpartition(".")[2] for tag in tags if tag.startswith("sha256-")} >= {"sig", "att"}

    assert f"{verdict}ed" in run["aggregate"].outputs["report_text"].read_text().lower()
    shown = run["aggregate"].metadata["metrics"]
    assert shown["name"] == "metrics"
    assert shown["metadata"]["gate/score"] == judged.score
    assert shown["metadata"]["gate/pass"] == float(verdict == "pass")
    tracked = tracked_run(tracking, run.run_id)
    assert tracked["evalhub.verdict"] == verdict
    assert tracked["evalhub.run_id"] == run.run_id
    # the steps' words, the object store and the registry
    for task in run.finished:
        assert KEY not in task.stderr + json.dumps([task.argv, task.environ])
    for folder in (tmp_path / "work" / "store", plain_registry.storage):
        assert not [path for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def tracked_run(uri: str, experiment: str) -> dict[str, str]:
    """Return the tags of the only evaluation in an experiment."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    (parent,) = client.search_runs([found.experiment_id], "tags.`evalhub.verdict` != ''")
    tags: dict[str, str] = parent.data.tags
    return tags


@pytest.fixture(scope="module")
def faulty_image(engine: Engine, built_images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A provider whose benchmarks go wrong, on the components image."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "adapter.py").write_text(ADAPTER)
    lines = [f"FROM {built_images['components']}", "COPY adapter.py /opt/evalhub/provider/adapter.py"]
    (folder / "Containerfile").write_text("\n".join(lines))
    engine("build", "--quiet", "--file", str(folder / "Containerfile"), "--tag", "local/faulty:1", str(folder))
    return "local/faulty:1"


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own at `folder`."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "evalhub-test", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        missing(f"a machine that lets root mount a small file system: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def faulty(folder: Path, entries: list[dict[str, Any]], memory: str) -> Path:
    """Return the compiled pipeline of a collection of the faulty provider."""
    names = [entry["id"] for entry in entries]
    provider = {
        "id": "faulty",
        "runtime": {"k8s": {"image": "example.org/faulty:1", "memory_limit": memory}},
        "benchmarks": [{"id": name, "primary_score": {"metric": "acc"}} for name in names],
    }
    collection = {"id": "c", "version": "1", "benchmarks": [{"provider_id": "faulty", **entry} for entry in entries]}
    for path, document in (("providers/faulty/provider.yaml", provider), ("collections/c.yaml", collection)):
        (folder / "catalog" / path).parent.mkdir(parents=True)
        (folder / "catalog" / path).write_text(yaml.safe_dump(document))
    (folder / "catalog" / "providers" / "faulty" / "adapter.py").write_text(ADAPTER)
    (folder / "c.yaml").write_text(compiler.compile_plan(of("c", Catalog.of(folder / "catalog")).plan))
    return folder / "c.yaml"


def executor(engine: Engine, components: str, faulty_image: str) -> Containers:
    images = {compiler.COMPONENTS_IMAGE: components, "example.org/faulty:1": faulty_image}
    return Containers(engine, images, SOMEBODY, tmp="32m")


@pytest.fixture(scope="module")
def faults(
    engine: Engine,
    built_images: Mapping[str, str],
    faulty_image: str,
    model: DemoModelServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Interpreter]:
    """A run in which everything goes wrong that can, and one benchmark well."""
    folder = tmp_path_factory.mktemp("faults")
    entries = [{"id": name, "timeout": 5 if name == "hangs" else 600} for name in (*FAULTS, "is_well")]
    path = faulty(folder, entries, "256Mi")
    with small_disk(folder / "work", "48m") as work:
        run = Interpreter(path, work, executor(engine, built_images["components"], faulty_image))
        run.run(model_url=model.base_url, model_name="demo-model")
        yield run


def test_whatever_happens_to_a_benchmark_the_run_is_judged_and_the_gate_is_red(faults: Interpreter) -> None:
    assert [(task.name, task.returncode, task.attempts) for task in faults.finished] == [
        ("fingerprint", 0, 1),
        *((f"faulty / {name}", 0, 1) for name in (*FAULTS, "is_well")),
        ("aggregate", 0, 1),
        ("gate", 2, 1),
    ]
    verdict = verdict_of(faults)
    assert verdict.verdict == "error"
    assert [benchmark.status for benchmark in verdict.benchmarks] == ["failed"] * len(FAULTS) + ["completed"]
    assert (faults["aggregate"].outputs["evidence"] / "index.json").is_file()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_benchmark_that_went_wrong_says_how(faults: Interpreter, fault: str) -> None:
    (found,) = [test for test in verdict_of(faults).benchmarks if test.benchmark_id == fault]
    assert FAULTS[fault] in found.reason
    assert fault in faults["aggregate"].outputs["report_text"].read_text()


def test_a_pod_without_the_memory_to_start_is_tried_again_and_then_stops_the_pipeline(
    engine: Engine, built_images: Mapping[str, str], faulty_image: str, model: DemoModelServer, tmp_path: Path
) -> None:
    path = faulty(tmp_path, [{"id": "is_well"}], "8Mi")
    run = Interpreter(path, tmp_path / "work", executor(engine, built_images["components"], faulty_image))
    assert not run.run(model_url=model.base_url, model_name="demo-model")
    last = run.finished[-1]
    assert (last.name, last.returncode, last.attempts, last.outputs) == ("faulty / is_well", 137, 3, {})
