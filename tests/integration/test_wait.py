"""Waiting for a run on Kubeflow Pipelines: through lost connections and restarts, to any end, with few requests."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from kfp_api import KfpApi, kfp_api, refuses
from recorded_runs import LARGE, benchmarks, end, start
from stub_http import answers, drops, hangs

from evalhub_components.errors import NotFound
from evalhub_pipelines.client.connection import Connection
from evalhub_pipelines.client.failures import NotTheApi, Refused, Unavailable
from evalhub_pipelines.client.runs import waiting
from evalhub_pipelines.client.runs.waiting import Clock, Event, TimedOut

FIRST, SECOND, *_ = benchmarks()
RUN = "/runs/"


class FakeTime:
    """A clock that only moves when somebody sleeps, and then does what the test wants."""

    def __init__(self, then: Callable[[float], None] = lambda _: None) -> None:
        self.time = 1000.0
        self.then = then
        self.slept: list[float] = []

    def clock(self) -> Clock:
        return Clock(lambda: self.time, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        assert self.time < 100_000, "it never ends"
        self.then(self.time - 1000.0)


@pytest.fixture
def api() -> Iterator[KfpApi]:
    with kfp_api() as api:
        yield api
        assert api.invalid == []


def to(api: KfpApi, **changes: Any) -> Connection:
    return Connection(**{"endpoint": api.endpoint, "origin": "the test", "timeout": 30, **changes})


def wait(api: KfpApi, run_id: str, time: FakeTime | None = None, **options: Any) -> tuple[Any, list[Event]]:
    events: list[Event] = []
    clock = (time or FakeTime()).clock()
    state = waiting.wait(to(api), run_id, listener=events.append, clock=clock, **options)
    return state, events


@pytest.mark.parametrize(
    ("kfp_state", "state"),
    [("SUCCEEDED", "completed"), ("FAILED", "failed"), ("CANCELED", "cancelled"), ("SKIPPED", "cancelled")],
)
@pytest.mark.parametrize("archived", [False, True], ids=["", "archived"])
def test_every_end_ends_the_waiting(api: KfpApi, kfp_state: str, state: str, archived: bool) -> None:
    run_id = start(api)

    def then(waited: float) -> None:
        if waited > 30:
            api.advance(run_id, kfp_state)
            if archived:
                api.act_on_run(api.runs[run_id], "archive")

    found, events = wait(api, run_id, FakeTime(then))
    assert (found.state, found.is_archived) == (state, archived)
    assert {event.kind for event in events} == {"state"}


def test_a_cancelled_run_is_cancelled_also_where_the_server_forgets_it(api: KfpApi) -> None:
    run_id = start(api)
    api.advance(run_id, "RUNNING", {FIRST.task: "RUNNING"})

    def then(waited: float) -> None:
        if waited > 30:
            api.advance(run_id, "FAILED", {FIRST.task: "FAILED"})
            history = api.runs[run_id]["state_history"]
            history[:] = [entry for entry in history if entry["state"] != "CANCELING"]
        elif waited > 10:
            api.runs[run_id]["state"] = "CANCELING"

    found, events = wait(api, run_id, FakeTime(then))
    assert (found.state, found.benchmarks[0].state) == ("cancelled", "cancelled")
    assert any(event.state is not None and event.state.is_cancelling for event in events)


def test_a_run_that_is_deleted_meanwhile_is_an_error(api: KfpApi) -> None:
    run_id = start(api)
    with pytest.raises(NotFound, match="was deleted while it was waited for"):
        wait(api, run_id, FakeTime(lambda waited: api.runs.clear() if waited > 10 else None))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (drops, "broke off"),
        (refuses(500), "status 500"),
        (refuses(503), "status 503"),
        (answers(502, "<html>bad gateway</html>", Content_Type="text/html"), "status 502"),
        (refuses(429), "too many requests"),
        (refuses(429, Retry_After="1"), "asks to wait 1 s"),
    ],
    ids=["dropped", "500", "503", "gateway", "429", "429 with a time"],
)
def test_what_passes_is_waited_out_and_told_once(api: KfpApi, fault: Any, reason: str) -> None:
    run_id = start(api)
    api.advance(run_id, "RUNNING")

    def then(waited: float) -> None:
        if 5 < waited < 7 and not api.faults:
            api.fail("GET", RUN, fault, times=6)
        if waited > 60:
            api.advance(run_id, "SUCCEEDED")

    found, events = wait(api, run_id, FakeTime(then))
    assert found.state == "completed"
    told = [event for event in events if event.kind != "state"]
    assert [event.kind for event in told] == ["lost", "back"]
    assert reason in str(told[0].reason)
    assert api.faults[0].times == 0


@pytest.mark.parametrize(
    ("fault", "error"),
    [(refuses(401), Refused), (refuses(403), Refused), (refuses(404), NotFound), (refuses(400), Refused)],
    ids=["401", "403", "404", "400"],
)
@pytest.mark.parametrize("late", [False, True], ids=["at first", "meanwhile"])
def test_a_no_ends_the_waiting_at_once(api: KfpApi, fault: Any, error: type[Exception], late: bool) -> None:
    run_id = start(api)
    time = FakeTime(lambda waited: api.fail("GET", RUN, fault) if late and waited > 10 else None)
    if not late:
        api.fail("GET", RUN, fault)
    with pytest.raises(error):
        wait(api, run_id, time)
    assert len(api.asked("GET", RUN)) == 1 or late


def test_a_login_page_ends_the_waiting(api: KfpApi) -> None:
    run_id = start(api)
    api.fail("GET", RUN, answers(200, "<!DOCTYPE html><html>Log in</html>", Content_Type="text/html"))
    with pytest.raises(NotTheApi, match="login page"):
        wait(api, run_id)


def test_a_server_that_never_answered_is_given_up_after_a_minute() -> None:
    with kfp_api() as api:
        run_id = start(api)
    time = FakeTime()
    with pytest.raises(Unavailable, match="nothing answers there"):
        wait(api, run_id, time)
    assert 60 <= sum(time.slept) < 70


def test_a_server_may_be_away_for_hours_once_it_has_answered() -> None:
    stack = ExitStack()
    api = stack.enter_context(kfp_api())
    run_id = start(api)
    again = ExitStack()

    def then(waited: float) -> None:
        if waited > 20_000 and not api.runs[run_id]["finished_at"].startswith("2026"):
            again.enter_context(kfp_api(port=api.port, api=api))
            api.advance(run_id, "SUCCEEDED")
        elif waited > 5:
            stack.close()

    with again:
        found, events = wait(api, run_id, FakeTime(then), timeout=50_000)
    assert found.state == "completed"
    assert [event.kind for event in events if event.kind != "state"] == ["lost", "back"]


def test_at_most_one_request_a_second_for_188_benchmarks(api: KfpApi) -> None:
    run_id, named = start(api, LARGE), benchmarks(LARGE)
    api.advance(run_id, "RUNNING", {name.task: "RUNNING" for name in named})
    ended = 0

    def then(waited: float) -> None:
        nonlocal ended
        before, ended = ended, min(int(waited), len(named))
        tasks = {name.task: "SUCCEEDED" for name in named[before:ended]}
        api.advance(run_id, "RUNNING" if ended < len(named) else "SUCCEEDED", tasks)

    time = FakeTime(then)
    found, _ = wait(api, run_id, time)
    assert {step.state for step in found.benchmarks} == {"completed"}
    # between any two requests is at least a second, one of them reads the pipeline, and they get fewer
    assert min(time.slept) >= 1
    assert len(api.seen) == len(time.slept) + 1
    assert len(api.asked("GET", "/versions/")) == 1
    assert len(api.seen) < sum(time.slept) / 2
    assert max(time.slept) > 5


def test_the_time_limit_bounds_a_server_that_is_silent(api: KfpApi) -> None:
    run_id = start(api)
    api.fail("GET", RUN, hangs, times=10)
    events: list[Event] = []
    with pytest.raises(TimedOut, match="nothing is known of it after 1 s; the server could not be asked"):
        waiting.wait(to(api), run_id, timeout=1, listener=events.append)
    assert [event.kind for event in events] == ["lost"]


def test_the_time_limit_says_how_to_go_on(api: KfpApi) -> None:
    run_id = start(api)
    api.advance(run_id, "RUNNING")
    with pytest.raises(TimedOut, match=f"is running after 90 s, and goes on .*status {run_id} --watch") as caught:
        wait(api, run_id, timeout=90)
    assert caught.value.exit_status == 124


# the command


def test_a_watched_run_tells_every_change_and_that_the_server_was_away(
    api: KfpApi, cli: Any, eventually: Callable[..., Any]
) -> None:
    run_id = start(api)
    api.advance(run_id, "RUNNING", {FIRST.task: "RUNNING"})
    process = cli.start("status", run_id, "--watch", "--endpoint", api.endpoint)
    eventually(lambda: api.asked("GET", "/versions/"))
    api.fail("GET", RUN, refuses(500), times=1)
    eventually(lambda: not api.faults[0].times)
    end(api, run_id, "FAILED", **{FIRST.task: "FAILED", "aggregate": "OMITTED", "gate": "OMITTED"})
    done = cli.ended(process)
    assert done.status == 2
    title = FIRST.titles[0]
    told = done.err.splitlines()
    assert told[:2] == [f"run {run_id} running: 1 running, {len(benchmarks()) - 1} pending", f"{title} running"]
    assert any("the server cannot be asked, and is asked again" in line and "status 500" in line for line in told)
    assert "the server answers again" in told
    assert f"{title} failed" in told
    assert f"{SECOND.titles[0]} completed" in told
    assert f"run {run_id}: ended before its verdict (failed: {title}, task {FIRST.task}" in done.err
    assert f"evalhub-kfp logs {run_id} {FIRST.task}" in done.err
    assert "pass" not in done.out


def test_a_server_is_restarted_while_a_run_is_watched(cli: Any, eventually: Callable[..., Any]) -> None:
    with kfp_api() as api:
        run_id = start(api)
        api.advance(run_id, "RUNNING")
        process = cli.start("status", run_id, "--watch", "--endpoint", api.endpoint, stderr=-1)
        eventually(lambda: api.asked("GET", "/versions/"))
    lost = process.stderr.readline() + process.stderr.readline()
    assert "the server cannot be asked" in lost
    with kfp_api(port=api.port, api=api):
        eventually(lambda: len(api.asked("GET", RUN)) > 1)
        api.advance(run_id, "CANCELED")
        done = cli.ended(process)
    assert done.status == 2
    assert "the server answers again" in done.err
    assert f"run {run_id}: was cancelled, so there is no verdict" in done.err


def test_a_watch_that_times_out_exits_with_124(api: KfpApi, cli: Any, tmp_path: Path) -> None:
    run_id = start(api)
    report = tmp_path / "junit.xml"
    done = cli(
        *("status", run_id, "--watch", "--timeout", "1s", "--endpoint", api.endpoint, "--report", f"junit={report}")
    )
    assert done.status == 124, done.err
    assert f"go on waiting: evalhub-kfp status {run_id} --watch" in done.err
    assert "is pending after 1 s" in report.read_text()
    assert api.runs[run_id]["state"] == "PENDING"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "told to end"])
def test_who_is_interrupted_learns_that_the_run_goes_on(
    api: KfpApi, cli: Any, eventually: Callable[..., Any], sent: signal.Signals
) -> None:
    run_id = start(api)
    process = cli.start("status", run_id, "--watch", "--endpoint", api.endpoint)
    eventually(lambda: api.asked("GET", "/versions/"))
    process.send_signal(sent)
    done = cli.ended(process)
    assert done.status == 130
    assert f"run {run_id} goes on" in done.err
    assert f"evalhub-kfp cancel {run_id}" in done.err
    assert not api.asked("POST", "terminate")


def test_a_refusal_ends_a_watch_with_2(cli: Any) -> None:
    with kfp_api(users={"t": set()}) as api:
        run_id = start(api)
        secret = "token-that-expired"
        done = cli("status", run_id, "--watch", "--endpoint", api.endpoint, environ={"KF_PIPELINES_TOKEN": secret})
    assert done.status == 2
    assert "KF_PIPELINES_TOKEN" in done.err
    assert secret not in done.out + done.err


def test_a_terminal_shows_a_table_that_changes(api: KfpApi, cli: Any, eventually: Callable[..., Any]) -> None:
    run_id = start(api, LARGE)
    api.advance(run_id, "RUNNING", {benchmarks(LARGE)[3].task: "RUNNING"})
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 160, 0, 0))
    process = cli.start("status", run_id, "--watch", "--endpoint", api.endpoint, stderr=theirs)
    os.close(theirs)
    seen = bytearray()

    def read() -> None:
        while True:
            try:
                seen.extend(os.read(mine, 65536))
            except OSError:
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    eventually(lambda: b"187 pending" in seen)
    api.advance(run_id, "CANCELED")
    process.communicate(timeout=60)
    reader.join()
    os.close(mine)
    text = seen.decode()
    assert benchmarks(LARGE)[3].titles[0] in text
    assert "and " in text
    assert "pending" in text
    assert "was cancelled" in text
