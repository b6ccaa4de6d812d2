"""`report.md`: why the verdict is what it is, in words, for people and for pages that show Markdown."""

from __future__ import annotations

import itertools
import json
import shlex
from collections import Counter
from collections.abc import Sequence

from evalhub_components.records import wording
from evalhub_components.records.markdown import code, prose
from evalhub_components.records.next_steps import Step, next_steps
from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import BenchmarkTest, Verdict
from evalhub_components.scoring.comparison import shown

LIMIT = 8000
"""Characters a report has at most: MLflow cuts a longer note."""

# characters of any one text of unknown length; the narrowest leaves room for a table whatever the texts are
_WIDTHS = (240, 100, 48)
_TABLE = 1500  # characters of a table that still shows something
_LISTED = 5
_FOLDED_CHARACTERS = 120


def render(run: LoadedRun, verdict: Verdict, publication: Publication | None = None) -> str:
    """Return the report, at most LIMIT characters long; benchmarks that do not fit are counted.

    Args:
        publication: where the records went. Without it the report depends on the run's results alone: that is the form
            which goes into the evidence.
    """
    environments = wording.environments(run)
    steps = next_steps(run, verdict, local=wording.is_local(run, publication), publication=publication)
    tests = sorted(verdict.benchmarks, key=wording.interest)
    for width in _WIDTHS:
        head = _head(run, verdict, wording.other_criteria(publication), steps, width)
        provenance = [*_provenance(run, verdict, width), *(f"- {prose(text, width)}" for text in environments)]
        tail = [*_notes(run, width), *provenance, *_where(run, publication)]
        room = LIMIT - _size([*head, *tail]) - _FOLDED_CHARACTERS
        # the table gives way before the rest does
        for narrower in _WIDTHS:
            rows = _rows(verdict, tests, narrower)
            if _size(rows) <= room:
                return _joined(head, rows, tail)
        if room >= _TABLE:
            break
    return _joined(head, _folded(tests, rows, room), tail)


def _size(lines: Sequence[str]) -> int:
    return sum(len(line) + 1 for line in lines)


def _joined(*parts: Sequence[str]) -> str:
    return ("\n".join(itertools.chain(*parts)) + "\n")[:LIMIT]


def _head(run: LoadedRun, verdict: Verdict, again: str, steps: Sequence[Step], width: int) -> list[str]:
    model, collection = code(run.record.model_name, width), code(verdict.collection_id, width)
    first, *others = wording.reasons(verdict)
    lines = [
        f"# Evaluation {code(run.record.name or run.record.run_id, width)}",
        "",
        f"**{wording.DECISIONS[verdict.verdict]}**: {model} on collection {collection} version "
        f"{prose(verdict.collection_version, width)}: {prose(first, 2 * width)}.",
        "",
        *(f"- {prose(reason, 2 * width)}" for reason in others[:_LISTED]),
        *([f"- and {len(others) - _LISTED} more"] if len(others) > _LISTED else []),
        *([""] if others else []),
    ]
    if again:
        lines += [f"**{prose(again[0].upper() + again[1:], 2 * width)}.**", ""]
    if verdict.limited:
        lines += [f"**{wording.LIMITED}**", ""]
    lines += [
        "## What to do",
        "",
        *map(_step, steps),
        "",
        f"| overall score | {wording.overall(verdict)} |",
        "| --- | --- |",
        f"| threshold | {wording.overall_threshold(verdict)} |",
        f"| job | {verdict.state} |",
        "",
        f"| # | benchmark | result | score | {wording.confidence(verdict)} bounds | threshold | weight | examples "
        "| reason |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    return lines


def _step(step: Step) -> str:
    return f"1. {prose(step.text, len(step.text))}" + (f" {_command(*step.command)}" if step.command else "")


def _rows(verdict: Verdict, tests: Sequence[BenchmarkTest], width: int) -> list[str]:
    called = wording.names(verdict)
    return [_row(test, called[test.benchmark_index], verdict.confidence, width) for test in tests]


def _row(test: BenchmarkTest, name: str, confidence: float, width: int) -> str:
    outcome, mark = wording.outcome(test), wording.mark(test)
    result = f"**{outcome}**" if outcome in ("fail", "error") else outcome
    cells = [
        str(test.benchmark_index),
        code(name, width),
        f"{result}, {mark}" if mark else result,
        _score(test, width),
        wording.bounds(test, confidence),
        wording.threshold(test),
        shown(test.weight),
        wording.examples(test),
        prose(test.reason, width),
    ]
    return f"| {' | '.join(cells)} |"


def _score(test: BenchmarkTest, width: int) -> str:
    if test.score is None:
        return "-"
    return f"{shown(test.score)} {code(test.metric, width)}{', lower is better' if test.lower_is_better else ''}"


def _folded(tests: Sequence[BenchmarkTest], rows: Sequence[str], room: int) -> list[str]:
    """Return the first rows, as many as there is room for, and a count of the rest."""
    sizes = itertools.accumulate(len(row) + 1 for row in rows)
    kept = sum(size <= room for size in sizes)
    rest = Counter(map(wording.outcome, tests[kept:]))
    counts = ", ".join(f"{count} {word}" for word, count in sorted(rest.items()))
    return [*rows[:kept], "", f"{len(tests) - kept} more are in verdict.json: {counts}."]


def _notes(run: LoadedRun, width: int) -> list[str]:
    if not run.notes:
        return []
    more = [f"- and {len(run.notes) - _LISTED} more"] if len(run.notes) > _LISTED else []
    return ["", "## Left out", "", *(f"- {prose(note, width)}" for note in run.notes[:_LISTED]), *more]


def _provenance(run: LoadedRun, verdict: Verdict, width: int) -> list[str]:
    record, fingerprint = run.record, run.fingerprint
    model = f"{code(record.model_name, width)} at {code(record.model_url, width)}"
    lines = ["", "## Model and provenance", "", f"- model {model}"]
    if fingerprint is None:
        lines.append("- fingerprint: none")
    else:
        answers = code(fingerprint.answers, 80) if fingerprint.answers else "none"
        lines.append(f"- fingerprint: identity {code(fingerprint.identity, 80)}, answers {answers}")
        if fingerprint.missing:
            lines.append(f"- the server did not give: {prose(', '.join(fingerprint.missing), width)}")
    if record.judge:
        known = f", fingerprint {code(record.judge.fingerprint, 80)}" if record.judge.fingerprint else ""
        lines.append(f"- answers judged by {code(record.judge.name, width)} at {code(record.judge.url, width)}{known}")
    if record.declared_environment:
        declared = json.dumps(record.declared_environment, ensure_ascii=False, sort_keys=True)
        lines.append(f"- declared of the server, not checked: {code(declared, width)}")
    lines += [
        f"- plan {code(verdict.plan_digest, 80)}",
        f"- run {code(record.run_id, width)}, job {code(record.job_id, width)}, from {code(record.started_at, 40)}"
        f" to {code(record.completed_at or '', 40)}",
        f"- evalhub-kfp {code(record.package_version, 40)}, engine {code(record.engine, 40)}",
    ]
    return lines


def _where(run: LoadedRun, publication: Publication | None) -> list[str]:
    lines = [
        "",
        "## Where to look",
        "",
        "- each benchmark's results, samples, log and the framework's own files: `benchmarks/<slug>/`",
    ]
    if publication is None:
        return [*lines, "- every file is as it was: `sha256sum -c SHA256SUMS`"]
    local = wording.is_local(run, publication)
    if local:
        lines.append(f"- judge it again: {_command('evalhub-kfp', 'judge', str(run.path))}")
    if publication.evidence_digest:
        lines += _evidence(publication, local)
    if publication.mlflow_run_id:
        uri = publication.mlflow_tracking_uri or ""
        lines.append(
            f"- MLflow run {code(publication.mlflow_run_id, 80)} of experiment "
            f"{code(publication.mlflow_experiment_id or '', 80)} at {code(uri, 300)}"
        )
        if uri.startswith("sqlite:"):
            lines.append(f"- look at it: {_command('mlflow', 'ui', '--backend-store-uri', uri)}")
    return [*lines, *(f"- **warning**: {prose(warning, 300)}" for warning in publication.warnings[:_LISTED])]


def _evidence(publication: Publication, local: bool) -> list[str]:
    """Return where the evidence is, who signed it and how to check both."""
    signed = f"signed with key {code(publication.evidence_key_id, 80)}" if publication.evidence_key_id else "not signed"
    lines = [f"- evidence {code(publication.evidence_digest or '', 80)}, {signed}"]
    if publication.evidence_pushed:
        lines.append(f"- it is in {code(publication.evidence_reference or '', 300)}")
    else:
        place = code(publication.evidence_reference or "", 300) if local else "the artifact `evidence` of this task"
        lines.append(f"- it is in {place}, an OCI image layout, and was not pushed to a registry")
    if verify := wording.verify_command(publication, local=local):
        lines.append(f"- verify it: {_command(*verify)}")
    if publication.evidence_pushed:
        address = publication.evidence_address or ""
        lines.append(f"- read it: {_command('evalhub-kfp', 'pull', address, 'evidence')}")
    return lines


def _command(*words: str) -> str:
    return code(shlex.join(words), 400)
