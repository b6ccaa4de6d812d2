"""What a request asks for: JSON parsed and checked, with OpenAI's errors for what is wrong."""

import json
from dataclasses import dataclass
from typing import Any

from evalhub_pipelines.demo_model import tokens

Document = dict[str, Any]

MAX_MODEL_LEN = 32768


class RequestError(Exception):
    """A request that is refused, with what OpenAI's error format wants to know."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        kind = "invalid_request_error" if status < 500 else "server_error"
        self.document: Document = {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True)
class Generation:
    """The options that shape a generated text. Temperature and seed change nothing: this model always says the same."""

    max_tokens: int
    stop: tuple[str, ...]
    n: int
    stream: bool
    stream_usage: bool

    def cut(self, text: str) -> tuple[list[int], str]:
        """Returns the tokens of a text up to the first stop sequence or the limit, and the finish reason."""
        ends = [text.index(stop) for stop in self.stop if stop in text]
        ids = tokens.encode(text[: min(ends)] if ends else text)
        return ids[: self.max_tokens], "length" if len(ids) > self.max_tokens else "stop"


def parse(body: bytes) -> Document:
    """Returns the JSON object of a body."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise RequestError(400, "the body must be a JSON object")
    return request


def generation(request: Document, prompt_tokens: int, default_max_tokens: int) -> Generation:
    """Returns the generation options of a request whose longest prompt has so many tokens."""
    if prompt_tokens >= MAX_MODEL_LEN:
        message = f"the prompt has {prompt_tokens} tokens, and this model's context holds {MAX_MODEL_LEN}"
        raise RequestError(400, message, code="context_length_exceeded")
    stop = request.get("stop") or []
    stop = [stop] if isinstance(stop, str) else stop
    if not isinstance(stop, list) or not all(isinstance(text, str) for text in stop):
        raise RequestError(400, "stop: must be a string or a list of strings", "stop")
    limit = "max_completion_tokens" if "max_completion_tokens" in request else "max_tokens"
    stream = request.get("stream") is True
    if stream and request.get("logprobs"):
        raise RequestError(400, "logprobs: not supported together with stream", "logprobs")
    stream_options = request.get("stream_options")
    return Generation(
        max_tokens=integer(request, limit, default_max_tokens),
        stop=tuple(text for text in stop if text),
        n=integer(request, "n", 1, low=1, high=128),
        stream=stream,
        stream_usage=isinstance(stream_options, dict) and stream_options.get("include_usage") is True,
    )


def integer(request: Document, name: str, default: int, low: int = 0, high: int = 1 << 31) -> int:
    """Returns an integer field, or the default where it is absent or null."""
    value = request.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RequestError(400, f"{name}: must be an integer from {low} to {high}", name)
    return value


def texts(request: Document, name: str) -> list[list[int]]:
    """Returns the token ids of a field that is a string, token ids, or a list of either."""
    value = request.get(name)
    if isinstance(value, str):
        return [tokens.encode(value)]
    if isinstance(value, list) and value:
        if all(isinstance(text, str) for text in value):
            return [tokens.encode(text) for text in value]
        if all(isinstance(token, int) for token in value):
            return [token_ids(value, name)]
        if all(isinstance(ids, list) for ids in value):
            return [token_ids(ids, name) for ids in value]
    raise RequestError(400, f"{name}: must be a string, a list of strings, token ids, or a list of token ids", name)


def token_ids(value: object, name: str) -> list[int]:
    """Returns a list of token ids, all of them in the vocabulary."""
    if not isinstance(value, list) or not all(type(token) is int for token in value):
        raise RequestError(400, f"{name}: must be a list of token ids", name)
    try:
        tokens.decode(value)
    except ValueError as error:
        raise RequestError(400, f"{name}: {error}", name) from error
    return value


def conversation(request: Document) -> tuple[str, int]:
    """Returns the text of the last user message, and the number of tokens of all messages."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise RequestError(400, "messages: must be a list of objects", "messages")
    contents = [(message.get("role"), _content(message.get("content"))) for message in messages]
    prompts = [content for role, content in contents if role == "user"]
    if not prompts:
        raise RequestError(400, "messages: must hold at least one with the role 'user'", "messages")
    return prompts[-1], sum(len(tokens.encode(content)) for _, content in contents)


def _content(content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        if len(parts) == len(content) and all(isinstance(part, str) for part in parts):
            return "\n".join(map(str, parts))
    raise RequestError(400, "messages: content must be a string or a list of text parts", "messages")
