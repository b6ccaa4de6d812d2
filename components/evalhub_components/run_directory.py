"""A run directory as typed values: what was asked, and what each task left."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from evalhub_components import atomic
from evalhub_components.atomic import files_in
from evalhub_components.errors import EvalHubError, InvalidDocument, Problem
from evalhub_components.schema.plan import BenchmarkTask, EvaluationPlan
from evalhub_components.schema.results import BenchmarkResults, Sample
from evalhub_components.schema.run import Fingerprint, RunRecord
from evalhub_components.schema.verdict import Verdict
from evalhub_components.scoring.judgement import TaskOutcome, judge

# a task's files come from frameworks and may be anything: these bounds keep reading them harmless
_MAX_RESULTS_BYTES = 64 * 2**20
_MAX_SAMPLE_BYTES = 2**20
_MAX_SAMPLES = 1_000_000
_MAX_EXACT_INTEGER = 2**53

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class LoadedRun:
    """What a run directory holds.

    Attributes:
        folders: the task's folder under `benchmarks/`, by the task's index; absent when it left none.
        outcomes: by the task's index; a task whose results cannot be used has a failed one that says why.
        notes: what was left out while reading, and why.
    """

    path: Path
    record: RunRecord
    plan: EvaluationPlan
    fingerprint: Fingerprint | None
    folders: Mapping[int, Path]
    outcomes: Mapping[int, TaskOutcome]
    notes: Sequence[str]

    def judge(self) -> Verdict:
        """Return the verdict over what the directory holds; a pure function of plan, results and samples."""
        cancelled = self.record.state == "cancelled"
        return judge(self.plan, self.outcomes, num_examples=self.record.num_examples, cancelled=cancelled)

    def completed_at(self) -> str | None:
        """Return the latest `completed_at` in the results as it is written there, None without results."""
        return _latest([outcome.results.completed_at for outcome in self.outcomes.values()])


class TaskFolder(NamedTuple):
    """The folder of one task; `results` is None, and `problem` says why, when they cannot be used."""

    path: Path
    results: BenchmarkResults | None
    problem: str | None


def load(path: Path) -> LoadedRun:
    """Return the run in `path`.

    Raises:
        EvalHubError: run.json or plan.json is missing or wrong, or they do not belong together.
    """
    record = parse(RunRecord, atomic.read_json(path / "run.json"), str(path / "run.json"))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", record.run_id):
        allowed = "letters, digits, `.`, `_` and `-`, at most 100"
        raise EvalHubError(f"{path / 'run.json'}: run_id: must be {allowed}, got {record.run_id!r}")
    plan = load_plan(path / "plan.json")
    if plan.header.digest() != record.plan_digest:
        raise EvalHubError(f"{path / 'plan.json'}: is not the plan of this run (run.json names {record.plan_digest})")
    found, notes = find_tasks([path / "benchmarks"], plan)
    outcomes: dict[int, TaskOutcome] = {}
    for index, folder in found.items():
        task = plan.tasks[index]
        if folder.results is None:
            if record.state == "cancelled" and not (folder.path / "results.json").exists():
                continue  # it had begun, and that is no more than not to have
            outcomes[index] = TaskOutcome(_unusable(task, str(folder.problem)))
            continue
        samples: Sequence[Sample] = ()
        if folder.results.status == "completed":
            try:
                samples = tuple(_samples(folder.path / "samples.jsonl"))
            except (OSError, ValueError) as error:
                notes.append(f"benchmarks/{folder.path.name}/samples.jsonl: not used: {error}")
        outcomes[index] = TaskOutcome(folder.results, samples)
    return LoadedRun(
        path=path,
        record=record,
        plan=plan,
        fingerprint=_fingerprint(path / "fingerprint.json", notes),
        folders={index: folder.path for index, folder in found.items()},
        outcomes=outcomes,
        notes=tuple(notes),
    )


def load_plan(path: Path) -> EvaluationPlan:
    """Return the plan in `path`, whose tasks are the ones its header lists.

    Raises:
        EvalHubError: the file is missing, is no plan, or contradicts itself.
    """
    plan = parse(EvaluationPlan, atomic.read_json(path), str(path))
    if [task.digest() for task in plan.tasks] != plan.header.task_digests:
        raise EvalHubError(f"{path}: its tasks are not the ones its header lists (the file was edited)")
    if [task.index for task in plan.tasks] != list(range(len(plan.tasks))):
        raise EvalHubError(f"{path}: its tasks are not numbered in order (the file was edited)")
    return plan


def find_tasks(parents: Sequence[Path], plan: EvaluationPlan) -> tuple[dict[int, TaskFolder], list[str]]:
    """Return the folder of each task by its index, and notes on what was left out.

    Results belong to the task whose digest and index they name, whatever their folder is called. Of several, completed
    ones win, then the latest. A folder without usable results goes by its name.
    """
    found: dict[int, TaskFolder] = {}
    notes: list[str] = []
    by_slug = {task.slug: task.index for task in plan.tasks}
    for path in task_folders(parents):
        folder, index = _read_folder(path, plan)
        if index is None and folder.results is None:
            index = by_slug.get(path.name)
        if index is None:
            notes.append(f"benchmarks/{path.name}: {folder.problem or 'results of another plan'}: left out")
        elif index not in found or _rank(folder) > _rank(found[index]):
            found[index] = folder
    return dict(sorted(found.items())), notes


def task_folders(parents: Sequence[Path]) -> list[Path]:
    """Return the folders in `parents`, in the order of their names.

    Hidden ones are unfinished copies. One without any file says as much as none at all, and evidence holds files only.
    """
    folders = [
        entry
        for parent in parents
        if parent.is_dir()
        for entry in parent.iterdir()
        if not entry.name.startswith(".") and entry.is_dir() and not entry.is_symlink() and any(files_in(entry))
    ]
    return sorted(folders, key=lambda folder: (folder.name, str(folder)))


def parse(model: type[Model], value: Any, where: str) -> Model:
    """Return `value` as a `model`.

    Raises:
        InvalidDocument: with every problem and its key path; `where` names the document.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidDocument(
            [Problem(where, f"{_key_path(item['loc'])}: {item['msg']}") for item in error.errors(include_url=False)]
        ) from None


def instant(timestamp: str) -> datetime | None:
    """Return an ISO 8601 timestamp as a moment in UTC, None when it is not one."""
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _read_folder(path: Path, plan: EvaluationPlan) -> tuple[TaskFolder, int | None]:
    """Return the folder and the index of the task that its results belong to."""
    try:
        results = _results(path / "results.json")
    except FileNotFoundError:
        return TaskFolder(path, None, "there is no results.json"), None
    except (OSError, ValueError, RecursionError) as error:
        what = "is nested too deeply" if isinstance(error, RecursionError) else f"cannot be used: {error}"
        return TaskFolder(path, None, f"results.json {what}"), None
    index = results.benchmark_index
    if not 0 <= index < len(plan.tasks) or plan.header.task_digests[index] != results.task_digest:
        return TaskFolder(path, results, None), None
    task = plan.tasks[index]
    if (results.provider_id, results.benchmark_id) != (task.provider_id, task.benchmark_id):
        problem = f"results.json names {results.provider_id}/{results.benchmark_id}, which is not the task it answers"
        return TaskFolder(path, None, problem), index
    return TaskFolder(path, results, None), index


def _results(path: Path) -> BenchmarkResults:
    """Return the results in `path`; numbers that JSON does not have become text, which is not a score.

    Raises:
        OSError, ValueError, RecursionError: they cannot be used; the message says why.
    """
    if path.is_symlink() or not path.is_file():
        raise FileNotFoundError(path.name)
    if path.stat().st_size > _MAX_RESULTS_BYTES:
        raise ValueError(f"it is larger than {_MAX_RESULTS_BYTES >> 20} MiB")
    value = json.loads(path.read_bytes(), parse_float=_number, parse_int=_number, parse_constant=str)
    metrics = value.get("metrics") if isinstance(value, dict) else None
    for metric in metrics.values() if isinstance(metrics, dict) else ():
        if isinstance(metric, dict) and isinstance(metric.get("stderr"), str):
            metric["stderr"] = None
    try:
        return BenchmarkResults.model_validate(value)
    except ValidationError as error:
        raise ValueError(_first(error)) from None


def _number(text: str) -> int | float | str:
    """Return a JSON number, as text when it is too large to be kept."""
    value = float(text)
    if not math.isfinite(value):
        return text[:40]
    return int(text) if text.lstrip("-").isdigit() and abs(value) < _MAX_EXACT_INTEGER else value


def _samples(path: Path) -> Iterator[Sample]:
    """Yield the samples in `path`, none when there is no such file.

    Raises:
        OSError, ValueError: a line is not a sample, or there are too many.
    """
    if path.is_symlink() or not path.is_file():
        return
    with path.open("rb") as file:
        for number in range(1, _MAX_SAMPLES + 2):
            line = file.readline(_MAX_SAMPLE_BYTES + 1)
            if not line:
                return
            if number > _MAX_SAMPLES:
                raise ValueError(f"there are more than {_MAX_SAMPLES} lines")
            if len(line) > _MAX_SAMPLE_BYTES:
                raise ValueError(f"line {number} is longer than {_MAX_SAMPLE_BYTES >> 20} MiB")
            try:
                sample = Sample.model_validate_json(line)
            except ValidationError as error:
                raise ValueError(f"line {number} is not a sample ({_first(error)})") from None
            # scoring needs no details, and they can be most of the file
            yield sample.model_copy(update={"details": None}) if sample.details else sample


def _fingerprint(path: Path, notes: list[str]) -> Fingerprint | None:
    if not path.exists():
        return None
    try:
        return parse(Fingerprint, atomic.read_json(path), path.name)
    except (EvalHubError, RecursionError) as error:
        notes.append(f"{path.name}: not used: {str(error).splitlines()[0]}")
        return None


def _unusable(task: BenchmarkTask, reason: str) -> BenchmarkResults:
    return BenchmarkResults(
        provider_id=task.provider_id,
        benchmark_id=task.benchmark_id,
        benchmark_index=task.index,
        task_digest=task.digest(),
        status="failed",
        reason=reason,
        started_at="",
        completed_at="",
    )


def _rank(folder: TaskFolder) -> tuple[int, float]:
    if folder.results is None:
        return 0, 0.0
    moment = instant(folder.results.completed_at)
    return (2 if folder.results.status == "completed" else 1), moment.timestamp() if moment else 0.0


def _latest(timestamps: Sequence[str]) -> str | None:
    moments = [(moment, text) for text in timestamps if (moment := instant(text))]
    return max(moments)[1] if moments else None


def _first(error: ValidationError) -> str:
    item = error.errors(include_url=False)[0]
    return f"{_key_path(item['loc'])}: {item['msg']}" if item["loc"] else item["msg"]


def _key_path(location: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.lstrip(".") or "document"
