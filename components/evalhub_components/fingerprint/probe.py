"""Asks a model server what it serves and how it answers, and turns both into digests."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, NoReturn

from evalhub_components import canonical
from evalhub_components.adapter import ModelCredentials
from evalhub_components.credentials import MODEL_SECRET
from evalhub_components.errors import EvalHubError
from evalhub_components.redaction import shortened
from evalhub_components.schema.run import Fingerprint

PROMPTS = (
    "What is 12 + 30? Answer with the number only.",
    "Name the capital of France in one word.",
    "Continue the sequence: 2, 4, 8, 16,",
)
_IDENTITY = ("id", "root", "parent", "max_model_len")
_SENSITIVE_HEADERS = {"set-cookie", "authorization", "proxy-authorization", "www-authenticate"}
_MAX_BYTES = 4 << 20
_TRIES = 3
_BUSY = {429, 500, 502, 503, 504}
_NOT_OFFERED = {400, 404, 405, 415, 422, 501}
"""What servers answer on an interface they do not have, or not for this model."""


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the model's key to wherever it points."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Probe:
    """A client for one endpoint.

    Args:
        timeout: seconds for each request.

    Attributes:
        sent: the keys that it has sent: a service account's may have been replaced in between.
    """

    def __init__(self, url: str, name: str, secrets: ModelCredentials, timeout: float = 60.0) -> None:
        self._url = url.rstrip("/")
        self._name = name
        self._secrets = secrets
        self._timeout = timeout
        self.sent: set[str] = set()
        if not self._url.startswith(("http://", "https://")):
            raise EvalHubError(f"{self._url}: must start with http:// or https://")
        try:
            context = ssl.create_default_context()
            if secrets.ca_cert:
                context.load_verify_locations(secrets.ca_cert)
        except (OSError, ssl.SSLError) as error:
            raise EvalHubError(f"{secrets.ca_cert}: is not a CA certificate in PEM form ({error})") from None
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))

    def fingerprint(self) -> Fingerprint:
        """Return what answered.

        Raises:
            EvalHubError: the endpoint cannot be reached, refuses the key, or does not serve the model; with the cure.
        """
        missing: list[str] = []
        listing = self._request("/models")
        entry = self._entry(listing, missing)
        answers, system_fingerprints = self._answers(missing)
        if answers is None and listing.status != 200:
            raise EvalHubError(f"{self._url}: has neither a model list nor answers (does the url end in /v1?)")
        absent = [key for key in _IDENTITY if entry.get(key) is None]
        if absent:
            missing.append(f"the model list gives no {', '.join(absent)}")
        if not system_fingerprints:
            missing.append("the answers carry no system_fingerprint")
        return Fingerprint(
            model_url=self._url,
            model_name=self._name,
            identity=canonical.digest({key: entry.get(key) for key in _IDENTITY}),
            answers=canonical.digest(answers) if answers is not None else None,
            observed={
                "model": entry,
                "headers": listing.headers,
                "system_fingerprints": system_fingerprints,
                "answers": answers,
            },
            missing=missing,
        )

    def _entry(self, listing: _Answer, missing: list[str]) -> dict[str, Any]:
        if listing.status in (404, 405, 501):
            missing.append(f"there is no model list (GET {self._url}/models answers {listing.status})")
            return {"id": self._name}
        if listing.status != 200:
            self._refuse(listing)
        document = listing.json()
        models = document.get("data") if isinstance(document, dict) else None
        if not isinstance(models, list):
            raise EvalHubError(f"{self._url}/models: is no OpenAI-compatible model list (does the url end in /v1?)")
        served = {str(model["id"]): model for model in models if isinstance(model, dict) and "id" in model}
        if self._name not in served:
            shown = ", ".join(sorted(served)[:10]) or "none"
            raise EvalHubError(f"{self._url}: does not serve a model named {self._name!r} (it serves: {shown})")
        # only what can be digested: a server may list anything
        return {key: value for key, value in served[self._name].items() if _is_plain({key: value})}

    def _answers(self, missing: list[str]) -> tuple[list[str] | None, list[str]]:
        """Return the answers to PROMPTS from the first interface that has one, and the system fingerprints in them."""
        refusal = _Answer(0, {}, b"")
        for path, message in (("/chat/completions", True), ("/completions", False)):
            answers, fingerprints = [], set()
            for prompt in PROMPTS:
                body: dict[str, Any] = {"model": self._name, "temperature": 0, "max_tokens": 16, "seed": 0}
                body |= {"messages": [{"role": "user", "content": prompt}]} if message else {"prompt": prompt}
                answer = self._request(path, body)
                if answer.status != 200:
                    refusal = answer
                    break
                document = answer.json()
                text = _text(document)
                if text is None:
                    raise EvalHubError(f"{self._url}{path}: the answer is not OpenAI-compatible (it holds no choices)")
                answers.append(text)
                if isinstance(document.get("system_fingerprint"), str):
                    fingerprints.add(_whole(document["system_fingerprint"]))
            else:
                return answers, sorted(fingerprints)
            if refusal.status not in _NOT_OFFERED:
                self._refuse(refusal)
        if refusal.status == 404 and "model" in _message(refusal).lower():
            self._refuse(refusal)
        missing.append(f"it answers no prompts (HTTP {refusal.status} from /chat/completions and /completions)")
        return None, []

    def _request(self, path: str, body: dict[str, Any] | None = None) -> _Answer:
        """Return the answer; a server that is busy or fails is asked again, twice."""
        for attempt in range(_TRIES):
            key = self._secrets.key()
            answer = self._send(path, body, key)
            if answer.status == 401 and (renewed := self._secrets.key()) != key:
                answer = self._send(path, body, renewed)
            if answer.status not in _BUSY or attempt == _TRIES - 1:
                break
            time.sleep(0.5 * 2**attempt + random.random() / 4)
        return answer

    def _send(self, path: str, body: dict[str, Any] | None, key: str | None) -> _Answer:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "evalhub-kfp"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
            self.sent.add(key)
        data = json.dumps(body).encode() if body is not None else None
        deadline = time.monotonic() + self._timeout
        try:
            request = urllib.request.Request(self._url + path, data, headers)
            with self._open(request) as response:
                return _Answer(response.status, _kept(response.headers), _body(response, deadline))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EvalHubError(f"{self._url}: {_why(error)}") from None

    def _open(self, request: urllib.request.Request) -> Any:
        """Return the response, whatever its status is."""
        try:
            return self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            return error

    def _refuse(self, answer: _Answer) -> NoReturn:
        said = _message(answer)
        said = f", it says: {said}" if said else ""
        if answer.status in (401, 403):
            if self._secrets.token_file:
                sent = "the token of the run's service account, which must be allowed to get this InferenceService"
            elif self._secrets.api_key:
                sent = "the key in model.auth.secret_ref"
            elif os.path.isdir(os.environ.get(MODEL_SECRET, "")):
                sent = "no key: the secret in model.auth.secret_ref holds no file api-key, or an empty one"
            else:
                sent = "no key: set model.auth.secret_ref, or for KServe model.auth.service_account"
            raise EvalHubError(f"{self._url}: refuses access, HTTP {answer.status} (sent {sent}){said}")
        if 300 <= answer.status < 400:
            raise EvalHubError(f"{self._url}: answers with a redirect (give the address it leads to)")
        raise EvalHubError(f"{self._url}: answers HTTP {answer.status} to model {self._name!r}{said}")


def _body(response: Any, deadline: float) -> bytes:
    """Return the body; the time-out of the socket is that of one read, so that a trickle would never end.

    Raises:
        TimeoutError: it is not complete at the deadline.
    """
    body = b""
    while len(body) < _MAX_BYTES and (chunk := response.read1(_MAX_BYTES - len(body))):
        if time.monotonic() > deadline:
            raise TimeoutError
        body += chunk
    return body


def _text(document: Any) -> str | None:
    try:
        choice = document["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
    except (KeyError, IndexError, TypeError):
        return None
    return _whole(text) if isinstance(text, str) else ""


def _whole(text: str) -> str:
    """Return `text` without halves of characters: an answer that is cut may end in one."""
    return text.encode("utf-8", "replace").decode()


def _message(answer: _Answer) -> str:
    document = answer.json()
    error = document.get("error", document) if isinstance(document, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return shortened(message, 200) if isinstance(message, str) else ""


def _kept(headers: Any) -> dict[str, str]:
    return {key.lower(): value for key, value in headers.items() if key.lower() not in _SENSITIVE_HEADERS}


def _is_plain(value: Any) -> bool:
    try:
        canonical.dumps(value)
    except (ValueError, RecursionError):
        return False
    return True


def _why(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted: {reason.verify_message} (give its CA as ca_cert in model.auth.secret_ref)"
        )
    if isinstance(reason, TimeoutError | socket.timeout):
        return "gives no answer in time (is the model loaded, and not overloaded?)"
    if isinstance(reason, socket.gaierror):
        return "the host name is unknown (check model.url)"
    if isinstance(reason, ConnectionRefusedError):
        return "nothing listens there (start the model server, or check host and port in model.url)"
    return f"cannot be reached: {reason}"
