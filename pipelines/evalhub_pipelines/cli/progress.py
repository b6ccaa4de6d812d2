"""Progress of a run on standard error: bars on a terminal, a line a finished benchmark elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from evalhub_pipelines.cli.output import clean

if TYPE_CHECKING:
    from evalhub_components.schema.plan import EvaluationPlan
    from evalhub_pipelines.processes import Listener

_STAGES = {"fingerprint": "asking the model who it is", "aggregate": "judging, keeping evidence, logging"}


@contextmanager
def shown(plan: EvaluationPlan | None, quiet: bool) -> Iterator[Listener]:
    """Yield the listener of a run that shows what happens; `plan` gives names to tasks where it is known."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if quiet or not console.is_terminal:
        yield (lambda _: None) if quiet else _lines(lambda line: click.echo(line, err=True))
        return
    columns = [
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[phase]}", markup=False),
        TimeElapsedColumn(),
    ]
    titles = {task.slug: f"{task.provider_id} / {task.benchmark_id}" for task in plan.tasks} if plan else {}
    with Progress(*columns, console=console, transient=True) as progress:
        everything = progress.add_task("all benchmarks", total=len(plan.tasks) if plan else None, phase="")
        bars: dict[str, Any] = {}
        lines = _lines(lambda line: console.print(line, markup=False))

        def listener(event: dict[str, Any]) -> None:
            if event["event"] != "status":
                lines(event)
            slug = str(event.get("slug"))
            if event["event"] == "resumed":
                progress.update(everything, completed=event["kept"], total=event["kept"] + event["left"])
            elif event["event"] == "finished":
                progress.advance(everything)
                if slug in bars:
                    progress.remove_task(bars.pop(slug))
            # a framework that runs its benchmarks together begins them all at once: bars for those that move
            elif event["event"] == "status" and (slug in bars or event.get("phase") != "initializing"):
                if slug not in bars:
                    bars[slug] = progress.add_task(titles.get(slug, slug), total=None, phase="")
                phase = (event.get("phase") or "").replace("_", " ")
                progress.update(
                    bars[slug], completed=event.get("completed") or 0, total=event.get("total"), phase=phase
                )

        yield listener


def _lines(say: Callable[[str], None]) -> Listener:
    """Return a listener that says a line for what is worth one."""

    def listener(event: dict[str, Any]) -> None:
        line = None
        if event["event"] == "stage":
            line = event.get("message") or _STAGES.get(event["stage"], event["stage"])
        elif event["event"] == "resumed":
            line = f"resumed: {event['kept']} kept, {event['left']} to run"
        elif event["event"] == "finished":
            reason = f": {event['reason']}" if event.get("reason") else ""
            seconds = f" in {event['seconds']:.1f} s" if event.get("seconds") is not None else ""
            line = f"{event['slug']} {event['status']}{seconds}{reason}"
        if line:
            # a run goes on although nobody reads its progress any more
            with suppress(OSError):
                say(clean(line))

    return listener
