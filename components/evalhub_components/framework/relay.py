"""The model on loopback: what a framework asks instead of the model's server, and what comes of it is known.

Frameworks differ in where a key goes and which files it ends up in, whose certificates they trust, how often they try
again (some for ever) and what they make of an answer that never came (some a wrong one). Behind a relay they are all
alike: the framework gets an address on this machine and a token that is worth nothing elsewhere; key, certificate,
proxy, time limits and tries are the relay's, and every request without an answer is written down.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from evalhub_components.adapter import JobSpec, ModelCredentials, ModelEndpoint
from evalhub_components.errors import EvalHubError
from evalhub_components.framework.ledger import NOT_ASKED, Ledger, Lost, text_of
from evalhub_components.framework.upstream import Answer, Upstream

_REPORT_SECONDS = 1.0
_LOST = 400  # the one status after which no client tries again


class Relay:
    """Forwards `/v1` to one model as long as its context lasts.

    Args:
        endpoint: the model.
        work_dir: gets a bundle of certificates where the server has a CA of its own.
        tries: how often a request is sent, the first time included.
        request_timeout: seconds one try may take.
        max_error_rate: with 0 nothing more is asked after the first lost request.
        defaults: keys of every generation request, such as `seed`, where the framework does not say them.
        listen: called at most once a second when a request was answered or lost.

    Attributes:
        url: the address for the framework, ending in `/v1`.
        token: its API key; good for this relay alone.
        ledger: what became of the requests.

    Raises:
        EvalHubError: the CA certificate cannot be read.
    """

    def __init__(
        self,
        endpoint: ModelEndpoint,
        credentials: ModelCredentials,
        work_dir: Path,
        *,
        tries: int = 3,
        request_timeout: float = 120.0,
        max_error_rate: float = 0.0,
        defaults: Mapping[str, Any] = {},
        listen: Callable[[Ledger], None] = lambda _: None,
    ) -> None:
        self._upstream = Upstream(endpoint, credentials, work_dir, tries=tries, request_timeout=request_timeout)
        self._model = endpoint
        self._defaults = dict(defaults)
        self._listen = listen
        self._heard = 0.0
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._is_over = False
        self.token = f"relay-{secrets.token_hex(16)}"
        self.ledger = Ledger(max_error_rate)
        self.url = ""

    @classmethod
    def of(cls, config: JobSpec, **keys: Any) -> Relay:
        """Return a relay for the model under test; `keys` are those of the constructor."""
        keys = {"max_error_rate": config.max_error_rate, "defaults": {"seed": config.seed}, **keys}
        return cls(config.model, config.credentials, config.work_dir, **keys)

    @classmethod
    def of_judge(cls, config: JobSpec, **keys: Any) -> Relay:
        """Return a relay for the model that judges answers.

        Raises:
            EvalHubError: the run has none.
        """
        if config.judge is None:
            what = "needs a model that judges answers (set judge: {url, name} in eval.yaml)"
            raise EvalHubError(f"{config.benchmark_id}: {what}")
        folder = config.work_dir / "judge"
        folder.mkdir(exist_ok=True)
        keys = {"max_error_rate": config.max_error_rate, "defaults": {"seed": config.seed}, **keys}
        return cls(config.judge.endpoint, config.judge.credentials, folder, **keys)

    def __enter__(self) -> Relay:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.relay = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._is_over = True
        self._server.shutdown()
        self._server.server_close()
        self._upstream.close()

    def check(self) -> None:
        """Look whether the server is there and takes the key, so that no framework is started for nothing.

        A server may have no model list, or forbid it to a key that is good for the model, which is then asked for one
        token. One that is busy now may recover: that is left to the requests themselves.

        Raises:
            EvalHubError: the server cannot be reached or trusted, or refuses the key.
        """
        answer = self._upstream.ask("GET", "/models")
        if answer.status in (401, 403):
            question = {"model": self._model.name, "max_tokens": 1, "messages": [{"role": "user", "content": "Hello."}]}
            answer = self._upstream.ask("POST", "/chat/completions", json.dumps(question).encode())
        if answer.status in (0, 401, 403):
            raise EvalHubError(answer.failure)

    def forward(self, method: str, path: str, body: bytes | None) -> Answer:
        """Return what the framework gets for a request."""
        if method == "GET":
            return self._upstream.ask(method, path)
        document = _document(body)
        if document is not None and path in ("/chat/completions", "/completions"):
            body = json.dumps({**self._defaults, **document}).encode()
        ledger = self.ledger
        if ledger.is_hopeless:
            answer = Answer(0, tries=0, failure=f"{NOT_ASKED}: {ledger.explain()}")
        else:
            answer = self._upstream.ask(method, path, body, is_over=lambda: self._is_over or ledger.is_hopeless)
        if not answer.failure and _document(answer.body) is None and not answer.content_type.startswith("text/event"):
            answer = Answer(answer.status, failure=f"the answer is no JSON: {self._upstream.url}{path}")
        with self._lock:
            ledger.usage["requests"] += answer.tries
            if answer.failure:
                # what was never asked too: to the framework both look like an answer that it may take for a wrong one
                ledger.lost.append(Lost(text_of(document or {}), answer.failure))
                if answer.is_fatal:
                    ledger.fatal = ledger.fatal or answer.failure
            else:
                ledger.answered += 1
                usage = (_document(answer.body) or {}).get("usage") or {}
                for name in ("prompt_tokens", "completion_tokens"):
                    ledger.usage[name] += usage[name] if isinstance(usage.get(name), int) else 0
            due = time.monotonic() - self._heard >= _REPORT_SECONDS
            if due:
                self._heard = time.monotonic()
                self._listen(ledger)
        return answer


class _Server(ThreadingHTTPServer):
    """One thread a connection of the framework's."""

    daemon_threads = True
    request_queue_size = 512
    relay: Relay

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that hung up."""


class _Handler(BaseHTTPRequestHandler):
    """Takes a request apart, and puts an answer together."""

    protocol_version = "HTTP/1.1"
    server_version = "evalhub-relay"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: _Server
    _prefix: ClassVar[str] = "/v1"

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        self._answer(self.rfile.read(int(length)) if length.isdigit() else self._chunked())

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the log belongs to the framework."""

    def _answer(self, body: bytes | None) -> None:
        relay = self.server.relay
        path = self.path.partition("?")[0]
        # the model list has no secret, and some clients ask for it without their key
        if body is not None and self.headers.get("Authorization") != f"Bearer {relay.token}":
            return self._send(401, json.dumps({"error": {"message": "this relay has a token of its own"}}).encode())
        if not path.startswith(f"{self._prefix}/"):
            return self._send(404, json.dumps({"error": {"message": f"there is no {path}"}}).encode())
        answer = relay.forward(self.command, path.removeprefix(self._prefix), body)
        if answer.failure:
            status = _LOST if body is not None or answer.status == 0 else answer.status
            error = {"message": answer.failure, "type": "invalid_request_error", "param": None, "code": "lost"}
            return self._send(status, json.dumps({"error": error}).encode())
        self._send(answer.status, answer.body, answer.content_type)

    def _send(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _chunked(self) -> bytes:
        found = b""
        while (size := int(self.rfile.readline().split(b";")[0], 16)) > 0:
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found


def _document(body: bytes | None) -> dict[str, Any] | None:
    try:
        document = json.loads(body or b"")
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
