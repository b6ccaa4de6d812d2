"""How long a request that fails is tried again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import tenacity

from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.registry.errors import Passing

T = TypeVar("T")
LONGEST_WAIT = 60.0

TIMEOUT = "EVALHUB_REGISTRY_TIMEOUT"
"""Names the variable with the seconds for which a request that keeps failing is tried again."""

_DEADLINE = 300
_MOMENTS = 7  # a file is written in milliseconds, in seconds on a disk that has much to do
_FIRST_WAIT = 0.25
_LONGEST_BACKOFF = 30.0
_BACKOFF = tenacity.wait_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_BACKOFF) + tenacity.wait_random(
    0, _FIRST_WAIT
)
_SLOWEST = 16 * 2**10  # bytes a second


class Patience:
    """Seconds of trying, shared by the threads of one client.

    Attributes:
        deadline: seconds after which a request that keeps failing is given up.
        given_up: set when nothing shall be tried again, because another thread has failed for good.
    """

    def __init__(self, place: str, deadline: float) -> None:
        self.deadline = deadline
        self.given_up = threading.Event()
        self._place = place

    def persistently(self, attempt: Callable[[], T], may_pass: Callable[[Passing], bool]) -> T:
        """Return what `attempt` returns, once it does not fail with what may pass."""

        def again(error: BaseException) -> bool:
            return isinstance(error, Passing) and may_pass(error)

        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception(again),
            wait=_wait,
            stop=tenacity.stop_before_delay(self.deadline) | tenacity.stop_when_event_set(self.given_up),
            sleep=tenacity.sleep_using_event(self.given_up),
            reraise=True,
        )
        try:
            return tries(attempt)
        except Passing as error:
            count = tries.statistics.get("attempt_number", 1)
            raise EvalHubError(f"{error}, {count} times" if count > 1 else str(error)) from None

    def briefly(self, attempt: Callable[[], T], again: Callable[[T], bool]) -> T:
        """Return what `attempt` returns, after some moments, 7 seconds in all, where that is nothing to keep."""
        tries = tenacity.Retrying(
            retry=tenacity.retry_if_result(again),
            wait=tenacity.wait_exponential(multiplier=0.1) + tenacity.wait_random(0, 0.1),
            stop=tenacity.stop_after_attempt(_MOMENTS) | tenacity.stop_when_event_set(self.given_up),
            sleep=tenacity.sleep_using_event(self.given_up),
            retry_error_callback=_last,
        )
        return tries(attempt)

    def limit(self, size: int = 0) -> Callable[[], None]:
        """Return what raises when `size` bytes take so long that somebody must be holding us up."""
        until = time.monotonic() + self.deadline + size / _SLOWEST

        def check() -> None:
            if self.given_up.is_set():
                raise EvalHubError(f"{self._place}: given up")
            if time.monotonic() > until:
                raise EvalHubError(f"{self._place}: the registry is too slow (less than {_SLOWEST >> 10} KiB a second)")

        return check


def deadline(environ: Mapping[str, str] = os.environ) -> float:
    """Return the seconds that the environment sets, else the default.

    Raises:
        EvalHubError: it sets no number of seconds.
    """
    text = environ.get(TIMEOUT) or str(_DEADLINE)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise EvalHubError(f"{TIMEOUT}: must be a whole number of seconds, at least 1")
    return float(text)


def seconds(retry_after: str) -> float:
    """Return the seconds that a `Retry-After` header asks for: it has a number or a date; 0 when it has neither."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _last(state: tenacity.RetryCallState) -> Any:
    return state.outcome.result() if state.outcome else None


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds until the next try: more each time, and no less than the registry asks for."""
    error = state.outcome.exception() if state.outcome else None
    return max(_BACKOFF(state), error.wait if isinstance(error, Passing) else 0)
