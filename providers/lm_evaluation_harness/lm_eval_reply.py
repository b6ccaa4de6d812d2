"""What a server answers to one request: a document, or the reason why not."""

from __future__ import annotations

import json
from typing import Any

from lm_eval_endpoint import Endpoint

from evalhub_components import credentials
from evalhub_components.errors import EvalHubError
from evalhub_components.redaction import shortened

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
    document = _document(body)
    detail = _detail(endpoint, body)
    if status in _FATAL:
        raise EvalHubError(refusal(endpoint, address, status, body))
    if status >= 400:
        wait = None
        if is_transient(status):
            wait = min(float(retry_after), _MAX_WAIT_SECONDS) if retry_after.isdigit() else 0.0
        raise RequestFailed(f"HTTP {status}: {detail}", wait)
    if not isinstance(document, dict) or not document.get("choices"):
        raise RequestFailed(f"the answer has no choices: {detail}", 0)
    return document


def is_transient(status: int) -> bool:
    """Return whether a refusal may end by waiting."""
    return status in _TRANSIENT or status >= 500


def refusal(endpoint: Endpoint, address: str, status: int, body: str) -> str:
    """Return how a server refuses every request, and what may help."""
    return f"{address}: HTTP {status}: {_detail(endpoint, body)}{_advice(endpoint, status)}"


def distrust(address: str, error: Exception) -> str:
    """Return why there is no secure connection, and what would help."""
    return f"{address}: no secure connection: {error} (the CA of the server belongs into the model's secret as ca_cert)"


def tokens(document: dict[str, Any]) -> dict[str, float]:
    """Return the tokens of prompt and answer as the server counted them; nothing when it did not."""
    usage = document.get("usage")
    names = ("prompt_tokens", "completion_tokens")
    return {name: usage[name] for name in names if isinstance(usage.get(name), int)} if isinstance(usage, dict) else {}


def _document(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _detail(endpoint: Endpoint, body: str) -> str:
    """Return what the server says of an error, in one line."""
    document = _document(body)
    error = document.get("error", document) if isinstance(document, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    text = message if isinstance(message, str) else body
    for key in (endpoint.credentials.api_key, endpoint.credentials.key()):
        # some servers repeat the key they refuse
        text = text.replace(key, "***") if key else text
    return shortened(text, _DETAIL_CHARACTERS)


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
    if status == 401 or (status == 403 and endpoint.credentials.token_file):
        return f" ({credentials.advice(endpoint.credentials)})"
    return f" (is {endpoint.model!r} the model's name, and the URL right?)" if status == 404 else ""
