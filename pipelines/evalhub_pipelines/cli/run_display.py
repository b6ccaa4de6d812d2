"""How a run on Kubeflow Pipelines is shown: its progress on standard error, and what is known of it at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from evalhub_pipelines.cli import judging, output
from evalhub_pipelines.cli.output import clean

if TYPE_CHECKING:
    from rich.console import Group

    from evalhub_components.schema.verdict import JobState
    from evalhub_pipelines.client.connection import Connection
    from evalhub_pipelines.client.runs.run_record import RunRecord
    from evalhub_pipelines.client.runs.run_state import RunState, Step
    from evalhub_pipelines.client.runs.waiting import Event, Listener

_ORDER: tuple[JobState, ...] = ("failed", "running", "pending", "completed", "cancelled")
"""States of benchmarks, what needs attention first."""

_STYLES = {"failed": "red", "running": "cyan", "completed": "green", "cancelled": "yellow"}


@contextmanager
def progress() -> Iterator[Listener]:
    """Yield a listener that shows a table on a terminal, and a line a change elsewhere."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield _Lines(lambda line: click.echo(line, err=True))
        return
    with Live(console=console, transient=True, auto_refresh=False, vertical_overflow="crop") as live:
        lines = _Lines(lambda line: console.print(line, markup=False), only_trouble=True)

        def listener(event: Event) -> None:
            lines(event)
            if event.state is not None:
                live.update(_table(event.state, console.height - 4), refresh=True)

        yield listener


class _Lines:
    """A listener that says a line for what changed."""

    def __init__(self, say: Callable[[str], None], *, only_trouble: bool = False) -> None:
        self._write = say
        self._only_trouble = only_trouble
        self._known: dict[tuple[str, int | None], str] = {}
        self._run: str | None = None

    def __call__(self, event: Event) -> None:
        if event.kind == "lost":
            self._say(f"the server cannot be asked, and is asked again: {event.reason}")
        elif event.kind == "back":
            self._say("the server answers again")
        elif event.state is not None and not self._only_trouble:
            self._changes(event.state)

    def _changes(self, state: RunState) -> None:
        word = "being cancelled" if state.is_cancelling else state.state
        if word != self._run:
            told = f": {_counts(state.benchmarks)}" if self._run is None and state.benchmarks else ""
            self._say(f"run {state.run_id} {word}{told}")
        for step in state.steps:
            key, known = (step.path, step.index), self._known.get((step.path, step.index))
            self._known[key] = step.state
            # who joins late is told how many, not which ones, are done or still to do
            news = known != step.state if self._run is not None else step.state in ("running", "failed")
            if news and (step.index is not None or step.state == "failed") and (known or step.state != "pending"):
                self._say(f"{step.title} {step.state}{f': {step.error}' if step.error else ''}")
        self._run = word

    def _say(self, line: str) -> None:
        # one goes on waiting although nobody reads the progress any more
        with suppress(OSError):
            self._write(clean(line))


def _table(state: RunState, height: int) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    shown.add_column(no_wrap=True)
    shown.add_column(no_wrap=True)
    steps = [step for step in state.steps if step.index is not None or step.state in ("running", "failed")]
    steps = sorted(steps, key=lambda step: _ORDER.index(step.state) if step.state in _ORDER else len(_ORDER))
    shown_steps = steps if len(steps) <= height else steps[: max(height - 1, 1)]
    for step in shown_steps:
        shown.add_row(Text(clean(step.title)), Text(step.state, style=_STYLES.get(step.state, "")))
    if len(shown_steps) < len(steps):
        shown.add_row(Text(f"and {_counts(steps[len(shown_steps) :])}"), "")
    word = "being cancelled" if state.is_cancelling else state.state
    # a line of its own: as a row it would make the first column as wide as itself
    return Group(shown, Text(clean(f"run {state.run_id} {word}: {_counts(state.benchmarks)}"), style="bold"))


def _counts(steps: Sequence[Step]) -> str:
    counted = Counter(step.state for step in steps)
    return ", ".join(f"{counted[word]} {word}" for word in _ORDER if counted[word]) or "no benchmarks are known"


def show_state(connection: Connection, state: RunState) -> None:
    """Print what a run is doing, and where more of it is."""
    word = "being cancelled" if state.is_cancelling else state.state
    click.echo(f"run       {state.run_id} {clean(state.name)}")
    click.echo(f"state     {word}{', archived' if state.is_archived else ''}")
    for name, moment in (("started", state.created_at), ("ended", state.finished_at)):
        if moment is not None:
            click.echo(f"{name:<10}{moment.isoformat(sep=' ', timespec='seconds')}")
    click.echo(f"dashboard {connection.run_page(state.run_id)}")
    if str(state.parameters.get("mlflow_uri") or "").startswith(("http://", "https://")):
        from evalhub_components.records.tracking import address

        where = address(str(state.parameters["mlflow_uri"]))
        click.echo(f"mlflow    {clean(where)}, the run with the tag evalhub.run_id = {state.run_id}")
    # of a pipeline that is not ours, or not there any more, there are only tasks
    listed = state.benchmarks or state.steps
    if listed:
        click.echo()
        numbers = ["" if step.index is None else f"{step.index:03d}" for step in listed]
        rows = [
            [number, step.title, step.state, step.error or ""] for number, step in zip(numbers, listed, strict=True)
        ]
        output.table(["#", "benchmark" if state.benchmarks else "task", "state", ""], rows)
    # of a group that failed a task in it tells more
    for step in state.steps:
        if step.index is None and step.state == "failed":
            click.echo(
                f"failed    {clean(step.title)}: see {output.command('evalhub-kfp', 'logs', state.run_id, step.name)}"
            )


def show_record(record: RunRecord, *, key: str | None = None) -> None:
    """Print a recorded verdict, and where it was read.

    Args:
        key: file of the public key that the evidence was checked with.
    """
    if record.full is not None:
        judging.show(record.full)
    else:
        output.headline(record.verdict, "")
        if record.reason:
            click.echo(f"  {clean(record.reason)}")
    click.echo()
    if record.evidence is not None:
        click.echo(f"evidence  {record.where}")
        checked = ["--key", key] if key else []
        click.echo(f"          verify it: {output.command('evalhub-kfp', 'verify', record.evidence, *checked)}")
    if record.mlflow_run_id is not None:
        click.echo(f"mlflow    {clean(record.where)}")


def show_notes(state: RunState, record: RunRecord) -> None:
    """Say on standard error what is odd about a record: where it was not, and a colour that says something else."""
    for note in record.notes:
        click.echo(f"warning: {clean(note)}", err=True)
    if record.verdict == "pass" and state.state == "failed":
        failed = next((step for step in state.steps if step.state == "failed" and step.kind != "group"), None)
        logs = output.command("evalhub-kfp", "logs", state.run_id, failed.name) if failed else ""
        why = f" ({failed.title} failed; {logs})" if failed else ""
        click.echo(f"warning: the run is red although the verdict it recorded is pass{clean(why)}", err=True)
    elif record.verdict != "pass" and state.state == "completed":
        click.echo(f"warning: the run is green although the verdict it recorded is {record.verdict}", err=True)


def as_json(
    connection: Connection, state: RunState, record: RunRecord | None = None, problem: str | None = None
) -> dict[str, Any]:
    """Return everything that is known of a run; `problem` is why its verdict cannot be told."""
    return {
        "run_id": state.run_id,
        "name": state.name,
        "state": state.state,
        "kfp_state": state.kfp_state,
        "is_over": state.is_over,
        "created_at": state.created_at.isoformat() if state.created_at else None,
        "finished_at": state.finished_at.isoformat() if state.finished_at else None,
        "dashboard": connection.run_page(state.run_id),
        "experiment_id": state.experiment_id,
        "pipeline_version_id": state.pipeline_version_id,
        "benchmarks": [
            {
                "index": step.index,
                "provider_id": step.provider_id,
                "benchmark_id": step.benchmark_id,
                "state": step.state,
                "task": step.name,
                "error": step.error,
            }
            for step in state.benchmarks
        ],
        "tasks": [
            {"task": step.path, "kind": step.kind, "state": step.state, "error": step.error}
            for step in state.steps
            if step.index is None
        ],
        "verdict": record.verdict if record else None,
        "verdict_problem": problem,
        "record": _record_as_json(record) if record else None,
    }


def _record_as_json(record: RunRecord) -> dict[str, Any]:
    return {
        "source": record.source,
        "reason": record.reason,
        "evidence": record.evidence,
        "is_signed": record.is_signed,
        "mlflow_tracking_uri": record.mlflow_uri,
        "mlflow_experiment_id": record.mlflow_experiment_id,
        "mlflow_run_id": record.mlflow_run_id,
        "verdict": record.full.as_json() if record.full else None,
    }
