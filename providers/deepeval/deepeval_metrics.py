"""Which of deepeval's metrics each benchmark is, and what its verdicts must be to count.

Importing this imports deepeval: its settings, telemetry off among them, must be in the environment before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from deepeval.metrics import (
    AnswerRelevancyMetric,
    BaseMetric,
    ExactMatchMetric,
    FaithfulnessMetric,
    GEval,
    HallucinationMetric,
    SummarizationMetric,
)
from deepeval.test_case import SingleTurnParams
from deepeval_cases import Case
from deepeval_parameters import Parameters

STEPS = [
    "Compare what the actual output says with the expected output, as an answer to the input.",
    "Wording, format and additional explanations do not matter; facts, numbers and names do.",
    "An answer that contradicts the expected output, leaves its substance out or gives none is wrong.",
]
"""What correctness means where the parameters do not say: without steps the judge makes up its own each time."""


class Reading(NamedTuple):
    """What a judged test case comes to.

    Attributes:
        score: in the primary metric's units.
        counts: what is added up or averaged beside it, by metric.
        empty: why the score is one of nothing, and does not count.
    """

    score: float
    counts: dict[str, float]
    empty: str | None = None


def _verdicts(metric: Any, expected: int, of: str) -> tuple[list[str], str | None]:
    """Return the verdicts, and what is wrong with their number: deepeval scores 1 where there are none."""
    found = [str(verdict.verdict) for verdict in metric.verdicts if verdict is not None]
    if not expected:
        return found, f"the judge finds no {of} in the output"
    wrong = f"the judge gave {len(found)} verdicts on {expected} {of}s"
    return found, None if len(found) == expected else wrong


def _faithfulness(metric: Any, case: Case) -> Reading:
    found, empty = _verdicts(metric, len(metric.claims), "claim")
    counts = {"claims_count": float(len(found)), "supported_claims_count": float(found.count("yes"))}
    return Reading(metric.score, counts, empty)


def _relevancy(metric: Any, case: Case) -> Reading:
    return Reading(metric.score, {}, _verdicts(metric, len(metric.statements), "statement")[1])


def _hallucination(metric: Any, case: Case) -> Reading:
    # since 4.0 deepeval scores the share of contexts that the output agrees with
    found, empty = _verdicts(metric, len(case.context), "context")
    score = found.count("no") / len(found) if found else 0.0
    return Reading(score, {"hallucination_detected": float("no" in found)}, empty)


def _summarization(metric: Any, case: Case) -> Reading:
    # no claim is no error here: deepeval's score of an empty summary is 0, as it should be
    expected, given = len(metric.claims), len(metric.alignment_verdicts)
    if expected != given:
        return Reading(metric.score, {}, f"the judge gave {given} verdicts on {expected} claims")
    questions, answers = len(metric.assessment_questions), len(metric.coverage_verdicts)
    if questions != answers:
        return Reading(metric.score, {}, f"the judge gave {answers} answers to {questions} questions")
    if not any(verdict.original_verdict.strip().lower() == "yes" for verdict in metric.coverage_verdicts):
        return Reading(metric.score, {}, "the judge finds no question that the text answers")
    return Reading(metric.score, {})


def _as_it_is(metric: Any, case: Case) -> Reading:
    return Reading(metric.score, {})


def _correctness(model: Any, parameters: Parameters) -> BaseMetric:
    own = {"criteria": parameters.criteria} if parameters.criteria else {}
    steps = parameters.evaluation_steps or (None if own else STEPS)
    compared = [SingleTurnParams.INPUT, SingleTurnParams.ACTUAL_OUTPUT, SingleTurnParams.EXPECTED_OUTPUT]
    return GEval("Correctness", compared, evaluation_steps=steps, model=model, **own)


MAKE: dict[str, Callable[[Any, Parameters], BaseMetric]] = {
    "deepeval-faithfulness": lambda model, keys: FaithfulnessMetric(model=model, include_reason=keys.include_reason),
    "deepeval-relevancy": lambda model, keys: AnswerRelevancyMetric(model=model, include_reason=keys.include_reason),
    "deepeval-hallucination": lambda model, keys: HallucinationMetric(model=model, include_reason=keys.include_reason),
    "deepeval-correctness": _correctness,
    "deepeval-summarization": lambda model, keys: SummarizationMetric(
        model=model, n=keys.num_questions, include_reason=keys.include_reason
    ),
    "deepeval-exact-match": lambda model, keys: ExactMatchMetric(),
}
"""What makes the metric of a benchmark."""

READ: dict[str, Callable[[Any, Case], Reading]] = {
    "deepeval-faithfulness": _faithfulness,
    "deepeval-relevancy": _relevancy,
    "deepeval-hallucination": _hallucination,
    "deepeval-correctness": _as_it_is,
    "deepeval-summarization": _summarization,
    "deepeval-exact-match": _as_it_is,
}
"""What a judged test case comes to."""
