"""Questions to the model's server before anything is run: how long prompts may be, and whether it tokenizes."""

from __future__ import annotations

import json
from typing import Any

import lm_eval_reply as reply
from lm_eval_endpoint import Endpoint

from evalhub_components.errors import EvalHubError
from evalhub_components.framework.model_server import ModelServer

SECONDS = 30
TRIES = 3

# 400 and 422: other servers have a /tokenize too, which wants another body
_NOT_OFFERED = frozenset({400, 404, 405, 422, 501})


def max_length(endpoint: Endpoint) -> int | None:
    """Return the tokens of context the server declares for the model, None when it says nothing.

    Raises:
        EvalHubError: the server cannot be asked.
    """
    # a gateway may forbid the list to a key that is good for the model
    listed = _ask(endpoint, endpoint.url, "/models", None, _NOT_OFFERED | {401, 403})
    cards = listed.get("data")
    for card in cards if isinstance(cards, list) else []:
        if isinstance(card, dict) and card.get("id") == endpoint.model and isinstance(card.get("max_model_len"), int):
            return int(card["max_model_len"])
    return None


def tokenizes(endpoint: Endpoint) -> bool:
    """Return whether the server offers its tokenizer, as vLLM does.

    Raises:
        EvalHubError: the server cannot be asked.
    """
    body = {"model": endpoint.model, "prompt": "a"}
    return isinstance(_ask(endpoint, endpoint.server, "/tokenize", body, _NOT_OFFERED).get("tokens"), list)


def _ask(
    endpoint: Endpoint, base: str, path: str, body: dict[str, Any] | None, not_offered: frozenset[int]
) -> dict[str, Any]:
    """Return the document at an address, an empty one where the server has none."""
    server = ModelServer(base, endpoint.credentials, endpoint.ssl_context(), tries=TRIES, request_timeout=SECONDS)
    answer = server.ask("POST" if body else "GET", path, json.dumps(body).encode() if body else None)
    server.close()
    if answer.error:
        raise EvalHubError(f"{base}{path}: Cannot connect: {answer.silence}")
    # some gateways lead whoever asks for what they do not have to a page of their own
    if answer.status in not_offered or 300 <= answer.status < 400:
        return {}
    if answer.status >= 400:
        said = answer.body.decode(errors="replace")
        raise EvalHubError(reply.refusal(endpoint, f"{base}{path}", answer.status, said))
    try:
        document = json.loads(answer.body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
