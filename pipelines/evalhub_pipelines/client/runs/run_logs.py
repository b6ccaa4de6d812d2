"""The logs of a run's tasks: those that somebody names, or of what failed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from evalhub_components.errors import EvalHubError
from evalhub_pipelines import documents
from evalhub_pipelines.client.failures import Unavailable
from evalhub_pipelines.client.runs import pod_logs, run_state
from evalhub_pipelines.client.runs.pod_logs import Unreadable
from evalhub_pipelines.client.runs.run_state import RunState, Step
from evalhub_pipelines.resolution import slug

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection

PAUSE = 5.0
"""Seconds between two looks at a log that is followed: the server sends all of it each time, and does not wait."""

_MISSED = 60
"""Looks at a server that is away before that is an error."""


class Line(NamedTuple):
    """A line of a log.

    Attributes:
        task: title of the task.
        pod: whose log it is.
        text: as a stranger wrote it: with control characters, and without the end of the line.
    """

    task: str
    pod: str
    text: str


class _Part(NamedTuple):
    """Pods of one task; benchmarks of a batch share them."""

    title: str
    pods: tuple[str, ...]


def logs(
    connection: Connection, run_id: str, task: str | None = None, *, tail: int | None = None, follow: bool = False
) -> Iterator[Line]:
    """Yield the lines of the logs of a run's task, of every attempt the first one first.

    Args:
        task: a benchmark's id, slug or number, a task's name, or `aggregate`, `gate`, `fingerprint`; by default all
            that failed.
        tail: so many of the last lines of each pod.
        follow: go on until the task is over; it must be named.

    Raises:
        NotFound: there is no such run.
        Unreadable: neither Kubeflow Pipelines nor Kubernetes gives a log; the others were yielded.
        EvalHubError: there is no such task, or without a name none that failed, or the server cannot be asked.
    """
    if follow:
        if task is None:
            raise EvalHubError("name the task whose log is to be followed")
        yield from _followed(connection, run_id, task, tail)
        return
    state = run_state.read(connection, run_id)
    steps = chosen(state, task)
    if not steps:
        raise EvalHubError(f"run {run_id}: is {state.state}, and nothing of it failed (name a task)")
    yield from of_steps(connection, state, steps, tail)


def chosen(state: RunState, task: str | None) -> list[Step]:
    """Return the steps that `task` names, or those that failed.

    Raises:
        EvalHubError: nothing has that name.
    """
    if task is None:
        # a group has a pod only where that is what failed; else it failed because a task in it did
        return [step for step in state.steps if step.state == "failed" and (step.kind != "group" or step.pods)]
    for matches in (_is_named, _is_of_kind):
        if found := [step for step in state.steps if matches(step, task)]:
            return found
    names = dict.fromkeys(step.benchmark_id or step.name for step in state.steps)
    if not names:
        raise EvalHubError(f"run {state.run_id}: nothing is known of its tasks yet (it is {state.state})")
    hint = documents.near(task, names) or f" (it has {', '.join(names)})"
    raise EvalHubError(f"run {state.run_id}: has no task {task!r}{hint}")


def of_steps(connection: Connection, state: RunState, steps: Iterable[Step], tail: int | None) -> Iterator[Line]:
    """Yield the lines of the logs of steps.

    Raises:
        Unreadable: nobody gives a log; it is raised when all that are given were yielded.
    """
    problems = []
    for part in _parts(steps):
        if not part.pods:
            problems.append(f"{part.title}: has had no pod yet")
        for pod in part.pods:
            try:
                for text in _last(pod_logs.lines(connection, state, pod), tail):
                    yield Line(part.title, pod, _without_end(text))
            except Unreadable as error:
                problems.append(f"{part.title}: {error}")
    if problems:
        raise Unreadable("\n".join(problems))


def _followed(connection: Connection, run_id: str, task: str, tail: int | None) -> Iterator[Line]:
    """Yield what is new in the logs of a task, look by look, until it is over."""
    shown: dict[str, int] = {}
    shape, missed = None, 0
    while True:
        try:
            run = run_state.get(connection, run_id)
            shape = shape or run_state.shape_of(connection, run)
            missed = 0
        except Unavailable:
            missed += 1
            if missed == _MISSED:
                raise
            time.sleep(PAUSE)
            continue
        state = run_state.of(run, shape)
        steps = chosen(state, task)
        is_over = state.is_over or all(step.state not in ("pending", "running") for step in steps)
        for part in _parts(steps):
            for pod in part.pods:
                # a pod that is just starting has none yet, and a server that is away may be back at the next look
                with suppress(*(() if is_over else (Unreadable, Unavailable))):
                    yield from _new(connection, state, Line(part.title, pod, ""), shown, tail, is_over)
        if is_over:
            if bare := [f"{part.title}: has had no pod" for part in _parts(steps) if not part.pods]:
                raise Unreadable("\n".join(bare))
            return
        time.sleep(PAUSE)


def _new(
    connection: Connection, state: RunState, line: Line, shown: dict[str, int], tail: int | None, is_over: bool
) -> Iterator[Line]:
    """Yield the lines of a pod's log that were not shown; the last one only when it has its end, or nothing follows."""
    texts = islice(pod_logs.lines(connection, state, line.pod), shown.get(line.pod, 0), None)
    found = deque(enumerate(texts, shown.get(line.pod, 0) + 1), maxlen=None if line.pod in shown else tail)
    for number, text in found:
        if is_over or text.endswith("\n"):
            shown[line.pod] = number
            yield line._replace(text=_without_end(text))


def _last(texts: Iterator[str], tail: int | None) -> Iterable[str]:
    return texts if tail is None else deque(texts, maxlen=tail)


def _without_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _parts(steps: Iterable[Step]) -> list[_Part]:
    """Return the tasks that steps belong to, in their order."""
    by_path: dict[str, list[Step]] = {}
    for step in steps:
        by_path.setdefault(step.path or step.name, []).append(step)
    return [_Part(", ".join(step.title for step in found), found[0].pods) for found in by_path.values()]


def _is_named(step: Step, name: str) -> bool:
    names = {step.name, step.title, step.path}
    if step.index is not None and step.benchmark_id is not None:
        names |= {step.benchmark_id, f"{step.provider_id}/{step.benchmark_id}", slug(step.index, step.benchmark_id)}
    return name in names


def _is_of_kind(step: Step, name: str) -> bool:
    return name == step.kind or name == str(step.index)
