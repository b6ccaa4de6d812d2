"""How likely a model finds a text, by what servers tell of the tokens of a prompt."""

from __future__ import annotations

from typing import Any, NamedTuple


class Scored(NamedTuple):
    """How likely the model finds a continuation.

    Attributes:
        logprob: natural logarithm, of all its tokens.
        is_greedy: whether each of its tokens is the likeliest at its place.
    """

    logprob: float
    is_greedy: bool
    tokens: int


def of_continuation(choice: dict[str, Any], said: int, continuation: str) -> Scored:
    """Return the score of the last tokens of a prompt that a server repeated with their log-probabilities.

    They are found from the end by their text: the offsets that servers give count marks that no text has.

    Args:
        said: tokens at the end that are the model's, not the prompt's.

    Raises:
        ValueError: the server does not do that, or the tokens' texts are not those of the prompt.
    """
    logprobs = choice.get("logprobs") or {}
    end = len(logprobs.get("tokens") or []) - said
    text, first = "", end
    while first > 0 and len(text) < len(continuation):
        first -= 1
        text = logprobs["tokens"][first] + text
    values = (logprobs.get("token_logprobs") or [])[first:end]
    if not values or not text.endswith(continuation):
        raise ValueError("the server gives no log-probabilities of a prompt (echo and logprobs of /v1/completions)")
    if None in values:
        raise ValueError("the prompt is nothing but the choice, whose first token has no log-probability")
    tops = (logprobs.get("top_logprobs") or [])[first:end]
    best = [max((top or {}).values(), default=value) for top, value in zip(tops, values, strict=False)]
    return Scored(sum(values), all(v >= b for v, b in zip(values, best, strict=False)), len(values))
