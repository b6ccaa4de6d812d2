"""A client of one repository of a registry: logged in, and tried again when that may help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from evalhub_components import canonical
from evalhub_components.errors import EvalHubError, MissingExtra

try:
    import oras.container
    import oras.provider
    import requests
except ImportError:
    raise MissingExtra("oci", "talking to a registry") from None

from evalhub_components.evidence.reference import Reference
from evalhub_components.evidence.registry.auth import Authorization
from evalhub_components.evidence.registry.docker_config import Login
from evalhub_components.evidence.registry.errors import Answer, Passing, Said, Unreached, refusal
from evalhub_components.evidence.registry.patience import LONGEST_WAIT, Patience, seconds
from evalhub_components.evidence.registry.transport import Transport, check_certificates

T = TypeVar("T")
WORKERS = 6

_MAX_RENEWALS = 4
_MAX_TOKEN_BYTES = 2**18
_BUSY = {429: "too many requests", 502: "bad gateway", 503: "not available", 504: "gateway timeout"}
_BEING_LINKED = ("DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN")
_HOSTS = {"docker.io": "registry-1.docker.io"}


class RegistryClient(oras.provider.Registry):  # type: ignore[misc]  # oras has no types
    """Sends what it has of its own, and what it inherits, through `do_request`.

    Attributes:
        place: `host/repository`, which messages begin with.
        patience: how long it tries.
        transport: how it sends.
        is_known: whether a registry is known to be there, so that it is waited for even before its first answer.
    """

    def __init__(self, reference: Reference, login: Login, ca: Path | None, deadline: float) -> None:
        """Prepare to talk to the registry of `reference`.

        Raises:
            EvalHubError: the CA file cannot be used.
        """
        if ca:
            check_certificates(ca)
        host = _HOSTS.get(reference.host, reference.host)
        super().__init__(hostname=host, insecure=reference.plain_http, tls_verify=str(ca) if ca else True)
        self.place = reference.place
        self.patience = Patience(self.place, deadline)
        self.is_known = False
        self._base = f"{self.prefix}://{host}"
        self.transport = Transport(self.session, self._base, self.place, self._tls_verify, self.patience, WORKERS + 2)
        self.auth = Authorization(login, self.place, reference.plain_http, self._ask_for_token)
        self._container = oras.container.Container("repository", registry=host)
        self._container.repository = reference.repository  # read from a text, `a.b/c` would have the host `a.b`

    def manifest_url(self, name: str) -> str:
        """Return the address of the manifest that a tag or digest names."""
        return f"{self.prefix}://{self._container.manifest_url(name)}"

    def blob_url(self, digest: str) -> str:
        """Return the address of a blob."""
        return f"{self.prefix}://{self._container.get_blob_url(digest)}"

    def uploads_url(self) -> str:
        """Return the address where uploads begin."""
        return f"{self.prefix}://{self._container.upload_blob_url()}"

    def tags_url(self) -> str:
        """Return the address of the first page of tags."""
        return f"{self.prefix}://{self._container.tags_url(N=1000)}"

    def referrers_url(self, digest: str) -> str:
        """Return the address of the first page of what refers to a manifest."""
        return f"{self._base}/v2/{self._container.api_prefix}/referrers/{digest}"

    def exchange(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, data: Any = None, most: int = 2**20
    ) -> Answer:
        """Return the answer to a request that may be made twice, of at most `most` bytes, however often it takes.

        Raises:
            EvalHubError: there is none, the login does not hold, or it is too long.
        """

        def ask() -> Answer:
            return self.persistently(lambda: self.once(method, url, headers=headers, data=data, most=most))

        return self.patience.briefly(ask, _is_momentary)

    def once(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, data: Any = None, most: int = 2**20
    ) -> Answer:
        """Return the answer to a request that is made once; besides what `exchange` raises, it raises `Passing`."""
        return self.transport.whole(self.do_request(url, method, data, dict(headers or {})), most)

    def opened(self, url: str, headers: dict[str, str]) -> requests.Response | Answer:
        """Return the response to a GET, its body unread, or the answer that is no such thing.

        Raises:
            Passing: there is none, or the registry is busy.
            EvalHubError: it cannot be reached, or the login does not hold.
        """

        def ask() -> requests.Response | Answer:
            response = self.do_request(url, headers=headers)
            return response if response.status_code in (200, 206) else self.transport.whole(response, 0)

        return self.patience.briefly(ask, lambda answer: isinstance(answer, Answer) and _is_momentary(answer))

    def persistently(self, attempt: Callable[[], T]) -> T:
        """Return what `attempt` returns, once it does not fail with what may pass."""
        return self.patience.persistently(attempt, self._may_pass)

    def check_is_registry(self) -> None:
        """Raise EvalHubError unless a registry answers at the host."""
        answer = self.persistently(
            lambda: self.transport.whole(self._unless_busy(self.transport.send("GET", f"{self._base}/v2/", {})), 2**20)
        )
        is_page = answer.headers.get("Content-Type", "").startswith("text/html")
        if answer.status == 400 and b"HTTPS" in answer.content:
            raise EvalHubError(f"{self.place}: the registry wants TLS (leave out http://)")
        if answer.status not in (200, 401, 403) or (answer.status == 200 and is_page):
            what = f"{self._base}/v2/ answers {answer.status}" + (" with a web page" if is_page else "")
            raise EvalHubError(f"{self.place}: the host is no OCI registry ({what})")

    def refusal(self, answer: Answer, doing: str) -> EvalHubError:
        """Return the error for an answer that is not the hoped-for one; `doing` is what was asked for."""
        said = Said.by(answer.content, self.auth.confidential())
        if not said.code and (answer.status < 400 or answer.status in (400, 404, 405, 501)):
            self.check_is_registry()
        return refusal(answer, said, f"{self.place}: cannot {doing}")

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: Any = None,
        headers: dict[str, str] | None = None,
        json: Any = None,
        stream: bool = True,
    ) -> requests.Response:
        """Return the answer to one request, its body unread, with the login that the registry asks for.

        Raises:
            Passing: there is none, or the registry is busy.
            EvalHubError: it cannot be reached, or the login does not hold.
        """
        data = data if json is None else canonical.dumps(json)
        writing, is_new = method not in ("GET", "HEAD"), False
        for _ in range(_MAX_RENEWALS):
            login = self.auth.header(writing)
            response = self.transport.send(method, url, headers or {}, data, login)
            if response.status_code != 401 or not self.transport.is_own(response.url):
                return self._unless_busy(response)
            response.close()
            if is_new:
                break
            # of several threads with an outdated token one gets the new one, and all try again with it
            is_new = self.auth.renew(response.headers.get("WWW-Authenticate", ""), writing, login)
        raise self.auth.denied(writing)

    def _unless_busy(self, response: requests.Response) -> requests.Response:
        if response.status_code not in _BUSY:
            return response
        answer = self.transport.whole(response, 0)
        said = Said.by(answer.content, self.auth.confidential())
        what = f"{self.place}: the registry is busy, {answer.status} {_BUSY[answer.status]} ({said})"
        wait = seconds(answer.headers.get("Retry-After", ""))
        if wait > min(LONGEST_WAIT, self.patience.deadline):
            raise EvalHubError(f"{what}; it asks to wait {wait:.0f} s")
        raise Passing(what, wait)

    def _ask_for_token(self, method: str, url: str, headers: Mapping[str, str], form: bytes | None) -> Answer:
        def ask() -> Answer:
            response = self._unless_busy(self.transport.send(method, url, headers, form))
            return self.transport.whole(response, _MAX_TOKEN_BYTES)

        return self.persistently(ask)

    def _may_pass(self, error: Passing) -> bool:
        return self.is_known or self.transport.answered or not isinstance(error, Unreached)


def _is_momentary(answer: Answer) -> bool:
    """Return whether it may be that somebody pushes the same thing at this moment.

    docker-registry empties the file of a tag or of a link to a blob before it writes it. Whoever needs that file then
    gets 500; whoever pushes a manifest is told that what it names is not there or has another digest.
    """
    return answer.status == 500 or (answer.status == 400 and Said.by(answer.content).code in _BEING_LINKED)
