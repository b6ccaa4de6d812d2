"""What the model under test says to the test cases whose output was not recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from deepeval_cases import Case
from deepeval_parameters import Parameters

from evalhub_components.framework.relay import Relay

IN_CONTEXT = "Answer from this context alone.\n\nContext:\n{context}\n\n{input}"
PLAIN = "{input}"


def prompt_of(case: Case, template: str | None) -> str:
    """Return what the model is asked; a context that its answer is judged by belongs to the question."""
    template = template or (IN_CONTEXT if case.context else PLAIN)
    # not str.format: inputs and templates may hold braces of their own
    before, _, after = template.partition("{input}")
    context = "\n\n".join(case.context)
    return before.replace("{context}", context) + case.input + after.replace("{context}", context)


def answered(
    cases: Sequence[Case],
    parameters: Parameters,
    template: str | None,
    model: str,
    relay: Relay,
    done: Callable[[], None],
) -> list[Case]:
    """Return the test cases in their order, each with an output or with the reason why it has none.

    Args:
        template: the benchmark's own prompt, under that of the parameters.
        done: called after each.
    """
    system = [{"role": "system", "content": parameters.system_prompt}] if parameters.system_prompt else []

    def ask(case: Case) -> Case:
        if case.recorded:
            return case
        body = {
            "model": model,
            "messages": [*system, {"role": "user", "content": prompt_of(case, parameters.prompt or template)}],
            "temperature": parameters.temperature,
            "max_tokens": parameters.max_tokens,
        }
        answer = relay.forward("POST", "/chat/completions", json.dumps(body).encode())
        done()
        if answer.failure:
            return replace(case, failure=answer.failure)
        try:
            return replace(case, output=json.loads(answer.body)["choices"][0]["message"]["content"] or "")
        except (KeyError, IndexError, TypeError):
            return replace(case, failure=f"the server answers without a message: {answer.body[:200]!r}")

    with ThreadPoolExecutor(parameters.concurrency) as pool:
        return list(pool.map(ask, cases))
