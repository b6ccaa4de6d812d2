"""The model on loopback: what a framework asks instead of the model's server, and what comes of it is known.

Frameworks differ in where a key goes and which files it ends up in, whose certificates they trust, how often they try
again (some for ever) and what they make of an answer that never came (some a wrong one). Behind a relay they are all
alike: the framework gets an address on this machine and a token that is worth nothing elsewhere; key, certificate,
proxy, time limits and tries are the relay's, and every request without an answer is written down.

An answer is passed on when it is whole, a streamed one too: the time to a first token is not to be measured through it.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from evalhub_components.adapter import JobSpec, ModelCredentials, ModelEndpoint
from evalhub_components.errors import EvalHubError
from evalhub_components.framework.ledger import NOT_ASKED, Ledger, text_of
from evalhub_components.framework.upstream import Answer, Upstream
from evalhub_components.redaction import shortened

logger = logging.getLogger(__name__)

_PREFIX = "/v1"
_EMBEDDINGS = "/embeddings"
_MODEL_PATHS = frozenset({"/chat/completions", "/completions", _EMBEDDINGS})
_REPORT_SECONDS = 1.0
_LOST = 400  # the one status after which no client tries again


class Relay:
    """Forwards `/v1` to one model as long as its context lasts.

    Args:
        endpoint: the model.
        role: `judge` for a model that judges answers.
        work_dir: gets a bundle of certificates where the server has a CA of its own.
        tries: how often a request is sent, the first time included.
        request_timeout: seconds one try may take.
        max_error_rate: with 0 nothing more is asked after the first lost request.
        defaults: keys of every generation request, such as `seed`, where the framework does not say them.
        listen: called at most once a second when a request was answered or lost, and at the end.

    Attributes:
        url: the address for the framework, ending in `/v1`.
        token: its API key; good for this relay alone.
        ledger: what became of the requests.

    Raises:
        EvalHubError: the address cannot be one, or the CA certificate not be read.
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
        role: str = "model",
    ) -> None:
        self._upstream = Upstream(
            endpoint, credentials, work_dir, tries=tries, request_timeout=request_timeout, role=role
        )
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
            own = "an entry that its provider does not list says judge: true"
            what = f"needs a model that judges answers (set judge: {{url, name}} in eval.yaml; {own})"
            raise EvalHubError(f"{config.benchmark_id}: {what}")
        folder = config.work_dir / "judge"
        folder.mkdir(exist_ok=True)
        keys = {"max_error_rate": config.max_error_rate, "defaults": {"seed": config.seed}, **keys}
        return cls(config.judge.endpoint, config.judge.credentials, folder, role="judge", **keys)

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
        self._tell()

    def check(self, *, chats: bool = True) -> None:
        """Look whether the server is there and takes the key, so that no framework is started for nothing.

        A server may have no model list, or forbid it to a key that is good for the model, which is then asked for one
        token. One that is busy now may recover: that is left to the requests themselves.

        Args:
            chats: whether the model answers messages; an embedding model does not.

        Raises:
            EvalHubError: the server cannot be reached or trusted, or refuses the key.
        """
        answer = self._upstream.ask("GET", "/models")
        refuses = answer.status in (401, 403)
        if refuses and chats:
            question = {"model": self._model.name, "max_tokens": 1, "messages": [{"role": "user", "content": "Hello."}]}
            answer = self._upstream.ask("POST", "/chat/completions", json.dumps(question).encode())
            refuses = answer.status in (401, 403)
        if answer.status == 0 or (refuses and chats):
            raise EvalHubError(answer.failure)

    def forward(self, method: str, path: str, body: bytes | None) -> Answer:
        """Return what the framework gets for a request; what it asks of the model is entered in the ledger."""
        if self._is_over:
            return Answer(0, tries=0, failure="the benchmark is over")
        if path not in _MODEL_PATHS:
            return self._upstream.ask(method, path, body)
        document = _document(body) or {}
        if path != _EMBEDDINGS and document:
            body = json.dumps({**self._defaults, **document}).encode()
        ledger = self.ledger
        if ledger.is_hopeless:
            answer = Answer(0, tries=0, failure=f"{NOT_ASKED}: {ledger.explain()}")
        else:
            with self._lock:
                ledger.begin(time.monotonic())
            try:
                answer = self._upstream.ask(method, path, body, is_over=lambda: self._is_over or ledger.is_hopeless)
            except Exception as error:  # whatever it was, it must not look like an answer that never mattered
                answer = Answer(0, failure=f"{type(error).__name__}: {error}")
            with self._lock:
                ledger.end(time.monotonic())
        if not answer.failure and (wrong := _wrong(path, answer)):
            answer = replace(answer, failure=f"{wrong}: {self._upstream.url}{path}")
        with self._lock:
            self._enter(text_of(document), answer)
            due = time.monotonic() - self._heard >= _REPORT_SECONDS
            self._heard = time.monotonic() if due else self._heard
        if due:
            self._tell()
        return answer

    def _enter(self, text: str, answer: Answer) -> None:
        ledger = self.ledger
        ledger.usage["requests"] += answer.tries
        if answer.failure:
            # what was never asked too: to the framework both look like an answer that it may take for a wrong one
            ledger.lose(text, answer.failure)
            # no other request will fare better: a wrong key, or an address or model that never was there
            if answer.status in (401, 403) or (answer.status in (404, 405) and not ledger.answered):
                ledger.fatal = ledger.fatal or answer.failure
            return
        ledger.answered += 1
        usage = (_document(answer.body) or {}).get("usage")
        for name in ("prompt_tokens", "completion_tokens"):
            count = usage.get(name) if isinstance(usage, dict) else None
            ledger.usage[name] += count if isinstance(count, int) else 0

    def _tell(self) -> None:
        try:
            self._listen(self.ledger)
        except Exception:
            # who only wants to show progress must not cost an answer
            logger.exception("progress could not be reported")


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

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the log belongs to the framework."""

    def _answer(self) -> None:
        relay = self.server.relay
        path = self.path.partition("?")[0]
        # the model list has no secret, and some clients ask for it without their key
        is_list = self.command == "GET" and path == f"{_PREFIX}/models"
        if not is_list and self.headers.get("Authorization") != f"Bearer {relay.token}":
            return self._refuse(401, "this relay has a token of its own")
        if not path.startswith(f"{_PREFIX}/") or ".." in path:
            return self._refuse(404, f"there is no {path}")
        posted = self.command == "POST"
        answer = relay.forward(self.command, path.removeprefix(_PREFIX), self._body() if posted else None)
        if not answer.failure:
            return self._send(answer.status, answer.body, answer.content_type)
        is_lost = path.removeprefix(_PREFIX) in _MODEL_PATHS or not answer.status
        error = {"message": answer.failure, "type": "invalid_request_error", "param": None, "code": "lost"}
        self._send(_LOST if is_lost else answer.status, json.dumps({"error": error}).encode())

    def _refuse(self, status: int, message: str) -> None:
        # a body that nobody reads would be taken for the next request
        self.close_connection = True
        self._send(status, json.dumps({"error": {"message": message}}).encode())

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        return self.rfile.read(int(length)) if length.isdigit() else self._chunked()

    def _send(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
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


def _wrong(path: str, answer: Answer) -> str:
    """Return why an answer with a good status is none: gateways say so of errors too."""
    if answer.content_type.startswith("text/event-stream"):
        text = answer.body.decode(errors="replace")
        ended = "data: [DONE]" in text or '"finish_reason":"' in text.replace(" ", "")
        return "" if '"choices"' in text and ended else "the stream of the answer was not ended"
    document = _document(answer.body)
    if document is None:
        return "the answer is no JSON object"
    if document.get("error"):
        error = document["error"]
        said = error.get("message") if isinstance(error, dict) else error
        return f"the answer is an error ({shortened(str(said), 300)})"
    expected = "data" if path == _EMBEDDINGS else "choices"
    return "" if document.get(expected) else f"the answer has no {expected}"


def _document(body: bytes | None) -> dict[str, Any] | None:
    try:
        document = json.loads(body or b"")
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
