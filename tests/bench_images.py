"""Figures of the images: time to build, size, and what a benchmark container's start costs beyond a bare Python.

`python tests/bench_images.py [COMMAND]` measures the images that this engine has (docker, podman, or the path of one);
without COMMAND an engine of the tests' own is started, and the images are built in it from nothing.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from bench_figures import figure, wall

from evalhub_components.schema.plan import BenchmarkTask
from evalhub_pipelines import containers, images, plan
from evalhub_pipelines.catalog import Catalog

sys.path.insert(0, str(Path(__file__).parent / "integration"))
from container_engine import made_base_image, running_engine

ADAPTER = """\
from evalhub_components.adapter import EvaluationResult, FrameworkAdapter, JobResults


class Trivial(FrameworkAdapter):
    def run_benchmark_job(self, config, callbacks):
        return JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=[EvaluationResult("acc", 0.75)],
            num_examples_evaluated=4,
        )
"""

NAMES = ("components", "lm_evaluation_harness", "deepeval")
"""Those that need no PyTorch, whose builds for the processor alone are in an index of its own."""

MEASURE = """\
import os, statistics, subprocess, sys

def cpu(argv):
    seconds = []
    for _ in range(5):
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, argv
        seconds.append(usage.ru_utime + usage.ru_stime)
    return statistics.median(seconds)

print(cpu(["python", "-m", "evalhub_components.benchmark", *sys.argv[1:]]) - cpu(["python", "-c", "pass"]))
"""


def main() -> None:
    """Print every figure, or why there is none."""
    try:
        with running_engine() as engine:
            os.environ |= engine.environ
            base = made_base_image(engine)
            seconds = wall(lambda: build(engine.command, base, "--no-cache"), times=1)
            figure("build of all images, packages downloaded anew", f"{seconds:.0f} s")
            built(engine.command)
    except (pytest.skip.Exception, pytest.fail.Exception) as error:
        print(f"images: not measured: needs {error}")


def build(engine: str, base_image: str, *options: str) -> None:
    """Build all images; what the engine says is of interest only when it fails."""
    command = [Path(sys.executable).with_name("evalhub-kfp"), "images", "build", "--engine", engine]
    command += ["--base-image", base_image, *(f"--option={option}" for option in ("--network=host", *options)), *NAMES]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-4000:])


def built(engine: str) -> None:
    """Print the figures of images that are there."""
    quickstart = plan("quickstart-v1")
    for image in images.of_checkout(names=NAMES):
        described = subprocess.run([engine, "image", "inspect", image.reference], capture_output=True, text=True)
        if described.returncode:
            sys.exit(f"{image.reference} is not here (make images)")
        figure(f"{image.name}, size", f"{json.loads(described.stdout)[0]['Size'] / 1e6:.0f} MB")
    for name in NAMES[1:]:
        task = quickstart.tasks[0].model_copy(update={"provider_id": name})
        seconds = start(engine, name, task)
        figure(f"{name}, start over a bare python -c pass", f"{seconds:.2f} s CPU", "at most 0.4")


def start(engine: str, name: str, task: BenchmarkTask) -> float:
    """Return what a benchmark that does nothing costs in the provider's image, in CPU seconds."""
    runtime = Catalog.of().provider(name).runtime.k8s
    assert runtime is not None
    with tempfile.TemporaryDirectory() as folder:
        given = containers.Given(Path(folder) / "task.json", Path(folder) / "results", test_data=Path(folder) / "data")
        assert given.test_data
        given.test_data.mkdir()
        (given.test_data / "adapter.py").write_text(ADAPTER)
        Path(folder).chmod(0o755)
        given.task.write_text(json.dumps([task.as_json()]))
        found = containers.container_of(name, runtime, engine, print)
        environ = {**found.environ, "EVALHUB_PROVIDER_DIR": containers.TEST_DATA}
        container = dataclasses.replace(found, command=("python", "-c", MEASURE), environ=environ)
        with containers.lent(container, [task], given) as lent:
            options = ["--model-url", "http://127.0.0.1:9/v1", "--model-name", "m"]
            argv = containers.argv(container, containers.new_name("bench"), [task], lent, options)
            # the lifeline stays open: nothing is sent through it
            with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                return float(process.stdout.read())


if __name__ == "__main__":
    if sys.argv[1:]:
        built(sys.argv[1])
    else:
        main()
