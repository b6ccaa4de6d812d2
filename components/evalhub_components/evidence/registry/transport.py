"""Requests over HTTP that are bounded in time and size, and a login that goes to nobody but the registry."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import requests.adapters
import urllib3.exceptions

import evalhub_components
from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.registry.errors import Answer, TooLong, unreachable
from evalhub_components.evidence.registry.patience import Patience

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
_PIECE = 256 * 2**10
_SENT_PIECE = 64 * 2**10  # each must be taken within the seconds of a connection
_MAX_ERROR_BYTES = 2**16
_MAX_REDIRECTS = 5
_LONGEST_ADDRESS = 2**14
_FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)


class Body:
    """A request's body of known size, produced anew whenever it is sent."""

    def __init__(self, chunks: Callable[[], Iterable[bytes]], size: int, check: Callable[[], None]) -> None:
        """Send `chunks`, as long as `check` does not raise."""
        self._chunks = chunks
        self._size = size
        self._check = check

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[memoryview]:
        for chunk in self._chunks():
            view = memoryview(chunk)
            for start in range(0, len(view), _SENT_PIECE):
                self._check()
                yield view[start : start + _SENT_PIECE]


class Transport:
    """Sends requests for one repository.

    Attributes:
        answered: whether the registry has ever answered.
    """

    def __init__(
        self, session: requests.Session, origin: str, place: str, verify: str | bool, patience: Patience, workers: int
    ) -> None:
        """Send with `session` to the registry at `origin`; `verify` is what requests takes by this name."""
        self.answered = False
        self._session = session
        self._origin = _origin(origin)
        self._plain_http = origin.startswith("http://")
        self._place = place
        self._verify = verify
        self._patience = patience
        # without an authentication of its own it would send what it finds in .netrc in place of ours
        session.auth = lambda request: request
        session.headers.update(
            {"User-Agent": f"evalhub-kfp/{evalhub_components.__version__}", "Accept-Encoding": "identity"}
        )
        for scheme in ("http://", "https://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=workers))

    def is_own(self, url: str) -> bool:
        """Return whether an address is the registry's own."""
        return _origin(url) == self._origin

    def send(
        self, method: str, url: str, headers: Mapping[str, str], data: Any = None, login: str | None = None
    ) -> requests.Response:
        """Return the answer, its body unread, at the end of redirects.

        Args:
            login: value of the header `Authorization` for the registry itself.

        Raises:
            Passing: there is none, and another try may help.
            EvalHubError: there is none.
        """
        for _ in range(_MAX_REDIRECTS + 1):
            own = {"Authorization": login} if login and self.is_own(url) else {}
            response = self._sent(method, url, {**headers, **own}, data)
            if response.status_code not in (301, 302, 303, 307, 308):
                return response
            response.close()
            target = self.location(url, response.headers.get("Location"))
            here, there = urlsplit(url), urlsplit(target)
            if (here.scheme, here.hostname, there.scheme) == ("http", there.hostname, "https"):
                raise EvalHubError(f"{self._place}: the registry wants TLS (leave out http://)")
            if method not in ("GET", "HEAD"):
                raise EvalHubError(f"{self._place}: the registry has moved to {there.netloc[:200]} (name that host)")
            url = target
        raise EvalHubError(f"{self._place}: the registry sends us in circles")

    def location(self, base: str, location: str | None) -> str:
        """Return the absolute address that an answer from `base` leads to.

        Raises:
            EvalHubError: it leads nowhere, or out of TLS.
        """
        try:
            target = urljoin(base, location or "")
            parts = urlsplit(target)
            sound = bool(location and parts.hostname and parts.scheme in ("http", "https") and "@" not in parts.netloc)
            sound = sound and len(target) <= _LONGEST_ADDRESS and target.isprintable() and parts.port != 0
        except ValueError:
            sound = False
        if not sound:
            raise EvalHubError(f"{self._place}: the registry sends us to no usable address (is it a registry?)")
        if parts.scheme == "http" and urlsplit(base).scheme == "https":
            cure = "a proxy in front of it must tell it X-Forwarded-Proto: https"
            raise EvalHubError(f"{self._place}: the registry sends us from TLS to plain HTTP ({cure})")
        return target

    def pieces(self, response: requests.Response) -> Iterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            Passing: it breaks off.
        """
        with closing(response):
            while True:
                try:
                    piece = response.raw.read1(_PIECE, decode_content=False)
                except _FAILURES as error:
                    raise self._failure(error, response.url) from None
                if not piece:
                    return
                yield piece

    def whole(self, response: requests.Response, most: int) -> Answer:
        """Return the answer with its body, which is cut off when it only explains an error.

        Raises:
            TooLong: it has more than `most` bytes.
            Passing: it breaks off.
        """
        is_error = response.status_code >= 400
        most = _MAX_ERROR_BYTES if is_error else most
        check, content = self._patience.limit(), bytearray()
        for piece in self.pieces(response):
            check()
            content += piece
            if len(content) > most:
                if not is_error:
                    raise TooLong(f"{self._place}: the registry answers with more than {most} bytes")
                break
        return Answer(response.status_code, response.headers, bytes(content[:most]), response.url)

    def _sent(self, method: str, url: str, headers: Mapping[str, str], data: Any) -> requests.Response:
        deadline = self._patience.deadline
        # between the end of an upload and the answer the registry puts the blob in its place
        read = deadline if method == "PUT" else min(_READ_SECONDS, deadline)
        try:
            response = self._session.request(
                method,
                url,
                data=data,
                headers=headers,
                stream=True,
                verify=self._verify,
                timeout=(min(_CONNECT_SECONDS, deadline), read),
                allow_redirects=False,
            )
        except _FAILURES as error:
            raise self._failure(error, url) from None
        self.answered = self.answered or self.is_own(url)
        return response

    def _failure(self, error: Exception, url: str) -> EvalHubError:
        return unreachable(error, urlsplit(url).netloc[:200], url.startswith("http://"))


def check_certificates(ca: Path) -> None:
    """Raise EvalHubError unless `ca` holds certificates."""
    try:
        ssl.create_default_context(cafile=str(ca))
    except FileNotFoundError:
        raise EvalHubError(f"{ca}: no such file (it would hold the CA's certificate as PEM)") from None
    except (OSError, ValueError):
        raise EvalHubError(f"{ca}: holds no certificate that can be read (it would be PEM)") from None


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
