"""What a benchmark took: wall time, requests and tokens, as far as the framework or the server reported them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from evalhub_components.run_directory import LoadedRun, instant
from evalhub_components.schema.results import BenchmarkResults
from evalhub_components.scoring.comparison import shown

_NAMED = ("seconds", "requests", "prompt_tokens", "completion_tokens")


class Usage(NamedTuple):
    """What one benchmark, or all of a run, took; None where nobody reported it.

    Attributes:
        wall_seconds: from the start of the task to its end, loading of data and models included.
        model_seconds: while requests to the model were under way.
        other: what else was reported, by the name it was given.
        together: how many benchmarks one process ran at once; the wall time is that of all of them.
    """

    wall_seconds: float | None = None
    model_seconds: float | None = None
    requests: float | None = None
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    other: Mapping[str, float] = {}
    together: int = 1

    @property
    def share_seconds(self) -> float | None:
        """This benchmark's even share of the wall time: shares add up to no more than anybody waited."""
        return None if self.wall_seconds is None else self.wall_seconds / self.together

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens that the model generated per second of waiting for it, all connections together."""
        return _ratio(self.completion_tokens, self.model_seconds)

    @property
    def seconds_per_request(self) -> float | None:
        """Seconds of waiting for the model per request; shorter than an answer takes when several wait at once."""
        return _ratio(self.model_seconds, self.requests)


def of(results: BenchmarkResults) -> Usage:
    """Return what one benchmark took."""
    reported = {name: value for name, value in results.usage.items() if value >= 0}
    named = (*_NAMED, "total_tokens") if {"prompt_tokens", "completion_tokens"} <= reported.keys() else _NAMED
    return Usage(
        wall_seconds=_between(results.started_at, results.completed_at),
        model_seconds=reported.get("seconds"),
        requests=reported.get("requests"),
        prompt_tokens=reported.get("prompt_tokens"),
        completion_tokens=reported.get("completion_tokens"),
        other={name: value for name, value in sorted(reported.items()) if name not in named},
    )


def in_run(run: LoadedRun, index: int) -> Usage:
    """Return what the benchmark at `index` took; those that one process ran at once have their wall time together."""
    results = run.outcomes[index].results
    if instant(results.started_at) is None:
        return of(results)
    # a process begins what it runs together at the same millisecond, and one after the other at different ones
    began = results.provider_id, results.started_at
    others = [each.results for each in run.outcomes.values()]
    group = [each for each in others if (each.provider_id, each.started_at) == began]
    ends = [seconds for each in group if (seconds := _between(each.started_at, each.completed_at)) is not None]
    return of(results)._replace(wall_seconds=max(ends, default=None), together=len(group))


def in_total(run: LoadedRun) -> Usage:
    """Return the wall time of the run, and the sums of what its benchmarks reported."""
    each = [of(outcome.results) for outcome in run.outcomes.values()]
    return Usage(
        wall_seconds=_between(run.record.started_at, run.record.completed_at or run.completed_at() or ""),
        # benchmarks run side by side: the sum of their seconds is no time that anybody waited
        model_seconds=None,
        requests=_sum(usage.requests for usage in each),
        prompt_tokens=_sum(usage.prompt_tokens for usage in each),
        completion_tokens=_sum(usage.completion_tokens for usage in each),
    )


def facts(usage: Usage) -> list[tuple[str, str]]:
    """Return what is known, each with its name, as plain text."""
    wall = _duration(usage.wall_seconds)
    if wall and usage.together > 1:
        others = usage.together - 1
        wall += f" together with {others} other{'' if others == 1 else 's'}"
    found = {
        "wall time": wall,
        "waiting for the model": _duration(usage.model_seconds),
        "requests": _number(usage.requests),
        "prompt tokens": _number(usage.prompt_tokens),
        "generated tokens": _number(usage.completion_tokens),
        "generated tokens per second": _number(usage.tokens_per_second, 3),
        "waiting per request": _duration(usage.seconds_per_request),
        **{name: shown(value) for name, value in usage.other.items()},
    }
    return [(name, text) for name, text in found.items() if text]


def duration(seconds: float) -> str:
    """Return a duration as people say it: `0.41 s`, `4 min 12 s`, `1 h 3 min`."""
    if round(seconds, 1) < 60:
        return f"{shown(seconds, 2 if seconds < 10 else 3)} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def _between(start: str, end: str) -> float | None:
    started, ended = instant(start), instant(end)
    if started is None or ended is None or ended < started:
        return None
    return (ended - started).total_seconds()


def _ratio(amount: float | None, per: float | None) -> float | None:
    ratio = amount / per if amount is not None and per else math.inf
    return ratio if math.isfinite(ratio) else None


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _duration(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _number(value: float | None, digits: int = 4) -> str:
    return "" if value is None else shown(value, digits)
