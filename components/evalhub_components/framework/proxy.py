"""The proxy on the way to a server, as HTTP_PROXY, HTTPS_PROXY and NO_PROXY name it, by the rules of `urllib`."""

from __future__ import annotations

import base64
import os
import re
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from evalhub_components.errors import EvalHubError

_HOST = re.compile(r"[\w.-]+|[0-9a-f:.]+(%\w+)?")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Proxy:
    """A proxy; `user` and `password` are what they are, not how an address has them.

    Attributes:
        host: without the brackets of an IPv6 address.
    """

    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        """Host and port, as messages may have them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address, with the password in it, for HTTP clients that take nothing else."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user else ""
        return f"{self.scheme}://{login}{self.place}"

    @property
    def login(self) -> dict[str, str]:
        """The header with user and password, none where there is no user."""
        if not self.user:
            return {}
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Proxy-Authorization": f"Basic {pair}"}


def of(url: str) -> Proxy | None:
    """Return the proxy for a server, None where it is asked directly.

    Raises:
        EvalHubError: what the environment names is none; the message names the variable, and repeats nothing of it,
            because it is where the password begins and ends that is not known then.
    """
    server = urlsplit(url)
    named = urllib.request.getproxies().get(server.scheme)
    if not named or urllib.request.proxy_bypass(server.netloc):
        return None
    try:
        return _parsed(named if "://" in named else f"http://{named}")
    except ValueError:
        # small letters win
        variable = max((name for name in os.environ if name.lower() == f"{server.scheme}_proxy"), default="the system")
        raise EvalHubError(
            f"{variable}: is no address of a proxy (http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, "
            "where / is %2F, @ is %40, # is %23 and ? is %3F in the password)"
        ) from None


def _parsed(url: str) -> Proxy:
    """Return the parts of an address.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    # what looks like a path may be the end of a password
    has_more = parts.path not in ("", "/") or parts.query or parts.fragment
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host) or has_more:
        raise ValueError
    port = parts.port or _PORTS[parts.scheme]
    found = Proxy(parts.scheme, host, port, unquote(parts.username or ""), unquote(parts.password or ""))
    f"{found.user}{found.password}".encode()  # bytes that are no text are no login
    return found
