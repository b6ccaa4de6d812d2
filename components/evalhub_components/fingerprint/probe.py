"""Asks a model server what it serves and how it answers, and turns both into digests."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
from typing import Any, NoReturn

from evalhub_components import canonical
from evalhub_components.adapter import ModelCredentials
from evalhub_components.errors import EvalHubError
from evalhub_components.fingerprint import SECRETS
from evalhub_components.framework import failure
from evalhub_components.framework.model_server import ModelServer, Reply
from evalhub_components.redaction import shortened
from evalhub_components.schema.run import Fingerprint

PROMPTS = (
    "What is 12 + 30? Answer with the number only.",
    "Name the capital of France in one word.",
    "Continue the sequence: 2, 4, 8, 16,",
)
_IDENTITY = ("id", "root", "parent", "max_model_len")
_SENSITIVE_HEADERS = {"set-cookie", "authorization", "proxy-authorization", "www-authenticate"}
_NOT_OFFERED = {400, 404, 405, 415, 422, 501}
"""What servers answer on an interface they do not have, or not for this model."""


class Probe:
    """A client for one endpoint.

    Args:
        timeout: seconds for each request.
        role: whose endpoint it is, in messages: the `model`'s or the `judge`'s.
    """

    def __init__(
        self, url: str, name: str, secrets: ModelCredentials, timeout: float = 60.0, role: str = "model"
    ) -> None:
        self._url = url.rstrip("/")
        self._name = name
        self._secrets = secrets
        self._role = role
        if not self._url.startswith(("http://", "https://")):
            raise EvalHubError(f"{self._url}: must start with http:// or https://")
        try:
            trust = ssl.create_default_context()
            if secrets.ca_cert:
                trust.load_verify_locations(secrets.ca_cert)
        except (OSError, ssl.SSLError) as error:
            raise EvalHubError(f"{secrets.ca_cert}: is not a CA certificate in PEM form ({error})") from None
        # who is not there at all is said at once: somebody waits for the run to begin
        self._server = ModelServer(url, secrets, trust, request_timeout=timeout, insists=False, role=role)

    def fingerprint(self) -> Fingerprint:
        """Return what answered.

        Raises:
            EvalHubError: the endpoint cannot be reached, refuses the key, or does not serve the model; with the cure.
        """
        with contextlib.closing(self._server):
            return self._found()

    def _found(self) -> Fingerprint:
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
                "headers": {name: value for name, value in listing.headers.items() if name not in _SENSITIVE_HEADERS},
                "system_fingerprints": system_fingerprints,
                "answers": answers,
            },
            missing=missing,
        )

    def _entry(self, listing: Reply, missing: list[str]) -> dict[str, Any]:
        if listing.status in (404, 405, 501):
            missing.append(f"there is no model list (GET {self._url}/models answers {listing.status})")
            return {"id": self._name}
        if listing.status != 200:
            self._refuse(listing)
        document = _document(listing)
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
        refusal = Reply(0)
        for path, message in (("/chat/completions", True), ("/completions", False)):
            answers, fingerprints = [], set()
            for prompt in PROMPTS:
                body: dict[str, Any] = {"model": self._name, "temperature": 0, "max_tokens": 16, "seed": 0}
                body |= {"messages": [{"role": "user", "content": prompt}]} if message else {"prompt": prompt}
                answer = self._request(path, body)
                if answer.status != 200:
                    refusal = answer
                    break
                document = _document(answer)
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

    def _request(self, path: str, body: dict[str, Any] | None = None) -> Reply:
        """Return the answer, whatever its status is.

        Raises:
            EvalHubError: there is none.
        """
        method, data = ("GET", None) if body is None else ("POST", json.dumps(body).encode())
        reply = self._server.ask(method, path, data)
        if reply.error:
            raise EvalHubError(f"{self._url}: {reply.silence}")
        return reply

    def _refuse(self, answer: Reply) -> NoReturn:
        said = _message(answer)
        said = f", it says: {said}" if said else ""
        if answer.status in (401, 403):
            if self._secrets.token_file:
                sent = "the token of the run's service account, which must be allowed to get this InferenceService"
            elif self._secrets.api_key:
                sent = f"the key in {self._role}.auth.secret_ref"
            elif os.path.isdir(os.environ.get(SECRETS[self._role], "")):
                sent = f"no key: the secret in {self._role}.auth.secret_ref holds no file api-key, or an empty one"
            else:
                sent = f"no key: set {self._role}.auth.secret_ref, or for KServe {self._role}.auth.service_account"
            raise EvalHubError(f"{self._url}: refuses access, HTTP {answer.status} (sent {sent}){said}")
        if 300 <= answer.status < 400:
            raise EvalHubError(f"{self._url}: answers with a redirect (give the address it leads to)")
        raise EvalHubError(f"{self._url}: answers HTTP {answer.status} to model {self._name!r}{said}")


def _document(answer: Reply) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


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


def _message(answer: Reply) -> str:
    return shortened(failure.message(answer.body) or "", 200)


def _is_plain(value: Any) -> bool:
    try:
        canonical.dumps(value)
    except (ValueError, RecursionError):
        return False
    return True
