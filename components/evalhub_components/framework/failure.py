"""Failures of a model's server in words: why there is no answer, and what it says where it refuses."""

from __future__ import annotations

import json
import socket
import ssl


def silence(error: Exception, role: str, proxy: str = "") -> str:
    """Return why a server gives no answer, and which key of the evaluation to look at; no address is in it.

    Args:
        error: what became of the request.
        role: whose server it is: the `model`'s or the `judge`'s.
        proxy: host and port of the proxy on the way there, empty without one.
    """
    through = f" through the proxy {proxy}" if proxy else ""
    if isinstance(error, ssl.SSLCertVerificationError):
        cure = f"give its CA as ca_cert in {role}.auth.secret_ref"
        return f"its certificate is not trusted: {error.verify_message} ({cure})"
    if isinstance(error, TimeoutError):
        return f"gives no answer in time{through} (is the model loaded, and not overloaded?)"
    if proxy and isinstance(error, socket.gaierror | ConnectionRefusedError):
        return f"there is no way{through}, which does not answer (check HTTP_PROXY, HTTPS_PROXY and NO_PROXY)"
    if isinstance(error, socket.gaierror):
        return f"the host name is unknown (check {role}.url)"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens there (start the model server, or check host and port in {role}.url)"
    return f"cannot be reached{through}: {str(error) or type(error).__name__}"


def message(body: bytes) -> str | None:
    """Return what a server says of an error; None where that is no document of an OpenAI-compatible API."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    error = document.get("error", document) if isinstance(document, dict) else None
    found = error.get("message") if isinstance(error, dict) else error
    return found if isinstance(found, str) else None
