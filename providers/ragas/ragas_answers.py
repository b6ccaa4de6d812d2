"""The answers of the model under test to the rows that have none."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from ragas_parameters import Parameters
from ragas_rows import Row

from evalhub_components.framework.relay import Relay


class Answered(NamedTuple):
    """What became of one row: `text`, or why there is none."""

    text: str | None
    failure: str = ""


def ask(
    relay: Relay, model: str, rows: Sequence[Row], parameters: Parameters, progress: Callable[[int], None]
) -> dict[str, Answered]:
    """Return the model's answers by the rows' ids.

    Args:
        progress: called with the number of answers so far.
    """
    found: dict[str, Answered] = {}
    with ThreadPoolExecutor(parameters.num_concurrent) as pool:
        answers = pool.map(lambda row: _answer(relay, model, row, parameters), rows)
        for row, answered in zip(rows, answers, strict=True):
            found[row.id] = answered
            progress(len(found))
    return found


def messages(row: Row, parameters: Parameters) -> list[dict[str, str]]:
    """Return the conversation that asks for the answer to a row."""
    said = row.user_input
    if row.retrieved_contexts:
        # in one pass: a context may hold the other's name in braces
        before, _, after = parameters.prompt.partition("{user_input}")
        contexts = "\n".join(row.retrieved_contexts)
        said = contexts.join(before.split("{contexts}")) + row.user_input + contexts.join(after.split("{contexts}"))
    system = [{"role": "system", "content": parameters.system_prompt}] if parameters.system_prompt else []
    return [*system, {"role": "user", "content": said}]


def _answer(relay: Relay, model: str, row: Row, parameters: Parameters) -> Answered:
    body: dict[str, Any] = {
        "model": model,
        "messages": messages(row, parameters),
        "max_tokens": parameters.max_tokens,
        **({} if parameters.temperature is None else {"temperature": parameters.temperature}),
        **parameters.body,
    }
    answer = relay.forward("POST", "/chat/completions", json.dumps(body).encode())
    if answer.failure:
        return Answered(None, answer.failure)
    try:
        text = json.loads(answer.body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        return Answered(None, "the model's reply is no chat completion")
    # nothing can be said of an empty text; most metrics would refuse it
    return Answered(text, "") if isinstance(text, str) and text.strip() else Answered(None, "the answer is empty")
