"""`environment.json` of every step: of one schema, the same wherever nothing differs, and without what is private."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

import evalhub_components
from evalhub_components import atomic, bridge, canonical, environment
from evalhub_components.test_data import tree
from evalhub_components.test_data.limits import Limits
from evalhub_components.test_data.manifest import Manifest
from evalhub_components.test_data.names import MANIFEST

SCHEMA = json.loads((Path(__file__).parent / "evidence" / "schemas" / "environment.json").read_text())
PATIENCE = 120  # seconds
OF_EVERY_STEP = {"schema_version", "hardware", "os", "python", "packages", "image"}
CAPTURED = OF_EVERY_STEP | {"package_version", "accelerators", "pod"}

ADAPTER = """
from evalhub_components.adapter import EvaluationResult, FrameworkAdapter, JobResults


class Adapter(FrameworkAdapter):
    def run_benchmark_job(self, config, callbacks):
        if config.parameters.get("fail"):
            raise RuntimeError("no GPU")
        return JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=[EvaluationResult("acc", 0.75)],
            num_examples_evaluated=4,
            data_digests={"data.jsonl": "sha256:" + "0" * 64},
            environment={"framework": {"name": "a-framework", "version": "1.2"}, "seeds": {"numpy": config.seed}},
        )
"""
BENCHMARK = ("-m", "evalhub_components.benchmark")
BRIDGE = ("-I", "-c", Path(bridge.__file__).read_text())
PRIVATE = {
    "HOME": "/home/private-home",
    "USER": "private-user",
    "LOGNAME": "private-logname",
    "HOSTNAME": "private-hostname",
    "AWS_SECRET_ACCESS_KEY": "private-key",
    "HTTPS_PROXY": "http://private-proxy:1",
    "OPENAI_API_KEY": "sk-private",
    "KFP_POD_NAME": "private-pod",
}
"""Variables of a pod or a laptop whose values are nobody's business."""


def problems(record: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(SCHEMA).iter_errors(record)]


def environ(**more: str) -> dict[str, str]:
    """Return the variables of a step of which a test names everything that could be seen in its record."""
    packages = Path(evalhub_components.__file__).parents[1]
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(packages), **more}


def run_step(
    folder: Path, command: Sequence[str], variables: dict[str, str], *more: str, entrypoint: Sequence[str] = ()
) -> dict[str, bytes]:
    """Run two benchmarks, of which the second fails, and return the record of each as it was written."""
    provider, results, scratch = folder / "provider", folder / "results", folder / "scratch"
    for path in (provider, scratch):
        path.mkdir(parents=True)
    (provider / "adapter.py").write_text(ADAPTER)
    tasks = [
        {
            "index": index,
            "slug": f"00{index}-{name}",
            "provider_id": "a-provider",
            "benchmark_id": name,
            "primary_score": {"metric": "acc"},
            "timeout": PATIENCE,
            "parameters": {"fail": True} if index else {},
        }
        for index, name in enumerate(("well", "ill"))
    ]
    subprocess.run(
        [
            *(sys.executable, *command, "--task", json.dumps(tasks), "--job-id", "ab" * 16, "--results", str(results)),
            *("--model-url", "http://127.0.0.1:9/v1", "--model-name", "a-model", *more),
            *(["--", *entrypoint] if entrypoint else []),
        ],
        env={**variables, "EVALHUB_PROVIDER_DIR": str(provider), "TMPDIR": str(scratch)},
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    return {path.parent.name[4:]: path.read_bytes() for path in results.glob("*/environment.json")}


def run_capture(folder: Path, variables: dict[str, str]) -> bytes:
    """Return the record of a step that runs no benchmark."""
    folder.mkdir(parents=True, exist_ok=True)
    code = "import sys; from evalhub_components import canonical, environment; "
    code += "sys.stdout.buffer.write(canonical.dumps(environment.capture()))"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=variables, cwd=folder, check=True, capture_output=True, timeout=PATIENCE).stdout


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The records of a benchmark step in a private environment, with test data and a secret."""
    folder = tmp_path_factory.mktemp("benchmark")
    for name, content in (("data/quiz.jsonl", "{}\n"), ("secret/api-key", "sk-of-the-model")):
        (folder / name).parent.mkdir()
        (folder / name).write_text(content)
    data = folder / "data"
    found = Manifest.of({"type": "pvc", "claim_name": "a"}, {}, tree.described(data, Limits.from_environment(), "data"))
    atomic.write_json(data / MANIFEST, found.as_json())
    variables = environ(
        **PRIVATE,
        EVALHUB_MODEL_SECRET=str(folder / "secret"),
        EVALHUB_IMAGE="registry.example/provider:1",
        EVALHUB_IMAGE_DIGEST="sha256:" + "ab" * 32,
    )
    return run_step(folder / "step", BENCHMARK, variables, "--test-data", str(data))


@pytest.fixture(scope="module")
def bridged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The records of a bridge whose adapter says nothing."""
    folder = tmp_path_factory.mktemp("bridge") / "step"
    return run_step(folder, BRIDGE, environ(**PRIVATE), entrypoint=[Path(sys.executable).name, "-c", "pass"])


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_what_is_captured_here_is_of_the_schema() -> None:
    record = environment.capture()
    assert record.keys() == CAPTURED
    assert problems(record) == []
    canonical.dumps(record)


def test_what_a_gpu_machine_in_a_pod_captures_is_of_the_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "bin" / "nvidia-smi"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 81559 MiB, 550.54, GPU-1'\n")
    command.chmod(0o755)
    (tmp_path / "podinfo").mkdir()
    (tmp_path / "podinfo" / "labels").write_text('app="evaluation"\n')
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("EVALHUB_PODINFO", str(tmp_path / "podinfo"))
    record = environment.capture()
    assert (len(record["accelerators"]), len(record["pod"])) == (1, 1)
    assert problems(record) == []


@pytest.mark.parametrize("name", ["well", "ill"])
def test_the_record_of_a_benchmark_is_of_the_schema(benchmarks: dict[str, bytes], name: str) -> None:
    record = json.loads(benchmarks[name])
    assert problems(record) == []
    own = {"seed", "data_digests"} | ({"framework", "seeds"} if name == "well" else set())
    assert record.keys() == CAPTURED | {"test_data", "mlflow_run_id"} | own
    assert benchmarks[name] == canonical.dumps(record)


@pytest.mark.parametrize("name", ["well", "ill"])
def test_the_record_of_a_bridged_benchmark_is_of_the_schema(bridged: dict[str, bytes], name: str) -> None:
    record = json.loads(bridged[name])
    assert problems(record) == []
    assert record.keys() == OF_EVERY_STEP | {"seed", "data_digests", "bridge"}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema_version",), 2),
        (("hardware", "cpus"), 0),
        (("hardware", "memory"), "16 GB"),
        (("hardware", "serial"), "1"),
        (("packages", "Some_Package"), "1"),
        (("packages", "thing"), "unknown"),
        (("image", "digest"), "latest"),
        (("pod",), "a-pod"),
        (("accelerators",), [{"name": "H100"}]),
        (("python", "version"), "three"),
        (("seed",), 1),
        (("bridge",), {"entrypoint": []}),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else None,
)
def test_the_schema_refuses_what_is_no_record(place: tuple[str, ...], value: Any) -> None:
    record = json.loads(canonical.dumps(environment.capture()))
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    assert problems(record)


@pytest.mark.parametrize("key", sorted(OF_EVERY_STEP))
def test_the_schema_asks_for_what_every_step_knows(key: str) -> None:
    assert problems({name: value for name, value in environment.capture().items() if name != key})


@pytest.mark.parametrize("step", ["benchmarks", "bridged"])
def test_no_variable_user_home_or_path_is_in_a_record(request: pytest.FixtureRequest, step: str) -> None:
    for content in request.getfixturevalue(step).values():
        text = content.decode()
        assert "private" not in text
        assert "sk-of-the-model" not in text
        for path in (sys.prefix, Path(evalhub_components.__file__).parents[2], Path.home(), "/tmp"):
            assert f'"{path}' not in text
        assert f'"{platform.node()}"' not in text


def test_no_variable_user_or_home_is_in_what_a_step_without_benchmarks_captures(tmp_path: Path) -> None:
    text = run_capture(tmp_path, environ(**PRIVATE)).decode()
    assert problems(json.loads(text)) == []
    assert "private" not in text
    assert str(tmp_path) not in text


def test_the_image_is_what_the_variables_for_it_say(benchmarks: dict[str, bytes]) -> None:
    image = json.loads(benchmarks["well"])["image"]
    assert image == {"reference": "registry.example/provider:1", "digest": "sha256:" + "ab" * 32}


def test_the_annotations_of_a_pod_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod's last applied configuration is one of them, with the values of its variables."""
    (tmp_path / "labels").write_text('app="evaluation"\n')
    (tmp_path / "annotations").write_text('last-applied="{env: [{name: KEY, value: private-key}]}"\n')
    monkeypatch.setenv("EVALHUB_PODINFO", str(tmp_path))
    assert environment.capture()["pod"] == {"labels": 'app="evaluation"\n'}


ELSEWHERE = [
    {"USER": "one", "HOME": "/home/one", "TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
    {"USER": "two", "HOME": "/home/two", "TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"},
]


def test_the_same_machine_is_captured_alike_wherever_and_by_whomever(tmp_path: Path) -> None:
    first, second = (
        run_capture(tmp_path / str(number), environ(**variables)) for number, variables in enumerate(ELSEWHERE)
    )
    assert first == second


@pytest.mark.parametrize("command", [BENCHMARK, BRIDGE], ids=["benchmark", "bridge"])
def test_the_same_benchmarks_leave_the_same_records(tmp_path: Path, command: tuple[str, ...]) -> None:
    entrypoint = [Path(sys.executable).name, "-c", "pass"] if command is BRIDGE else []
    first, second = (
        run_step(tmp_path / str(number), command, environ(**variables), entrypoint=entrypoint)
        for number, variables in enumerate(ELSEWHERE)
    )
    assert first.keys() == {"well", "ill"}
    assert first == second


def test_two_versions_in_one_folder_are_told_apart_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade that was interrupted leaves two, and a file system lists names in any order."""
    names = ["thing-1.0.dist-info", "thing-2.0.dist-info"]
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for order in (names, names[::-1]):
        monkeypatch.setattr(os, "listdir", lambda _, order=order: list(order))
        assert environment.installed_packages() == {"thing": "1.0"}
