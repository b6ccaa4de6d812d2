"""What the demo model says as a judge to prompts of deepeval's kind, whose beginnings and labels alone are repeated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evalhub_pipelines.demo_model.judging.deepeval import judgement

SOURCE = "What is 17 + 25? The answer in the book of exercises is 42."


def judged(prompt: str) -> Any:
    said = judgement(prompt)
    assert said is not None
    return json.loads(said)


def prompt(start: str, **sections: object) -> str:
    labelled = "".join(f"\n{label.replace('_', ' ')}:\n{text}\n" for label, text in sections.items())
    return f"{start} ...\n\nText:\nan example\n{labelled}\nJSON:\n"


def verdicts(document: Any) -> list[str]:
    return [verdict["verdict"] for verdict in document["verdicts"]]


@pytest.mark.parametrize("asked", ["What is 17 + 25?", "Give me JSON:\n", "Claims:\n['42']\n\nJSON:\n", ""])
def test_a_question_is_no_request_for_a_judgement(asked: str) -> None:
    assert judgement(asked) is None


@pytest.mark.parametrize(
    ("claim", "verdict"), [("42", "yes"), ("42.", "yes"), ("43", "no"), ("Bread is sold.", "borderline")]
)
def test_a_claim_is_held_against_the_solved_question(claim: str, verdict: str) -> None:
    asked = prompt(
        "Based on the given claims, which is a list of strings, generate", Retrieval_Contexts=SOURCE, Claims=[claim]
    )
    assert verdicts(judged(asked)) == [verdict]


def test_a_context_about_something_else_is_not_contradicted() -> None:
    contexts = ["The library opens at nine.", SOURCE]
    asked = prompt("For each context in contexts, which is", Contexts=contexts, Actual_Output="43")
    assert verdicts(judged(asked)) == ["yes", "no"]


def test_an_answer_is_relevant_even_when_it_is_wrong() -> None:
    statements = ["43", "Bread is sold.", "I do not know."]
    asked = prompt(
        "For the provided list of statements, determine whether", Input="What is 17 + 25?", Statements=statements
    )
    assert verdicts(judged(asked)) == ["yes", "no", "no"]


def test_claims_are_sentences_and_not_knowing_is_none() -> None:
    start = "Based on the given text, please extract a comprehensive list of FACTUAL"
    assert judged(prompt(start, AI_Output="It rained. It was cold.")) == {"claims": ["It rained.", "It was cold."]}
    assert judged(prompt(start, AI_Output="I do not know.")) == {"claims": []}


@pytest.mark.parametrize(("output", "score"), [("42", 10), ("43", 0)])
def test_marks_are_for_what_is_right_and_not_for_what_is_expected(output: str, score: int) -> None:
    case = f"Input:\nWhat is 17 + 25? \n\nActual Output:\n{output} \n\nExpected Output:\n41"
    start = "You are an evaluator. Given the following evaluation steps, an integer between 0 and 10"
    assert judged(prompt(start, Test_Case=f"\n{case}", Parameters="all"))["score"] == score


def test_a_summary_answers_the_questions_whose_sentences_it_has() -> None:
    start = "Based on the given text, generate 2 closed-ended questions"
    questions = judged(prompt(start, Text="It rained. It was cold. It snowed."))["questions"]
    assert len(questions) == 2
    asked = prompt("Based on the list of close-ended 'yes' or 'no'", Text="It was cold.", Questions=questions)
    assert judged(asked) == {"answers": ["no", "yes"]}
