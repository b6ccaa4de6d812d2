"""The overall score: the weighted mean of the benchmarks, how certain it is, and whether it reaches the threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from evalhub_components.schema.plan import PlanHeader
from evalhub_components.schema.verdict import BenchmarkTest
from evalhub_components.scoring.comparison import in_words, reaches, shown


@dataclass(frozen=True)
class OverallScore:
    """The weighted mean of normalised scores, weight 0 left out.

    Attributes:
        value: None when a score that counts is missing.
        bounds: what `value` could be for any value of the missing scores.
        se: None as soon as one score that counts has no standard error.
        without_se: the benchmarks that are to blame for it.
    """

    value: float | None
    bounds: tuple[float, float]
    se: float | None
    without_se: tuple[str, ...]

    def interval(self, confidence: float) -> tuple[float, float] | None:
        """Return the one-sided lower and upper bound, None without a standard error."""
        if self.value is None or self.se is None:
            return None
        reach = NormalDist().inv_cdf(confidence) * self.se
        return self.value - reach, self.value + reach

    def probability(self, threshold: float) -> float | None:
        """Return the probability that the true score reaches `threshold`, None without a standard error."""
        if self.value is None or self.se is None:
            return None
        if self.se == 0:
            return float(reaches(self.value, threshold))
        return NormalDist().cdf((self.value - threshold) / self.se)


def weighted_mean(tests: Sequence[BenchmarkTest]) -> OverallScore:
    """Return the overall score of the benchmarks, of which at least one has a weight above 0."""
    counting = [test for test in tests if test.weight > 0]
    total = math.fsum(test.weight for test in counting)

    def mean(missing: float) -> float:
        return (
            math.fsum(t.weight * (missing if t.normalized_score is None else t.normalized_score) for t in counting)
            / total
        )

    bounds = mean(0.0), mean(1.0)
    complete = all(test.normalized_score is not None for test in counting)
    se = math.hypot(*(test.weight * test.se for test in counting if test.se is not None)) / total
    without_se = tuple(test.slug for test in counting if test.se is None)
    return OverallScore(
        bounds[0] if complete else None, bounds, se if complete and not without_se else None, without_se
    )


def decide(overall: OverallScore, header: PlanHeader) -> tuple[Literal["pass", "fail", "inconclusive"], str]:
    """Return what the overall test comes to, and why.

    While scores are missing, `pass` and `fail` are only what any value of them, with any standard error, would give.
    """
    if overall.value is None:
        return _decide_on_bounds(overall.bounds, header)
    score, threshold = overall.value, header.threshold
    interval = overall.interval(header.confidence)
    if header.gate_mode == "point" or (interval is None and header.gate_mode == "lenient"):
        passed = reaches(score, threshold)
        words = f"score {in_words(score, threshold, passed)}"
        if header.gate_mode == "lenient":
            # lenience is for what is known to be uncertain; it must not excuse a missing standard error
            words += f" (compared as it is: no standard error for {_listed(overall.without_se)})"
        return "pass" if passed else "fail", words
    if interval is None:
        blame = _listed(overall.without_se)
        return "inconclusive", f"gate mode assured needs a standard error and there is none for {blame}"
    low, high = interval
    confidence = f"(score {shown(score)}, confidence {shown(header.confidence)})"
    if not reaches(high, threshold):
        return "fail", f"even the upper bound {in_words(high, threshold, False)} {confidence}"
    if header.gate_mode == "lenient":
        return "pass", f"the upper bound {in_words(high, threshold, True)} {confidence}"
    if reaches(low, threshold):
        return "pass", f"even the lower bound {in_words(low, threshold, True)} {confidence}"
    within = f"[{shown(low)}, {shown(high)}]"
    return "inconclusive", f"threshold {shown(threshold)} is within the interval {within} {confidence}"


def _decide_on_bounds(
    bounds: tuple[float, float], header: PlanHeader
) -> tuple[Literal["pass", "fail", "inconclusive"], str]:
    (lowest, highest), threshold = bounds, header.threshold
    if header.gate_mode == "point" and not reaches(highest, threshold):
        return "fail", f"score at most {in_words(highest, threshold, False)}"
    # an unknown standard error can only widen the interval, which lenient allows and assured does not
    if header.gate_mode != "assured" and reaches(lowest, threshold):
        return "pass", f"score at least {in_words(lowest, threshold, True)}"
    return "inconclusive", f"score between {shown(lowest)} and {shown(highest)}, threshold {shown(threshold)}"


def _listed(slugs: Sequence[str]) -> str:
    more = f" and {len(slugs) - 3} more" if len(slugs) > 3 else ""
    return ", ".join(slugs[:3]) + more
