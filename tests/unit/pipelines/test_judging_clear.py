"""The demo model's judgements of what clear asks: true ones, and none where nobody asks for any."""

import pytest

from evalhub_pipelines.demo_model.judging import clear

RESPONSE = """Score the response.

Input: '{asked}'
{reference}Output: '{said}'

--- Begin Evaluation ---
Textual Evaluation: [Your textual evaluation here]
Evaluation score: [Your score here]
"""
STEP = """Score the step.

--- Input ---
{asked}

--- Output ---
{said}

--- Begin Evaluation ---
Textual Evaluation: [Your textual evaluation here]
Evaluation score: [Your score here]
"""
ASKED = "What is 7 plus 5?"


@pytest.mark.parametrize("prompt", [RESPONSE, STEP], ids=["response", "step"])
@pytest.mark.parametrize(
    ("asked", "said", "expected"),
    [
        (ASKED, "12", "right.\nEvaluation score: 1"),
        (ASKED, "12.", "right.\nEvaluation score: 1"),
        (ASKED, "13", "wrong.\nEvaluation score: 0"),
        (ASKED, "I do not know.", "gives no answer.\nEvaluation score: 0"),
        ("Who packed it?", "Ann", "cannot be told.\nEvaluation score: 0.5"),
    ],
    ids=["right", "right with a full stop", "wrong", "no answer", "nobody knows"],
)
def test_a_response_is_scored_by_whether_it_is_right(prompt: str, asked: str, said: str, expected: str) -> None:
    judged = clear.judgement(prompt.format(asked=asked, said=said, reference=""))
    assert judged is not None
    assert judged.endswith(expected)


def test_a_reference_does_not_hide_the_question() -> None:
    judged = clear.judgement(RESPONSE.format(asked=ASKED, said="12", reference="Reference: '13'\n"))
    assert judged is not None
    assert judged.endswith("Evaluation score: 1")


def test_issues_are_named_merged_and_found_again() -> None:
    texts = "\n--- Begin Evaluation Texts ---\nThe output {}\n---\nThe output is wrong.\n--- End Evaluation Texts ---\n"
    both = clear.judgement(texts.format("gives no answer."))
    assert both == '["Answers are wrong", "Answers are missing"]'
    assert clear.judgement(texts.format("is right.")) == '["Answers are wrong"]'
    listed = "Now process the following list:\n['Answers are wrong', 'Answers are wrong']\n"
    assert clear.judgement(listed) == '["Answers are wrong"]'
    which = "Evaluation text to analyze:\n```\nThe output {}.\n```\n\nWhich of (1-{} from the list) are there?"
    assert clear.judgement(which.format("gives no answer", 2)) == "[0, 1]"
    assert clear.judgement(which.format("gives no answer", 1)) == "[1]"
    assert clear.judgement(which.format("is wrong", 3)) == "[1, 0, 0]"


def test_a_summary_is_the_text_itself() -> None:
    assert clear.judgement("Shorten.\n\nEvaluation Text to Summarize:\nThe output is wrong.") == "The output is wrong."


def test_a_question_is_no_request_for_a_judgement() -> None:
    assert clear.judgement(ASKED) is None
