"""Runs the adapter in lm-eval's environment, as the harness would: reads jobs from a file, prints what came of them."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

from evalhub_components.adapter import (
    FrameworkAdapter,
    JobCallbacks,
    JobResults,
    JobSpec,
    JobStatusUpdate,
    ModelCredentials,
    ModelEndpoint,
    OCIArtifactResult,
    OCIArtifactSpec,
    PrimaryMetric,
)

PROVIDER = Path(__file__).parents[1]


class Recorder(JobCallbacks):
    """Keeps what the adapter reports."""

    def __init__(self) -> None:
        self.updates: list[list[Any]] = []

    def report_status(self, update: JobStatusUpdate, *, benchmark_index: int | None = None) -> None:
        self.updates.append([benchmark_index, update.phase, update.completed_steps, update.total_steps])

    def create_oci_artifact(self, spec: OCIArtifactSpec) -> OCIArtifactResult:
        raise NotImplementedError

    def report_results(self, results: JobResults) -> None:
        raise NotImplementedError


def main(jobs_file: Path, outcomes_file: Path) -> None:
    sys.path.insert(0, str(PROVIDER))
    from adapter import LMEvaluationHarnessAdapter

    adapter = LMEvaluationHarnessAdapter()
    jobs = json.loads(jobs_file.read_text())
    outcomes_file.write_text(json.dumps([_run(adapter, job) for job in jobs], default=str))


def _run(adapter: FrameworkAdapter, job: dict[str, Any]) -> dict[str, Any]:
    recorder = Recorder()
    specs = [_spec(entry, index) for index, entry in enumerate(job["specs"])]
    start: Callable[[], Iterable[JobResults]]
    if job["batch"]:
        start = lambda: adapter.run_batch(specs, recorder)  # noqa: E731
    else:
        start = lambda: [adapter.run_benchmark_job(spec, recorder) for spec in specs]  # noqa: E731
    results: list[dict[str, Any]] = []
    reason = None
    try:
        with mock.patch.dict(os.environ, job["environment"]):
            results.extend(_plain(result) for result in start())
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    return {"results": results, "reason": reason, "updates": recorder.updates}


def _spec(entry: dict[str, Any], index: int) -> JobSpec:
    folder = Path(entry.pop("folder"))
    folders = {name: folder / name for name in ("work_dir", "raw_dir")}
    for path in folders.values():
        path.mkdir(parents=True)
    key, ca_cert = entry.pop("api_key", None), entry.pop("ca_cert", None)
    if test_data := entry.pop("test_data", None):
        entry["test_data"] = Path(test_data)
    return JobSpec(
        id="job",
        provider_id="lm_evaluation_harness",
        benchmark_index=index,
        model=ModelEndpoint(entry.pop("url"), entry.pop("model_name", "demo-model")),
        primary_score=PrimaryMetric(entry.pop("metric", "exact_match"), lower_is_better=False),
        credentials=ModelCredentials(api_key=key, ca_cert=Path(ca_cert) if ca_cert else None),
        timeout=600,
        **{"parameters": {}, "seed": 42, **entry, **folders},
    )


def _plain(results: JobResults) -> dict[str, Any]:
    return {
        **{field.name: getattr(results, field.name) for field in dataclasses.fields(results)},
        "results": {one.metric_name: [one.metric_value, one.stderr] for one in results.results},
        "samples": None if results.samples is None else [sample.model_dump() for sample in results.samples],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
