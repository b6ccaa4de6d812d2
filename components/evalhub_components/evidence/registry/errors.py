"""What goes wrong with a registry, in words: one line that says where, what, and what would be right."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from evalhub_components.errors import EvalHubError, NotFound

_MOST_WORDS = 200
_FULL = ("no space left", "insufficient storage", "quota", "disk full", "out of space")
_UNKNOWN = ("NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND")


class Passing(EvalHubError):
    """A failure that may pass by itself; whoever asked may ask again.

    Attributes:
        wait: seconds that the registry asks to wait.
    """

    def __init__(self, message: str, wait: float = 0) -> None:
        super().__init__(message)
        self.wait = wait


class Unreached(Passing):
    """Nothing answers at that address: hopeless at first, passing where something is known to have answered."""


class TooLong(EvalHubError):
    """An answer is longer than it may be."""


class Answer(NamedTuple):
    """What a registry answered, read whole. `headers` ignores case."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str


class Said(NamedTuple):
    """The first error in the JSON that registries answer with, made fit for a message; empty where there is none."""

    code: str
    message: str

    @classmethod
    def by(cls, content: bytes, confidential: Iterable[str] = ()) -> Said:
        """Return what an answer says."""
        try:
            first = json.loads(content)["errors"][0]
            code, message = str(first["code"]), f"{first.get('message') or ''} {first.get('detail') or ''}"
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            code, message = "", content.decode("utf-8", "replace")
            message = "" if "<" in message else message  # a web page says nothing to whoever reads an error
        return cls(printable(code, 50), printable(message, confidential=confidential))

    def __str__(self) -> str:
        words = ": ".join(part for part in self if part)
        return f"it says {words!r}" if words else "it does not say why"


def printable(text: str, length: int = _MOST_WORDS, confidential: Iterable[str] = ()) -> str:
    """Return what a server said as one short line without control characters and secrets."""
    for secret in confidential:
        text = text.replace(secret, "***")
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 10 * length]).split())
    return line if len(line) <= length else f"{line[:length]}..."


def refusal(answer: Answer, said: Said, where: str) -> EvalHubError:
    """Return the error for an answer that is not the hoped-for one, and says `said`."""
    words = f"{said.code} {said.message}".lower()
    if answer.status == 507 or (answer.status >= 400 and any(phrase in words for phrase in _FULL)):
        return EvalHubError(f"{where}: the registry is full or over quota ({said})")
    if answer.status == 404 and (said.code in _UNKNOWN or not said.code):
        if said.code == "NAME_UNKNOWN":
            return NotFound(
                f"{where}: the registry has no such repository (is the name right, and may this login see it?)"
            )
        return NotFound(f"{where}: there is none")
    if answer.status == 403:
        return EvalHubError(f"{where}: the registry denies it ({said}; the login needs that right on the repository)")
    if answer.status == 405:
        return EvalHubError(f"{where}: the registry is read-only, or does not let this be done ({said})")
    if answer.status == 413:
        return EvalHubError(f"{where}: it is too large for the registry, or for a proxy in front of it ({said})")
    if answer.status == 400 and said.code == "NAME_INVALID":
        return EvalHubError(f"{where}: the registry does not take that repository's name ({said})")
    return EvalHubError(f"{where}: the registry answered {answer.status} ({said})")


def unreachable(error: BaseException, host: str, plain_http: bool) -> EvalHubError:
    """Return the error for a request that got no answer; `Passing` where another try may help."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _untrusted(cause, host)
    if isinstance(error, ValueError):
        return EvalHubError(f"{host}: the registry sends us to no usable address (is it a registry?)")
    for cause in causes:
        if type(cause).__name__ == "ProxyError":
            return Unreached(f"{host}: the proxy lets nothing through (HTTP_PROXY, HTTPS_PROXY and NO_PROXY say which)")
        if isinstance(cause, ssl.SSLError) and not plain_http:
            kind = Unreached if isinstance(cause, ssl.SSLEOFError) else EvalHubError
            return kind(f"{host}: does not speak TLS (a registry without it must be asked for as http://{host}/...)")
        if isinstance(cause, socket.gaierror):
            return Unreached(f"{host}: the name cannot be resolved (is it right, and known here?)")
        if isinstance(cause, ConnectionRefusedError):
            return Unreached(f"{host}: the connection is refused (are host and port right, and does it run?)")
    if any(type(cause).__name__ == "ConnectTimeoutError" for cause in causes):
        return Unreached(
            f"{host}: cannot be reached in time (is it right, and does a firewall or proxy let us through?)"
        )
    timed_out = any(isinstance(cause, TimeoutError) or "Timeout" in type(cause).__name__ for cause in causes)
    return Passing(f"{host}: {'does not answer in time' if timed_out else 'the connection breaks off'}")


def _untrusted(cause: ssl.SSLCertVerificationError, host: str) -> EvalHubError:
    why = printable(cause.verify_message, 100)
    if cause.verify_code in (62, 64):  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
        cure = "use a name that is in the certificate"
    elif cause.verify_code in (9, 10):  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
        cure = "the registry needs a new one, or this machine's clock is wrong"
    else:
        cure = "give that of its CA: --ca FILE, or ca-bundle.crt in the folder that $EVALHUB_CA names"
    return EvalHubError(f"{host}: its certificate is not trusted: {why} ({cure})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and everything wrapped in it: each library on the way wraps in another manner."""
    found: list[BaseException] = [error]
    for cause in found:
        inner = [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
        found += [one for one in inner if isinstance(one, BaseException) and not any(one is seen for seen in found)]
    yield from found
