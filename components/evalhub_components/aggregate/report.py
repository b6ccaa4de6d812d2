"""`report.md`: why the verdict is what it is, in words, for people and for pages that show Markdown."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalhub_components import atomic
from evalhub_components.aggregate.markdown import code, one_line, prose
from evalhub_components.aggregate.run_directory import LoadedRun
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import BenchmarkTest, Verdict

LIMIT = 8000
"""Characters a report has at most: MLflow cuts a longer note."""

_WORDS = {"pass": "Passed", "fail": "Failed", "inconclusive": "Inconclusive", "error": "Error: no verdict on this model"}
# the widest text in the report: all of it, or so much that a table of many lines still fits
_WIDTHS = (240, 100, 48, 20)


def render(run: LoadedRun, verdict: Verdict, publication: Publication | None = None) -> str:
    """Return the report, at most LIMIT characters long; benchmarks that do not fit are counted.

    Args:
        publication: where the records went. Without it the report depends on the results alone, which is the form that
            goes into the evidence.
    """
    for width in _WIDTHS:
        head = _head(run, verdict, width)
        tail = _notes(run, width) + _provenance(run, verdict, width) + _where(run, publication)
        table = _table(verdict.benchmarks, width, LIMIT - _length(head) - _length(tail))
        last = width == _WIDTHS[-1]
        complete = table is not None and len(table) == len(verdict.benchmarks)
        if table is not None and (complete or last or width < 100):
            lines = [*head, *table, *_folded(verdict.benchmarks, table), *tail]
            return "\n".join(lines) + "\n"
    raise AssertionError("the narrowest report is longer than its limit")
