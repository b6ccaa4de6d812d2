"""Questions to the model's server before anything is run: how long prompts may be, and whether it tokenizes."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from typing import Any

import lm_eval_reply as reply
from lm_eval_endpoint import Endpoint

from evalhub_components.errors import EvalHubError

SECONDS = 30
TRIES = 3
WAIT_SECONDS = 1.0

# 400 and 422: other servers have a /tokenize too, which wants another body
_NOT_OFFERED = frozenset({400, 404, 405, 422, 501})


def max_length(endpoint: Endpoint) -> int | None:
    """Return the tokens of context the server declares for the model, None when it says nothing.

    Raises:
        EvalHubError: the server cannot be asked.
    """
    # a gateway may forbid the list to a key that is good for the model
    listed = _ask(endpoint, f"{endpoint.url}/models", None, _NOT_OFFERED | {401, 403})
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
    return isinstance(_ask(endpoint, f"{endpoint.server}/tokenize", body, _NOT_OFFERED).get("tokens"), list)


def _ask(endpoint: Endpoint, url: str, body: dict[str, Any] | None, not_offered: frozenset[int]) -> dict[str, Any]:
    """Return the document at an address, an empty one where the server has none."""
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=endpoint.ssl_context()))
    for attempt in range(1, TRIES + 1):
        if attempt > 1:
            time.sleep(WAIT_SECONDS * (attempt - 1))
        request = urllib.request.Request(url, json.dumps(body).encode() if body else None)
        headers = endpoint.headers
        for name, value in {**headers, "Content-Type": "application/json"}.items():
            request.add_unredirected_header(name, value)
        try:
            with opener.open(request, timeout=SECONDS) as response:
                document = json.load(response)
            return document if isinstance(document, dict) else {}
        except urllib.error.HTTPError as error:
            with error:
                if error.code in not_offered:
                    return {}
                text = error.read().decode(errors="replace")
            reason = reply.refusal(endpoint, url, error.code, text)
            # a token that was replaced in the meantime is worth another try
            if not reply.is_transient(error.code) and (error.code != 401 or headers == endpoint.headers):
                break
        except ValueError:
            return {}
        except (OSError, http.client.HTTPException) as error:
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(cause, ssl.SSLError):
                raise EvalHubError(reply.distrust(url, cause)) from None
            through = f" through the proxy {endpoint.proxy_host}" if endpoint.proxy else ""
            what = f"no answer within {SECONDS} s" if isinstance(cause, TimeoutError) else cause or type(cause).__name__
            reason = f"{url}: Cannot connect{through}: {what}"
    raise EvalHubError(reason)
