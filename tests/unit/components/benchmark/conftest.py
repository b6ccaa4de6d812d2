"""The benchmark step, run as the process it is, with the small adapters of this folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ADAPTERS = Path(__file__).parent / "adapters"
PATIENCE = 120  # seconds; far beyond what anything here takes, for machines with better things to do


Tasks = list[dict[str, Any]] | str


@dataclass
class Outcome:
    """A benchmark step that ended."""

    folder: Path
    status: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    def entry(self, index: int) -> Path:
        [found] = self.folder.glob(f"{index:03d}-*")
        return found

    def results(self, index: int) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.entry(index) / "results.json").read_bytes())
        return document

    def reason(self, index: int) -> str:
        results = self.results(index)
        assert results["status"] == "failed"
        return str(results["reason"])


@dataclass
class Step:
    """A benchmark step to be run: its provider's folder, its secret, its results."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ("-m", "evalhub_components.benchmark")
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def adapter(self, name: str) -> Step:
        """Take the adapter of that name from this folder."""
        provider = self.folder / "provider"
        shutil.copytree(ADAPTERS, provider, ignore=shutil.ignore_patterns("__pycache__"))
        (provider / f"{name}.py").rename(provider / "adapter.py")
        return self

    def code(self, source: str) -> Step:
        """Take `source` as the adapter."""
        provider = self.folder / "provider"
        provider.mkdir()
        (provider / "adapter.py").write_text(source)
        return self

    def secret(self, **files: str) -> Step:
        """Give the model's secret these files."""
        folder = self.folder / "secret"
        folder.mkdir()
        for name, content in files.items():
            (folder / name.replace("_", "-")).write_text(content)
        self.environ["EVALHUB_MODEL_SECRET"] = str(folder)
        return self

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    def start(self, tasks: Tasks, *more: str, **options: Any) -> subprocess.Popen[str]:
        argv = [
            *(sys.executable, *self.command, "--task", tasks if isinstance(tasks, str) else json.dumps(tasks)),
            *("--model-url", "http://127.0.0.1:9/v1", "--model-name", "a-model", "--job-id", "ab" * 16),
            *("--results", str(self.results), *more),
        ]
        ours = ("EVALHUB_", "PYTHONUNBUFFERED")
        environ = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        self.scratch.mkdir(exist_ok=True)
        environ |= {"EVALHUB_PROVIDER_DIR": str(self.folder / "provider"), "TMPDIR": str(self.scratch), **self.environ}
        process = subprocess.Popen(
            argv,
            env=environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **{"stdin": subprocess.DEVNULL, **options},
        )
        self.started.append(process)
        return process

    def end(self, process: subprocess.Popen[str]) -> Outcome:
        stdout, stderr = process.communicate(timeout=PATIENCE)
        return Outcome(self.results, process.returncode, stdout, stderr)

    def run(self, tasks: Tasks, *more: str) -> Outcome:
        """Run the step and return what it left; it must have exited with 0."""
        outcome = self.end(self.start(tasks, *more))
        assert outcome.status == 0, outcome.stderr
        return outcome


@pytest.fixture
def step(tmp_path: Path) -> Iterator[Step]:
    found = Step(tmp_path)
    yield found
    _stop(found)


@pytest.fixture(scope="module")
def module_step(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Step]:
    """A step whose one run several tests read."""
    found = Step(tmp_path_factory.mktemp("step"))
    yield found
    _stop(found)


def _stop(step: Step) -> None:
    for process in step.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


MakeTask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def a_task() -> MakeTask:
    """Make a task whose parameters are the keyword arguments that are no field of a task."""

    def make(index: int, name: str = "a-benchmark", **given: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "index": index,
            "slug": f"{index:03d}-{name}",
            "provider_id": "a-provider",
            "benchmark_id": name,
            "primary_score": {"metric": "acc", "lower_is_better": False, "range": [0, 1], "range_overflow": "error"},
            "threshold": None,
            "weight": 1,
            "required": False,
            "num_few_shot": None,
            "num_examples": None,
            "dataset_size": None,
            "seed": 7,
            "timeout": PATIENCE,
            "max_error_rate": 0,
            "test_data_ref": None,
            "hardware": None,
        }
        own = {key: given.pop(key) for key in list(given) if key in fields}
        return {**fields, **own, "parameters": given}

    return make


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], Any]], Any]:
    """Wait for a condition, and return what it became."""

    def wait(condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < deadline, "it never became true"
            time.sleep(0.02)
        return found

    return wait


@pytest.fixture(scope="session")
def is_alive() -> Callable[[int], bool]:
    """Tell whether a process runs; one that nobody waited for does not."""

    def alive(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        stat = Path(f"/proc/{pid}/stat")
        try:
            return not stat.is_file() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    return alive
