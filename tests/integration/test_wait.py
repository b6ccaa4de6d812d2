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

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_pipelines.client.connection import Connection
from evalhub_pipelines.client.failures import NotTheApi, Refused, Unavailable
from evalhub_pipelines.client.runs import waiting
from evalhub_pipelines.client.runs.waiting import Clock, Event, TimedOut
from evalhub_pipelines.client.secret_reference import SecretReference

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
        (answers(404, "default backend - 404"), "is not the API"),
        (answers(200, "<html>Back soon</html>", Content_Type="text/html"), "answers with a web page"),
        (answers(302, Location="https://dex.example/auth"), "sends to https://dex.example/auth"),
        (answers(200, "", Content_Type="application/json"), "is not the API"),
        (answers(200, "{}", Content_Type="application/json"), "is it Kubeflow Pipelines?"),
        (answers(200, '{"run_id": "x", "sta', Content_Type="application/json"), "is not the API"),
        (answers(200, '{"created_at": "yesterday"}', Content_Type="application/json"), "yesterday"),
    ],
    ids=[
        *("dropped", "500", "503", "gateway", "429", "429 with a time", "404 of a gateway"),
        *("maintenance page", "redirect", "empty", "no values", "cut off", "no date"),
    ],
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
    with pytest.raises(error) as raised:
        wait(api, run_id, time)
    assert len(api.asked("GET", RUN)) == 1 or late
    goes_on = late and error is Refused
    assert (f"run {run_id} goes on (wait again: evalhub-kfp status {run_id} --watch)" in str(raised.value)) == goes_on


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(Path.unlink, "cannot be read"), (lambda file: file.write_text(""), "is empty")],
    ids=["missing", "empty"],
)
def test_a_token_that_is_being_renewed_is_waited_for(
    tmp_path: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    with kfp_api(users={"first": set(), "second": set()}) as api:
        run_id = start(api)

        def then(waited: float) -> None:
            if waited > 60:
                api.advance(run_id, "SUCCEEDED")
            elif waited > 30:
                file.write_text("second")
            elif waited > 10 and file.exists():
                spoil(file)

        events: list[Event] = []
        connection = to(api, token=SecretReference(file=file))
        found = waiting.wait(connection, run_id, listener=events.append, clock=FakeTime(then).clock())
        assert api.seen[-1].headers["authorization"] == "Bearer second"
    assert found.state == "completed"
    told = [event for event in events if event.kind != "state"]
    assert [event.kind for event in told] == ["lost", "back"]
    assert f"{file}: {reason}" in str(told[0].reason)


def test_a_token_that_was_never_there_is_not_waited_for(api: KfpApi, tmp_path: Path) -> None:
    run_id = start(api)
    connection = to(api, token=SecretReference(file=tmp_path / "token"))
    with pytest.raises(EvalHubError, match="token: cannot be read"):
        waiting.wait(connection, run_id, clock=FakeTime().clock())
    assert api.seen == []


def test_benchmarks_are_named_although_the_pipeline_was_no_answer_at_first(api: KfpApi) -> None:
    run_id = start(api)
    api.fail("GET", "/versions/", answers(200, "{}", Content_Type="application/json"))
    found, _ = wait(api, run_id, FakeTime(lambda waited: api.advance(run_id, "SUCCEEDED") if waited > 10 else None))
    assert [step.title for step in found.benchmarks] == [title for named in benchmarks() for title in named.titles]


def test_who_has_just_submitted_waits_out_a_page_at_first(api: KfpApi) -> None:
    run_id = start(api)
    api.fail("GET", RUN, answers(502, "bad gateway"), times=90)
    api.fail("GET", RUN, answers(404, "default backend - 404"))
    found, events = wait(
        api, run_id, FakeTime(lambda waited: api.advance(run_id, "SUCCEEDED") if waited > 900 else None), answered=True
    )
    assert found.state == "completed"
    assert [event.kind for event in events if event.kind != "state"] == ["lost", "back"]


def test_a_login_page_ends_the_waiting(api: KfpApi) -> None:
    run_id = start(api)
    api.fail("GET", RUN, answers(200, "<!DOCTYPE html><html>Log in</html>", Content_Type="text/html"))
    with pytest.raises(NotTheApi, match="login page"):
        wait(api, run_id)


def test_a_server_that_never_answered_is_given_up_after_a_minute() -> None:
    with kfp_api() as api:
        run_id = start(api)
    time = FakeTime()
    with pytest.raises(Unavailable, match=f"nothing answers there.*wait again: evalhub-kfp status {run_id} --watch"):
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
    with pytest.raises(TimedOut, match=r"known of it after 1 s; .* no answer within 1 s \(try again later\)"):
        waiting.wait(to(api), run_id, timeout=1, listener=events.append)
    assert [event.kind for event in events] == ["lost"]


def test_the_time_limit_bounds_the_reading_of_the_pipeline(api: KfpApi) -> None:
    run_id = start(api)
    api.fail("GET", "/versions/", hangs, times=10)
    with pytest.raises(TimedOut, match="no answer within 1 s"):
        waiting.wait(to(api), run_id, timeout=2)


def test_a_server_that_asks_to_be_left_alone_is_left_alone(api: KfpApi) -> None:
    run_id = start(api)
    api.fail("GET", RUN, refuses(503, Retry_After="20"))
    api.fail("GET", RUN, refuses(429, Retry_After="86400"))
    time = FakeTime(lambda waited: api.advance(run_id, "SUCCEEDED") if waited > 50 else None)
    _, events = wait(api, run_id, time)
    # what it asks, and no day
    assert time.slept[:2] == [20, 30]
    assert [event.kind for event in events if event.kind != "state"] == ["lost", "back"]
    assert len(api.asked("GET", RUN)) == 3 + len([event for event in events if event.kind == "state"]) - 1


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


@pytest.mark.parametrize("answered", [0, 3], ids=["at first", "meanwhile"])
def test_no_wish_of_the_server_outlasts_the_time_limit(api: KfpApi, cli: Any, answered: int) -> None:
    run_id = start(api)
    api.fail("GET", RUN, lambda request: request.serve(), times=answered)
    api.fail("GET", RUN, refuses(503, Retry_After="3600"), times=99)
    # each request that the client repeats by itself would take another half a minute
    done = cli("status", run_id, "--watch", "--timeout", "5s", "--endpoint", api.endpoint)
    assert done.status == 124, done.err
    assert "status 503" in done.err
    assert len(api.asked("GET", RUN)) <= answered + 2


def test_the_search_for_the_newest_run_does_not_outlast_the_time_limit(api: KfpApi, cli: Any) -> None:
    api.fail("GET", "/runs", refuses(503, Retry_After="3600"), times=99)
    done = cli("status", "--watch", "--timeout", "5s", "--endpoint", api.endpoint)
    assert (done.status, len(api.seen)) == (2, 1), done.err


@pytest.mark.parametrize("is_silent", [False, True], ids=["running", "never answered"])
def test_a_watch_that_times_out_prints_what_is_known_in_json(api: KfpApi, cli: Any, is_silent: bool) -> None:
    run_id = start(api)
    api.advance(run_id, "RUNNING", {FIRST.task: "RUNNING"})
    if is_silent:
        api.fail("GET", RUN, refuses(503), times=99)
    watch = ("status", run_id, "--watch", "--endpoint", api.endpoint, "--format", "json")
    done = cli(*watch, "--timeout", "2s")
    assert done.status == 124, done.err
    found = done.json
    assert (found["run_id"], found["timed_out"]) == (run_id, True)
    assert (found["verdict"], found["record"]) == (None, None)
    assert f"go on waiting: evalhub-kfp status {run_id} --watch" in found["verdict_problem"]
    assert found["dashboard"].endswith(run_id)
    if is_silent:
        assert (found["state"], found["is_over"], found["benchmarks"]) == (None, None, [])
    else:
        assert (found["state"], found["is_over"], found["benchmarks"][0]["state"]) == ("running", False, "running")
    api.faults.clear()
    end(api, run_id, "FAILED", aggregate="FAILED", gate="OMITTED")
    over = cli(*watch)
    assert (over.status, over.json["timed_out"], over.json["is_over"]) == (2, False, True)
    assert over.json.keys() == found.keys()


def test_a_watch_that_is_refused_prints_what_is_known_in_json(
    api: KfpApi, cli: Any, eventually: Callable[..., Any]
) -> None:
    run_id = start(api)
    process = cli.start("status", run_id, "--watch", "--endpoint", api.endpoint, "--format", "json")
    eventually(lambda: api.asked("GET", "/versions/"))
    api.fail("GET", RUN, refuses(403), times=9)
    done = cli.ended(process)
    assert (done.status, done.json["timed_out"], done.json["state"]) == (2, False, "pending")
    assert f"run {run_id} goes on" in done.err
    assert f"run {run_id} goes on" in done.json["verdict_problem"]
    assert cli("status", "nobody", "--watch", "--endpoint", api.endpoint, "--format", "json").out == ""


def test_a_submission_that_is_waited_for_too_long_prints_what_is_known_in_json(
    api: KfpApi, cli: Any, collection: Callable[..., Path]
) -> None:
    model = ("--model-url", "http://model/v1", "--model-name", "m", "--image=obedient=example.org/obedient:1")
    done = cli(
        *("submit", collection(("a", {})), "--catalog", cli.catalog, *model, "--endpoint", api.endpoint),
        *("--push-to", "registry.example/evals", "--wait", "--timeout", "1s", "--format", "json"),
    )
    assert done.status == 124, done.err
    assert (done.json["run_id"], done.json["state"]) == (next(iter(api.runs)), "pending")
    assert done.json["timed_out"]


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
