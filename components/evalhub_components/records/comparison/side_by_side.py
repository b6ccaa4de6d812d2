"""Runs beside each other: what each scored, how that compares with the first, and what else is not the same.

Scores of two runs are compared as if their examples had nothing to do with each other (unpaired): a statement about
noise, which no verdict depends on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist

from evalhub_components.records import wording
from evalhub_components.records.comparison import differences as differing
from evalhub_components.records.comparison import matching
from evalhub_components.records.comparison.differences import Difference, Missing
from evalhub_components.records.comparison.matching import Row
from evalhub_components.records.comparison.run_facts import BenchmarkFacts, RunFacts
from evalhub_components.schema.document import Document
from evalhub_components.schema.verdict import Decision, JobState
from evalhub_components.scoring.comparison import TOLERANCE, shown


class Against(Document):
    """How a score compares with the first run's, on the normalised scale.

    Attributes:
        difference: above 0 is better, whatever the metric's direction; None when a score is missing or the two cannot
            be compared.
        se: combined standard error, `sqrt(se1^2 + se2^2)`; None when one is missing.
        in_doubt: whether 0 is within `z * se` of the difference, two-sided; None without `se`.
        not_comparable: why the scores must not be compared.
        cautions: what else to know.
    """

    difference: float | None
    se: float | None
    in_doubt: bool | None
    not_comparable: list[str]
    cautions: list[str]


class Result(Document):
    """A benchmark in one run; score and threshold are in the metric's units, `se` and `interval` normalised.

    Attributes:
        interval: one-sided bounds at the run's confidence, as of the overall score.
        against_first: None in the first run, and when the first run lacks the benchmark.
    """

    metric: str
    lower_is_better: bool
    outcome: wording.Outcome
    score: float | None
    normalized_score: float | None
    se: float | None
    interval: tuple[float, float] | None
    threshold: float | None
    weight: float
    required: bool
    num_evaluated: int | None
    num_errors: int
    reason: str
    against_first: Against | None


class BenchmarkRow(Document):
    """A benchmark; `results` has an entry a run, None where the run lacks it."""

    label: str
    provider_id: str
    benchmark_id: str
    results: list[Result | None]


class Side(Document):
    """A run; `name` is how it was named."""

    name: str
    run_id: str
    started_at: str
    model_name: str
    model_url: str
    model_digest: str | None
    fingerprint: str | None
    collection: str
    plan_digest: str
    num_examples: int | None
    engine: str
    package_version: str
    verdict: Decision
    state: JobState
    limited: bool
    reasons: list[str]
    score: float | None
    score_se: float | None
    interval: tuple[float, float] | None
    threshold: float
    gate_mode: str
    confidence: float
    against_first: Against | None


class Comparison(Document):
    """Several runs; every list of results or values has one entry a run, in the order of `runs`.

    Attributes:
        confidence: two-sided, of what is said to be in doubt; the first run's.
    """

    schema_version: int = 1
    method: str = "unpaired"
    confidence: float
    runs: list[Side]
    benchmarks: list[BenchmarkRow]
    differences: list[Difference]
    missing: list[Missing]


def compare(runs: Sequence[RunFacts]) -> Comparison:
    """Return the runs beside each other, each compared with the first."""
    rows = matching.matched(runs)
    labels = matching.labels(rows)
    confidence = runs[0].verdict.confidence
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    return Comparison(
        confidence=confidence,
        runs=[_side(run, position, rows, runs[0], z) for position, run in enumerate(runs)],
        benchmarks=[_row(row, label, runs, z) for row, label in zip(rows, labels, strict=True)],
        differences=differing.differences(runs, rows, labels),
        missing=differing.missing(rows, labels),
    )


def in_words(against: Against) -> str:
    """Return how a score compares with the first run's, empty when nothing can be said."""
    if against.not_comparable:
        return "not comparable"
    if against.difference is None:
        return ""
    if abs(against.difference) <= TOLERANCE:
        return "the same"
    text = f"{'better' if against.difference > 0 else 'worse'} by {shown(abs(against.difference))}"
    return text + {True: ", in doubt", False: "", None: ", no standard error"}[against.in_doubt]


def _row(row: Row, label: str, runs: Sequence[RunFacts], z: float) -> BenchmarkRow:
    task = next(facts for facts in row if facts).task
    results = [
        _result(facts, row[0] if position else None, run.verdict.confidence, z) if facts else None
        for position, (facts, run) in enumerate(zip(row, runs, strict=True))
    ]
    return BenchmarkRow(label=label, provider_id=task.provider_id, benchmark_id=task.benchmark_id, results=results)


def _result(facts: BenchmarkFacts, first: BenchmarkFacts | None, confidence: float, z: float) -> Result:
    test = facts.test
    interval = None
    if test.normalized_score is not None and test.se is not None:
        reach = NormalDist().inv_cdf(confidence) * test.se
        interval = test.normalized_score - reach, test.normalized_score + reach
    return Result(
        metric=test.metric,
        lower_is_better=test.lower_is_better,
        outcome=wording.outcome(test),
        score=test.score,
        normalized_score=test.normalized_score,
        se=test.se,
        interval=interval,
        threshold=test.threshold,
        weight=test.weight,
        required=test.required,
        num_evaluated=test.num_evaluated,
        num_errors=test.num_errors,
        reason=test.reason,
        against_first=_benchmark_against(first, facts, z) if first else None,
    )


def _benchmark_against(first: BenchmarkFacts, other: BenchmarkFacts, z: float) -> Against:
    scores = [(facts.test.normalized_score, facts.test.se) for facts in (first, other)]
    obstacles = list(matching.obstacles(first, other))
    cautions = [] if obstacles else [*matching.cautions(first, other), *_beyond(first, other)]
    return _against(scores[0], scores[1], z, obstacles, cautions)


def _beyond(first: BenchmarkFacts, other: BenchmarkFacts) -> Iterator[str]:
    """Yield that two scores look alike only because a range ends below, or above, both of them."""
    (low, high), scores = first.test.range, (first.test.score, other.test.score)
    if scores[0] is None or scores[1] is None or scores[0] == scores[1]:
        return
    if min(scores[0], scores[1]) > high or max(scores[0], scores[1]) < low:
        both = " and ".join(map(shown, (scores[0], scores[1])))
        yield f"both scores, {both}, are beyond the range [{low:g}, {high:g}], where they count the same"


def _side(run: RunFacts, position: int, rows: Sequence[Row], first: RunFacts, z: float) -> Side:
    record, verdict = run.record, run.verdict
    against = None
    if position:
        scores = [(each.verdict.score, each.verdict.score_se) for each in (first, run)]
        against = _against(scores[0], scores[1], z, _overall_obstacles(rows, position), [])
    return Side(
        name=run.name,
        run_id=record.run_id,
        started_at=record.started_at,
        model_name=record.model_name,
        model_url=record.model_url,
        model_digest=record.model_digest,
        fingerprint=run.fingerprint,
        collection=f"{verdict.collection_id}@{verdict.collection_version}",
        plan_digest=record.plan_digest,
        num_examples=record.num_examples,
        engine=record.engine,
        package_version=record.package_version,
        verdict=verdict.verdict,
        state=verdict.state,
        limited=verdict.limited,
        reasons=verdict.reasons,
        score=verdict.score,
        score_se=verdict.score_se,
        interval=verdict.interval,
        threshold=verdict.threshold,
        gate_mode=verdict.gate_mode,
        confidence=verdict.confidence,
        against_first=against,
    )


def _overall_obstacles(rows: Sequence[Row], position: int) -> list[str]:
    """Return why two overall scores say nothing about each other: they are means of other things."""
    found: dict[str, None] = {}
    for row in rows:
        first, other = row[0], row[position]
        if not any(facts and facts.task.weight > 0 for facts in (first, other)):
            continue
        if first is None or other is None:
            found["not the same benchmarks"] = None
            continue
        if first.task.weight != other.task.weight:
            found["not the same weights"] = None
        found |= dict.fromkeys(matching.obstacles(first, other))
    return list(found)


def _against(
    first: tuple[float | None, float | None],
    other: tuple[float | None, float | None],
    z: float,
    obstacles: list[str],
    cautions: list[str],
) -> Against:
    difference = se = in_doubt = None
    if first[0] is not None and other[0] is not None and not obstacles:
        difference = other[0] - first[0]
        if first[1] is not None and other[1] is not None:
            se = math.hypot(first[1], other[1])
            in_doubt = abs(difference) <= z * se + TOLERANCE
    return Against(difference=difference, se=se, in_doubt=in_doubt, not_comparable=obstacles, cautions=cautions)
