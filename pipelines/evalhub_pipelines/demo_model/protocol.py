"""The OpenAI-compatible protocol: requests as JSON documents in, replies as JSON documents out; no sockets here."""

import base64
import hashlib
import hmac
import json
import struct
import threading
from collections.abc import Callable

from evalhub_pipelines.demo_model import reply, request, tokens
from evalhub_pipelines.demo_model.embeddings import DIMENSIONS, embed
from evalhub_pipelines.demo_model.model import Answer, DemoModel
from evalhub_pipelines.demo_model.reply import Reply, ScoredToken
from evalhub_pipelines.demo_model.request import MAX_MODEL_LEN, Document, RequestError
from evalhub_pipelines.demo_model.settings import DemoModelSettings

# The same on every start: a client that hashes replies sees no difference.
_CREATED = 1_700_000_000
_OWNER = "evalhub-kfp"
_CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n\n{% endfor %}"


class Protocol:
    """Answers the requests of one server."""

    def __init__(self, settings: DemoModelSettings) -> None:
        refusal_rate = settings.skill if settings.refusal_rate is None else settings.refusal_rate
        self._settings = settings
        self._model = DemoModel(settings.skill, settings.seed, refusal_rate)
        self._attempts: dict[bytes, int] = {}
        self._lock = threading.Lock()
        self._routes: dict[str, tuple[str, Callable[[Document], Reply]]] = {
            "/health": ("GET", lambda _: Reply(200, {})),
            "/tokenizer_info": ("GET", lambda _: Reply(200, _tokenizer_info())),
            "/tokenize": ("POST", _tokenize),
            "/detokenize": ("POST", _detokenize),
            "/v1/models": ("GET", lambda _: Reply(200, {"object": "list", "data": [self._model_card()]})),
            f"/v1/models/{settings.model_name}": ("GET", lambda _: Reply(200, self._model_card())),
            "/v1/completions": ("POST", self._completions),
            "/v1/chat/completions": ("POST", self._chat_completions),
            "/v1/embeddings": ("POST", self._embeddings),
        }

    @staticmethod
    def asks_model(method: str, path: str) -> bool:
        """Returns whether a request is one that `latency` and `error_rate` apply to."""
        return method == "POST" and path.startswith("/v1/")

    def handle(self, method: str, path: str, authorization: str | None, body: bytes) -> Reply:
        """Returns the reply to a request.

        Args:
            method: The HTTP method.
            path: The path without query.
            authorization: The `Authorization` header.
            body: The request's body.
        """
        try:
            # As in vLLM, the key protects /v1 alone: clients ask for /health and the tokenizer without it.
            if path.startswith("/v1/"):
                self._authorize(authorization)
            if path not in self._routes:
                raise RequestError(404, f"there is no {path}")
            expected, answer = self._routes[path]
            if method != expected:
                raise RequestError(405, f"{path} takes {expected}, not {method}")
            if self.asks_model(method, path):
                self._fail_some(body)
            return answer(request.parse(body) if method == "POST" else {})
        except RequestError as error:
            return Reply(error.status, error.document)

    def _authorize(self, authorization: str | None) -> None:
        key = self._settings.api_key
        if key is not None and not hmac.compare_digest((authorization or "").encode(), f"Bearer {key}".encode()):
            raise RequestError(401, "incorrect or missing API key", code="invalid_api_key")

    def _fail_some(self, body: bytes) -> None:
        if not self._settings.error_rate:
            return
        digest = hashlib.sha256(body).digest()
        with self._lock:
            attempt = self._attempts[digest] = self._attempts.get(digest, 0) + 1
        if self._model.draw("failure", digest.hex(), str(attempt)) < self._settings.error_rate:
            raise RequestError(500, f"simulated failure of attempt {attempt}", code="simulated_failure")

    def _check_model(self, document: Document) -> None:
        name = document.get("model")
        if not isinstance(name, str):
            raise RequestError(400, "model: must be a string", "model")
        if name != self._settings.model_name:
            message = f"the model {name!r} does not exist (this server has {self._settings.model_name!r})"
            raise RequestError(404, message, "model", "model_not_found")

    def _model_card(self) -> Document:
        name = self._settings.model_name
        return {
            "id": name,
            "object": "model",
            "created": _CREATED,
            "owned_by": _OWNER,
            "root": name,
            "parent": None,
            "max_model_len": MAX_MODEL_LEN,
        }

    def _completions(self, document: Document) -> Reply:
        self._check_model(document)
        prompts = request.texts(document, "prompt")
        options = request.generation(document, max(map(len, prompts)), default_max_tokens=16)
        echo = document.get("echo") is True
        top = request.integer(document, "logprobs", -1)
        choices: list[Document] = []
        streams: list[tuple[list[str], str]] = []
        completion_tokens = 0
        for ids in prompts:
            prompt = tokens.decode(ids)
            answer = self._model.answer(prompt)
            said, finish_reason = options.cut(answer.text if prompt[-1:].isspace() else f" {answer.text}")
            completion_tokens += len(said) * options.n
            logprobs = None
            if top >= 0:
                scored = [*(self._score(answer, prompt, ids) if echo else []), *reply.spoken(said)]
                logprobs = reply.completion_logprobs(scored, top, 0 if echo else len(prompt))
            pieces = [*([prompt] if echo else []), *map(tokens.piece, said)]
            choice = {"text": "".join(pieces), "logprobs": logprobs, "finish_reason": finish_reason}
            choices += [{"index": len(choices) + number, **choice} for number in range(options.n)]
            streams += [(pieces, finish_reason)] * options.n
        head = self._head("cmpl", "text_completion", document)
        counts = reply.usage(sum(map(len, prompts)), completion_tokens)
        if options.stream:
            return Reply(200, reply.completion_chunks(head, streams, counts, options))
        return Reply(200, {**head, "choices": choices, "usage": counts})

    def _score(self, answer: Answer, prompt: str, ids: list[int]) -> list[ScoredToken]:
        continuation = prompt[answer.start :]
        context_rate = self._model.logprob_per_character(answer, prompt)
        rate = self._model.logprob_per_character(answer, continuation) if continuation.strip() else context_rate
        scored: list[ScoredToken] = []
        offset = 0
        for text in map(tokens.piece, ids):
            logprob = (rate if offset >= answer.start else context_rate) * len(text)
            # The first token follows nothing, so it has no probability.
            scored.append(ScoredToken(text, round(logprob, 6) if scored else None))
            offset += len(text)
        return scored

    def _chat_completions(self, document: Document) -> Reply:
        self._check_model(document)
        prompt, prompt_tokens = request.conversation(document)
        options = request.generation(document, prompt_tokens, default_max_tokens=MAX_MODEL_LEN)
        said, finish_reason = options.cut(self._model.answer(prompt).text)
        counts = reply.usage(prompt_tokens, len(said) * options.n)
        if options.stream:
            head = self._head("chatcmpl", "chat.completion.chunk", document)
            return Reply(200, reply.chat_chunks(head, said, finish_reason, counts, options))
        choice = {
            "message": {"role": "assistant", "content": tokens.decode(said)},
            "logprobs": reply.chat_logprobs(reply.spoken(said)) if document.get("logprobs") is True else None,
            "finish_reason": finish_reason,
        }
        head = self._head("chatcmpl", "chat.completion", document)
        choices = [{"index": number, **choice} for number in range(options.n)]
        return Reply(200, {**head, "choices": choices, "usage": counts})

    def _embeddings(self, document: Document) -> Reply:
        self._check_model(document)
        inputs = request.texts(document, "input")
        dimensions = request.integer(document, "dimensions", DIMENSIONS, low=1, high=4096)
        encoding = document.get("encoding_format") or "float"
        if encoding not in ("float", "base64"):
            raise RequestError(400, "encoding_format: must be 'float' or 'base64'", "encoding_format")
        data: list[Document] = []
        for index, ids in enumerate(inputs):
            vector = embed(tokens.decode(ids), dimensions)
            packed = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
            data.append({"object": "embedding", "index": index, "embedding": vector if encoding == "float" else packed})
        count = sum(map(len, inputs))
        counts = {"prompt_tokens": count, "total_tokens": count}
        return Reply(200, {"object": "list", "model": self._settings.model_name, "data": data, "usage": counts})

    def _head(self, prefix: str, kind: str, document: Document) -> Document:
        digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:24]
        return {"id": f"{prefix}-{digest}", "object": kind, "created": _CREATED, "model": self._settings.model_name}


def _tokenizer_info() -> Document:
    return {
        "tokenizer_class": "DemoModelTokenizer",
        "bos_token": None,
        "eos_token": tokens.END_TEXT,
        "pad_token": tokens.END_TEXT,
        "model_max_length": MAX_MODEL_LEN,
        "chat_template": _CHAT_TEMPLATE,
    }


def _tokenize(document: Document) -> Reply:
    prompt = document.get("prompt")
    if not isinstance(prompt, str):
        raise RequestError(400, "prompt: must be a string", "prompt")
    ids = tokens.encode(prompt)
    return Reply(200, {"count": len(ids), "max_model_len": MAX_MODEL_LEN, "tokens": ids, "token_strs": None})


def _detokenize(document: Document) -> Reply:
    return Reply(200, {"prompt": tokens.decode(request.token_ids(document.get("tokens"), "tokens"))})
