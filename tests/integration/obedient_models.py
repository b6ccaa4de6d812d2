"""Model servers that answer as they are told, and remember what they were asked."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from stub_http import StubApi, StubRequest, served


@dataclass
class Server:
    """A server that answers as told, and what it was asked.

    Attributes:
        answers: by path, `(status, body)` or `(status, body, headers)`; a list is used up one by one, the last stays.
    """

    answers: dict[str, Any]
    requests: list[tuple[str, Message, Any]] = field(default_factory=list)
    url: str = ""

    def asked(self, path: str) -> int:
        return sum(1 for asked, _, _ in self.requests if asked == path)

    def answer(self, path: str) -> tuple[int, Any, dict[str, str]]:
        answer = self.answers.get(path, (404, {"detail": "Not Found"}))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        status, body, *headers = answer
        return status, body, headers[0] if headers else {}


@contextmanager
def serving(answers: dict[str, Any], context: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(answers)

    class Request(StubRequest):
        def serve(self) -> None:
            server.requests.append((self.path, self.headers, self.body))
            status, document, headers = server.answer(self.path)
            raw = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.answer(status, raw, headers)

    with served(StubApi(), Request, context) as api:
        server.url = f"{api.scheme}://localhost:{api.port}/v1"
        yield server


def models(*names: str, **fields: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"object": "list", "data": [{"id": name, **fields} for name in names]}


def chat(text: str | None = "42", **fields: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}}], **fields}


def completion(text: str = "42") -> tuple[int, dict[str, Any]]:
    return 200, {"choices": [{"text": text}]}
