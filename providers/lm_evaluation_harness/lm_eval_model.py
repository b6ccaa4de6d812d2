"""lm-eval's API models, with requests that may fail one by one, are counted, and say plainly what went wrong."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import aiohttp
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI
from lm_eval.models.utils import chunks

from evalhub_components.errors import EvalHubError
from lm_eval_endpoint import Endpoint
from lm_eval_ledger import Ledger, example_of
from lm_eval_tokenizer import ServerTokenizer

logger = logging.getLogger(__name__)

# No other request would fare better: a wrong key, a wrong address, an unknown model.
_FATAL = frozenset({401, 403, 404, 405})
_TRANSIENT = frozenset({408, 425, 429})
_MAX_WAIT_SECONDS = 60.0
_DETAIL_CHARACTERS = 300


class NoText(str):
    """Stands for a text that never came, so that nobody takes it for an empty answer."""


NO_LOGLIKELIHOOD = (math.nan, False)


class RequestFailed(Exception):
    """One request got no usable answer.

    Attributes:
        wait: seconds before it is worth trying again; None means never.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _Asking:
    """How requests are sent, for both kinds of model; mixed in before lm-eval's class."""

    endpoint: Endpoint
    ledger: Ledger
    tries: int
    concurrency: int
    # of lm-eval's class
    base_url: str
    timeout: int
    tokenizer: Any
    tokenizer_backend: str | None
    tokenized_requests: bool
    _seed: int
    _batch_size: int
    _owners: defaultdict[Any, list[Any]]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Answer requests for text; `NoText` for those that failed."""
        self._own((_generation_key(request.args[0], request.args[1]), request) for request in requests)
        answers: list[str] = super().generate_until(requests, disable_tqdm)  # type: ignore[misc]
        self._settle(requests, [isinstance(answer, NoText) for answer in answers])
        return answers

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Answer requests for log-likelihoods; NaN for those that failed."""
        self._own((request.args, request) for request in requests)
        if isinstance(self.tokenizer, ServerTokenizer):
            texts = [text for context, rest in (r.args for r in requests) for text in (context + rest, context.rstrip())]
            self.tokenizer.prefetch(filter(None, texts), self.concurrency)
        answers: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm)  # type: ignore[misc]
        self._settle(requests, [math.isnan(answer[0]) for answer in answers])
        return answers

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Answer requests for the log-likelihood of whole texts; NaN for those that failed."""
        answers: list[float] = []
        for request in requests:
            # a text is asked for in windows, which lm-eval gives no key
            self._owners = defaultdict(lambda owner=request: [owner])  # type: ignore[misc]
            answers += super().loglikelihood_rolling([request], disable_tqdm)  # type: ignore[misc]
        self._settle(requests, [math.isnan(answer) for answer in answers])
        return answers
