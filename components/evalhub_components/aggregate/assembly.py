"""Makes a run directory of what the steps before `aggregate` handed over."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError
from evalhub_components.run_directory import find_tasks, load_plan, parse, task_folders
from evalhub_components.schema.plan import BenchmarkTask, EvaluationPlan, PlanHeader, TaskRequest
from evalhub_components.schema.run import Fingerprint, RunRecord


def assemble(header: PlanHeader, record: RunRecord, fingerprint: Path, results: Sequence[Path], output: Path) -> None:
    """Write run.json, plan.json, fingerprint.json and benchmarks/ of `output`.

    Args:
        header: of the plan; its tasks come from the task.json files unless `output` has the plan.
        record: of the run.
        fingerprint: file with the model's fingerprint.
        results: folders with a folder per benchmark; one that is `output/benchmarks` itself stays as it is.
        output: the run directory.

    Raises:
        EvalHubError: what was handed over does not belong together, or cannot be read or copied.
    """
    if header.digest() != record.plan_digest:
        raise EvalHubError(f"run: plan_digest: must be the header's {header.digest()}, got {record.plan_digest}")
    for folder in results:
        if not folder.is_dir():
            raise EvalHubError(f"{folder}: there is no such folder of results")
    model = parse(Fingerprint, atomic.read_json(fingerprint), str(fingerprint))
    benchmarks = output / "benchmarks"
    try:
        plan = _plan(header, results, output / "plan.json")
        elsewhere = [folder for folder in results if folder.resolve() != benchmarks.resolve()]
        for index, found in find_tasks(elsewhere, plan)[0].items():
            _copy(found.path, benchmarks / plan.tasks[index].slug)
    except (OSError, shutil.Error) as error:
        raise EvalHubError(f"{output}: the results cannot be collected there ({error})") from error
    if fingerprint.resolve() != (output / "fingerprint.json").resolve():
        atomic.write_json(output / "fingerprint.json", model.as_json())
    atomic.write_json(output / "run.json", record.as_json())


def _plan(header: PlanHeader, results: Sequence[Path], path: Path) -> EvaluationPlan:
    """Return the plan from `path` when it is there, else from the header and the tasks' own copies."""
    if path.exists():
        plan = load_plan(path)
        if plan.header.digest() != header.digest():
            raise EvalHubError(f"{path}: is another plan than the header's (use another run directory)")
        return plan
    tasks: dict[str, BenchmarkTask] = {}
    for folder in task_folders(results):
        if (folder / "task.json").is_file():
            request = parse(TaskRequest, atomic.read_json(folder / "task.json"), str(folder / "task.json"))
            tasks[request.task.digest()] = request.task
    missing = [index for index, digest in enumerate(header.task_digests) if digest not in tasks]
    if missing:
        named = ", ".join(str(index) for index in missing[:10])
        raise EvalHubError(
            f"results: no task.json for {len(missing)} of {len(header.task_digests)} benchmarks (index {named}): their "
            "task ended before it could write anything, so there is no evidence to judge"
        )
    plan = EvaluationPlan(header=header, tasks=[tasks[digest] for digest in header.task_digests])
    atomic.write_json(path, plan.as_json())
    return load_plan(path)


def _copy(source: Path, destination: Path) -> None:
    """Copy a task's folder, which appears whole; links are copied as links, so that the evidence can refuse them."""
    unfinished = destination.with_name(f".{destination.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, unfinished, symlinks=True)
    if destination.exists():
        shutil.rmtree(destination)
    unfinished.rename(destination)
