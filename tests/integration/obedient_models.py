"""Model servers that answer as they are told, and remember what they were asked."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Server:
    """A server that answers as told, and what it was asked.

    Attributes:
        answers: by path, `(status, body)` or `(status, body, headers)`; a list is used up one by one, the last stays.
    """

    answers: dict[str, Any]
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
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

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            server.requests.append((self.path, dict(self.headers.items()), json.loads(body) if body else None))
            status, document, headers = server.answer(self.path)
            raw = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # a client that does not trust the certificate hangs up

    http = Quiet(("127.0.0.1", 0), Handler)
    if context is not None:
        http.socket = context.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    server.url = f"{'https' if context else 'http'}://localhost:{http.server_port}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def models(*names: str, **fields: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"object": "list", "data": [{"id": name, **fields} for name in names]}


def chat(text: str | None = "42", **fields: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}}], **fields}


def completion(text: str = "42") -> tuple[int, dict[str, Any]]:
    return 200, {"choices": [{"text": text}]}
