"""Every step started as a cluster starts it: with the executor input of its task, and the paths that follow from it."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp_launcher
import pytest
from executors import Mount, Pod, Processes, outside
from google.protobuf import json_format
from kfp.dsl.base_component import BaseComponent
from stub_http import served
from test_images import FOREIGN
from test_test_data_git import GitRequest, GitServer, Repository

from evalhub_components.aggregate.component import aggregate
from evalhub_components.benchmark.component import benchmark
from evalhub_components.collect.component import collect
from evalhub_components.fingerprint.component import fingerprint
from evalhub_components.gate.component import gate
from evalhub_components.schema.collection import BenchmarkConfig, Collection
from evalhub_components.schema.plan import EvaluationPlan
from evalhub_components.schema.provider import Benchmark, PrimaryScore, Provider
from evalhub_components.test_data.component import test_data as data_component
from evalhub_components.test_data.names import MANIFEST
from evalhub_pipelines import resolution
from evalhub_pipelines.demo_model import DemoModelServer

ADAPTER = """\
from evalhub_components.adapter import EvaluationResult, FrameworkAdapter, JobResults


class Small(FrameworkAdapter):
    def run_benchmark_job(self, config, callbacks):
        assert config.id and "{" not in config.id
        return JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=[EvaluationResult("acc", float((config.test_data / "score.txt").read_text()))],
            num_examples_evaluated=4,
        )
"""


@dataclass(frozen=True)
class Style:
    """A cluster's way to describe a task.

    Attributes:
        root: of the pipeline, in the object store.
        custom: artifacts are elsewhere than their addresses say.
        legacy: as before 2.15, without names of artifacts, and with one place for every executor output.
    """

    root: str
    custom: bool = False
    legacy: bool = False


STYLES = {
    "minio": Style("minio://mlpipeline/v2/artifacts"),
    "s3": Style("s3://a-bucket/some/folder"),
    "gs": Style("gs://a-bucket"),
    "custom path": Style("minio://mlpipeline/v2/artifacts", custom=True),
    "before 2.15": Style("minio://mlpipeline/v2/artifacts", legacy=True),
}


@dataclass(frozen=True)
class Launched:
    """A step that ran.

    Attributes:
        given: its executor input.
        file: where the launcher looks for its executor output.
        paths: of its outputs on this machine, by port.
    """

    given: dict[str, Any]
    returncode: int
    stderr: str
    file: Path
    paths: dict[str, Path]

    @property
    def artifacts(self) -> dict[str, dict[str, Any]]:
        return kfp_launcher.listed(self.given["outputs"])


@dataclass(frozen=True)
class Cluster:
    """Starts steps as processes; the root of its pods is `folder`."""

    folder: Path
    style: Style

    def launch(
        self,
        component: BaseComponent,
        parameters: Mapping[str, Any],
        artifacts: Mapping[str, dict[str, Any]] | None = None,
        **environ: str,
    ) -> Launched:
        """Run a step with those of `parameters` that it has."""
        spec = json_format.MessageToDict(component.pipeline_spec)
        (label, executor), *more = spec["deploymentSpec"]["executors"].items()
        (made,) = [found for found in spec["components"].values() if found.get("executorLabel") == label]
        assert not more
        ports = made.get("inputDefinitions", {}).get("parameters", {})
        given = kfp_launcher.executor_input(
            made.get("outputDefinitions", {}),
            f"{self.style.root}/a-pipeline/{uuid.uuid4()}/a provider / {label}/{uuid.uuid4()}",
            {name: parameters.get(name, "") for name in ports},
            artifacts or {},
        )
        self._restyle(given["outputs"])
        mounts = {place: Mount(self.folder / place[1:], True) for place in ("/minio", "/s3", "/gcs", "/custom")}
        mounts["/tmp"] = Mount(self.folder / "tmp" / str(uuid.uuid4()), True)  # the rest of a pod is its own
        named = {port: kfp_launcher.local(found) for port, found in kfp_launcher.listed(given["outputs"]).items()}
        named |= {port: found["outputFile"] for port, found in given["outputs"]["parameters"].items()}
        paths = {port: outside(path, mounts) for port, path in named.items()}
        for path in paths.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        processes = Processes({"an-image": (sys.executable, {})})

        def seen(path: str) -> str:
            return processes.path(path, mounts)

        container = executor["container"]
        argv = kfp_launcher.resolved([*container["command"], *container["args"]], given, seen)
        ended = processes.run(Pod("an-image", argv, dict(environ), mounts, None, self.folder))
        file = outside(given["outputs"]["outputFile"], mounts)
        return Launched(given, ended.returncode, ended.stderr, file, paths)

    def _restyle(self, outputs: dict[str, Any]) -> None:
        if self.style.legacy:
            outputs["outputFile"] = "/tmp/kfp_outputs/output_metadata.json"
        for port, artifact in kfp_launcher.listed(outputs).items():
            if self.style.legacy:
                del artifact["name"]
            if self.style.custom:
                artifact["customPath"] = f"/custom/{uuid.uuid4()}/{port}"


@pytest.fixture(scope="module")
def plan() -> EvaluationPlan:
    score = PrimaryScore(metric="acc")
    provider = Provider(id="small", benchmarks=[Benchmark(id=name, primary_score=score) for name in ("a", "b", "c")])
    entries = [BenchmarkConfig(id=name, provider_id="small") for name in ("a", "b", "c")]
    return resolution.resolve(Collection(id="three", benchmarks=entries), {"small": provider})


@pytest.fixture(scope="module", params=STYLES.values(), ids=STYLES)
def steps(
    request: pytest.FixtureRequest,
    plan: EvaluationPlan,
    model: DemoModelServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Launched]:
    """Every step once, each with what those before it left: two benchmarks in a pod, and one through the bridge."""
    folder = tmp_path_factory.mktemp("cluster")
    cluster = Cluster(folder / "pod", request.param)
    cluster.folder.mkdir()
    for name, text in (("adapter.py", ADAPTER), ("main.py", FOREIGN)):
        (folder / name).write_text(text)
    (folder / "served").mkdir()
    Repository(folder / "served" / "data.git").commit({"score.txt": b"0.75"})
    # numbers are floats in the backend
    given = {"model_url": model.base_url, "model_name": "demo-model", "num_examples": 0.0, "run_id": str(uuid.uuid4())}

    def task(*positions: int) -> str:
        return json.dumps([plan.tasks[position].as_argument() for position in positions])

    made = {"fingerprint": cluster.launch(fingerprint("an-image"), given)}
    given["fingerprint"] = made["fingerprint"].paths["digest"].read_text()
    with served(GitServer(folder / "served"), GitRequest) as server:
        ref = {"git": {"url": f"{server.address}/open/data.git", "ref": "main"}}
        made["test_data"] = cluster.launch(
            data_component("an-image"), {"ref": json.dumps(ref)}, EVALHUB_ALLOW_PRIVATE_HOSTS="127.0.0.1"
        )
    made["benchmark"] = cluster.launch(
        benchmark("an-image", test_data=""),
        {**given, "task": task(0, 1)},
        {"test_data": made["test_data"].artifacts["test_data"]},
        EVALHUB_PROVIDER_DIR=str(folder),
    )
    made["bridge"] = cluster.launch(
        benchmark("an-image", entrypoint=[sys.executable, str(folder / "main.py")]), {**given, "task": task(2)}
    )
    results = [made[name].artifacts["results"] for name in ("benchmark", "bridge")]
    made["collect"] = cluster.launch(
        collect("an-image", 2), {}, {f"results_{position}": artifact for position, artifact in enumerate(results)}
    )
    made["aggregate"] = cluster.launch(
        aggregate("an-image", 1),
        {**given, "header": json.dumps(plan.header.as_json())},
        {
            "fingerprint": made["fingerprint"].artifacts["fingerprint"],
            "results_0": made["collect"].artifacts["results"],
        },
    )
    made["gate"] = cluster.launch(gate("an-image"), {}, {"verdict": made["aggregate"].artifacts["verdict"]})
    return made


def test_every_step_ends_well_and_the_gate_follows_the_verdict(steps: dict[str, Launched]) -> None:
    for name, step in steps.items():
        assert step.returncode == 0, f"{name}: {step.stderr}"
    verdict = json.loads(steps["aggregate"].paths["verdict"].read_text())
    assert (verdict["verdict"], verdict["score"]) == ("pass", pytest.approx((0.75 + 0.75 + 0.5) / 3))


def test_outputs_are_where_the_launcher_uploads_them_from(steps: dict[str, Launched]) -> None:
    folders = {"test_data": "score.txt", "results": "", "evidence": "index.json"}
    for step in steps.values():
        for port, path in step.paths.items():
            if port == "metrics":
                assert not path.exists()  # KFP wants its metadata alone
            elif port in folders:
                assert (path / folders[port]).exists()
            else:
                assert path.is_file()
    assert sorted(path.name for path in steps["collect"].paths["results"].iterdir()) == ["000-a", "001-b", "002-c"]
    manifest = json.loads((steps["test_data"].paths["test_data"] / MANIFEST).read_text())
    # a parameter is the whole file: a line break would be part of it
    assert steps["test_data"].paths["digest"].read_text() == manifest["digest"]


def test_the_executor_output_is_where_and_what_the_launcher_reads(steps: dict[str, Launched]) -> None:
    expected = {
        "test_data": {"test_data": {"files": 1.0, "bytes": 4.0}},
        "benchmark": {"metrics": {"a/acc": 0.75, "b/acc": 0.75}},
        "bridge": {"metrics": {"acc": 0.5}},
    }
    for name in ("test_data", "benchmark", "bridge", "aggregate"):
        step = steps[name]
        assert step.file.is_file(), name
        said = kfp_launcher.executor_output(step.file)
        for port, artifact in said.items():
            assert artifact["uri"] == step.artifacts[port]["uri"]
            assert artifact.get("name") == step.artifacts[port].get("name")
        for port, metadata in expected.get(name, {}).items():
            assert said[port]["metadata"] == metadata
    shown = kfp_launcher.executor_output(steps["aggregate"].file)["metrics"]["metadata"]
    assert shown["gate/pass"] == 1.0
    assert {type(value) for value in shown.values()} == {float}
