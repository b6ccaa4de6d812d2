"""Addresses of servers that a document names: http and https only, and no way into the cluster by name or redirect."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

from evalhub_components.errors import EvalHubError

ALLOWED = "EVALHUB_ALLOW_PRIVATE_HOSTS"
"""Environment variable: names of private hosts that documents may name, separated by commas."""

_HOST = r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f.]*:[0-9a-f:.]*"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class Address:
    """An http or https address without credentials in it.

    Attributes:
        origin: scheme, host and port, as in the address.
    """

    url: str
    origin: str
    host: str
    port: int


def parse(url: str, where: str) -> Address:
    """Return the parts of `url`.

    Raises:
        EvalHubError: it is no http or https address, or holds credentials; the message does not repeat it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("http", "https") or not host or not re.fullmatch(_HOST, host):
        raise EvalHubError(f"{where}: must be an http or https address such as https://host.example/path")
    if "@" in parts.netloc:
        raise EvalHubError(f"{where}: must hold no user and password (credentials belong in a secret: secret_ref)")
    if parts.query or parts.fragment or not re.fullmatch(r"[!-~]+", url) or "\\" in url:
        raise EvalHubError(f"{where}: must have no query, fragment, spaces or backslashes")
    default = 443 if parts.scheme == "https" else 80
    return Address(url, f"{parts.scheme}://{parts.netloc}", host, port or default)


def public(address: Address, where: str) -> list[str]:
    """Return the IP addresses of the host, each of them public unless the host is allowed.

    A name that only a proxy can resolve has none: then the proxy decides.

    Raises:
        EvalHubError: one of them is private, loopback, link-local or otherwise not for the public.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        scheme = address.origin.partition(":")[0]
        if scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(address.host):
            return []
        reason = getattr(error, "strerror", None) or "not a host name"
        raise EvalHubError(f"{where}: {address.host} cannot be found: {reason} (check the host's name)") from None
    addresses = sorted({str(entry[4][0]) for entry in found})
    allowed = {name.strip().lower() for name in os.environ.get(ALLOWED, "").split(",")}
    for one in addresses:
        if address.host not in allowed and not _is_public(ipaddress.ip_address(one.partition("%")[0])):
            raise EvalHubError(
                f"{where}: {address.host} is {one}, which is not a public address "
                f"(an administrator can allow the host in {ALLOWED})"
            )
    return addresses


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        # addresses that stand for an IPv4 address are as public as that one
        if address in _NAT64:
            return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.sixtofour:
            return _is_public(address.sixtofour)
    return address.is_global and not address.is_multicast and not address.is_reserved
