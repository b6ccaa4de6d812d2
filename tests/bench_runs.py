"""Figures of running: what starts cost, and what whole runs take beside a plain call of the framework."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

from bench_figures import cpu, figure, once, wall

from evalhub_components.schema.collection import BenchmarkConfig, Collection
from evalhub_pipelines import environments, resolution
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.demo_model import DemoModelSettings, running

COMMAND = str(Path(sys.executable).with_name("evalhub-kfp"))

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

PLAIN_LM_EVAL = """\
import pathlib, sys
import yaml
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

folder, url = pathlib.Path(sys.argv[1]), sys.argv[2]
tasks = []
for name in sys.argv[3:]:
    task = yaml.safe_load((folder / f"{name}.yaml").read_text())
    files = task["dataset_kwargs"]["data_files"]
    task["dataset_kwargs"]["data_files"] = {split: str(folder / file) for split, file in files.items()}
    tasks.append(task)
arguments = {"model": "demo-model", "base_url": url + "/completions", "num_concurrent": 8, "tokenized_requests": False}
simple_evaluate(
    model="local-completions", model_args=arguments, tasks=tasks, task_manager=TaskManager(include_defaults=False)
)
"""


def main() -> None:
    """Print every figure."""
    with tempfile.TemporaryDirectory() as folder:
        starts(Path(folder))
        whole_runs(Path(folder))
        quickstart(Path(folder))


def starts(folder: Path) -> None:
    """CPU seconds of starting the two processes users wait for most."""
    figure("evalhub-kfp --help", f"{cpu([COMMAND, '--help']):.2f} s CPU", "at most 0.3")
    provider = trivial_catalog(folder, 1) / "providers" / "trivial"
    plan = resolution.resolve(
        Collection(id="one", benchmarks=[BenchmarkConfig(id="b0", provider_id="trivial")]),
        {"trivial": Catalog.of(folder / "catalog-1").provider("trivial")},
    )
    task = folder / "task.json"
    task.write_text("[" + plan.tasks[0].model_dump_json() + "]")
    argv = [
        sys.executable,
        "-m",
        "evalhub_components.benchmark",
        "--task",
        f"@{task}",
        "--model-url",
        "http://localhost/v1",
    ]
    argv += ["--model-name", "m", "--results", str(folder / "results")]
    environ = os.environ | {"EVALHUB_PROVIDER_DIR": str(provider), "PYDANTIC_DISABLE_PLUGINS": "1"}
    figure("the benchmark step with a trivial adapter", f"{cpu(argv, environ):.2f} s CPU", "at most 0.35")


def whole_runs(folder: Path) -> None:
    """Wall seconds of whole runs of trivial benchmarks."""
    with running(DemoModelSettings()) as server:
        for count in (10, 50, 200):
            seconds = wall(lambda n=count: trivial_run(folder, n, server.base_url, "--no-mlflow"))
            goal = "at most 12 s" if count == 50 else ""
            figure(f"run of {count} trivial benchmarks, tracking off", f"{seconds:.2f} s", goal)
            figure("    a benchmark", f"{1000 * seconds / count:.0f} ms")
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        first = wall(lambda: trivial_run(folder, 1, server.base_url, "--mlflow-uri", uri), times=1)
        figure("first run with MLflow, which makes its database", f"{first:.2f} s")
        seconds = wall(lambda: trivial_run(folder, 50, server.base_url, "--mlflow-uri", uri))
        figure("run of 50 trivial benchmarks with MLflow", f"{seconds:.2f} s")


def quickstart(folder: Path) -> None:
    """Wall time of the quickstart collection against the same tasks in one plain call of lm-eval."""
    catalog = Catalog.of()
    provider = catalog.provider_directory("lm_evaluation_harness")
    python = environments.python_of(provider, lambda sentence: print(sentence, file=sys.stderr))
    tasks = [entry.id for entry in catalog.collection("quickstart-v1").benchmarks]
    script = folder / "plain.py"
    script.write_text(PLAIN_LM_EVAL)
    with running(DemoModelSettings()) as server:
        argv = [COMMAND, "run", "quickstart-v1", "--model-url", server.base_url, "--model-name", "demo-model"]
        argv += ["--no-mlflow", "--quiet", "--output", str(folder / "runs")]
        plain = [str(python), str(script), str(provider / "tasks"), server.base_url, *tasks]
        environ = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
        pairs = [(once(argv), once(plain, environ)) for _ in range(3)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    figure("quickstart-v1 through run", f"{ours:.2f} s")
    figure("the same tasks in one plain lm-eval call", f"{theirs:.2f} s")
    ratio = statistics.median(a / b for a, b in pairs)
    figure("    ratio", f"{ratio:.2f}", "at most 1.3")


def trivial_catalog(folder: Path, count: int) -> Path:
    """Return a catalogue with a provider of `count` benchmarks that do nothing, and a collection of all of them."""
    root = folder / f"catalog-{count}"
    if not root.exists():
        (root / "providers" / "trivial").mkdir(parents=True)
        (root / "collections").mkdir()
        benchmarks = "".join(f"  - {{id: b{i}, primary_score: {{metric: acc}}}}\n" for i in range(count))
        entries = "".join(f"  - {{id: b{i}, provider_id: trivial}}\n" for i in range(count))
        (root / "providers" / "trivial" / "provider.yaml").write_text(f"id: trivial\nbenchmarks:\n{benchmarks}")
        (root / "providers" / "trivial" / "adapter.py").write_text(ADAPTER)
        (root / "collections" / "trivial.yaml").write_text(f"id: trivial\nbenchmarks:\n{entries}")
    return root


def trivial_run(folder: Path, count: int, url: str, *options: str) -> None:
    """Run `count` trivial benchmarks."""
    argv = [COMMAND, "run", "trivial", "--catalog", str(trivial_catalog(folder, count)), "--model-url", url]
    once([*argv, "--model-name", "demo-model", "--quiet", "--output", str(folder / "runs"), *options])


if __name__ == "__main__":
    main()
