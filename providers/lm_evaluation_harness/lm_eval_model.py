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
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI
from lm_eval.models.utils import chunks

from evalhub_components.errors import EvalHubError
from lm_eval_endpoint import Endpoint
from lm_eval_ledger import Ledger, example_of
from lm_eval_parameters import ModelType, Parameters
from lm_eval_tokenizer import ServerTokenizer

logger = logging.getLogger(__name__)

# No other request would fare better: a wrong key, a wrong address, an unknown model.
_FATAL = frozenset({401, 403, 404, 405})
_TRANSIENT = frozenset({408, 425, 429})
_MAX_WAIT_SECONDS = 60.0
_MAX_BACKOFF_SECONDS = 10.0
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
        lengths = ctxlens or [None] * len(requests)
        batches = zip(chunks(requests, n=size), chunks(cache_keys, n=size), chunks(lengths, n=size), strict=True)

        async def answer(messages: list[Any], keys: list[Any], ctxlens: list[Any]) -> list[Any]:
            async with slots:
                return await self._answer(session, messages, keys, ctxlens, generate, gen_kwargs)

        try:
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                async with asyncio.TaskGroup() as group:
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
        # equal requests are one key's; the rolling ones stay, because they have many windows
        instances = [queue.popleft() if key is not None else queue[0] for queue, key in zip(owners, keys, strict=True) if queue]
        answers, tokens, reason = missing, dict[str, float](), ""
        for attempt in range(1, self.tries + 1):
            for instance in instances[:1]:
                self.ledger.of(instance).sent()
            try:
                document = await self._post(session, messages, generate, gen_kwargs)
                answers = self._parse(document, messages, ctxlens, generate)
                tokens = _tokens(document)
                break
            except RequestFailed as error:
                reason = str(error)
                logger.warning("attempt=%d of %d: %s", attempt, self.tries, reason)
                if error.wait is None or attempt == self.tries:
                    for instance in instances:
                        self.ledger.of(instance).fail(example_of(instance), reason)
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
            async with session.post(self.base_url, json=payload, headers=self.endpoint.headers) as response:
                body = await response.text(errors="replace")
                status, retry_after = response.status, response.headers.get("Retry-After", "")
        except TimeoutError:
            raise RequestFailed(f"no answer within {self.timeout} s (parameters.request_timeout)", 0) from None
        except aiohttp.ClientSSLError as error:
            raise EvalHubError(
                f"{self.base_url}: no secure connection: {error} (the server's CA belongs into the model's secret as ca_cert)"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise RequestFailed(f"{self.base_url}: {error or type(error).__name__}", 0) from None
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if status >= 400:
            self._refuse(status, _detail(document, body), retry_after)
        if not isinstance(document, dict) or not document.get("choices"):
            raise RequestFailed(f"the answer has no choices: {self._hidden(_detail(document, body))}", 0)
        return document

    def _refuse(self, status: int, detail: str, retry_after: str) -> None:
        detail = self._hidden(detail)
        if status in _FATAL:
            advice = {
                401: "the model's secret has the key as api-key" if self.endpoint.api_key else "no API key was given",
                404: f"is there a model {self.endpoint.model!r}, and does the server have this address?",
            }.get(status)
            raise EvalHubError(f"{self.base_url}: HTTP {status}: {detail}" + (f" ({advice})" if advice else ""))
        wait = None
        if status in _TRANSIENT or status >= 500:
            wait = min(float(retry_after), _MAX_WAIT_SECONDS) if retry_after.isdigit() else 0.0
        raise RequestFailed(f"HTTP {status}: {detail}", wait)

    def _hidden(self, text: str) -> str:
        """Return what the server said, without the key, which some repeat."""
        key = self.endpoint.api_key
        return text.replace(key, "***") if key else text

    def _parse(self, document: dict[str, Any], messages: list[Any], ctxlens: list[Any], generate: bool) -> list[Any]:
        try:
            if generate:
                texts = self.parse_generations(outputs=document)  # type: ignore[attr-defined]
                # a reasoning model that ran out of tokens says nothing, and that is its answer
                answers: list[Any] = ["" if text is None else text for text in texts]
            else:
                _check_length(document, messages)
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


def connect(
    endpoint: Endpoint, parameters: Parameters, model_type: ModelType, needs_tokenizer: bool, seed: int, ledger: Ledger
) -> tuple[Completions | ChatCompletions, dict[str, Any]]:
    """Return a model of lm-eval, and its arguments without secrets.

    Raises:
        EvalHubError: the tokenizer it needs cannot be had.
    """
    arguments: dict[str, Any] = {
        "model": endpoint.model,
        "seed": seed,
        "num_concurrent": parameters.num_concurrent,
        "max_retries": parameters.max_retries,
        "timeout": parameters.request_timeout,
        "max_gen_toks": parameters.max_gen_toks,
    }
    model: Completions | ChatCompletions
    if model_type == "local-chat-completions":
        arguments |= {"base_url": f"{endpoint.url}/chat/completions", "think_end_token": parameters.think_end_token}
        model = ChatCompletions(**_for_lm_eval(arguments))
        sends_token_ids = False
    else:
        backend = choose_backend(endpoint, parameters) if needs_tokenizer else None
        sends_token_ids = parameters.tokenized_requests
        arguments |= {
            "base_url": f"{endpoint.url}/completions",
            "batch_size": parameters.batch_size,
            "max_length": parameters.max_length or endpoint.max_length() or 2048,
            "tokenizer_backend": backend,
            "tokenizer": parameters.tokenizer if backend == "huggingface" else None,
            "tokenized_requests": sends_token_ids,
            "add_bos_token": parameters.add_bos_token,
        }
        model = _completions(arguments)
        if backend == "remote":
            model.tokenizer_backend = backend
            model.tokenizer = ServerTokenizer(endpoint, parameters.request_timeout, parameters.add_bos_token)
    model.endpoint, model.ledger = endpoint, ledger
    model.tries, model.concurrency = parameters.max_retries, parameters.num_concurrent
    model.sends_token_ids = sends_token_ids
    return model, arguments


def choose_backend(endpoint: Endpoint, parameters: Parameters) -> str:
    """Return which tokenizer counts the tokens of prompts."""
    backend = parameters.tokenizer_backend
    if backend is None:
        backend = "huggingface" if parameters.tokenizer else "remote"
        if backend == "remote" and not endpoint.tokenizes():
            raise EvalHubError(
                f"log-likelihoods need the model's tokenizer, and {endpoint.server}/tokenize does not offer it "
                "(set parameters.tokenizer to the tokenizer's folder or hub name, or serve the model with vLLM)"
            )
    return backend


def _completions(arguments: dict[str, Any]) -> Completions:
    backend = arguments["tokenizer_backend"]
    try:
        # the server's tokenizer is put in afterwards: lm-eval's own wants more of the server
        return Completions(**_for_lm_eval(arguments | {"tokenizer_backend": None if backend == "remote" else backend}))
    except ImportError as error:
        raise EvalHubError(f"parameters.tokenizer: needs a package this environment lacks: {error}") from error
    except (OSError, KeyError) as error:
        name = arguments["tokenizer"] or arguments["model"]
        raise EvalHubError(f"parameters.tokenizer: {backend} has no tokenizer {name!r}: {error}") from error


def _for_lm_eval(arguments: dict[str, Any]) -> dict[str, Any]:
    # lm-eval takes one request at a time through other code, where single failures cannot be told apart
    return arguments | {"num_concurrent": max(2, arguments["num_concurrent"]), "tokenized_requests": False}


def _generation_key(context: Any, options: dict[str, Any]) -> tuple[Any, str]:
    return context, json.dumps(options, sort_keys=True, default=str)


def _tokens(document: dict[str, Any]) -> dict[str, float]:
    usage = document.get("usage")
    names = ("prompt_tokens", "completion_tokens")
    return {name: usage[name] for name in names if isinstance(usage.get(name), int)} if isinstance(usage, dict) else {}


def _detail(document: Any, body: str) -> str:
    """Return what the server says of an error, in one line."""
    error = document.get("error", document) if isinstance(document, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return " ".join((message if isinstance(message, str) else body).split())[:_DETAIL_CHARACTERS]


def _check_length(document: dict[str, Any], prompts: list[list[int]]) -> None:
    """Check that the server counts tokens as the tokenizer does: otherwise the wrong ones would be summed up."""
    for choice in document["choices"]:
        given, wanted = len(choice["logprobs"]["token_logprobs"]), len(prompts[choice["index"]]) + 1
        if given != wanted:
            raise ValueError(
                f"{given} tokens instead of {wanted}: the server does not tokenize like parameters.tokenizer, "
                "or adds tokens of its own"
            )
