"""Judgements as deepeval asks for them: every prompt ends with labelled texts and wants JSON."""

import ast
import json
import re
from collections.abc import Callable

from evalhub_pipelines.demo_model.questions import last_question

_UNKNOWN = "i do not know"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_RANGE = re.compile(r"an integer between (?P<low>-?\d+) and (?P<high>-?\d+)")
_QUESTION = "Does the text say this: "


def judgement(prompt: str) -> str | None:
    """Returns the judgement that a prompt of the framework asks for, None for any other prompt."""
    judge = next((judge for start, judge in _PROMPTS if prompt.startswith(start)), None)
    return None if judge is None else json.dumps(judge(prompt))


def _claims(prompt: str) -> dict[str, object]:
    return {"claims": _sentences(_behind(prompt, "AI Output:"))}


def _truths(prompt: str) -> dict[str, object]:
    # by line: a question and its answer stay together
    return {"truths": [line for line in _behind(prompt, "Text:").splitlines() if line]}


def _statements(prompt: str) -> dict[str, object]:
    return {"statements": _sentences(_behind(prompt, "Text:"), keep_unknown=True)}


def _claims_in_context(prompt: str) -> dict[str, object]:
    source = _behind(prompt, "Retrieval Contexts:", "Claims:")
    return {"verdicts": [_verdict(_agreement(source, claim)) for claim in _texts(_behind(prompt, "Claims:"))]}


def _claims_in_text(prompt: str) -> dict[str, object]:
    source = _behind(prompt, "Original Text:", "Summary Claims:")
    return {"verdicts": [_verdict(_agreement(source, claim)) for claim in _texts(_behind(prompt, "Summary Claims:"))]}


def _contexts(prompt: str) -> dict[str, object]:
    said = _behind(prompt, "Actual Output:")
    agreements = [_agreement(source, said) for source in _texts(_behind(prompt, "Contexts:", "Actual Output:"))]
    # a context about something else is no contradiction
    return {"verdicts": [_verdict("no" if agrees == "no" else "yes", always=True) for agrees in agreements]}


def _relevance(prompt: str) -> dict[str, object]:
    asked = last_question(_behind(prompt, "Input:", "Statements:"))
    found = []
    for statement in _texts(_behind(prompt, "Statements:")):
        if _plain(statement) == _UNKNOWN:
            found.append("no")
        elif asked is None:
            found.append("borderline")
        else:
            # an answer may be relevant and wrong
            answers = {_plain(answer) for answer in (asked.right, *asked.wrong)}
            found.append("yes" if _plain(statement) in answers else "no")
    return {"verdicts": [_verdict(verdict) for verdict in found]}


def _score(prompt: str) -> dict[str, object]:
    bounds = _RANGE.search(prompt)
    low, high = (int(bounds["low"]), int(bounds["high"])) if bounds else (0, 1)
    asked = last_question(_behind(prompt, "Input:", "Actual Output:"))
    expected = asked.right if asked else _behind(prompt, "Expected Output:", "Parameters:")
    is_right = _plain(_behind(prompt, "Actual Output:", "Expected Output:")) == _plain(expected)
    return {"reason": f"It {'is' if is_right else 'is not'} {expected}.", "score": high if is_right else low}


def _questions(prompt: str) -> dict[str, object]:
    wanted = re.search(r"generate (\d+) closed-ended", prompt)
    sentences = _sentences(_behind(prompt, "Text:"))
    return {"questions": [_QUESTION + sentence for sentence in sentences[: int(wanted[1]) if wanted else 5]]}


def _answers(prompt: str) -> dict[str, object]:
    text = _plain(_behind(prompt, "Text:", "Questions:"))
    asked = [question.removeprefix(_QUESTION) for question in _texts(_behind(prompt, "Questions:"))]
    return {"answers": ["yes" if _plain(sentence) in text else "no" for sentence in asked]}


def _steps(prompt: str) -> dict[str, object]:
    return {"steps": ["Solve what the input asks.", "Compare the actual output with the solution."]}


def _reason(prompt: str) -> dict[str, object]:
    return {"reason": "The score follows from the verdicts."}


_PROMPTS: tuple[tuple[str, Callable[[str], dict[str, object]]], ...] = (
    ("Based on the given text, please extract a comprehensive list of FACTUAL", _claims),
    ("Based on the given text, please generate a comprehensive list of FACTUAL", _truths),
    ("Given the text, breakdown and generate a list of statements", _statements),
    ("Based on the given claims, which is a list of strings", _claims_in_context),
    ("Based on the given summary claims", _claims_in_text),
    ("For each context in contexts", _contexts),
    ("For the provided list of statements, determine", _relevance),
    ("You are an evaluator. Given the following evaluation steps", _score),
    ("Given an evaluation criteria which outlines", _steps),
    ("Based on the given text, generate ", _questions),
    ("Based on the list of close-ended", _answers),
    ("Below is a list of Contradictions.", _reason),
    ("Given the answer relevancy score", _reason),
    ("Given a list of factual alignments and contradictions", _reason),
    ("You will be given the following: 1) information in the summary", _reason),
)


def _behind(prompt: str, label: str, until: str = "JSON:") -> str:
    """Returns the last text with a label of its own line: what is before are examples."""
    return prompt.rpartition(f"\n{label}\n")[2].partition(f"\n{until}")[0].strip().removesuffix("---").strip()


def _texts(listed: str) -> list[str]:
    """Returns the strings of a list as Python prints it."""
    try:
        found = ast.literal_eval(listed)
    except (ValueError, SyntaxError):
        return []
    return [str(text) for text in found] if isinstance(found, list) else []


def _sentences(text: str, keep_unknown: bool = False) -> list[str]:
    found = [sentence for sentence in _SENTENCE_END.split(text) if sentence]
    return [sentence for sentence in found if keep_unknown or _plain(sentence) != _UNKNOWN]


def _agreement(source: str, claim: str) -> str:
    """Returns whether a source supports a claim (yes), contradicts it (no), or says nothing of it (borderline)."""
    asked = last_question(source)
    if asked is not None and _plain(claim) in {_plain(answer) for answer in (asked.right, *asked.wrong)}:
        return "yes" if _plain(claim) == _plain(asked.right) else "no"
    return "yes" if _plain(claim) in _plain(source) else "borderline"


def _verdict(verdict: str, always: bool = False) -> dict[str, str]:
    reasons = {"yes": "The source says so.", "no": "It is something else.", "borderline": "The source does not say."}
    return {"verdict": verdict, **({"reason": reasons[verdict]} if always or verdict != "yes" else {})}


def _plain(text: str) -> str:
    return " ".join(text.split()).rstrip(".").casefold()
