"""The gate step: a verdict as an exit status."""

from __future__ import annotations

from evalhub_components.errors import ExitStatus
from evalhub_components.schema.verdict import Decision

_STATUS: dict[Decision, ExitStatus] = {
    "pass": ExitStatus.PASS,
    "fail": ExitStatus.FAIL,
    "inconclusive": ExitStatus.INCONCLUSIVE,
    "error": ExitStatus.ERROR,
}


def exit_status(decision: Decision) -> ExitStatus:
    """Return the status a process ends with for this verdict."""
    return _STATUS[decision]
