"""Checks side by side, each with its own time: one that fails or hangs hides no other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from evalhub_components.errors import EvalHubError
from evalhub_pipelines.doctor.finding import Finding

logger = logging.getLogger(__name__)

Look = Callable[[], Iterator[Finding]]


class Unseen(EvalHubError):
    """It could not be looked at from here; whether it holds is not known."""


@dataclass
class Check:
    """Something that is looked at.

    Attributes:
        names: of the findings, in their order.
        look: yields them one by one. What it raises is the finding of the name that is due, and those after it are
            not looked at.
    """

    names: Sequence[str]
    look: Look
    _found: list[Finding] = field(default_factory=list)
    _done: threading.Event = field(default_factory=threading.Event)

    def _run(self) -> None:
        try:
            for finding in self.look():
                self._found.append(finding)
        except Unseen as error:
            self._raised(Finding(self._due(), "unknown", str(error)))
        except EvalHubError as error:
            self._raised(Finding(self._due(), "failed", str(error)))
        except Exception as error:
            # a mistake of ours must not hide the other checks; its words may hold anything, so they are not shown
            logger.debug("check=%s", self._due(), exc_info=True)
            self._raised(Finding(self._due(), "failed", f"the check itself broke: {type(error).__name__} (report it)"))
        finally:
            self._done.set()

    def _due(self) -> str:
        return self.names[min(len(self._found), len(self.names) - 1)]

    def _raised(self, finding: Finding) -> None:
        self._found += self._ended(len(self._found), finding)

    def _ended(self, count: int, finding: Finding) -> list[Finding]:
        """Return what comes after the first `count` findings where `finding` is the last that was made."""
        rest = self.names[count + 1 :]
        return [finding, *(Finding(name, "unknown", f"could not be looked at (see {finding.check})") for name in rest)]

    def start(self) -> None:
        """Look in the background; a thread that hangs does not keep the program from ending."""
        threading.Thread(target=self._run, name=f"doctor {self.names[0]}", daemon=True).start()

    def findings(self, until: float, timeout: float) -> list[Finding]:
        """Return what was found by the moment `until` of the monotonic clock."""
        in_time = self._done.wait(max(0.0, until - time.monotonic()))
        found = list(self._found)
        if not in_time:
            late = f"no answer within {timeout:g} s (is it up, and reachable from here? --timeout gives it longer)"
            if len(found) < len(self.names):
                found += self._ended(len(found), Finding(self.names[len(found)], "failed", late))
        return found


def made(checks: Sequence[Check], timeout: float) -> list[Finding]:
    """Return the findings in the order of the checks, which all begin at once and have `timeout` seconds each."""
    until = time.monotonic() + timeout
    for check in checks:
        check.start()
    return [finding for check in checks for finding in check.findings(until, timeout)]
