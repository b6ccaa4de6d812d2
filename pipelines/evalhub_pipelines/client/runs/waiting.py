"""Waits until a run is over, through dropped connections and restarts of the server, with few requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from evalhub_components.errors import EvalHubError, ExitStatus, NotFound
from evalhub_pipelines.client.failures import NoCredentials, NotTheApi, Unavailable
from evalhub_pipelines.client.runs import run_state
from evalhub_pipelines.client.runs.run_state import RunState

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection
    from evalhub_pipelines.client.runs.pipeline_shape import Shape

SHORTEST, LONGEST = 1.0, 10.0
"""Seconds between two requests: at first, when most happens, and after some minutes."""

FIRST = 60.0
"""Seconds until a server that has not answered once is taken for a wrong address."""


class TimedOut(EvalHubError):
    """The run is not over; it goes on."""

    exit_status = ExitStatus.WAIT_TIMED_OUT


class Event(NamedTuple):
    """What happens while one waits.

    Attributes:
        kind: `state` after every answer; `lost` once when the server cannot be asked, `back` when it can again.
        state: the last that is known.
        reason: why the server cannot be asked.
    """

    kind: Literal["state", "lost", "back"]
    state: RunState | None
    reason: str | None = None


class Clock(NamedTuple):
    """The time, for those who test: seconds that only grow, and how to let some pass."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


Listener = Callable[[Event], None]


def wait(
    connection: Connection,
    run_id: str,
    *,
    timeout: float | None = None,
    answered: bool = False,
    listener: Listener = lambda _: None,
    clock: Clock = Clock(),  # noqa: B008 - a constant
) -> RunState:
    """Return a run when it is over, whatever it came to; one request an answer, at most one a second.

    A server that is away, restarts or is overloaded is asked again for as long as there is time, and so is one that has
    answered as Kubeflow Pipelines while something else answers in its place, or the token is being renewed. One that
    has not answered once is given a minute.

    Args:
        timeout: seconds to wait at most; None for as long as it takes.
        answered: whether the server has answered as Kubeflow Pipelines before, to whoever has just started the run.
        listener: is called in between; what it raises ends the waiting.

    Raises:
        TimedOut: the run goes on.
        NotFound: there is no such run, or it was deleted meanwhile.
        Unavailable, NotTheApi, NoCredentials: the server has not answered once.
        Refused: it does not know who asks, or says no.
    """
    return _Wait(connection, run_id, timeout, answered, listener, clock).until_over()


class _Wait:
    def __init__(
        self,
        connection: Connection,
        run_id: str,
        timeout: float | None,
        answered: bool,
        listener: Listener,
        clock: Clock,
    ) -> None:
        # what asks again itself is neither to be late nor silent because its requests do so too
        self._connection = connection.within(None)
        self._has_answered = answered
        self._pause_asked = 0.0
        self._run_id = run_id
        self._tell = listener
        self._clock = clock
        self._began = clock.now()
        self._timeout = timeout
        self._deadline = None if timeout is None else self._began + timeout
        self._last: RunState | None = None
        self._lost: str | None = None
        self._shape: Shape | None = None
        self._has_shape = False

    def until_over(self) -> RunState:
        while True:
            state = self._asked()
            if state is not None:
                if self._lost:
                    self._lost = None
                    self._tell(Event("back", state))
                self._tell(Event("state", state))
                if state.is_over:
                    return state
            self._pause()

    def _asked(self) -> RunState | None:
        """Return what the server says; None while it cannot be asked."""
        try:
            return self._read()
        except NotFound as error:
            if not self._has_answered:
                raise
            raise NotFound(f"run {self._run_id}: was deleted while it was waited for ({error})") from None
        except EvalHubError as error:
            if not self._may_pass(error):
                if self._has_answered or isinstance(error, Unavailable):
                    # still the same error, to whoever handles it
                    goes_on = f"run {self._run_id} goes on" + ("" if self._has_answered else ", if it was started")
                    error.args = (f"{error}; {goes_on} (wait again: {self._again})",)
                raise
            self._pause_asked = error.pause if isinstance(error, Unavailable) else 0.0
            if not self._lost:
                self._lost = str(error)
                self._tell(Event("lost", self._last, self._lost))
            return None

    def _may_pass(self, error: EvalHubError) -> bool:
        """Return whether the same question may be answered later."""
        if self._has_answered:
            return isinstance(error, Unavailable | NotTheApi | NoCredentials)
        # a wrong address stays wrong
        is_away = isinstance(error, Unavailable) and not isinstance(error, NotTheApi)
        return is_away and self._clock.now() - self._began < FIRST

    def _read(self) -> RunState:
        left = self._left()
        run = run_state.get(self._connection, self._run_id, timeout=None if left is None else max(left, 1.0))
        if not self._has_shape:
            # the pipeline of a run never changes
            self._clock.sleep(SHORTEST)
            self._shape = run_state.shape_of(self._connection.within(self._left()), run)
            # a pipeline without tasks is none
            self._has_shape = self._shape is None or bool(self._shape.tasks)
        cancelling = self._last is not None and self._last.is_cancelling
        self._last = run_state.of(run, self._shape, was_cancelling=cancelling)
        self._has_answered, self._pause_asked = True, 0.0
        return self._last

    def _pause(self) -> None:
        waited, left = self._clock.now() - self._began, self._left()
        if left is not None and left <= 0:
            raise self._timed_out()
        pause = max(min(max(waited / 20, SHORTEST), LONGEST), self._pause_asked)
        self._clock.sleep(pause if left is None else max(min(pause, left), SHORTEST))

    def _left(self) -> float | None:
        return None if self._deadline is None else self._deadline - self._clock.now()

    @property
    def _again(self) -> str:
        return f"evalhub-kfp status {self._run_id} --watch"

    def _timed_out(self) -> TimedOut:
        cure = f"go on waiting: {self._again}"
        if self._last is None:
            why = f"; the server could not be asked: {self._lost}" if self._lost else ""
            return TimedOut(f"run {self._run_id}: nothing is known of it after {self._timeout:g} s{why} ({cure})")
        why = f"; the server has been away since: {self._lost}" if self._lost else ""
        word = self._last.state
        return TimedOut(f"run {self._run_id}: is {word} after {self._timeout:g} s, and goes on{why} ({cure})")
