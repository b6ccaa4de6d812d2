"""A catalogue of providers that do as they are told, a demo model, and the command line in a clean environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from evalhub_pipelines.demo_model import DemoModelServer, DemoModelSettings, running

COMMAND = Path(sys.executable).with_name("evalhub-kfp")
PATIENCE = 120  # seconds until something that must happen counts as not happening

ADAPTER = '''\
"""Does what its parameters say."""

import json
import os
import signal
import time
from pathlib import Path

from evalhub_components.adapter import EvaluationResult, FrameworkAdapter, JobResults, JobStatusUpdate
from evalhub_components.schema.results import Sample


class Obedient(FrameworkAdapter):
    def run_benchmark_job(self, config, callbacks):
        say = config.parameters.get
        if say("starts"):
            with open(say("starts"), "a") as file:
                file.write(f"{config.benchmark_id} {os.getpid()} {os.getppid()}\\n")
        callbacks.report_status(JobStatusUpdate(phase="running_evaluation", completed_steps=1, total_steps=2))
        if say("wait_for"):
            while not Path(say("wait_for")).exists():
                time.sleep(0.02)
        if say("raise") and not (say("unless") and Path(say("unless")).exists()):
            raise ValueError(say("raise"))
        if say("after"):  # the slug of another benchmark, whose results the harness is to have kept
            while not (config.raw_dir.parent.parent / say("after") / "results.json").exists():
                time.sleep(0.02)
        if say("kill_harness") and not (say("unless") and Path(say("unless")).exists()):
            if say("unless"):
                Path(say("unless")).touch()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)
        if say("sleep"):
            time.sleep(say("sleep"))
        if say("kill"):
            os.kill(os.getpid(), say("kill"))
        if say("exit") is not None:
            os._exit(say("exit"))
        if say("tell_key"):
            key = config.credentials.api_key
            print("the key is", key)
            (config.raw_dir / "said.txt").write_text(f"Bearer {key}")
            (config.raw_dir / "environ.json").write_text(json.dumps(sorted(os.environ)))
        score = {"nan": float("nan")}.get(say("score", 0.75), say("score", 0.75))
        size = say("size", 4)
        return JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=[EvaluationResult(say("metric", "acc"), score)],
            num_examples_evaluated=size - say("errors", 0),
            num_examples_requested=size,
            num_errors=say("errors", 0),
            samples=[Sample(id=str(n), score=float(n < 3)) for n in range(4)] if score == 0.75 else None,
            environment={"framework": {"name": "obedient", "version": "1", "key": config.credentials.api_key}},
        )
'''


class Done(NamedTuple):
    """A command that ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Cli:
    """The command line, run in `folder` with the variables in `environ` and nothing of the developer's settings."""

    folder: Path
    catalog: Path
    environ: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __call__(self, *arguments: object, environ: Mapping[str, str] | None = None) -> Done:
        done = self.ended(self.start(*arguments, environ=environ))
        assert "Traceback" not in done.err, done.err
        return done

    def start(
        self, *arguments: object, environ: Mapping[str, str] | None = None, **popen: Any
    ) -> subprocess.Popen[str]:
        """Start the command in a session of its own, so that a signal to its group is what a terminal sends."""
        process = subprocess.Popen(
            [str(COMMAND), *map(str, arguments)],
            cwd=self.folder,
            env={**self.environ, **(environ or {})},
            text=True,
            start_new_session=True,
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "preexec_fn": _listen_to_ctrl_c,
                **popen,
            },
        )
        self.started.append(process)
        return process

    def ended(self, process: subprocess.Popen[str]) -> Done:
        out, err = process.communicate(timeout=PATIENCE)
        return Done(process.returncode, out, err)

    def run(self, source: object, model: DemoModelServer, *arguments: object, **keywords: Any) -> Done:
        return self(*self.arguments(source, model), *arguments, **keywords)

    def arguments(self, source: object, model: DemoModelServer) -> list[object]:
        endpoint = ["--model-url", model.base_url, "--model-name", "demo-model"]
        return ["run", source, "--catalog", self.catalog, *endpoint, "--no-mlflow"]

    def resume(self, directory: Path, *arguments: object, **keywords: Any) -> Done:
        return self("run", "--resume", directory, "--catalog", self.catalog, "--no-mlflow", *arguments, **keywords)

    def run_directory(self) -> Path:
        """Return the only run directory."""
        (found,) = (self.folder / "runs").iterdir()
        return found

    def run_directories(self) -> list[Path]:
        """Return the run directories, the oldest first; the names of runs that began in one second do not tell."""
        found = (self.folder / "runs").iterdir() if (self.folder / "runs").exists() else []
        return sorted(found, key=lambda run: (run / "plan.json").stat().st_mtime_ns)


def _listen_to_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who starts the tests in the background has it ignored


@pytest.fixture(scope="session")
def model() -> Iterator[DemoModelServer]:
    """A demo model without secrets that knows everything."""
    with running(DemoModelSettings(skill=1)) as server:
        yield server


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue with the providers `obedient` and `other`, each with benchmarks `a` to `h` and the metric `acc`."""
    root = tmp_path_factory.mktemp("catalog")
    (root / "collections").mkdir()
    for name in ("obedient", "other"):
        folder = root / "providers" / name
        folder.mkdir(parents=True)
        (folder / "adapter.py").write_text(ADAPTER)
        benchmarks = [{"id": x, "primary_score": {"metric": "acc"}, "dataset_size": 4} for x in "abcdefgh"]
        provider = {"id": name, "description": f"the {name} provider", "benchmarks": benchmarks}
        (folder / "provider.yaml").write_text(yaml.safe_dump(provider))
    return root


@pytest.fixture
def cli(tmp_path: Path, catalog: Path) -> Iterator[Cli]:
    """The command line; what a test leaves running is ended."""
    environ = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    environ |= {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environ |= {"PYTHONWARNINGS": "ignore", "GIT_PYTHON_REFRESH": "quiet"}
    found = Cli(tmp_path, catalog, environ)
    yield found
    for process in found.started:
        process.kill()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()
        process.wait()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a document as YAML into the test's folder and returns its path."""

    def write(name: str, document: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False))
        return path

    return write


@pytest.fixture
def collection(write: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a collection of entries `(benchmark, parameters[, keys])` and returns its path."""

    def collection(*entries: tuple[Any, ...], **keys: Any) -> Path:
        benchmarks = []
        for name, parameters, *more in entries:
            provider, _, benchmark = name.rpartition("/")
            extra = more[0] if more else {}
            benchmarks.append(
                {
                    "id": benchmark,
                    "provider_id": provider or "obedient",
                    "parameters": {"starts": str(tmp_path / "starts"), **parameters},
                    **extra,
                }
            )
        return write("trial.yaml", {"pass_criteria": {"threshold": 0.5}, **keys, "benchmarks": benchmarks})

    return collection


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """A function that waits until its argument returns something true, and returns that."""

    def eventually(condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(0.02)
        raise AssertionError("it did not happen")

    return eventually


@pytest.fixture
def is_gone() -> Callable[[int], bool]:
    """A function that says whether a process has ended, reaped or not."""

    def is_gone(process: int) -> bool:
        try:
            return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    return is_gone


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def starts(tmp_path: Path) -> Callable[[], list[list[str]]]:
    """A function that returns a list `[benchmark, adapter's process, harness's process]` for every start so far."""
    return lambda: [line.split() for line in lines(tmp_path / "starts")]
