"""What is not the same in several runs, every fact by itself and in brief."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from evalhub_components.records.comparison.matching import Row
from evalhub_components.records.comparison.run_facts import BenchmarkFacts, Facts, RunFacts
from evalhub_components.schema.document import Document

About = Literal["run", "data", "settings", "machine", "framework"]
Values = tuple[str | None, ...]


class Difference(Document):
    """A fact that is not the same in all runs.

    Attributes:
        about: what it is a fact of: the run, or of its benchmarks the data, the settings in the plan, the machine, or
            what the framework said it did.
        benchmarks: labels of those that it is about; empty when it is about the run.
        values: one a run; None where it is not known or there is no such thing.
    """

    about: About
    fact: str
    benchmarks: list[str]
    values: list[str | None]


class Missing(Document):
    """A record that one run lacks and another has: it is not known whether the facts in it differ.

    Attributes:
        run: position in the list of runs, from 0.
        benchmarks: labels of those whose record is missing.
    """

    run: int
    record: str
    benchmarks: list[str]


def differences(runs: Sequence[RunFacts], rows: Sequence[Row], labels: Sequence[str]) -> list[Difference]:
    """Return what is not the same, the run as a whole first; what several benchmarks share is said once."""
    whole = [
        Difference(about="run", fact=f"{group} {fact}".strip(), benchmarks=[], values=list(values))
        for group in runs[0].groups
        for fact, values in _unequal([run.groups[group] for run in runs])
    ]
    shared: dict[tuple[About, str, Values], list[str]] = {}
    parts: Mapping[About, Callable[[BenchmarkFacts], Facts | None]] = {
        "data": lambda facts: {"data": facts.data} if facts.data else None,
        "settings": lambda facts: facts.settings,
        "machine": lambda facts: facts.machine,
        "framework": lambda facts: facts.framework,
    }
    for about, of in parts.items():
        for row, label in zip(rows, labels, strict=True):
            for fact, values in _unequal([of(facts) if facts else None for facts in row]):
                shared.setdefault((about, fact, values), []).append(label)
    each = [
        Difference(about=about, fact=fact, benchmarks=benchmarks, values=list(values))
        for (about, fact, values), benchmarks in shared.items()
    ]
    # libraries are many, and seldom what one looks for
    return [*whole, *sorted(each, key=lambda difference: difference.fact.startswith("packages."))]


def missing(rows: Sequence[Row], labels: Sequence[str]) -> list[Missing]:
    """Return the records that are missing in some runs and not in others."""
    found: dict[tuple[int, str], list[str]] = {}
    for row, label in zip(rows, labels, strict=True):
        there = [facts for facts in row if facts]
        for position, facts in enumerate(row):
            if facts is None:
                continue
            if facts.machine is None and any(other.machine is not None for other in there):
                found.setdefault((position, "environment"), []).append(label)
            elif facts.framework is None and any(other.framework is not None for other in there):
                found.setdefault((position, "settings of the framework"), []).append(label)
    return [
        Missing(run=run, record=record, benchmarks=benchmarks) for (run, record), benchmarks in sorted(found.items())
    ]


def in_brief(found: Sequence[Difference], ids: Mapping[str, str]) -> list[Difference]:
    """Return fewer differences for people: what has the same cause is one of them.

    Args:
        found: as `differences` returns it.
        ids: of the benchmarks, by their labels.
    """
    return list(_without_presence(_with_equal_names(found, ids)))


def _with_equal_names(found: Sequence[Difference], ids: Mapping[str, str]) -> Iterator[Difference]:
    """Yield data and what the framework said once for all benchmarks that differ in the same runs.

    `task_hashes.arc` and `task_hashes.gsm8k` are such; their values stand for each other.
    """
    alike: dict[tuple[str, Values], list[Difference]] = {}
    for difference in found:
        name = _without_ids(difference.fact, [ids[label] for label in difference.benchmarks])
        key = (name, _pattern(difference.values))
        if difference.about not in ("data", "framework") or difference.fact.startswith("packages."):
            key = (difference.fact, (*difference.values, *difference.benchmarks))
        alike.setdefault(key, []).append(difference)
    for (name, _), several in alike.items():
        first = several[0]
        if len(several) == 1:
            yield first
            continue
        benchmarks = list(dict.fromkeys(label for difference in several for label in difference.benchmarks))
        values = [_and_more(list(dict.fromkeys(each))) for each in zip(*(one.values for one in several), strict=True)]
        yield Difference(about=first.about, fact=name, benchmarks=benchmarks, values=values)


def _without_presence(found: Iterable[Difference]) -> Iterator[Difference]:
    """Yield as one what frameworks said in some runs and not in others: other versions and ways have other settings."""
    alike: dict[Values, list[Difference]] = {}
    for number, difference in enumerate(found):
        said = {value for value in difference.values if value is not None}
        key: Values = (str(number),)
        if difference.about == "framework" and len(said) == 1:
            key = (*difference.benchmarks, *(value and "said" for value in difference.values))
        alike.setdefault(key, []).append(difference)
    for several in alike.values():
        first = several[0]
        if len(several) == 1:
            yield first
            continue
        facts = _and_more([difference.fact for difference in several])
        values = [value and "on record" for value in first.values]
        yield first.model_copy(update={"fact": facts, "values": values})


def _without_ids(fact: str, ids: Sequence[str]) -> str:
    """Return the path of a fact without the names of benchmarks, and of the parts named after them: `mmlu_law`."""
    top, *rest = fact.split(".")
    return ".".join([top, *(name for name in rest if not any(_is_of(each, name) for each in ids))])


def _is_of(benchmark: str, name: str) -> bool:
    return name.startswith(benchmark) and not name[len(benchmark) : len(benchmark) + 1].isalnum()


def _pattern(values: Sequence[str | None]) -> Values:
    """Return the same for values that are equal, and missing, in the same runs."""
    return tuple(None if value is None else str(values.index(value)) for value in values)


def _and_more(texts: Sequence[str | None]) -> str | None:
    return texts[0] if len(texts) == 1 or texts[0] is None else f"{texts[0]} and {len(texts) - 1} more"


def _unequal(facts: Sequence[Facts | None]) -> Iterator[tuple[str, Values]]:
    """Yield each fact that is not the same wherever anything is known."""
    names = dict.fromkeys(name for known in facts if known is not None for name in known)
    for name in names:
        if len({known.get(name) for known in facts if known is not None}) > 1:
            yield name, tuple(known.get(name) if known is not None else None for known in facts)
