"""References to what a registry holds: `host/repository`, a tag, a digest."""

from __future__ import annotations

import re
from dataclasses import dataclass

from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.store import is_digest

_SCHEMES = {"http://": True, "https://": False, "oci://": False, "docker://": False}
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]{{2,45}}\])(?::(?P<port>[0-9]{{1,5}}))?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_LONGEST_REPOSITORY = 255
_LONGEST = 1000


@dataclass(frozen=True)
class Reference:
    """A repository of a registry, and what in it is meant.

    Attributes:
        host: host, and port if not the usual one, in lower case.
        digest: `sha256:<64 hex digits>`.
        plain_http: whether to go without TLS, which must be asked for.
    """

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None
    plain_http: bool = False

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return the reference that `text` is; `http://` in front asks for plain HTTP.

        Raises:
            EvalHubError: it is none; the message says what would be one, and repeats nothing that could be a password.
        """
        if len(text) > _LONGEST:
            raise EvalHubError(f"reference: must have at most {_LONGEST} characters, got {len(text)}")
        plain_http, rest = False, text
        for scheme, plain in _SCHEMES.items():
            if text.startswith(scheme):
                plain_http, rest = plain, text.removeprefix(scheme)
        rest, at, digest = rest.rpartition("@") if "@" in rest else (rest, "", "")
        if "@" in rest or (at and not digest.startswith("sha")):
            raise EvalHubError("reference: after '@' must come a digest (a login belongs in the Docker configuration)")
        where = f"reference {rest[:300]!r}"
        if at and not is_digest(digest):
            raise EvalHubError(f"{where}: the digest must be sha256: and 64 hex digits, got {digest[:100]!r}")
        host, slash, path = rest.partition("/")
        if not slash or not _is_host(host):
            raise EvalHubError(f"{where}: must begin with a registry's host (host.example/repository:tag)")
        repository, colon, tag = path.partition(":")
        if not is_repository(repository):
            cure = "lower-case letters and digits, with single '.', '_', '-' and '/' between them, at most 255"
            raise EvalHubError(f"{where}: {repository[:300]!r} is no repository's name (it would be {cure})")
        if colon and not is_tag(tag):
            cure = "letters, digits, '_', '.' and '-', at most 128, the first neither '.' nor '-'"
            raise EvalHubError(f"{where}: {tag[:200]!r} is no tag (it would be {cure})")
        return cls(host.lower(), repository, tag if colon else None, digest if at else None, plain_http)

    def __str__(self) -> str:
        """Return `host/repository[:tag][@digest]`."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.place}{tag}{f'@{self.digest}' if self.digest else ''}"

    @property
    def place(self) -> str:
        """`host/repository`."""
        return f"{self.host}/{self.repository}"

    @property
    def address(self) -> str:
        """What commands of this project take for this reference: with `http://` in front when that is meant."""
        return f"http://{self}" if self.plain_http else str(self)

    @property
    def pinned(self) -> str:
        """`host/repository@digest`, the form that every client takes."""
        if not self.digest:
            raise ValueError(f"{self} has no digest")
        return f"{self.place}@{self.digest}"


def is_tag(text: str) -> bool:
    """Return whether `text` can be a tag."""
    return bool(_TAG.fullmatch(text))


def is_repository(text: str) -> bool:
    """Return whether `text` can be a repository's name."""
    return len(text) <= _LONGEST_REPOSITORY and bool(_REPOSITORY.fullmatch(text))


def _is_host(text: str) -> bool:
    """Return whether `text` is a host; a lone word is a folder of some registry that is not named."""
    match = _HOST.fullmatch(text)
    if not match or int(match["port"] or 0) > 65535:
        return False
    return "." in text or ":" in text or text.lower() == "localhost"
