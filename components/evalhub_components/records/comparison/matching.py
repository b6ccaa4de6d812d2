"""Which benchmarks of several runs are the same, and whether their scores say anything about each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from evalhub_components.records.comparison.run_facts import BenchmarkFacts, RunFacts

Row = list[BenchmarkFacts | None]
"""One benchmark in every run, None in those that lack it."""


def matched(runs: Sequence[RunFacts]) -> list[Row]:
    """Return the benchmarks of all runs, each of a run in a row of its own, equal ones in the same row.

    Benchmarks that fit best find each other first, so that one listed twice with other settings stays apart.
    """
    rows: list[Row] = []
    for position, run in enumerate(runs):
        left = list(run.benchmarks)
        for strictness in range(len(left[0].same) if left else 0):
            free: dict[str, list[Row]] = {}
            for row in rows:
                if row[position] is None:
                    for key in dict.fromkeys(each.same[strictness] for each in row if each):
                        free.setdefault(key, []).append(row)
            for facts in list(left):
                found = next((row for row in free.get(facts.same[strictness], []) if row[position] is None), None)
                if found is not None:
                    found[position] = facts
                    left.remove(facts)
        rows += [[facts if place == position else None for place in range(len(runs))] for facts in left]
    return rows


def labels(rows: Sequence[Row]) -> list[str]:
    """Return a name for each row: no longer than it takes to tell them apart."""
    firsts = [next(facts for facts in row if facts) for row in rows]
    several = len({facts.task.provider_id for facts in firsts}) > 1
    names = [(f"{f.task.provider_id}/" if several else "") + f.task.benchmark_id for f in firsts]
    times = Counter(names)
    return [f"{name} (#{n})" if times[name] > 1 else name for n, name in enumerate(names)]


def obstacles(first: BenchmarkFacts, other: BenchmarkFacts) -> Iterator[str]:
    """Yield why two scores say nothing about each other."""
    if first.data and other.data:
        if first.data != other.data:
            yield "not the same data"
    elif first.sample_ids and other.sample_ids and first.sample_ids != other.sample_ids:
        yield "not the same examples"
    if first.task.parameters != other.task.parameters or first.task.num_few_shot != other.task.num_few_shot:
        yield "not the same parameters"
    one, two = first.task.primary_score, other.task.primary_score
    if (one.metric, one.lower_is_better) != (two.metric, two.lower_is_better):
        yield "not the same metric"
    elif one.range != two.range:
        yield "not the same range"


def cautions(first: BenchmarkFacts, other: BenchmarkFacts) -> Iterator[str]:
    """Yield what else to know of two scores."""
    if first.test.score is None or other.test.score is None:
        return
    if not (first.data and other.data) and not (first.sample_ids and other.sample_ids):
        yield "it is not known whether the data is the same"
    counts = first.test.num_evaluated, other.test.num_evaluated
    if None not in counts and counts[0] != counts[1]:
        yield f"{counts[0]} and {counts[1]} examples"
    elif first.data and first.sample_ids and other.sample_ids and first.sample_ids != other.sample_ids:
        yield "other examples"
    if first.task.seed != other.task.seed:
        yield f"seeds {first.task.seed} and {other.task.seed}"
