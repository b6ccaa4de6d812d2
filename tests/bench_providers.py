"""Figures of the providers: their environments, and their adapters beside the framework's own command.

The work is what `smoke-v1` asks of each. `tests/own_command.py` in a provider's folder does it without us: `python
own_command.py MODEL_URL MODEL_NAME NUM_EXAMPLES`, in the provider's environment and an empty folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench_figures import figure, once, wall

from evalhub_components.schema.plan import BenchmarkTask
from evalhub_pipelines import environments, evaluation
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.demo_model import DemoModelSettings, running
from evalhub_pipelines.provider_testing import Trial

COMMAND = str(Path(sys.executable).with_name("evalhub-kfp"))
TOGETHER = 3
PAIRS = 4


def main(*names: str) -> None:
    """Print the figures of the providers named, of all without a name."""
    catalog = Catalog.of()
    tasks = {task.provider_id: task for task in evaluation.of("smoke-v1", catalog).plan.tasks}
    for name, task in tasks.items():
        if not names or name in names:
            of_provider(catalog.provider_directory(name), task)


def of_provider(provider: Path, task: BenchmarkTask) -> None:
    """Print what one provider costs."""
    name = provider.name
    python = environments.python_of(provider)
    size = subprocess.run(
        ["du", "-sm", str(environments.environment_of(provider))], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    figure(f"{name}: environment", f"{size} MB")
    with tempfile.TemporaryDirectory() as cache:
        # uv keeps what it has downloaded in a cache of its own
        uv = os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))
        environ = os.environ | {"XDG_CACHE_HOME": cache, "UV_CACHE_DIR": uv}
        figure(
            f"{name}: install, packages downloaded", f"{once([COMMAND, 'providers', 'install', name], environ):.1f} s"
        )
    with tempfile.TemporaryDirectory() as scratch, running(DemoModelSettings(skill=0.9)) as server:
        trial = Trial(provider, Path(scratch))
        keys: dict[str, Any] = {"benchmark_id": task.benchmark_id, "parameters": task.parameters, "seed": task.seed}

        def ours(times: int = 1, examples: int | None = None) -> None:
            entries = [{**keys, "timeout": 600} for _ in range(times)]
            outcomes = trial.run_batch(
                entries, server.base_url, judge_url=server.base_url, num_examples=examples or task.num_examples or 0
            )
            for outcome in outcomes:
                if outcome.results.status != "completed":
                    sys.exit(f"{name}: {outcome.results.reason}")

        def own() -> None:
            with tempfile.TemporaryDirectory() as folder:
                argv = [str(python), str(provider / "tests" / "own_command.py")]
                argv += [server.base_url, "demo-model", str(task.num_examples or 0)]
                done = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(f"{' '.join(argv)} exited with {done.returncode}:\n{done.stderr[-3000:]}")

        own(), ours()  # without .pyc files everything takes longer
        # by turns, and the best of each: what else the machine does only adds
        pairs = [(wall(ours, 1), wall(own, 1)) for _ in range(PAIRS)]
        alone, theirs = min(first for first, _ in pairs), min(second for _, second in pairs)
        figure(f"{name}: smoke benchmark, over its own command", f"{alone / theirs:.2f}", f"{alone:.1f} s, at most 1.1")
        figure(f"{name}: start-up, one example", f"{wall(lambda: ours(examples=1), 1):.1f} s")
        together = wall(lambda: ours(TOGETHER), 1)
        saved = TOGETHER * alone - together
        figure(f"{name}: {TOGETHER} benchmarks in one start save", f"{saved:.1f} s", f"of {TOGETHER * alone:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
