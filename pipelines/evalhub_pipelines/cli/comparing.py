"""`evalhub-kfp compare`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalhub_pipelines.cli import options, output

if TYPE_CHECKING:
    from evalhub_components.records.comparison.side_by_side import Comparison, Difference, Result, Side

# columns that a terminal must have: of a benchmark's name, of a run and of one with all that is known of its scores
_LABEL = 28
_COLUMN = 24
_WIDE_COLUMN = 60
_WIDE = 120
_WIDTH_OF_A_VALUE = 60
_SHOWN_DIFFERENCES = 40
_DIGEST = re.compile(r"sha256:([0-9a-f]{12})[0-9a-f]{52}")


@click.command(short_help="show runs side by side, and what differs")
@click.argument("runs", metavar="RUN RUN ...", nargs=-1)
@options.registry
@options.output_format
def compare(runs: tuple[str, ...], registry_secret: str | None, ca: Path | None, form: str) -> None:
    """show runs side by side: verdicts, scores, how each compares with the first, and what else differs

    A RUN is a run directory, a folder that `pull` wrote, an OCI layout, or a reference to a registry. Whether a
    difference of scores is in doubt is a statement about noise: no verdict depends on it.

    Exit status: 0 shown, whatever the verdicts are, 1 evidence was tampered with, 2 error.
    """
    from evalhub_pipelines import api

    if len(runs) < 2:
        raise click.UsageError("name at least two runs")
    found = api.compare(*runs, registry_secret=registry_secret, ca=ca)
    if form != "table":
        output.emit(found.as_json(), form)
        return
    for number, side in enumerate(found.runs, 1):
        click.echo(f"{number}  {output.clean(side.name)}")
    for group in _groups(len(found.runs)):
        _show_verdicts(found.runs, group)
        _show_benchmarks(found, group)
    _show_remarks(found)
    _show_differences(found)


def _groups(count: int) -> Iterator[list[int]]:
    """Yield the runs that share a table, the first always one of them: as many as a terminal has room for."""
    room = next((n for n in range(count, 2, -1) if not output.is_narrow(_LABEL + n * _COLUMN)), 2)
    others = list(range(1, count))
    for start in range(0, len(others), room - 1):
        yield [0, *others[start : start + room - 1]]


def _show_verdicts(sides: Sequence[Side], group: Sequence[int]) -> None:
    from evalhub_components.records.comparison import side_by_side
    from evalhub_components.scoring.comparison import shown

    facts: dict[str, Callable[[Side], str]] = {
        "verdict": lambda side: side.verdict,
        "": lambda side: "limited" if side.limited else "",
        "overall score": lambda side: "-" if side.score is None else shown(side.score),
        "bounds": lambda side: " to ".join(map(shown, side.interval)) if side.interval else "-",
        "threshold": lambda side: f"{shown(side.threshold)}, {side.gate_mode}",
        "against 1": lambda side: side_by_side.in_words(side.against_first) if side.against_first else "",
        "model": lambda side: side.model_name,
        "collection": lambda side: side.collection,
        "started": lambda side: side.started_at,
    }
    rows = [[name, *(say(sides[position]) for position in group)] for name, say in facts.items()]
    click.echo()
    output.table(["", *(str(position + 1) for position in group)], [row for row in rows if any(row[1:])])


def _show_benchmarks(found: Comparison, group: Sequence[int]) -> None:
    from evalhub_components.records.comparison import side_by_side

    columns = ["benchmark", *(str(position + 1) for position in group)]
    in_pair = len(group) == 2
    brief = output.is_narrow(_WIDE if in_pair else _LABEL + len(group) * _WIDE_COLUMN)
    rows = []
    for row in found.benchmarks:
        results = [row.results[position] for position in group]
        cells = [_result(result, brief) for result in results]
        words = [side_by_side.in_words(one.against_first) if one and one.against_first else "" for one in results]
        if in_pair:
            # two runs leave room for what is said of both in a column of its own
            rows.append([row.label, *cells, words[1]])
        else:
            rows.append([row.label, *(", ".join(filter(None, both)) for both in zip(cells, words, strict=True))])
    click.echo()
    output.table([*columns, f"{group[1] + 1} against 1"] if in_pair else columns, rows)


def _result(result: Result | None, brief: bool) -> str:
    """Return `0.12 (0.88) ±0.05 pass`: in brackets the normalised score where that is another number."""
    from evalhub_components.scoring.comparison import shown

    if result is None:
        return "absent"
    if result.score is None or result.normalized_score is None:
        return result.outcome
    parts = [shown(result.score)]
    if not brief:
        if shown(result.normalized_score) != parts[0]:
            parts.append(f"({shown(result.normalized_score)})")
        if result.interval is not None:
            parts.append(f"±{shown(result.normalized_score - result.interval[0], 2)}")
    return " ".join([*parts, result.outcome])


def _show_remarks(found: Comparison) -> None:
    """Print what must not be compared, what has no score, and what the tables mean."""
    remarks: dict[str, list[str]] = {}
    for number, side in enumerate(found.runs, 1):
        for text in side.against_first.not_comparable if side.against_first else ():
            remarks[f"overall scores of 1 and {number} are not comparable: {text}"] = []
    for row in found.benchmarks:
        for number, result in enumerate(row.results, 1):
            if result is None:
                continue
            if result.score is None:
                remarks[f"{row.label} in {number}: {result.reason}"] = []
            for text in result.against_first.not_comparable if result.against_first else ():
                remarks.setdefault(f"scores of 1 and {number} are not comparable: {text}", []).append(row.label)
            for text in result.against_first.cautions if result.against_first else ():
                remarks.setdefault(f"{text} in 1 and {number}", []).append(row.label)
    click.echo()
    for text, labels in remarks.items():
        click.echo(f"! {_listed(labels, found)}{output.clean(text)}")
    if remarks:
        click.echo()
    click.echo("Score in the metric's units (normalised in brackets: 1 is best); ± and bounds are one-sided.")
    click.echo(
        f"Better and worse: normalised, unpaired, one benchmark at a time; in doubt: {found.confidence:.0%} do not"
    )
    click.echo("rule out that there is no difference. No verdict depends on it.")


def _show_differences(found: Comparison) -> None:
    """Print what is not the same, and then what of the runs as a whole is."""
    click.echo()
    listed = found.differences[:_SHOWN_DIFFERENCES]
    if not listed:
        click.echo("nothing differs in what is known of model, plan, data and environment")
    elif len(found.runs) == 2:
        rows = [[_fact(each, found), *map(_short, each.values)] for each in listed]
        output.table(["what differs", "1", "2"], rows)
    else:
        rows = [line for each in listed for line in _by_value(each, found)]
        output.table(["what differs", "is", "in"], rows)
    if len(found.differences) > len(listed):
        click.echo(f"and {len(found.differences) - len(listed)} more (--format json has them all)")
    same = [[name, _short(value)] for name, value in _same(found.runs)]
    if same:
        click.echo()
        output.table(["the same", ""], same)


def _by_value(difference: Difference, found: Comparison) -> Iterator[list[str]]:
    """Yield a line a value with the runs that have it."""
    numbers: dict[str | None, list[str]] = {}
    for number, value in enumerate(difference.values, 1):
        numbers.setdefault(value, []).append(str(number))
    for position, (value, runs) in enumerate(numbers.items()):
        yield ["" if position else _fact(difference, found), _short(value), ", ".join(runs)]


def _same(sides: Sequence[Side]) -> Iterator[tuple[str, str]]:
    facts: dict[str, Callable[[Side], object]] = {
        "model url": lambda side: side.model_url,
        "model digest": lambda side: side.model_digest,
        "fingerprint": lambda side: side.fingerprint,
        "plan": lambda side: side.plan_digest,
        "examples limit": lambda side: side.num_examples,
        "engine": lambda side: side.engine,
        "evalhub-kfp": lambda side: side.package_version,
    }
    for name, value_of in facts.items():
        values = {value_of(side) for side in sides}
        if len(values) == 1 and None not in values:
            yield name, str(values.pop())


def _fact(difference: Difference, found: Comparison) -> str:
    return f"{_listed(difference.benchmarks, found)}{difference.fact}"


def _listed(labels: Sequence[str], found: Comparison) -> str:
    """Return what a remark is about, empty for the whole run and for every benchmark of several."""
    if not labels or len(labels) == len(found.benchmarks) > 1:
        return ""
    more = f" and {len(labels) - 2} more" if len(labels) > 2 else ""
    return output.clean(f"{', '.join(labels[:2])}{more}: ")


def _short(value: str | None) -> str:
    from evalhub_components.records.markdown import cut

    return "-" if value is None else cut(_DIGEST.sub(r"sha256:\1", value), _WIDTH_OF_A_VALUE)
