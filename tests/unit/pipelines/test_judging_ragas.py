"""The demo model's judgements of what ragas asks: true ones, and none where nobody asks for any."""

import json
from typing import Any

import pytest

from evalhub_pipelines.demo_model.judging import ragas

ASKED = "What is 7 plus 5?"


def judged(form: str, **document: Any) -> Any:
    """Return the judgement as ragas reads it."""
    schema = f'{{"properties": {{}}, "title": "{form}", "type": "object"}}'
    prompt = f"Judge.\n{schema}Do not use single quotes in your response.\ninput: {json.dumps(document)}\nOutput: "
    said = ragas.judgement(prompt)
    assert said is not None
    return json.loads(said)


@pytest.mark.parametrize(
    ("answer", "context", "verdict"),
    [
        ("12", "The sum is 12.", 1),
        ("13", "The sum is 12.", 0),
        ("13", "The sum is 13.", 0),
        ("12", "The sum is 120.", 0),
        ("12", "Herons are birds.", 0),
    ],
    ids=["right", "wrong", "wrong as the context", "part of a number", "not in the context"],
)
def test_a_statement_is_faithful_when_it_is_right_and_in_the_context(answer: str, context: str, verdict: int) -> None:
    [statement] = judged("StatementGeneratorOutput", question=ASKED, answer=answer)["statements"]
    [found] = judged("NLIStatementOutput", context=context, statements=[statement])["statements"]
    assert (found["statement"], found["verdict"]) == (statement, verdict)


def test_a_claim_is_compared_with_the_reference() -> None:
    [claim] = judged("ClaimDecompositionOutput", response="12.")["claims"]
    verdicts = [judged("NLIStatementOutput", context=text, statements=[claim])["statements"] for text in ("12", "13")]
    assert [found["verdict"] for [found] in verdicts] == [1, 0]


@pytest.mark.parametrize(("context", "useful"), [("The sum is 12.", 1), ("Herons are birds.", 0)])
def test_a_context_is_useful_when_it_holds_the_answer(context: str, useful: int) -> None:
    given = {"question": ASKED, "context": context, "answer": "12"}
    assert judged("ContextPrecisionOutput", **given)["verdict"] == useful
    [found] = judged("ContextRecallOutput", **given)["classifications"]
    assert found["attributed"] == useful


def test_an_answer_that_knows_nothing_is_noncommittal() -> None:
    assert judged("AnswerRelevanceOutput", response="12") == {"question": "What is 12?", "noncommittal": 0}
    assert judged("AnswerRelevanceOutput", response="I do not know.")["noncommittal"] == 1


def test_entities_are_numbers_and_capitalised_words() -> None:
    assert judged("EntitiesList", text="In Cairo 12 met 12 in Rome.")["entities"] == ["In", "Cairo", "12", "Rome"]


@pytest.mark.parametrize(
    "prompt",
    [ASKED, '"title": "EntitiesList", "type": "object"}Do not use single quotes\ninput: {no\nOutput: '],
    ids=["question", "no document"],
)
def test_anything_else_is_no_request_for_a_judgement(prompt: str) -> None:
    assert ragas.judgement(prompt) is None
