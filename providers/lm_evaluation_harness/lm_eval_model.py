"""lm-eval's API models, with requests that may fail one by one, are counted, and say plainly what went wrong."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any

import aiohttp
import lm_eval_reply as reply
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI
from lm_eval.models.utils import chunks
from lm_eval_endpoint import Endpoint
from lm_eval_ledger import Ledger, example_of
from lm_eval_reply import RequestFailed
from lm_eval_tokenizer import ServerTokenizer

from evalhub_components.errors import EvalHubError

logger = logging.getLogger(__name__)

_MAX_BACKOFF_SECONDS = 10.0


class NoText(str):
    """Stands for a text that never came, so that nobody takes it for an empty answer."""


NO_LOGLIKELIHOOD = (math.nan, False)


class _Asking:
    """How requests are sent, for both kinds of model; mixed in before lm-eval's class."""

    endpoint: Endpoint
    ledger: Ledger
    tries: int
    concurrency: int
    sends_token_ids: bool
    # of lm-eval's class
    base_url: str
    timeout: int
    tokenizer: Any
    _batch_size: int
    _seed: int

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Answer requests for text; `NoText` for those that failed."""
        self._own((_generation_key(*request.args[:2]), request) for request in requests)
        answers: list[str] = super().generate_until(requests, True)  # type: ignore[misc]
        self._settle(requests, [isinstance(answer, NoText) for answer in answers])
        return answers

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Answer requests for log-likelihoods; NaN for those that failed."""
        self._own((request.args, request) for request in requests)
        if isinstance(self.tokenizer, ServerTokenizer):
            pairs = [request.args for request in requests]
            texts = [text for context, rest in pairs for text in (context + rest, context.rstrip()) if text]
            self.tokenizer.prefetch(texts, self.concurrency)
        answers: list[tuple[float, bool]] = super().loglikelihood(requests, True)  # type: ignore[misc]
        self._settle(requests, [math.isnan(answer[0]) for answer in answers])
        return answers

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Answer requests for the log-likelihood of whole texts; NaN for those that failed."""
        answers: list[float] = []
        for request in requests:
            # a text is asked for in windows, which come without a key
            self._own([(None, request)])
            answers += super().loglikelihood_rolling([request], True)  # type: ignore[misc]
        self._settle(requests, [math.isnan(answer) for answer in answers])
        return answers

    async def get_batched_requests(
        self,
        requests: Sequence[Any],
        cache_keys: Sequence[Any],
        *,
        generate: bool = True,
        ctxlens: Sequence[int] | None = None,
        gen_kwargs: dict[str, Any] | None = None,
    ) -> list[list[Any]]:
        """Send prompts in batches and return the answers to each batch.

        lm-eval's own raises at the first request whose tries are used up, and the answers of all others are gone.
        """
        slots = asyncio.Semaphore(self.concurrency)
        connector = aiohttp.TCPConnector(limit=self.concurrency, ssl=self.endpoint.ssl_context())
        timeout = aiohttp.ClientTimeout(total=self.timeout)
        size = self._batch_size
        lengths: Sequence[int | None] = ctxlens or [None] * len(requests)
        batches = zip(chunks(requests, n=size), chunks(cache_keys, n=size), chunks(lengths, n=size), strict=True)

        async def answer(messages: list[Any], keys: list[Any], ctxlens: list[Any]) -> list[Any]:
            async with slots:
                return await self._answer(session, messages, keys, ctxlens, generate, gen_kwargs)

        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout, proxy=self.endpoint.proxy) as session,
                asyncio.TaskGroup() as group,
            ):
                asked = [group.create_task(answer(*batch)) for batch in batches]
        except BaseExceptionGroup as errors:
            # one reason is enough: the others are the same, or only cancelled
            raise errors.exceptions[0] from None
        return [task.result() for task in asked]

    def create_message(self, messages: list[Any], generate: bool = False) -> Any:
        """Return a prompt as the server takes it; token ids stay what they are, unless that was refused."""
        if self.sends_token_ids and isinstance(messages[0], list):
            return messages
        return super().create_message(messages, generate)  # type: ignore[misc]

    async def _answer(
        self,
        session: aiohttp.ClientSession,
        messages: list[Any],
        keys: list[Any],
        ctxlens: list[Any],
        generate: bool,
        gen_kwargs: dict[str, Any] | None,
    ) -> list[Any]:
        """Return the answers to one request, or what stands for them."""
        missing = [NoText() if generate else NO_LOGLIKELIHOOD] * len(messages)
        owners = [self._owners.get(_generation_key(*key) if generate else key, deque()) for key in keys]
        if self.ledger.lost([instance for queue in owners for instance in queue]):
            return missing
        # equal requests share a key; a rolling one stays, because its many windows have none
        instances = [
            queue.popleft() if key is not None else queue[0] for queue, key in zip(owners, keys, strict=True) if queue
        ]
        answers, tokens = missing, dict[str, float]()
        for attempt in range(1, self.tries + 1):
            for instance in instances[:1]:
                self.ledger.of(instance).sent()
            try:
                document = await self._post(session, messages, generate, gen_kwargs)
                answers = self._parse(document, messages, ctxlens, generate)
                tokens = reply.tokens(document)
                break
            except RequestFailed as error:
                logger.warning("attempt=%d of %d: %s", attempt, self.tries, error)
                if error.wait is None or attempt == self.tries:
                    for instance in instances:
                        self.ledger.of(instance).fail(example_of(instance), str(error))
                    break
                await asyncio.sleep(max(error.wait, min(2 ** (attempt - 1), _MAX_BACKOFF_SECONDS)))
        for instance in instances:
            self.ledger.answered(instance, {name: count / len(instances) for name, count in tokens.items()})
        return answers

    async def _post(
        self, session: aiohttp.ClientSession, messages: list[Any], generate: bool, gen_kwargs: dict[str, Any] | None
    ) -> dict[str, Any]:
        payload = self._create_payload(  # type: ignore[attr-defined]
            self.create_message(messages), generate=generate, gen_kwargs=copy.deepcopy(gen_kwargs), seed=self._seed
        )
        try:
            for _ in range(2):
                headers = self.endpoint.headers
                async with session.post(self.base_url, json=payload, headers=headers) as response:
                    body = await response.text(errors="replace")
                    status, retry_after = response.status, response.headers.get("Retry-After", "")
                # a token that was replaced in the meantime is worth another try
                if status != 401 or headers == self.endpoint.headers:
                    break
        except TimeoutError:
            raise RequestFailed(f"no answer within {self.timeout} s (parameters.request_timeout)", 0) from None
        except aiohttp.ClientSSLError as error:
            raise EvalHubError(reply.distrust(self.base_url, error)) from None
        except aiohttp.ClientHttpProxyError as error:
            # it repeats the proxy's address, with the password
            why = f"the proxy answers HTTP {error.status} (check HTTP_PROXY, HTTPS_PROXY and NO_PROXY)"
            raise RequestFailed(f"{self.base_url}: {why}", 0) from None
        except (aiohttp.ClientError, OSError) as error:
            raise RequestFailed(f"{self.base_url}: {error or type(error).__name__}", 0) from None
        return reply.read(self.endpoint, self.base_url, status, retry_after, body)

    def _parse(self, document: dict[str, Any], messages: list[Any], ctxlens: list[Any], generate: bool) -> list[Any]:
        try:
            if generate:
                texts = self.parse_generations(outputs=document)  # type: ignore[attr-defined]
                # a reasoning model that ran out of tokens says nothing, and that is its answer
                answers: list[Any] = ["" if text is None else text for text in texts]
            else:
                reply.check_length(document, messages)
                answers = self.parse_logprobs(  # type: ignore[attr-defined]
                    outputs=document, tokens=messages, ctxlens=ctxlens
                )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, AssertionError) as error:
            wanted = "a text" if generate else "the log-probabilities of the prompt (echo with logprobs)"
            raise RequestFailed(f"the answer lacks {wanted}: {type(error).__name__}: {error}") from None
        if len(answers) != len(messages):
            raise RequestFailed(f"the answer has {len(answers)} choices for {len(messages)} prompts")
        if not generate and any(math.isnan(answer[0]) for answer in answers):
            raise RequestFailed("the log-likelihood is not a number")
        return answers

    def _own(self, requests: Iterable[tuple[Any, Any]]) -> None:
        """Remember whose the coming requests are: lm-eval sorts them, and passes on nothing but a key."""
        self._owners: dict[Any, deque[Any]] = defaultdict(deque)
        for key, instance in requests:
            self._owners[key].append(instance)

    def _settle(self, requests: list[Any], failed: list[bool]) -> None:
        """Note the examples of answers that are missing, whoever the failed request was counted for."""
        for instance, missing in zip(requests, failed, strict=True):
            tally = self.ledger.of(instance)
            if missing and not tally.lost:
                tally.fail(example_of(instance), "an equal request failed")


class Completions(_Asking, LocalCompletionsAPI):  # type: ignore[misc]  # lm-eval has no types
    """`/v1/completions`: texts and log-likelihoods."""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return a conversation as one prompt, by the template of the model's tokenizer."""
        if self.tokenizer_backend == "huggingface":
            return str(
                self.tokenizer.apply_chat_template(
                    chat_history,
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                    continue_final_message=not add_generation_prompt,
                )
            )
        if isinstance(self.tokenizer, ServerTokenizer) and self.tokenizer.has_chat_template:
            return str(self.tokenizer.apply_chat_template(chat_history, add_generation_prompt))
        raise EvalHubError(
            "parameters.apply_chat_template: completions are asked with plain text, so the template must come from "
            "a tokenizer (set tokenizer, or start vLLM with --enable-tokenizer-info-endpoint)"
        )


class ChatCompletions(_Asking, LocalChatCompletion):  # type: ignore[misc]  # lm-eval has no types
    """`/v1/chat/completions`: texts only."""


def _generation_key(context: Any, options: dict[str, Any]) -> tuple[Any, str]:
    return context, json.dumps(options, sort_keys=True, default=str)
