"""Judgements as ragas asks for them: the name of a form that it wants filled in, and a JSON document to judge."""

import json
import re
from collections.abc import Callable
from typing import Any

from evalhub_pipelines.demo_model.questions import last_question

Document = dict[str, Any]

# the form is the last schema of a prompt that has no other braces before its examples
_FORM = re.compile(r'"title": "(\w+)", "type": "object"\}(?=Do not use single quotes)')
_INPUT = re.compile(r"(?s)\ninput: (\{.*\})\nOutput:\s*\Z")
_STATEMENT = re.compile(r'(?s)\AThe answer to "(?P<question>.*)" is (?P<answer>.*)\.\Z')
_ENTITY = re.compile(r"\b(?:[A-Z]\w+|\d+)\b")
_UNKNOWING = "i do not know"


def judgement(prompt: str) -> str | None:
    """Returns the judgement that a prompt of the framework asks for, None for any other prompt."""
    form, given = _FORM.search(prompt), _INPUT.search(prompt)
    judge = _FORMS.get(form[1]) if form else None
    if judge is None or given is None:
        return None
    try:
        document = json.loads(given[1])
    except ValueError:
        return None
    return json.dumps(judge(document), ensure_ascii=False)


def _statements(document: Document) -> Document:
    answer = str(document["answer"]).strip().rstrip(".")
    return {"statements": [f'The answer to "{document["question"]}" is {answer}.']}


def _claims(document: Document) -> Document:
    return {"claims": [document["response"].strip()]}


def _verdicts(document: Document) -> Document:
    context = document["context"]
    verdicts = [
        {"statement": statement, "reason": "compared with the context", "verdict": int(_follows(statement, context))}
        for statement in document["statements"]
    ]
    return {"statements": verdicts}


def _follows(statement: str, context: str) -> bool:
    """Returns whether a context says what a statement says, and the statement is true as far as anybody can tell."""
    if (match := _STATEMENT.match(statement)) is None:
        return _says(context, statement)
    question = last_question(match["question"])
    is_wrong = question is not None and question.right != match["answer"]
    return not is_wrong and _says(context, match["answer"])


def _useful(document: Document) -> Document:
    useful = _says(document["context"], document["answer"])
    return {"reason": "looked for the answer in the context", "verdict": int(useful)}


def _attributed(document: Document) -> Document:
    attributed = int(_says(document["context"], document["answer"]))
    reason = "looked for it in the context"
    return {"classifications": [{"statement": document["answer"], "reason": reason, "attributed": attributed}]}


def _question(document: Document) -> Document:
    response = document["response"].strip().rstrip(".")
    return {"question": f"What is {response}?", "noncommittal": int(response.casefold() == _UNKNOWING)}


def _entities(document: Document) -> Document:
    return {"entities": list(dict.fromkeys(_ENTITY.findall(document["text"])))}


def _says(text: str, words: str) -> bool:
    wanted = re.escape(words.strip().rstrip("."))
    return bool(wanted) and re.search(rf"(?i)(?<![\w-]){wanted}(?!\w)", text) is not None


_FORMS: dict[str, Callable[[Document], Document]] = {
    "StatementGeneratorOutput": _statements,
    "NLIStatementOutput": _verdicts,
    "ClaimDecompositionOutput": _claims,
    "ContextPrecisionOutput": _useful,
    "ContextRecallOutput": _attributed,
    "AnswerRelevanceOutput": _question,
    "EntitiesList": _entities,
}
