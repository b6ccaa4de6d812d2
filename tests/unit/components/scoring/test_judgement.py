from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.errors import EvalHubError
from evalhub_components.schema.collection import Collection, Gate
from evalhub_components.schema.plan import EvaluationPlan
from evalhub_components.schema.provider import PassCriteria, Provider
from evalhub_components.schema.results import BenchmarkResults, MetricValue, Sample
from evalhub_components.schema.verdict import BenchmarkTest, Verdict
from evalhub_components.scoring.judgement import TaskOutcome, judge
from evalhub_pipelines.resolution import resolve

VECTORS = json.loads((Path(__file__).parent / "scoring-vectors.json").read_text())["vectors"]

ACCURACY = {"metric": "acc"}
TOXICITY = {"metric": "tox", "lower_is_better": True}
LATENCY = {"metric": "ms", "lower_is_better": True, "range": [0, 1000]}
PROVIDER = Provider.model_validate(
    {
        "id": "p",
        "benchmarks": [
            {"id": "acc", "primary_score": ACCURACY, "dataset_size": 100},
            {"id": "tox", "primary_score": TOXICITY},
            {"id": "ms", "primary_score": LATENCY},
            {"id": "clipped", "primary_score": {**LATENCY, "range_overflow": "clip"}},
            {"id": "percent", "primary_score": {"metric": "acc", "range": [0, 100]}},
            {"id": "wide", "primary_score": {**LATENCY, "range": [0, 1e9]}},
            {"id": "narrow", "primary_score": {"metric": "acc", "range": [0, 1e-6]}},
        ],
    }
)


def plan_of(*entries: dict[str, Any], threshold: float | None = 0.5, gate: str = "point") -> EvaluationPlan:
    """A plan over entries of PROVIDER; `{"id": "acc", "threshold": 0.6}` is short for its pass_criteria."""
    benchmarks = [
        {"provider_id": "p", **{key: value for key, value in entry.items() if key != "threshold"}}
        | ({"pass_criteria": {"threshold": entry["threshold"]}} if "threshold" in entry else {})
        for entry in entries
    ]
    collection = Collection.model_validate({"id": "c", "version": "1", "benchmarks": benchmarks})
    criteria = None if threshold is None else PassCriteria(threshold=threshold)
    return resolve(collection, {"p": PROVIDER}, pass_criteria=criteria, gate=Gate.model_validate({"mode": gate}))


def outcome(
    plan: EvaluationPlan, index: int, metrics: Mapping[str, Any], samples: Sequence[Sample] = (), **fields: Any
) -> TaskOutcome:
    """What the task left. Values are not validated, as the framework may have reported anything."""
    task = plan.tasks[index]
    document: dict[str, Any] = {
        "provider_id": task.provider_id,
        "benchmark_id": task.benchmark_id,
        "benchmark_index": index,
        "task_digest": task.digest(),
        "status": "completed",
        "started_at": "2025-01-01T00:00:00Z",
        "completed_at": "2025-01-01T00:00:01Z",
        **fields,
        "metrics": {
            name: value if isinstance(value, MetricValue) else MetricValue.model_construct(value=value, stderr=None)
            for name, value in metrics.items()
        },
    }
    return TaskOutcome(BenchmarkResults.model_construct(**document), samples)


def judged(plan: EvaluationPlan, *values: Any, **options: Any) -> Verdict:
    """The verdict over one primary value a task; None for a task that left nothing, a TaskOutcome as it is."""
    outcomes = {
        index: value
        if isinstance(value, TaskOutcome)
        else outcome(plan, index, {plan.tasks[index].primary_score.metric: value})
        for index, value in enumerate(values)
        if value is not None
    }
    return judge(plan, outcomes, **options)


def samples_of(*scores: float, clusters: Sequence[str | None] | None = None) -> list[Sample]:
    names = clusters or [None] * len(scores)
    return [Sample(id=str(i), score=s, cluster=c) for i, (s, c) in enumerate(zip(scores, names, strict=True))]


def with_stderr(value: float, stderr: float | None) -> MetricValue:
    return MetricValue.model_construct(value=value, stderr=stderr)


def only(verdict: Verdict) -> BenchmarkTest:
    assert len(verdict.benchmarks) == 1
    return verdict.benchmarks[0]


def within_tolerance(document: dict[str, Any]) -> dict[str, Any]:
    return {k: pytest.approx(v, abs=1e-9, rel=0) if isinstance(v, float) else v for k, v in document.items()}


# -- worked verdicts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_worked_verdict(vector: dict[str, Any]) -> None:
    criteria = vector["job"].get("pass_criteria")
    plan = resolve(
        Collection.model_validate(vector["collection"]),
        {provider["id"]: Provider.model_validate(provider) for provider in vector["providers"]},
        pass_criteria=PassCriteria.model_validate(criteria) if criteria else None,
    )
    outcomes = {}
    for result in vector["results"]:
        index = result["benchmark_index"]
        primary = plan.tasks[index].primary_score.metric
        metrics = {
            name: MetricValue(value=value, stderr=result.get("stderr") if name == primary else None)
            for name, value in result["metrics"].items()
        }
        samples = [Sample.model_validate(sample) for sample in result.get("samples", [])]
        outcomes[index] = outcome(plan, index, metrics, samples, status=result["status"])

    actual = judge(plan, outcomes).as_json()

    expected = dict(vector["expect"])
    for test, benchmark in zip(actual["benchmarks"], expected.pop("benchmarks"), strict=True):
        assert benchmark.pop("reason", "") in test["reason"]
        assert {key: test[key] for key in benchmark} == within_tolerance(benchmark)
    bounds = expected.pop("score_bounds", None)
    assert actual["score_bounds"] == (bounds and pytest.approx(bounds, abs=1e-9, rel=0))
    assert {key: actual[key] for key in expected} == within_tolerance(expected)


# -- what is not a score -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(math.nan, "acc is not a number: nan", id="nan"),
        pytest.param(math.inf, "acc is infinite", id="infinite"),
        pytest.param(-math.inf, "acc is infinite", id="minus infinite"),
        pytest.param(10**400, "acc is infinite", id="more than a float holds"),
        pytest.param("0.9", "acc is not a number: '0.9'", id="string"),
        pytest.param(True, "acc is not a number: True", id="bool"),
        pytest.param(MetricValue(value=None), "acc is not a number: None", id="null"),
        pytest.param(71.2, "acc 71.2 is out of range [0, 1] (percent? declare range: [0, 100])", id="percent"),
        pytest.param(-0.2, "acc -0.2 is out of range [0, 1] (declare its range, or range_overflow: clip)", id="below"),
    ],
)
def test_value_that_is_no_score_makes_the_verdict_error(value: Any, reason: str) -> None:
    verdict = judged(plan_of({"id": "acc"}, {"id": "acc"}), 0.9, value)

    assert verdict.verdict == "error"
    assert verdict.score is None
    assert verdict.benchmarks[1].score is None
    assert verdict.benchmarks[1].passed is None
    assert verdict.benchmarks[1].reason == f"no score: {reason}"
    assert verdict.reasons[0] == f"001-acc has no score: {reason}"


def test_missing_metric_names_the_ones_there_are() -> None:
    plan = plan_of({"id": "acc"})
    verdict = judged(plan, outcome(plan, 0, {"f1": 0.5, "em": 0.4}))

    assert verdict.verdict == "error"
    assert only(verdict).reason == "no score: metric missing: 'acc' is not among ['em', 'f1']"


def test_a_metric_is_found_by_its_exact_name_only() -> None:
    plan = plan_of({"id": "acc"})
    assert judged(plan, outcome(plan, 0, {"acc,none": 0.9, "ACC": 0.9})).verdict == "error"


def test_failed_task_says_why_and_its_metrics_do_not_count() -> None:
    plan = plan_of({"id": "acc"})
    verdict = judged(plan, outcome(plan, 0, {"acc": 0.9}, status="failed", reason="timed out after 60 s"))

    assert verdict.verdict == "error"
    assert verdict.state == "failed"
    assert only(verdict).status == "failed"
    assert only(verdict).reason == "no score: failed: timed out after 60 s"


def test_score_over_no_examples_is_no_score() -> None:
    plan = plan_of({"id": "acc"})
    verdict = judged(plan, outcome(plan, 0, {"acc": 0.9}, num_evaluated=0, num_errors=7))

    assert verdict.verdict == "error"
    assert only(verdict).reason == "no score: no example was evaluated (7 errors)"
    assert only(verdict).num_errors == 7


def test_task_without_results_is_missing() -> None:
    verdict = judged(plan_of({"id": "acc"}, {"id": "tox"}), 0.9)

    assert verdict.verdict == "error"
    assert verdict.state == "partially_failed"
    assert verdict.benchmarks[1].status == "missing"
    assert verdict.benchmarks[1].reason == "no score: there are no results"


def test_results_of_another_task_are_no_evidence() -> None:
    plan, stricter = plan_of({"id": "acc", "threshold": 0.6}), plan_of({"id": "acc", "threshold": 0.8})
    verdict = judged(stricter, outcome(plan, 0, {"acc": 0.9}))

    assert verdict.verdict == "error"
    assert verdict.state == "failed"
    assert only(verdict).status == "missing"
    assert plan.tasks[0].digest() in only(verdict).reason
    assert stricter.tasks[0].digest() in only(verdict).reason


def test_a_task_dropped_from_the_plan_is_refused() -> None:
    plan = plan_of({"id": "acc"}, {"id": "acc"})
    with pytest.raises(EvalHubError, match="not the ones its header lists"):
        judge(plan.model_copy(update={"tasks": plan.tasks[:1]}), {})


def test_a_plan_whose_criteria_were_edited_is_refused() -> None:
    plan = plan_of({"id": "acc", "required": True, "threshold": 0.9})
    easier = plan.tasks[0].model_copy(update={"required": False})
    with pytest.raises(EvalHubError, match="not the ones its header lists"):
        judge(plan.model_copy(update={"tasks": [easier]}), {})


def test_a_plan_without_any_weight_is_refused() -> None:
    weightless = plan_of({"id": "acc"}).tasks[0].model_copy(update={"weight": 0.0})
    header = plan_of({"id": "acc"}).header.model_copy(update={"task_digests": [weightless.digest()]})
    with pytest.raises(EvalHubError, match="no benchmark has a weight above 0"):
        judge(EvaluationPlan(header=header, tasks=[weightless]), {})


# -- scales and thresholds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "value", "passed", "reason"),
    [
        pytest.param({"id": "acc", "threshold": 0.65}, 0.71, True, "0.71 >= 0.65", id="reached"),
        pytest.param({"id": "acc", "threshold": 0.6}, 0.42, False, "0.42 < 0.6", id="missed"),
        pytest.param({"id": "acc", "threshold": 0.6}, 0.6 - 5e-10, True, "0.6 >= 0.6", id="equal but for rounding"),
        pytest.param({"id": "acc", "threshold": 0.6}, 0.6 - 2e-9, False, "0.599999998 < 0.6", id="just missed"),
        pytest.param({"id": "tox", "threshold": 0.3}, 0.3, True, "0.3 <= 0.3", id="lower is better, reached"),
        pytest.param({"id": "tox", "threshold": 0.3}, 0.31, False, "0.31 > 0.3", id="lower is better, missed"),
        pytest.param({"id": "ms", "threshold": 500}, 250, True, "250 <= 500", id="own units"),
        pytest.param({"id": "percent", "threshold": 80}, 80.0, True, "80 >= 80", id="percent"),
        pytest.param({"id": "wide", "threshold": 10}, 10.9, False, "10.9 > 10", id="wide range, missed"),
        pytest.param({"id": "wide", "threshold": 10}, 10.0, True, "10 <= 10", id="wide range, reached"),
        pytest.param({"id": "narrow", "threshold": 5e-7}, 4.996e-7, False, "4.996e-07 < 5e-07", id="narrow range"),
        pytest.param({"id": "acc"}, 0.4, None, "0.4, no threshold", id="no threshold"),
        pytest.param({"id": "acc", "weight": 0, "threshold": 0.6}, 0.4, False, "advisory: 0.4 < 0.6", id="advisory"),
    ],
)
def test_benchmark_is_compared_with_its_own_threshold(
    entry: dict[str, Any], value: float, passed: bool | None, reason: str
) -> None:
    test = judged(plan_of(entry, {"id": "acc"}), value, 0.9).benchmarks[0]

    assert (test.passed, test.reason) == (passed, reason)


def test_threshold_of_the_collection_is_compared_on_the_normalised_scale() -> None:
    collection = Collection.model_validate(
        {"id": "c", "pass_criteria": {"threshold": 0.8}, "benchmarks": [{"id": "ms", "provider_id": "p"}]}
    )
    test = only(judged(resolve(collection, {"p": PROVIDER}), 250))

    assert (test.threshold, test.threshold_source, test.passed) == (0.8, "collection", False)
    assert test.reason == "0.75 < 0.8 (normalised from 250)"


@pytest.mark.parametrize(
    ("value", "normalized"), [(5000, 0.0), (-5, 1.0), (250, 0.75), (1.7e308, 0.0)], ids=["slow", "below", "in", "huge"]
)
def test_clipped_metric_saturates(value: float, normalized: float) -> None:
    test = only(judged(plan_of({"id": "clipped", "threshold": 500}), value))

    assert (test.score, test.normalized_score) == (value, normalized)
    assert test.passed is (normalized > 0.5)


def test_value_outside_the_range_by_rounding_is_a_score() -> None:
    assert only(judged(plan_of({"id": "acc"}), 1 + 5e-10)).normalized_score == 1.0


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.7, 0.85, 0.9])
@pytest.mark.parametrize("count", [3, 10, 97])
def test_equal_scores_reach_a_threshold_equal_to_them(count: int, threshold: float) -> None:
    plan = plan_of(*({"id": "acc", "weight": 0.1 * (i + 1)} for i in range(count)), threshold=threshold)
    assert judged(plan, *[threshold] * count).verdict == "pass"


# -- what decides ------------------------------------------------------------------------------------------------------


def test_advisory_benchmark_has_no_say() -> None:
    plan = plan_of({"id": "acc"}, {"id": "acc", "weight": 0, "threshold": 0.9})

    assert [judged(plan, 0.9, value).verdict for value in (0.0, 1.0, None, math.nan)] == ["pass"] * 4
    assert judged(plan, 0.9, math.nan).score == 0.9
    assert judged(plan, 0.9, math.nan).benchmarks[1].reason == "advisory: no score: acc is not a number: nan"


def test_required_benchmark_without_weight_can_fail_the_verdict() -> None:
    plan = plan_of({"id": "acc"}, {"id": "tox", "weight": 0, "required": True, "threshold": 0.2})
    verdict = judged(plan, 0.9, 0.3)

    assert (verdict.verdict, verdict.score) == ("fail", 0.9)
    assert verdict.reasons == ["001-tox is required and misses its threshold: 0.3 > 0.2", "score 0.9 >= 0.5"]
    assert judged(plan, 0.9, 0.2).verdict == "pass"


def test_required_benchmark_without_score_makes_the_verdict_error() -> None:
    plan = plan_of({"id": "acc"}, {"id": "tox", "weight": 0, "required": True, "threshold": 0.2})
    verdict = judged(plan, 0.9)

    assert (verdict.verdict, verdict.decided, verdict.score, verdict.score_bounds) == ("error", None, 0.9, None)
    assert verdict.reasons[0] == "001-tox has no score: there are no results"


def test_uncertainty_does_not_excuse_a_required_benchmark() -> None:
    plan = plan_of({"id": "acc"}, {"id": "acc", "required": True, "threshold": 0.8}, gate="lenient")
    values = [outcome(plan, i, {"acc": with_stderr(value, 0.2)}) for i, value in enumerate((0.9, 0.7))]
    assert judged(plan, *values).verdict == "fail"


@pytest.mark.parametrize(
    ("entries", "values", "threshold", "gate", "decided"),
    [
        pytest.param([{}, {}], [0.9, None], 0.4, "point", "pass", id="lowest reaches"),
        pytest.param([{}, {}], [0.2, None], 0.7, "point", "fail", id="highest misses"),
        pytest.param([{}, {}], [0.5, None], 0.5, "point", None, id="either"),
        pytest.param([{}, {}], [1.0, None], 0.5, "point", "pass", id="lowest is the threshold"),
        pytest.param([{}, {}], [0.0, None], 0.5, "point", None, id="highest is the threshold"),
        pytest.param(
            [{}, {"required": True, "threshold": 0.2}], [0.9, None], 0.4, "point", None, id="missing could miss"
        ),
        pytest.param(
            [{}, {"required": True, "threshold": 0}], [0.9, None], 0.4, "point", "pass", id="missing cannot miss"
        ),
        pytest.param(
            [{"required": True, "threshold": 0.95}, {}], [0.9, None], 0.4, "point", "fail", id="required missed"
        ),
        pytest.param(
            [{}, {"required": True, "threshold": 0.2, "weight": 0}], [0.3, None], 0.4, "point", "fail", id="known score"
        ),
        pytest.param([{}, {}], [0.9, None], 0.4, "assured", None, id="assured could become inconclusive"),
        pytest.param([{}, {}], [0.2, None], 0.7, "assured", None, id="assured could stay inconclusive"),
        pytest.param([{}, {}], [0.9, None], 0.4, "lenient", "pass", id="lenient passes with any interval"),
        pytest.param([{}, {}], [0.2, None], 0.7, "lenient", None, id="lenient could allow"),
    ],
)
def test_missing_evidence_is_an_error_that_says_whether_it_matters(
    entries: list[dict[str, Any]], values: list[float | None], threshold: float, gate: str, decided: str | None
) -> None:
    plan = plan_of(*({"id": "acc", **entry} for entry in entries), threshold=threshold, gate=gate)
    verdict = judged(plan, *values)

    assert (verdict.verdict, verdict.decided) == ("error", decided)
    said = f"decided: {decided} whatever the missing scores are" if decided else "undecided: "
    assert verdict.reasons[-1].startswith(said)


def test_reasons_of_missing_evidence_start_with_what_is_missing() -> None:
    verdict = judged(plan_of({"id": "acc"}, {"id": "acc"}), 0.9)

    assert verdict.reasons == [
        "001-acc has no score: there are no results",
        "undecided: the missing scores can change it (score between 0.45 and 0.95, threshold 0.5)",
    ]


def test_point_gate_says_how_the_score_compares() -> None:
    assert judged(plan_of({"id": "acc"}, threshold=0.6), 0.42).reasons == ["score 0.42 < 0.6"]


# -- uncertainty -------------------------------------------------------------------------------------------------------


def test_standard_error_of_the_provider_is_normalised_by_the_range() -> None:
    plan = plan_of({"id": "ms"})
    test = only(judged(plan, outcome(plan, 0, {"ms": with_stderr(250, 50)})))

    assert test.se == pytest.approx(0.05)
    assert test.se_source == "provider"


@pytest.mark.parametrize("stderr", [None, math.nan, math.inf, -0.1, 1e300])
def test_unusable_standard_error_of_the_provider_is_none(stderr: float | None) -> None:
    plan = plan_of({"id": "acc"})
    verdict = judged(plan, outcome(plan, 0, {"acc": with_stderr(0.9, stderr)}))

    assert (only(verdict).se, only(verdict).se_source) == (None, "none")
    assert (verdict.score_se, verdict.interval, verdict.probability) == (None, None, None)


def test_one_score_without_standard_error_leaves_the_whole_without() -> None:
    plan = plan_of({"id": "acc"}, {"id": "acc"}, gate="assured")
    first = outcome(plan, 0, {"acc": with_stderr(0.9, 0.01)})
    verdict = judged(plan, first, 0.9)

    assert (verdict.verdict, verdict.score_se, verdict.interval) == ("inconclusive", None, None)
    assert verdict.reasons == ["gate mode assured needs a standard error and there is none for 001-acc"]


def test_advisory_score_without_standard_error_does_not_matter() -> None:
    plan = plan_of({"id": "acc"}, {"id": "acc", "weight": 0}, gate="assured")
    verdict = judged(plan, outcome(plan, 0, {"acc": with_stderr(0.9, 0.01)}), 0.9)

    assert (verdict.verdict, verdict.score_se) == ("pass", 0.01)


def test_weights_carry_into_the_standard_error_of_the_whole() -> None:
    plan = plan_of({"id": "acc", "weight": 3}, {"id": "acc", "weight": 1})
    verdict = judged(plan, *(outcome(plan, i, {"acc": with_stderr(0.8, se)}) for i, se in enumerate((0.02, 0.08))))

    assert verdict.score_se == pytest.approx(math.sqrt(9 * 0.02**2 + 0.08**2) / 4)


def test_interval_and_probability_are_given_in_every_mode() -> None:
    plan = plan_of({"id": "acc"}, threshold=0.7)
    verdict = judged(plan, outcome(plan, 0, {"acc": with_stderr(0.8, 0.1)}))

    assert verdict.interval == pytest.approx((0.8 - 0.1644853627, 0.8 + 0.1644853627))
    assert verdict.probability == pytest.approx(0.8413447461)


@pytest.mark.parametrize(
    ("gate", "score", "decision", "reason"),
    [
        ("assured", 0.9, "pass", "even the lower bound 0.7355 >= 0.7 (score 0.9, confidence 0.95)"),
        ("assured", 0.7, "inconclusive", "threshold 0.7 is within the interval [0.5355, 0.8645] (score 0.7, confi"),
        ("assured", 0.5, "fail", "even the upper bound 0.6645 < 0.7 (score 0.5, confidence 0.95)"),
        ("lenient", 0.9, "pass", "the upper bound 1.064 >= 0.7 (score 0.9, confidence 0.95)"),
        ("lenient", 0.6, "pass", "the upper bound 0.7645 >= 0.7 (score 0.6, confidence 0.95)"),
        ("lenient", 0.5, "fail", "even the upper bound 0.6645 < 0.7 (score 0.5, confidence 0.95)"),
    ],
)
def test_gate_mode_decides_by_its_bound(gate: str, score: float, decision: str, reason: str) -> None:
    plan = plan_of({"id": "acc"}, threshold=0.7, gate=gate)
    verdict = judged(plan, outcome(plan, 0, {"acc": with_stderr(score, 0.1)}))

    assert verdict.verdict == decision
    assert verdict.reasons[0].startswith(reason)


@pytest.mark.parametrize(("value", "decision", "probability"), [(0.7, "pass", 1.0), (0.6999, "fail", 0.0)])
@pytest.mark.parametrize("gate", ["point", "assured", "lenient"])
def test_standard_error_of_zero_compares_the_score(gate: str, value: float, decision: str, probability: float) -> None:
    plan = plan_of({"id": "acc"}, threshold=0.7, gate=gate)
    verdict = judged(plan, outcome(plan, 0, {"acc": with_stderr(value, 0.0)}))

    assert (verdict.verdict, verdict.probability) == (decision, probability)


@pytest.mark.parametrize(("value", "decision"), [(1.0, "inconclusive"), (0.0, "inconclusive"), (0.9, "pass")])
def test_standard_error_of_zero_is_none_where_all_examples_agree(value: float, decision: str) -> None:
    plan = plan_of({"id": "acc"}, threshold=0.7, gate="assured")
    verdict = judged(plan, outcome(plan, 0, {"acc": with_stderr(value, 0.0)}))

    assert verdict.verdict == decision
    assert only(verdict).se_source == ("none" if decision == "inconclusive" else "provider")


@pytest.mark.parametrize(("value", "decision"), [(0.7, "pass"), (0.69, "fail")])
def test_lenient_without_standard_error_compares_the_score(value: float, decision: str) -> None:
    verdict = judged(plan_of({"id": "acc"}, threshold=0.7, gate="lenient"), value)

    assert verdict.verdict == decision
    assert verdict.reasons[0].endswith("(compared as it is: no standard error for 000-acc)")


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(samples_of(0.9), id="one"),
        pytest.param(samples_of(0.8, 1.0, clusters=["a", "a"]), id="one cluster"),
        pytest.param(samples_of(0.9, 0.91), id="another mean"),
        pytest.param([Sample.model_construct(id=str(i), score=s) for i, s in enumerate((math.nan, 0.9))], id="nan"),
        pytest.param(
            [Sample.model_construct(id=str(i), score=s) for i, s in enumerate((math.inf, -math.inf))], id="infinite"
        ),
        pytest.param(samples_of(1.7e308, 1.7e308, -1.7e308), id="sum is huge"),
        pytest.param(samples_of(1e200, -1e200, 2.7), id="variance is huge"),
    ],
)
def test_unusable_samples_leave_the_standard_error_to_the_provider(samples: list[Sample]) -> None:
    plan = plan_of({"id": "acc"})
    test = only(judged(plan, outcome(plan, 0, {"acc": with_stderr(0.9, 0.03)}, samples)))

    assert (test.se, test.se_source) == (0.03, "provider")


def test_samples_go_before_the_provider() -> None:
    plan = plan_of({"id": "ms"})
    values = outcome(plan, 0, {"ms": with_stderr(300, 1)}, samples_of(200, 300, 400))
    test = only(judged(plan, values))

    assert test.se == pytest.approx(0.1 / math.sqrt(3))
    assert test.se_source == "samples"


def test_mean_of_samples_is_compared_in_parts_of_the_range() -> None:
    plan = plan_of({"id": "ms"})
    sources = [
        only(judged(plan, outcome(plan, 0, {"ms": 300 + off}, samples_of(200, 300, 400)))).se_source
        for off in (9e-4, 2e-3)
    ]
    assert sources == ["samples", "none"]


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_cluster_counts_once_where_all_samples_agree(score: float) -> None:
    plan = plan_of({"id": "acc"})
    samples = samples_of(*[score] * 6, clusters=["a", "a", "a", "b", "b", None])
    test = only(judged(plan, outcome(plan, 0, {"acc": score}, samples)))

    assert test.se == pytest.approx((1 - 0.05 ** (1 / 3)) / 1.6448536269514722)


def test_sample_without_cluster_stands_alone() -> None:
    plan = plan_of({"id": "acc"})
    scores = (1.0, 0.0, 1.0, 1.0)
    alone = only(judged(plan, outcome(plan, 0, {"acc": 0.75}, samples_of(*scores))))
    named = only(judged(plan, outcome(plan, 0, {"acc": 0.75}, samples_of(*scores, clusters=["a", "b", None, None]))))

    assert named.se == pytest.approx(alone.se)
    assert alone.se == pytest.approx(0.25)


# -- the job -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "cancelled", "state"),
    [
        (["completed", "completed"], False, "completed"),
        (["completed", "failed"], False, "partially_failed"),
        (["completed", None], False, "partially_failed"),
        (["failed", None], False, "failed"),
        ([None, None], False, "failed"),
        (["completed", None], True, "cancelled"),
        (["completed", "completed"], True, "cancelled"),
    ],
)
def test_state_follows_the_tasks(statuses: list[str | None], cancelled: bool, state: str) -> None:
    plan = plan_of({"id": "acc"}, {"id": "acc"})
    outcomes = [s and outcome(plan, i, {"acc": 0.9}, status=s) for i, s in enumerate(statuses)]
    assert judged(plan, *outcomes, cancelled=cancelled).state == state


def test_completed_job_can_fail_its_gate() -> None:
    verdict = judged(plan_of({"id": "acc"}), 0.1)
    assert (verdict.state, verdict.verdict) == ("completed", "fail")


def test_cancelled_run_says_so_for_what_it_did_not_finish() -> None:
    verdict = judged(plan_of({"id": "acc"}, {"id": "acc"}), 0.9, cancelled=True)

    assert verdict.verdict == "error"
    assert verdict.benchmarks[1].reason == "no score: the run was cancelled before there were results"


@pytest.mark.parametrize(
    ("entries", "num_examples", "limited"),
    [
        pytest.param([{"id": "acc"}], None, False, id="no limit"),
        pytest.param([{"id": "acc"}], 99, True, id="below the data set"),
        pytest.param([{"id": "acc"}], 100, False, id="the whole data set"),
        pytest.param([{"id": "acc", "num_examples": 10}], 10, False, id="the collection's own"),
        pytest.param([{"id": "acc", "num_examples": 10}, {"id": "tox", "weight": 0}], 10, False, id="advisory"),
        pytest.param(
            [{"id": "acc"}, {"id": "tox", "weight": 0, "required": True, "threshold": 0.2}], 100, True, id="required"
        ),
    ],
)
def test_limited_run_is_marked(entries: list[dict[str, Any]], num_examples: int | None, limited: bool) -> None:
    assert judged(plan_of(*entries), num_examples=num_examples).limited is limited


def test_verdict_survives_its_file() -> None:
    verdict = judged(plan_of({"id": "acc"}, {"id": "ms"}), 0.9, 250)
    assert Verdict.model_validate(json.loads(json.dumps(verdict.as_json()))) == verdict


@pytest.mark.parametrize("weight", [5e-324, 9e-7])
def test_a_weight_whose_uncertainty_would_vanish_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=r"must be 0 \(advisory\) or at least 1e-06, got"):
        plan_of({"id": "acc", "weight": weight})


@pytest.mark.parametrize("weight", [0, 1e-6])
def test_the_least_weights_are_taken(weight: float) -> None:
    assert plan_of({"id": "acc", "weight": weight}, {"id": "tox"}).tasks[0].weight == weight
