"""What a run that goes on has still to do, and whether the model is still the one that it began with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from evalhub_components import run_directory
from evalhub_components.benchmark import external_data
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.plan import BenchmarkTask, TaskRequest
from evalhub_components.schema.results import BenchmarkResults
from evalhub_components.schema.run import Fingerprint
from evalhub_pipelines import task_data
from evalhub_pipelines.processes import Listener


def remaining(
    run: run_directory.LoadedRun, fingerprint: Fingerprint | None = None, data: Mapping[int, str | None] | None = None
) -> list[BenchmarkTask]:
    """Return the benchmarks that a resumed run would run: all without a completed result of exactly the same work.

    Args:
        run: the run.
        fingerprint: of the model that answers now; by default the one that answered when the run began.
        data: digest of the external data as it is now, by a task's index. What is not there was not looked at, and is
            taken for what the result was made of: a run that is really resumed looks first, and may run more.
    """
    model = fingerprint or run.fingerprint
    now = data or {}
    return [task for task in run.plan.tasks if not (model and _is_done(run, task, model, now))]


def left(
    run: run_directory.LoadedRun, fingerprint: Fingerprint, listener: Listener
) -> tuple[list[BenchmarkTask], dict[int, Path]]:
    """Return the benchmarks to run, and the folders with the external data that was looked at for that, by index.

    The data of every result that would be kept is fetched: what was made of other data is run again. Where nothing is
    left to run, results are kept although their data is gone: there is nothing new that they would be mixed with.

    Args:
        run: the run.
        fingerprint: of the model that answers now.
        listener: is told what is run again because of its data, and what is kept without a look at it.

    Raises:
        EvalHubError: data of a result to keep cannot be looked at, and there is something to run.
    """
    assumed = {task.index for task in remaining(run, fingerprint)}
    kept: dict[str, list[BenchmarkTask]] = {}
    for task in run.plan.tasks:
        if task.test_data_ref is not None and task.index not in assumed:
            kept.setdefault(task_data.source_of(task), []).append(task)
    folders: dict[str, Path] = {}
    digests: dict[int, str | None] = {}
    unseen: list[tuple[str, EvalHubError]] = []
    for source, tasks in kept.items():
        try:
            folder = task_data.fetched(tasks[:1], run.path, listener)[tasks[0].index]
            digests |= dict.fromkeys((task.index for task in tasks), external_data.read(folder).digest)
            folders[source] = folder
        except EvalHubError as error:
            unseen.append((_slugs(tasks), error))
    found = remaining(run, fingerprint, digests)
    for slugs, problem in unseen:
        if found:
            cure = "make it available as it was, or start a new run"
            raise EvalHubError(f"{run.path}: {slugs}: the data cannot be looked at: {problem} ({cure})")
        _say(listener, f"{slugs}: kept without a look at the data: {problem}")
    if other := [task for task in found if task.index not in assumed]:
        _say(listener, f"{_slugs(other)}: the data is not what it was: run again")
    # who is run for another reason reads what was just compared, and not what the source has a moment later
    sources = {task.index: task_data.source_of(task) for task in run.plan.tasks}
    return found, {index: folders[source] for index, source in sources.items() if source in folders}


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


def _slugs(tasks: Sequence[BenchmarkTask]) -> str:
    return ", ".join(task.slug for task in tasks)


def _say(listener: Listener, message: str) -> None:
    listener({"event": "stage", "stage": "data", "message": message})


def _is_done(
    run: run_directory.LoadedRun, task: BenchmarkTask, model: Fingerprint, data: Mapping[int, str | None]
) -> bool:
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
        test_data_digest=data.get(task.index, request.test_data_digest),
        judge=run.record.judge.asked() if run.record.judge else None,
    )
    return found.status == "completed" and request.task_key == now.task_key
