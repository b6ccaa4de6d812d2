"""What a check found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

Mark = Literal["ok", "failed", "unknown", "skipped"]
"""`unknown`: it could not be looked at from here, which is no success; `skipped`: nobody asked for it."""


@dataclass(frozen=True)
class Finding:
    """One check.

    Attributes:
        check: what was looked at.
        found: one line: what was found, and the cure in brackets.
    """

    check: str
    mark: Mark
    found: str

    def __post_init__(self) -> None:
        """Make one line of what was found: messages of several problems have one each."""
        object.__setattr__(self, "found", " ".join(self.found.split()))

    def as_json(self) -> dict[str, str]:
        """Return a plain dictionary."""
        return asdict(self)


def all_hold(findings: Iterable[Finding], *, allow_unknown: bool = False) -> bool:
    """Return whether everything that was asked for holds; what could not be looked at does only where it is allowed."""
    bad = {"failed"} if allow_unknown else {"failed", "unknown"}
    return not any(finding.mark in bad for finding in findings)
