"""What goes wrong between here and Kubeflow Pipelines, as errors that say the cure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_components.redaction import Redaction

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection


LONGEST_PAUSE = 30.0
"""Seconds for which a server is left alone at most, however long it asks for."""

_NOT_KEPT = (b"Data too long for column", b"Incorrect string value")
"""What MySQL says of a text that it will never take."""


class Unavailable(EvalHubError):
    """The server is away, silent or overloaded: the same request may succeed later.

    Attributes:
        pause: seconds for which it asks to be left alone, within bounds; 0 where it does not say.
    """

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class NotTheApi(EvalHubError):
    """Something answers that is not the API of Kubeflow Pipelines."""


class Garbled(NotTheApi, Unavailable):
    """A request was answered, but not as the API answers; it may have been done all the same."""


class NoCredentials(EvalHubError):
    """A file of credentials is not there or cannot be used, perhaps because it is being renewed."""


class Refused(EvalHubError):
    """The API understood and said no.

    Attributes:
        status: of HTTP; 409 is a name that is taken.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def is_page(headers: Mapping[str, str], content: bytes) -> bool:
    """Return whether an answer is a page for people."""
    return "html" in headers.get("content-type", "").lower() or content.lstrip()[:1] == b"<"


def of_answer(connection: Connection, status: int, headers: Mapping[str, str], content: bytes) -> EvalHubError:
    """Return the error that an answer is."""
    at = connection.endpoint
    said = _said(connection, content)
    if 300 <= status < 400:
        goal = urlsplit(headers.get("location", ""))
        place = f"{goal.scheme}://{goal.netloc}{goal.path}" if goal.netloc else goal.path or "nowhere"
        return NotTheApi(f"{at}: sends to {place}, a login page perhaps ({_way_in(connection)})")
    if status < 300 and is_page(headers, content):
        return NotTheApi(f"{at}: answers with a web page, a login page perhaps ({_way_in(connection)})")
    if status < 300:
        return Garbled(f"{at}: is not the API of Kubeflow Pipelines (whose answers are JSON objects)")
    if status == 401:
        return Refused(status, f"{at}: {_unknown(connection)}{said}")
    if status == 403:
        where = f" in namespace {connection.namespace}" if connection.namespace else ""
        cure = "ask for the rights, or name another namespace" if connection.namespace else "name a namespace of yours"
        return Refused(status, f"{at}: you may not do this{where} ({cure}){said}")
    if status == 404:
        if is_page(headers, content) or not said:
            return NotTheApi(f"{at}: is not the API of Kubeflow Pipelines (there is no /apis/v2beta1 under it)")
        return NotFound(f"{at}: there is no such thing{said}")
    if status == 409:
        return Refused(status, f"{at}: there is one of that name already{said}")
    asked = headers.get("retry-after", "")
    pause = min(float(asked), LONGEST_PAUSE) if asked.isdecimal() else 0.0
    if status == 429:
        wait = f"; it asks to wait {asked} s" if asked.isdecimal() else ""
        return Unavailable(f"{at}: too many requests (try again later{wait}){said}", pause)
    if status >= 500 and any(words in content for words in _NOT_KEPT):
        return Refused(status, f"{at}: the database does not take this (shorter, or in plain ASCII){said}")
    if status >= 500:
        return Unavailable(f"{at}: has a failure of its own, status {status} (try again later){said}", pause)
    if status == 400 and b"HTTPS server" in content:
        return EvalHubError(f"{at}: speaks TLS (use https://)")
    if status == 400 and "amespace" in said and not connection.namespace:
        cure = "name yours: --namespace, KF_PIPELINES_NAMESPACE, or namespace in a profile"
        return Refused(status, f"{at}: has several users, and wants a namespace ({cure}){said}")
    return Refused(status, f"{at}: refused the request, status {status}{said}")


def of_unreadable(connection: Connection, model: str, error: Exception) -> EvalHubError:
    """Return the error that an answer is which the API's client cannot make a `model` of."""
    found = _shown(connection, getattr(error, "reason", None) or error)
    cure = "is this Kubeflow Pipelines 2, and nothing between that changes its answers?"
    return Garbled(f"{connection.endpoint}: answers with what is no {model}: {found} ({cure})")


def of_exception(connection: Connection, error: Exception, limits: tuple[float, float] | None = None) -> EvalHubError:
    """Return the error that no answer is.

    Args:
        error: one of urllib3, or of the API's client for TLS.
        limits: seconds for connecting and for the answer, where they were not the connection's.
    """
    from urllib3 import exceptions

    connecting, answering = limits or (connection.connect_timeout, connection.timeout)
    at, host = connection.endpoint, urlsplit(connection.endpoint).hostname
    cause: object = error
    while isinstance(cause, exceptions.MaxRetryError) and cause.reason is not None:
        cause = cause.reason
    text = str(getattr(cause, "reason", None) or cause)
    if isinstance(cause, exceptions.SSLError) or "SSLError" in text:
        return _of_tls(connection, str(cause))
    if isinstance(cause, exceptions.NameResolutionError):
        return Unavailable(f"{at}: the host name {host} is unknown (is the address right, and the network there?)")
    if isinstance(cause, exceptions.NewConnectionError):
        reason = "connection refused" if "refused" in text.lower() else "no connection"
        forward = "kubectl port-forward -n kubeflow svc/ml-pipeline 8888:8888"
        return Unavailable(f"{at}: nothing answers there, {reason} (is the address right? in a cluster: {forward})")
    if isinstance(cause, exceptions.ConnectTimeoutError):
        return Unavailable(f"{at}: no connection within {connecting:.0f} s (a firewall, or a VPN?)")
    if isinstance(cause, exceptions.TimeoutError):
        cure = "try again later" + (", or give a profile a longer timeout" if answering >= connection.timeout else "")
        return Unavailable(f"{at}: no answer within {answering:.0f} s ({cure})")
    return Unavailable(f"{at}: the connection broke off before an answer (try again)")


def _of_tls(connection: Connection, text: str) -> EvalHubError:
    at = connection.endpoint
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
        return EvalHubError(f"{at}: does not speak TLS (use http://)")
    if "doesn't match" in text or "mismatch" in text:
        return EvalHubError(f"{at}: its certificate is for another name (use the name that it is for)")
    if "expired" in text:
        return EvalHubError(f"{at}: its certificate has expired (its owner must renew it)")
    if "CERTIFICATE_VERIFY_FAILED" in text:
        known = f"none of {connection.ca_file} signed it" if connection.ca_file else "its CA is not known here"
        cure = "name a file with the CA's certificate: ca_file in a profile, or KF_PIPELINES_CA_FILE"
        return EvalHubError(f"{at}: its certificate is not trusted, {known} ({cure})")
    return Unavailable(f"{at}: TLS failed ({re.sub(r'^.*?: ', '', text)})")


def _unknown(connection: Connection) -> str:
    given = [str(reference) for reference in (connection.token, connection.cookies) if reference]
    if given:
        return f"does not accept what {' and '.join(given)} holds (renew it when it has expired)"
    return f"wants to know who you are ({_way_in(connection)})"


def _way_in(connection: Connection) -> str:
    given = [str(reference) for reference in (connection.token, connection.cookies) if reference]
    if given:
        return f"renew what {' and '.join(given)} holds"
    return "give a token: KF_PIPELINES_TOKEN or KF_PIPELINES_TOKEN_FILE, or token_env or token_file in a profile"


def _said(connection: Connection, content: bytes) -> str:
    """Return the message in an error of the API, cut, and without the secrets that were sent; empty without one."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    found = (
        next((answer[key] for key in ("error", "message", "error_message") if answer.get(key)), "")
        if isinstance(answer, dict)
        else ""
    )
    text = _shown(connection, found)
    return f"; it says: {text}" if text else ""


def _shown(connection: Connection, found: object) -> str:
    """Return the server's own words, cut, and without the secrets that were sent."""
    text = "".join(character if character.isprintable() else " " for character in str(found))
    secrets = [reference.held() for reference in (connection.token, connection.cookies) if reference]
    return Redaction(secrets).text(text)[:500]
