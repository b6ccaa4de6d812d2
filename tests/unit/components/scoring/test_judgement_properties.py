from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from evalhub_components.schema.plan import (
    BenchmarkTask,
    EvaluationPlan,
    PlanExecution,
    PlanHeader,
    ResolvedScore,
    ResolvedThreshold,
)
from evalhub_components.schema.results import BenchmarkResults, MetricValue, Sample
from evalhub_components.schema.verdict import Verdict
from evalhub_components.scoring.judgement import TaskOutcome, judge

# no deadline: a noisy machine is no failed property
holds = settings(deadline=None, max_examples=150)


@dataclass(frozen=True)
class Entry:
    """A benchmark and its result; `value`, `threshold` and `stderr` are in the metric's units."""

    value: Any
    threshold: float | None
    weight: float
    required: bool
    lower_is_better: bool
    range: tuple[float, float]
    stderr: float | None
    samples: tuple[float, ...] = ()
    overflow: str = "error"

    def moved(self, factor: float, offset: float) -> Entry:
        """The same in other units: each x is `factor * x + offset`."""

        def to(x: float) -> float:
            return factor * x + offset

        return replace(
            self,
            value=to(self.value),
            threshold=None if self.threshold is None else to(self.threshold),
            range=(to(self.range[0]), to(self.range[1])),
            stderr=None if self.stderr is None else factor * self.stderr,
            samples=tuple(to(x) for x in self.samples),
        )

    def mirrored(self) -> Entry:
        """The same with the other direction."""
        total = self.range[0] + self.range[1]
        return replace(
            self,
            value=total - self.value,
            threshold=None if self.threshold is None else total - self.threshold,
            samples=tuple(total - x for x in self.samples),
            lower_is_better=not self.lower_is_better,
        )

    def at(self, goodness: float) -> Entry:
        """The same with the score that is `goodness` on the normalised scale."""
        low, high = self.range
        share = 1 - goodness if self.lower_is_better else goodness
        return replace(self, value=low + share * (high - low))


@dataclass(frozen=True)
class Case:
    entries: tuple[Entry, ...]
    threshold: float
    mode: str

    def plan(self) -> EvaluationPlan:
        tasks = [
            BenchmarkTask(
                index=index,
                slug=f"{index:03d}-b",
                provider_id="p",
                benchmark_id="b",
                primary_score=ResolvedScore.model_validate(
                    {
                        "metric": "m",
                        "lower_is_better": entry.lower_is_better,
                        "range": entry.range,
                        "range_overflow": entry.overflow,
                    }
                ),
                threshold=None
                if entry.threshold is None
                else ResolvedThreshold(value=entry.threshold, source="benchmark"),
                weight=entry.weight,
                required=entry.required,
                parameters={},
                num_few_shot=None,
                num_examples=None,
                dataset_size=None,
                seed=0,
                timeout=60,
                max_error_rate=0,
                test_data_ref=None,
                hardware=None,
            )
            for index, entry in enumerate(self.entries)
        ]
        header = PlanHeader.model_validate(
            {
                "collection_id": "c",
                "collection_version": "1",
                "threshold": self.threshold,
                "threshold_source": "job",
                "gate_mode": self.mode,
                "confidence": 0.95,
                "execution": PlanExecution(batch=None, max_parallel=None, retries=0, cache=False),
                "runtimes": {},
                "task_digests": [task.digest() for task in tasks],
            }
        )
        return EvaluationPlan(header=header, tasks=tasks)

    def judged(self, order: Sequence[int] | None = None) -> Verdict:
        """The verdict over the entries in `order`; entries that it leaves out have left no results."""
        plan = self.plan()
        outcomes = {}
        for index in range(len(self.entries)) if order is None else order:
            entry = self.entries[index]
            results = BenchmarkResults.model_construct(
                provider_id="p",
                benchmark_id="b",
                benchmark_index=index,
                task_digest=plan.tasks[index].digest(),
                status="completed",
                metrics={"m": MetricValue.model_construct(value=entry.value, stderr=entry.stderr)},
                started_at="",
                completed_at="",
            )
            samples = [Sample.model_construct(id=str(i), score=x) for i, x in enumerate(entry.samples)]
            outcomes[index] = TaskOutcome(results, samples)
        return judge(plan, outcomes)


# Steps of 1/1000 and whole weights keep two numbers either equal or far apart compared with the tolerance.
UNIT = st.integers(0, 1000).map(lambda n: n / 1000)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    threshold = draw(st.none() | UNIT)
    value, samples = draw(UNIT), tuple[float, ...]()
    if draw(st.booleans()):
        right, wrong = draw(st.integers(0, 6)), draw(st.integers(1, 6))
        samples = (1.0,) * right + (0.0,) * wrong
        value = right / (right + wrong)
    return Entry(
        value=value,
        threshold=threshold,
        weight=draw(st.integers(0, 9)),
        required=threshold is not None and draw(st.booleans()),
        lower_is_better=draw(st.booleans()),
        range=(0.0, 1.0),
        stderr=draw(st.none() | st.integers(0, 300).map(lambda n: n / 1000)),
        samples=samples,
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    drawn = draw(
        st.lists(entries(), min_size=1, max_size=6).filter(lambda found: any(entry.weight > 0 for entry in found))
    )
    return Case(tuple(drawn), draw(UNIT), draw(st.sampled_from(["point", "assured", "lenient"])))


def without_words(verdict: Verdict) -> list[Any]:
    """What must not change with the units: all but the numbers in them, words and digests."""
    return [verdict.verdict, verdict.decided, verdict.state, [test.passed for test in verdict.benchmarks]]


@holds
@given(st.data(), cases())
def test_order_of_the_results_does_not_matter(data: st.DataObject, case: Case) -> None:
    order = data.draw(st.permutations(range(len(case.entries))))
    assert case.judged(order) == case.judged()


@holds
@given(cases(), st.sampled_from([1e-3, 0.5, 3.0, 100.0, 1e6]), st.sampled_from([-5.0, 0.0, 0.25, 40.0]))
def test_units_of_a_metric_do_not_matter(case: Case, factor: float, offset: float) -> None:
    moved = replace(case, entries=tuple(entry.moved(factor, offset) for entry in case.entries))
    assert without_words(moved.judged()) == without_words(case.judged())


@holds
@given(cases())
def test_direction_of_a_metric_does_not_matter(case: Case) -> None:
    mirrored = replace(case, entries=tuple(entry.mirrored() for entry in case.entries))
    assert without_words(mirrored.judged()) == without_words(case.judged())


@holds
@given(cases(), st.sampled_from([1e-6, 0.1, 7.0, 1e6]))
def test_only_proportions_of_weights_matter(case: Case, factor: float) -> None:
    heavier = replace(case, entries=tuple(replace(e, weight=e.weight * factor) for e in case.entries))
    assert without_words(heavier.judged()) == without_words(case.judged())


@holds
@given(st.data(), cases())
def test_better_score_never_gives_a_worse_verdict(data: st.DataObject, case: Case) -> None:
    index = data.draw(st.integers(0, len(case.entries) - 1))
    worse, better = sorted((data.draw(UNIT), data.draw(UNIT)))
    # without samples, so that the standard error stays what it is
    plain = [replace(entry, samples=()) for entry in case.entries]

    def verdict_at(goodness: float) -> str:
        changed = [entry.at(goodness) if i == index else entry for i, entry in enumerate(plain)]
        return replace(case, entries=tuple(changed)).judged().verdict

    ranks = {"fail": 0, "inconclusive": 1, "pass": 2}
    assert ranks[verdict_at(worse)] <= ranks[verdict_at(better)]


@holds
@given(st.data(), cases())
def test_missing_evidence_never_passes(data: st.DataObject, case: Case) -> None:
    there = data.draw(st.sets(st.integers(0, len(case.entries) - 1)))
    gone = [e for i, e in enumerate(case.entries) if i not in there]
    if any(entry.weight > 0 or entry.required for entry in gone):
        assert case.judged(sorted(there)).verdict == "error"
    else:
        assert case.judged(sorted(there)).verdict == case.judged().verdict


@holds
@given(st.data(), cases())
def test_decided_holds_for_whatever_the_missing_scores_are(data: st.DataObject, case: Case) -> None:
    there = data.draw(st.sets(st.integers(0, len(case.entries) - 1)))
    decided = case.judged(sorted(there)).decided
    filled = replace(
        case,
        entries=tuple(
            entry if i in there else replace(entry.at(data.draw(UNIT)), samples=())
            for i, entry in enumerate(case.entries)
        ),
    )
    assert decided in (None, filled.judged().verdict)


@holds
@given(st.data(), cases())
def test_undecided_under_a_point_gate_can_go_both_ways(data: st.DataObject, case: Case) -> None:
    there = data.draw(st.sets(st.integers(0, len(case.entries) - 1)))
    point = replace(case, mode="point")
    verdict = point.judged(sorted(there))
    if verdict.verdict != "error" or verdict.decided is not None:
        return

    def filled(goodness: float) -> str:
        found = (entry if i in there else entry.at(goodness) for i, entry in enumerate(case.entries))
        return replace(point, entries=tuple(found)).judged().verdict

    assert (filled(0.0), filled(1.0)) == ("fail", "pass")


@holds
@given(cases())
def test_complete_score_lies_within_the_bounds_of_the_incomplete_one(case: Case) -> None:
    score = case.judged().score
    assert score is not None
    for index, entry in enumerate(case.entries):
        bounds = case.judged([i for i in range(len(case.entries)) if i != index]).score_bounds
        assert (bounds is None) == (entry.weight == 0)
        if bounds is not None:
            assert bounds[0] - 1e-9 <= score <= bounds[1] + 1e-9


ANYTHING = st.none() | st.booleans() | st.text(max_size=5) | st.integers() | st.floats() | st.just(10**400)


@holds
@given(st.data(), cases(), st.sampled_from(["error", "clip"]))
def test_whatever_a_framework_reports_gives_a_verdict_that_can_be_written(
    data: st.DataObject, case: Case, overflow: str
) -> None:
    reported = tuple(
        replace(
            entry,
            value=data.draw(ANYTHING),
            stderr=data.draw(st.none() | st.floats()),
            samples=tuple(data.draw(st.lists(st.floats(), max_size=4))),
            overflow=overflow,
        )
        for entry in case.entries
    )
    verdict = replace(case, entries=reported).judged()

    assert Verdict.model_validate(json.loads(json.dumps(verdict.as_json(), allow_nan=False))) == verdict
    assert all(t.normalized_score is None or 0 <= t.normalized_score <= 1 for t in verdict.benchmarks)
