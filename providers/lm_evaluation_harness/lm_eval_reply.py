"""What a server answers to one request: a document, or the reason why not."""

from __future__ import annotations

import json
from typing import Any

from lm_eval_endpoint import Endpoint

from evalhub_components.errors import EvalHubError

# No other request would fare better: a wrong key, a wrong address, an unknown model.
_FATAL = frozenset({401, 403, 404, 405})
_TRANSIENT = frozenset({408, 425, 429})
_MAX_WAIT_SECONDS = 60.0
_DETAIL_CHARACTERS = 300


class RequestFailed(Exception):
    """One request got no usable answer.

    Attributes:
        wait: seconds before it is worth trying again; None means never.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def read(endpoint: Endpoint, address: str, status: int, retry_after: str, body: str) -> dict[str, Any]:
    """Return the document of an answer.

    Raises:
        RequestFailed: this request got no usable answer.
        EvalHubError: no request will.
    """
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    detail = _detail(document, body)
    if endpoint.api_key:
        # some servers repeat the key they refuse
        detail = detail.replace(endpoint.api_key, "***")
    if status in _FATAL:
        raise EvalHubError(f"{address}: HTTP {status}: {detail}{_advice(endpoint, status)}")
    if status >= 400:
        wait = None
        if status in _TRANSIENT or status >= 500:
            wait = min(float(retry_after), _MAX_WAIT_SECONDS) if retry_after.isdigit() else 0.0
        raise RequestFailed(f"HTTP {status}: {detail}", wait)
    if not isinstance(document, dict) or not document.get("choices"):
        raise RequestFailed(f"the answer has no choices: {detail}", 0)
    return document


def tokens(document: dict[str, Any]) -> dict[str, float]:
    """Return the tokens of prompt and answer as the server counted them; nothing when it did not."""
    usage = document.get("usage")
    names = ("prompt_tokens", "completion_tokens")
    return {name: usage[name] for name in names if isinstance(usage.get(name), int)} if isinstance(usage, dict) else {}


def _detail(document: Any, body: str) -> str:
    """Return what the server says of an error, in one line."""
    error = document.get("error", document) if isinstance(document, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return " ".join((message if isinstance(message, str) else body).split())[:_DETAIL_CHARACTERS]


def check_length(document: dict[str, Any], prompts: list[list[int]]) -> None:
    """Check that the server counts tokens as the tokenizer does: otherwise the wrong ones would be summed up."""
    for choice in document["choices"]:
        given, wanted = len(choice["logprobs"]["token_logprobs"]), len(prompts[choice["index"]]) + 1
        if given != wanted:
            raise ValueError(
                f"{given} tokens instead of {wanted}: the server does not tokenize like parameters.tokenizer, "
                "or adds tokens of its own"
            )


def _advice(endpoint: Endpoint, status: int) -> str:
    if status == 401:
        return " (is api-key of the model's secret right?)" if endpoint.api_key else " (the run has no API key)"
    return f" (is {endpoint.model!r} the model's name, and the URL right?)" if status == 404 else ""
