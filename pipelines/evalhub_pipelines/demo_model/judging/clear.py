"""Judgements as clear asks for them: a score with its reasons, and then what the reasons have in common."""

import ast
import json
import re

from evalhub_pipelines.demo_model.questions import last_question

_STEP = re.compile(r"(?s)\n--- Input ---\n(?P<input>.*)\n\n--- Output ---\n(?P<output>.*?)\n\s*--- (?:Available|Begin)")
_RESPONSE = re.compile(
    r"(?s)\nInput: '(?P<input>.*?)'\n(?:Reference: '.*'\n)?Output: '(?P<output>.*)'\n\n--- Begin Evaluation ---"
)
_SUMMARY = re.compile(r"(?s)\nEvaluation Text to Summarize:\n(?P<text>.*)\Z")
_COMMON = re.compile(r"(?s)\n--- Begin Evaluation Texts ---\n(?P<text>.*)\n--- End Evaluation Texts ---\n")
_MERGE = re.compile(r"(?s)\bNow process the following list:\n(?P<list>\[.*\])\s*\Z")
_WHICH = re.compile(r"(?s)\AEvaluation text to analyze:\n```\n(?P<text>.*)\n```\n.*\b1-(?P<count>\d+)\b")

_ISSUES = {"is wrong": "Answers are wrong", "gives no answer": "Answers are missing"}
"""What a reason says -> the issue that it is an instance of."""


def judgement(prompt: str) -> str | None:
    """Returns the judgement that a prompt of the framework asks for, None for any other prompt."""
    if prompt.rstrip().endswith("Evaluation score: [Your score here]"):
        found = _STEP.search(prompt) or _RESPONSE.search(prompt)
        return _evaluation(found["input"], found["output"]) if found else None
    if found := _SUMMARY.search(prompt):
        return found["text"].strip()
    if found := _COMMON.search(prompt):
        return json.dumps(_issues(found["text"]))
    if found := _MERGE.search(prompt):
        return _merged(found["list"])
    if found := _WHICH.search(prompt):
        return _which(found["text"], int(found["count"]))
    return None


def _evaluation(asked: str, output: str) -> str:
    question = last_question(asked)
    said = output.strip().rstrip(".")
    if said.casefold() == "i do not know":
        judged = "The output gives no answer.\nEvaluation score: 0"
    elif question is None:
        judged = "Whether the output is right cannot be told.\nEvaluation score: 0.5"
    elif said == question.right:
        judged = "The output is right.\nEvaluation score: 1"
    else:
        judged = "The output is wrong.\nEvaluation score: 0"
    return f"Textual Evaluation: {judged}"


def _issues(text: str) -> list[str]:
    return [issue for said, issue in _ISSUES.items() if said in text]


def _merged(text: str) -> str | None:
    try:
        return json.dumps(list(dict.fromkeys(ast.literal_eval(text))))
    except (ValueError, SyntaxError):
        return None


def _which(text: str, count: int) -> str:
    """Returns which of the issues are in a text; the request does not repeat them, so they are those named before."""
    found = [int(issue in _issues(text)) for issue in _ISSUES.values()]
    if count == 1:
        return str([int(any(found))])
    return str((found + [0] * count)[:count])
