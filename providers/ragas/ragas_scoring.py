"""All rows scored by all metrics, some at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ragas_answers import Answered
from ragas_metrics import Metrics, Score
from ragas_rows import Row


@dataclass
class Scored:
    """One row with what the metrics say of it.

    Attributes:
        failure: why the row counts as an error, empty when it does not.
    """

    row: Row
    response: str | None
    failure: str = ""
    scores: dict[str, Score] = field(default_factory=dict)


class _TooMany(Exception):
    """More rows failed than may."""


def score(
    metrics: Metrics,
    names: Sequence[str],
    rows: Sequence[Row],
    answers: Mapping[str, Answered],
    *,
    concurrency: int,
    max_failed: float,
    progress: Callable[[int], None],
) -> list[Scored]:
    """Return the rows in their order, each with a value of every metric or a failure.

    As soon as more than `max_failed` rows have one the others are left alone: they have no score.

    Args:
        concurrency: metrics at work at a time; each asks one question after the other.
        progress: called with the number of rows that are done.
    """
    found = [Scored(row, row.response, "was not scored") for row in rows]
    try:
        asyncio.run(_all(metrics, names, found, answers, concurrency, max_failed, progress))
    except* _TooMany:
        pass
    return found


async def _all(
    metrics: Metrics,
    names: Sequence[str],
    found: Sequence[Scored],
    answers: Mapping[str, Answered],
    concurrency: int,
    max_failed: float,
    progress: Callable[[int], None],
) -> None:
    free = asyncio.Semaphore(concurrency)
    done = failed = 0

    async def one(scored: Scored, name: str) -> None:
        async with free:
            scored.scores[name] = await metrics.score(name, scored.row.inputs(name, scored.response))

    async def every(scored: Scored) -> None:
        nonlocal done, failed
        failure = ""
        if (answered := answers.get(scored.row.id)) is not None:
            scored.response, failure = answered.text, answered.failure
        if not failure:
            async with asyncio.TaskGroup() as group:
                for name in names:
                    group.create_task(one(scored, name))
            failures = {name: scored.scores[name].failure for name in names if scored.scores[name].failure}
            failure = next((f"{name}: {why}" for name, why in failures.items()), "")
        scored.failure = failure
        done, failed = done + 1, failed + bool(failure)
        progress(done)
        if failed > max_failed:
            raise _TooMany

    try:
        async with asyncio.TaskGroup() as group:
            for scored in found:
                group.create_task(every(scored))
    finally:
        await metrics.close()
