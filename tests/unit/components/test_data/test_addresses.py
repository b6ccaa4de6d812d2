from __future__ import annotations

import pytest

from evalhub_components.errors import EvalHubError
from evalhub_components.test_data import addresses

PRIVATE = [
    *("127.0.0.1", "127.255.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1"),
    *(
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
    ),
    *("64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:db8::1"),
]
PUBLIC = ["8.8.8.8", "140.82.121.3", "2606:4700::1", "64:ff9b::808:808", "2002:808:808::1"]


def resolved(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    """Makes every name mean these addresses."""
    entries = [(10 if ":" in one else 2, 1, 6, "", (one, 443)) for one in found]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: entries)


@pytest.fixture(autouse=True)
def nobody_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVALHUB_ALLOW_PRIVATE_HOSTS", raising=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_means_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    # among others too: a client would try them all
    resolved(monkeypatch, "8.8.8.8", address)
    with pytest.raises(EvalHubError, match="is not a public address"):
        addresses.public(addresses.parse("https://git.example/x", "url"), "url")


@pytest.mark.parametrize("address", PUBLIC)
def test_a_name_that_means_a_public_address_is_taken(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    resolved(monkeypatch, address)
    assert addresses.public(addresses.parse("https://git.example/x", "url"), "url") == [address]


def test_an_administrator_can_allow_a_host_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved(monkeypatch, "10.0.0.1")
    monkeypatch.setenv("EVALHUB_ALLOW_PRIVATE_HOSTS", "gitea.ci.svc, other.svc")
    assert addresses.public(addresses.parse("http://Gitea.ci.svc:3000/x", "url"), "url") == ["10.0.0.1"]
    for host in ("ci.svc", "x.gitea.ci.svc", "10.0.0.1"):
        with pytest.raises(EvalHubError, match=f"{host} is 10.0.0.1, which is not a public address"):
            addresses.public(addresses.parse(f"http://{host}/x", "url"), "url")


def test_a_name_that_only_the_proxy_knows_is_left_to_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    address = addresses.parse("https://git.example/x", "url")
    with pytest.raises(EvalHubError, match=r"git\.example cannot be found: Name or service not known"):
        addresses.public(address, "url")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert addresses.public(address, "url") == []
    monkeypatch.setenv("no_proxy", "git.example")
    with pytest.raises(EvalHubError, match="cannot be found"):
        addresses.public(address, "url")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://host/x",
            "host/x",
            "",
            "http://",
            "https:///x",
            "http://host:port/x",
            "http://ho st/x",
            "http://hö.st/",
        ),
        *("http://host./x", "http://a..b/x", "http://[::1/x", "http://host/x y", "http://host/x\n", "http://host/\\x"),
        *("http://me@host/x", "http://me:pass@host/x", "http://host/x?y", "http://host/x#y", "http://host@/x"),
    ],
)
def test_what_is_no_plain_http_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(EvalHubError, match=r"^url: must ") as refused:
        addresses.parse(url, "url")
    assert "pass@" not in str(refused.value)
