"""`evalhub-kfp compare`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalhub_pipelines.cli import options, output

if TYPE_CHECKING:
    from evalhub_components.records.comparison.differences import Difference
    from evalhub_components.records.comparison.side_by_side import Comparison, Result, Side

# columns of a terminal: what names a fact of a run, a run, the space between columns, what is printed as sentences
_FACT = 13
_RUN = 20
_GAP = 2
_SENTENCE = 80
_WIDTH_OF_A_VALUE = 60
_WIDTH_OF_NAMES = 32
_SHOWN_DIFFERENCES = 40
_DIGEST = re.compile(r"\b((?:sha256:)?[0-9a-f]{12})[0-9a-f]{52}\b")


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
    _show_benchmarks(found)
    _show_remarks(found)
    _show_legend(found)
    _show_differences(found)


def _groups(count: int) -> Iterator[list[int]]:
    """Yield the runs that share a table, the first always one of them: as many as a terminal has room for."""
    room = next((n for n in range(count, 2, -1) if not output.is_narrow(_FACT + n * (_GAP + _RUN))), 2)
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


def _show_benchmarks(found: Comparison) -> None:
    """Print the scores: a column a run, or a line a run where there is no room for columns."""
    from evalhub_components.records.comparison import side_by_side

    cells = [[_cells(result) for result in row.results] for row in found.benchmarks]
    words = [
        [side_by_side.in_words(one.against_first) if one and one.against_first else "" for one in row.results]
        for row in found.benchmarks
    ]
    numbers = [str(number) for number in range(1, len(found.runs) + 1)]
    texts = [[" ".join(filter(None, cell)) for cell in row] for row in cells]
    if len(numbers) == 2:
        # two runs leave room for what is said of both in a column of its own
        columns = ["benchmark", *numbers, "2 against 1"]
        texts = [[*row, said[1]] for row, said in zip(texts, words, strict=True)]
    else:
        columns = ["benchmark", *numbers]
        texts = [
            [", ".join(filter(None, both)) for both in zip(row, said, strict=True)]
            for row, said in zip(texts, words, strict=True)
        ]
    rows = [[row.label, *line] for row, line in zip(found.benchmarks, texts, strict=True)]
    click.echo()
    if not output.is_narrow(sum(max(map(len, column)) + _GAP for column in zip(columns, *rows, strict=True)) - _GAP):
        output.table(columns, rows)
        return
    widths = [max(map(len, column)) for column in zip(*(cell for row in cells for cell in row), strict=True)]
    for benchmark, row, said in zip(found.benchmarks, cells, words, strict=True):
        click.echo(output.clean(benchmark.label))
        for number, cell, text in zip(numbers, row, said, strict=True):
            parts = [number.rjust(len(numbers[-1])), *map(str.ljust, cell, widths), text]
            click.echo(output.clean("  " + (" " * _GAP).join(parts)).rstrip())


def _cells(result: Result | None) -> tuple[str, str, str]:
    """Return `0.12 (0.88)`, `±0.05` and `pass`: in brackets the normalised score where that is another number."""
    from evalhub_components.scoring.comparison import shown

    if result is None:
        return "", "", "absent"
    if result.score is None or result.normalized_score is None:
        return "", "", result.outcome
    normalised = f" ({shown(result.normalized_score)})" if _is_converted(result) else ""
    bounds = f"±{shown(result.normalized_score - result.interval[0], 2)}" if result.interval else ""
    return shown(result.score) + normalised, bounds, result.outcome


def _is_converted(result: Result) -> bool:
    """Return whether score and normalised score are shown as two numbers."""
    from evalhub_components.scoring.comparison import shown

    if result.score is None or result.normalized_score is None:
        return False
    return shown(result.normalized_score) != shown(result.score)


def _show_remarks(found: Comparison) -> None:
    """Print what must not be compared, what has no score and what is not known."""
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
    lines = [f"{_listed(labels, found)}{text}" for text, labels in remarks.items()]
    for gap in found.missing:
        which = gap.benchmarks[0] if len(gap.benchmarks) == 1 else f"{len(gap.benchmarks)} benchmarks"
        lines.append(f"run {gap.run + 1}: no {gap.record} on record for {which}")
    if lines:
        click.echo()
    for line in lines:
        click.echo(f"! {output.clean(line)}")


def _show_legend(found: Comparison) -> None:
    """Print what the tables mean: of signs and words only those that are in them."""
    import textwrap

    from evalhub_components.records.comparison import side_by_side

    results = [result for row in found.benchmarks for result in row.results if result]
    againsts = [side.against_first for side in found.runs] + [result.against_first for result in results]
    words = [side_by_side.in_words(against) for against in againsts if against and against.difference is not None]
    converted = any(map(_is_converted, results))
    # ± stands at scores of benchmarks, bounds at overall scores
    names = (
        "±" if any(result.interval for result in results) else "",
        "bounds" if any(side.interval for side in found.runs) else "",
    )
    signs = " and ".join(filter(None, names))
    legend = ""
    if any(result.score is not None for result in results):
        legend += f"Scores are in the metric's units{' (normalised in brackets: 1 is best)' if converted else ''}"
        legend += f"; {signs}: one-sided{', normalised' if converted else ''}. " if signs else ". "
    if words:
        legend += "Against 1: normalised, unpaired, one benchmark at a time"
        if any("in doubt" in text for text in words):
            legend += f"; in doubt: {found.confidence:.0%} do not rule out that there is no difference"
        legend += ". No verdict depends on it."
    if legend:
        click.echo()
        click.echo(textwrap.fill(legend, _SENTENCE))


def _show_differences(found: Comparison) -> None:
    """Print what is not the same, and then what of the runs as a whole is."""
    from evalhub_components.records.comparison import differences

    brief = differences.in_brief(found.differences, {row.label: row.benchmark_id for row in found.benchmarks})
    listed = brief[:_SHOWN_DIFFERENCES]
    click.echo()
    if not listed:
        click.echo("nothing differs in what is known of model, plan, data and environment")
    elif len(found.runs) == 2:
        rows = [[_fact(each, found), *map(_short, each.values)] for each in listed]
        output.table(["what differs", "1", "2"], rows)
    else:
        rows = [line for each in listed for line in _by_value(each, found)]
        output.table(["what differs", "is", "in"], rows)
    if len(brief) > len(listed):
        click.echo(f"and {len(brief) - len(listed)} more (--format json has them all)")
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
    """Return a fact and how many benchmarks it is about, their names where these are short."""
    names, count, total = ", ".join(difference.benchmarks), len(difference.benchmarks), len(found.benchmarks)
    if count > 1 and (count == total or len(names) > _WIDTH_OF_NAMES):
        names = f"{count} benchmarks" if count == total else f"{count} of {total} benchmarks"
    return f"{names}: {difference.fact}" if names else difference.fact


def _listed(labels: Sequence[str], found: Comparison) -> str:
    """Return what a remark is about, empty for the whole run and for every benchmark of several."""
    if not labels or len(labels) == len(found.benchmarks) > 1:
        return ""
    more = f" and {len(labels) - 2} more" if len(labels) > 2 else ""
    return f"{', '.join(labels[:2])}{more}: "


def _short(value: str | None) -> str:
    from evalhub_components.records.markdown import cut

    return "-" if value is None else cut(_DIGEST.sub(r"\1", value), _WIDTH_OF_A_VALUE)
