"""What a Kubeflow pipeline run hands to `aggregate` as arguments, and what it takes from it as artifacts."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from evalhub_components import __version__, atomic
from evalhub_components.errors import EvalHubError
from evalhub_components.run_directory import parse, task_folders
from evalhub_components.schema.exports import Exports, OCIExport
from evalhub_components.schema.plan import PlanHeader, TaskRequest
from evalhub_components.schema.results import BenchmarkResults
from evalhub_components.schema.run import Publication, RecordedJudge, RunRecord, job_id
from evalhub_components.schema.run_inputs import RunInputs
from evalhub_components.schema.verdict import Verdict


def record(
    header: PlanHeader,
    *,
    run_id: str | None,
    model_url: str | None,
    model_name: str | None,
    num_examples: int,
    inputs: RunInputs,
    results: Sequence[Path],
) -> RunRecord:
    """Return the run record of a pipeline run; it started when its first benchmark did.

    Raises:
        EvalHubError: an argument is missing, or no benchmark left results.
    """
    needed = {"--run-id": run_id, "--model-url": model_url, "--model-name": model_name}
    missing = [name for name, value in needed.items() if not value]
    if missing:
        raise EvalHubError(f"{', '.join(missing)}: must be given unless there is --run")
    url, name, limit = str(model_url).rstrip("/"), str(model_name), num_examples or None
    due = {"evalhub.scheduled_time": inputs.scheduled_time} if inputs.scheduled_time else {}
    exports = Exports(oci=OCIExport(coordinates=inputs.coordinates)) if inputs.coordinates else None
    judge = _judge(results)
    return RunRecord(
        run_id=str(run_id),
        job_id=job_id(header.digest(), url, name, limit, judge),
        name=None,
        plan_digest=header.digest(),
        model_url=url,
        model_name=name,
        model_digest=inputs.model_digest,
        judge=judge,
        exports=exports,
        declared_environment={},
        num_examples=limit,
        tags=[],
        experiment_name=inputs.experiment_name or header.collection_id,
        experiment_tags=inputs.experiment_tags | due,
        package_version=__version__,
        engine="kfp",
        state="running",
        started_at=_started(results),
        completed_at=None,
    )


def hand_over(run: Path, files: Mapping[str, Path | None], evidence: Path | None) -> None:
    """Copy files of the run, by their names, and the evidence to where the pipeline wants them."""
    for name, target in files.items():
        if target is not None:
            atomic.write_bytes(target, (run / name).read_bytes())
    if evidence is not None:
        shutil.rmtree(evidence, ignore_errors=True)
        shutil.copytree(run / "evidence", evidence)


def numbers(verdict: Verdict) -> dict[str, float]:
    """Return what the dashboard shows of a verdict: numbers only, a pass is 1."""
    found = {"gate/pass": float(verdict.verdict == "pass"), "gate/threshold": verdict.threshold}
    found |= {"gate/score": verdict.score} if verdict.score is not None else {}
    for test in verdict.benchmarks:
        if test.normalized_score is not None:
            found[f"{test.slug}/score"] = test.normalized_score
    return found


def whereabouts(run: Path) -> dict[str, str]:
    """Return what the dashboard shows of the evidence: its digest, and its reference where it was pushed."""
    publication = parse(Publication, atomic.read_json(run / "publication.json"), "publication.json")
    found = {"digest": publication.evidence_digest, "signed_by": publication.evidence_key_id}
    found |= {"reference": publication.evidence_reference if publication.evidence_pushed else None}
    return {name: value for name, value in found.items() if value}


def _judge(results: Sequence[Path]) -> RecordedJudge | None:
    """Return the model that the benchmarks asked for judgements."""
    for folder in task_folders(results):
        path = folder / "task.json"
        with contextlib.suppress(EvalHubError):
            judge = parse(TaskRequest, atomic.read_json(path), str(path)).judge
            if judge is not None:
                return RecordedJudge(**judge.as_json())
    return None


def _started(results: Sequence[Path]) -> str:
    times = []
    for folder in task_folders(results):
        path = folder / "results.json"
        # what cannot be read is judged, and named, later
        with contextlib.suppress(EvalHubError):
            times.append(parse(BenchmarkResults, atomic.read_json(path), str(path)).started_at)
    if not times:
        raise EvalHubError("--results: no benchmark left results, so there is nothing to judge")
    return min(times)
