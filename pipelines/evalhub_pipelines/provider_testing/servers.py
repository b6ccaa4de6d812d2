"""Model servers that fail. One that fails sometimes, or wants a key, is the demo model with such settings."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NOWHERE = "http://127.0.0.1:9/v1"
"""An address at which nothing listens."""


@contextmanager
def hanging() -> Iterator[str]:
    """Listen and never answer; yield the address."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        kept = []

        def accept() -> None:
            while True:
                try:
                    kept.append(server.accept())
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection, _ in kept:
            connection.close()


@contextmanager
def unable(status: int = 500) -> Iterator[str]:
    """Answer every request with an HTTP error; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def do_POST(self) -> None:
            self.close_connection = True  # the body is not read
            self.send_error(status)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
