"""Scores, bounds and thresholds as positions on a line from 0, the worst, to 1, the best."""

from __future__ import annotations

from typing import NamedTuple

from evalhub_components.records import wording
from evalhub_components.schema.plan import BenchmarkTask
from evalhub_components.schema.verdict import BenchmarkTest, Verdict
from evalhub_components.scoring.benchmark_score import normalized_threshold
from evalhub_components.scoring.comparison import shown

# room at both ends, so that a mark at 0 or 1 is seen whole
_MARGIN = 3.0


class Line(NamedTuple):
    """What one line shows; positions are percentages of its width, empty for what there is not.

    Attributes:
        label: the same in words.
    """

    point: str
    low: str
    high: str
    threshold: str
    label: str


def overall(verdict: Verdict) -> Line:
    """Return the line of the overall score; without one, its bounds for any value of the missing scores."""
    bounds = verdict.interval if verdict.score is not None else verdict.score_bounds
    return _line(verdict.score, bounds, verdict.threshold)


def benchmark(task: BenchmarkTask, test: BenchmarkTest, confidence: float) -> Line:
    """Return the line of one benchmark."""
    score, reach = test.normalized_score, wording.reach(test, confidence)
    bounds = None if score is None or reach is None else (score - reach, score + reach)
    return _line(score, bounds, normalized_threshold(task))


def at(value: float) -> str:
    """Return the position of a normalised value; what lies outside of the line is at its end."""
    return f"{_MARGIN + (100 - 2 * _MARGIN) * min(1.0, max(0.0, value)):.5g}%"


def _line(score: float | None, bounds: tuple[float, float] | None, threshold: float | None) -> Line:
    words = [f"score {shown(score)} of 1" if score is not None else "no score"]
    if bounds is not None:
        words.append(f"bounds {shown(bounds[0])} and {shown(bounds[1])}")
    words.append(f"threshold {shown(threshold)}" if threshold is not None else "no threshold")
    low, high = (at(bounds[0]), at(bounds[1])) if bounds is not None else ("", "")
    return Line(
        point="" if score is None else at(score),
        low=low,
        high=high,
        threshold="" if threshold is None else at(threshold),
        label=", ".join(words),
    )
