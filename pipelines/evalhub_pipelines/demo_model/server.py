"""The HTTP server of the demo model: HTTP/1.1 with keep-alive, one thread a connection."""

import json
import logging
import os
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from evalhub_pipelines.demo_model.protocol import Protocol
from evalhub_pipelines.demo_model.reply import Reply
from evalhub_pipelines.demo_model.request import Document, RequestError
from evalhub_pipelines.demo_model.settings import DemoModelSettings

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 << 20


class DemoModelServer(socketserver.ThreadingTCPServer):
    """Listens as soon as it is made; `serve_forever` answers. `HTTPServer` would look up the host's name in the DNS."""

    allow_reuse_address = True
    daemon_threads = True
    # Clients open all their connections at once.
    request_queue_size = 128

    def __init__(self, settings: DemoModelSettings) -> None:
        """Binds the address of the settings.

        Raises:
            OSError: The address cannot be bound.
        """
        super().__init__((settings.host, settings.port), _Handler)
        self.settings = settings
        self.protocol = Protocol(settings)

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return int(self.server_address[1])

    @property
    def base_url(self) -> str:
        """The address clients are given, which ends in `/v1`."""
        return f"http://{self.settings.host}:{self.port}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        """Logs what broke a connection, unless the client just went away."""
        if not isinstance(sys.exception(), ConnectionError):
            logger.exception("the connection of %s broke", client_address)


class _Handler(BaseHTTPRequestHandler):
    server: DemoModelServer
    protocol_version = "HTTP/1.1"
    # Without TCP_NODELAY an answer waits some 40 ms for the client's acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def version_string(self) -> str:
        return "demo-model"

    def log_message(self, format: str, *args: object) -> None:
        logger.debug(format, *args)

    def _answer(self) -> None:
        path = self.path.partition("?")[0].rstrip("/")
        try:
            body = self._read_body()
        except RequestError as error:
            # What is left of the body would be read as the next request.
            self.close_connection = True
            self._send(Reply(error.status, error.document))
            return
        if self.server.settings.latency and Protocol.asks_model(self.command, path):
            time.sleep(self.server.settings.latency)
        self._send(self.server.protocol.handle(self.command, path, self.headers.get("Authorization"), body))

    def _read_body(self) -> bytes:
        if "Transfer-Encoding" in self.headers:
            raise RequestError(411, "the request needs a Content-Length")
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            raise RequestError(400, f"Content-Length: must be a number, got {length!r}")
        if int(length) > MAX_BODY_BYTES:
            raise RequestError(413, f"the body has {length} bytes, and at most {MAX_BODY_BYTES} are taken")
        return self.rfile.read(int(length))

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        if self.close_connection:
            self.send_header("Connection", "close")
        if isinstance(reply.body, dict):
            raw = _compact(reply.body)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)
            return
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for document in reply.body:
            self._send_event(_compact(document))
        self._send_event(b"[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _send_event(self, data: bytes) -> None:
        event = b"data: %b\n\n" % data
        self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
        self.wfile.flush()


def serve(settings: DemoModelSettings, on_ready: Callable[[DemoModelServer], None] | None = None) -> None:
    """Serves until it is interrupted.

    Args:
        settings: The settings.
        on_ready: Called once, when the server listens and the port file is written.

    Raises:
        OSError: The address cannot be bound, or the port file cannot be written.
    """
    with DemoModelServer(settings) as server:
        if settings.port_file is not None:
            # By rename: whoever waits for the file never reads half of it.
            unfinished = settings.port_file.with_name(f".{settings.port_file.name}.{os.getpid()}")
            unfinished.write_text(f"{server.port}\n", encoding="utf-8")
            unfinished.replace(settings.port_file)
        if on_ready is not None:
            on_ready(server)
        server.serve_forever()


@contextmanager
def running(settings: DemoModelSettings) -> Iterator[DemoModelServer]:
    """Serves in a thread as long as the context lasts."""
    with DemoModelServer(settings) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _compact(document: Document) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
