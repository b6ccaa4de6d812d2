"""An adapter with a batch of its own; the first benchmark's parameter `batch` names how that goes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence

from scripted import FOREVER, Scripted, results

from evalhub_components.adapter import EvaluationResult, JobCallbacks, JobResults, JobSpec, JobStatusUpdate
from evalhub_components.schema.results import Sample


class Merged(Scripted):
    """Says in every result whether it came from the batch."""

    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        print(f"alone {config.benchmark_index}")
        if config.parameters.get("alone") == "hang":
            time.sleep(FOREVER)
        left_over = sorted(os.listdir(config.work_dir) + os.listdir(config.raw_dir))
        assert not left_over, left_over
        return _with_origin(config, "alone")

    def run_batch(self, configs: Sequence[JobSpec], callbacks: JobCallbacks) -> Iterator[JobResults]:
        print("joint start of", len(configs))
        yield from getattr(self, configs[0].parameters["batch"])(configs, callbacks)

    def all(self, configs: Sequence[JobSpec], callbacks: JobCallbacks) -> Iterator[JobResults]:
        for config in configs:
            callbacks.report_status(
                JobStatusUpdate(phase="running_evaluation", completed_steps=1, total_steps=1),
                benchmark_index=config.benchmark_index,
            )
        for config in configs:
            yield _with_origin(config, "joint")

    def some_then_raise(self, configs: Sequence[JobSpec], callbacks: JobCallbacks) -> Iterator[JobResults]:
        for config in configs:
            (config.raw_dir / "half.txt").write_text("half")
            (config.work_dir / "half.txt").write_text("half")
        yield _with_origin(configs[1], "joint")
        raise RuntimeError("the framework fell over")

    def some_then_exit(self, configs: Sequence[JobSpec], callbacks: JobCallbacks) -> Iterator[JobResults]:
        yield _with_origin(configs[1], "joint")
        os._exit(4)

    def some_then_hang(self, configs: Sequence[JobSpec], callbacks: JobCallbacks) -> Iterator[JobResults]:
        yield _with_origin(configs[1], "joint")
        time.sleep(FOREVER)

    def fill_the_disk(self, configs: Sequence[JobSpec], callbacks: JobCallbacks) -> Iterator[JobResults]:
        with contextlib.suppress(OSError), (configs[1].raw_dir / "big.bin").open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        yield results(configs[0], results=[EvaluationResult("acc", 0.5), EvaluationResult("origin", "joint")])
        time.sleep(FOREVER)

    def name_files_at_the_end(self, configs: Sequence[JobSpec], callbacks: JobCallbacks) -> Iterator[JobResults]:
        for config in configs:
            yield _with_origin(config, "joint")
        for name in ("A", "a"):
            (configs[0].raw_dir / name).write_text("content")

    def some(self, configs: Sequence[JobSpec], callbacks: JobCallbacks) -> Iterator[JobResults]:
        yield _with_origin(configs[-1], "joint")

    def backwards_and_twice(self, configs: Sequence[JobSpec], callbacks: JobCallbacks) -> Iterator[JobResults]:
        for config in reversed(configs):
            yield _with_origin(config, "joint")
        for config in configs:
            again = results(config, 0.125, samples=[Sample(id="second", score=0)])
            callbacks.report_results(again)
            yield again

    def none_usable(self, configs: Sequence[JobSpec], callbacks: JobCallbacks) -> Iterator[JobResults]:
        for config in configs:
            yield results(config, results=[])


def _with_origin(config: JobSpec, origin: str) -> JobResults:
    metrics = [EvaluationResult("acc", 0.5), EvaluationResult("origin", origin)]
    return results(config, results=metrics, samples=[Sample(id="first", score=0.5)])
