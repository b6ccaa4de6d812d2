"""What a run that goes on has still to do, and whether the model is still the one that it began with."""

from __future__ import annotations

from pydantic import ValidationError

from evalhub_components import run_directory
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.plan import BenchmarkTask, TaskRequest
from evalhub_components.schema.results import BenchmarkResults
from evalhub_components.schema.run import Fingerprint


def remaining(run: run_directory.LoadedRun, fingerprint: Fingerprint | None = None) -> list[BenchmarkTask]:
    """Return the benchmarks that a resumed run would run: all without a completed result of exactly the same work.

    Args:
        run: the run.
        fingerprint: of the model that answers now; by default the one that answered when the run began.
    """
    model = fingerprint or run.fingerprint
    return [task for task in run.plan.tasks if not (model and _is_done(run, task, model))]


def same_model(run: run_directory.LoadedRun, now: Fingerprint, accept: bool) -> Fingerprint:
    """Return the fingerprint to go on with: the one of the beginning, whose headers are in the evidence already.

    Args:
        now: of what answers now.
        accept: another model may answer than when the run began; that is noted.

    Raises:
        EvalHubError: another model answers than when the run began, and nobody accepted that.
    """
    before = run.fingerprint
    if before is None or now.digest() == before.digest():
        return before or now
    if not accept:
        what = "serves another model" if now.identity != before.identity else "answers otherwise"
        raise EvalHubError(
            f"{run.path}: {run.record.model_url} {what} than when the run began "
            "(start a new run, or mix the results knowingly with --accept-fingerprint)"
        )
    # who reads the evidence must learn that another model gave some of the answers
    accepted = [*before.observed.get("accepted_on_resume", []), now.as_json()]
    return before.model_copy(update={"observed": {**before.observed, "accepted_on_resume": accepted}})


def _is_done(run: run_directory.LoadedRun, task: BenchmarkTask, model: Fingerprint) -> bool:
    """Return whether a completed result answers exactly what would be asked now."""
    folder = run.path / "benchmarks" / task.slug
    try:
        request = TaskRequest.model_validate_json((folder / "task.json").read_bytes())
        found = BenchmarkResults.model_validate_json((folder / "results.json").read_bytes())
    except (OSError, ValidationError):
        return False
    now = TaskRequest.of(
        task,
        model_url=run.record.model_url,
        model_name=run.record.model_name,
        fingerprint=model.digest(),
        run_limit=run.record.num_examples,
        test_data_digest=request.test_data_digest,
        judge=run.record.judge.asked() if run.record.judge else None,
    )
    return found.status == "completed" and request.task_key == now.task_key
