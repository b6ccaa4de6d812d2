"""What a verification came to: a state and a reason for each check, and an exit status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evalhub_components.errors import ExitStatus, Tampered
from evalhub_components.evidence.reading.untrusted_json import NotEvidence

State = Literal["ok", "failed", "could not check", "not checked", "note"]
"""`not checked`: nobody asked, or what failed before leaves nothing to check; `note`: good to know, decides nothing."""

_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One line of a verification; `detail` is what was found, or why there is nothing to say."""

    name: str
    state: State
    detail: str


@dataclass(frozen=True)
class Verification:
    """What is known of some evidence.

    Attributes:
        checks: in the order in which they were made.
        digest: of the index, None when there is none.
        verdict: what results and criteria come to, None when that could not be computed.
        reference: `place:tag@digest`, or what of it is known.
        pinned: `place@digest`, as most tools take it.
        statements: what all this proves, and what it does not.
    """

    checks: tuple[Check, ...]
    digest: str | None
    verdict: str | None
    reference: str
    pinned: str | None
    statements: tuple[str, ...]

    @property
    def exit_status(self) -> ExitStatus:
        """0 when every check holds, 1 when one failed, 2 when one could not be made."""
        states = {check.state for check in self.checks}
        if "failed" in states:
            return ExitStatus.FAIL
        return ExitStatus.ERROR if "could not check" in states else ExitStatus.PASS

    def state(self, name: str) -> State:
        """Return the state of a check; one that is not among them was not made."""
        return next((check.state for check in self.checks if check.name == name), "not checked")

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "reference": self.reference,
            "pinned": self.pinned,
            "digest": self.digest,
            "verdict": self.verdict,
            "exit_status": int(self.exit_status),
            "checks": [{"check": check.name, "state": check.state, "detail": check.detail} for check in self.checks],
            "statements": list(self.statements),
        }


def of_errors(name: str, errors: Sequence[Exception], when_none: str) -> Check:
    """Return the check that `errors` are the outcome of: wrong content fails it, a silent registry leaves it open."""
    if not errors:
        return Check(name, "ok", when_none)
    # what was changed is worth more to the reader than what is missing
    errors = sorted(errors, key=lambda error: not _is_wrong(error))
    shown = [" ".join(str(error).split("\n")) for error in errors[:_SHOWN]]
    more = [f"and {len(errors) - _SHOWN} more"] if len(errors) > _SHOWN else []
    return Check(name, "failed" if _is_wrong(errors[0]) else "could not check", "; ".join(shown + more))


def _is_wrong(error: Exception) -> bool:
    return isinstance(error, Tampered | NotEvidence)
