"""`evalhub-kfp logs`: from Kubeflow Pipelines, its dashboard or Kubernetes, whoever has the log of a pod."""

from __future__ import annotations

import os
import pty
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_pipelines.cli import runs as commands
from evalhub_pipelines.client.runs import run_logs, run_state
from evalhub_pipelines.client.runs.pod_logs import Unreadable

sys.path.insert(0, str(Path(__file__).parent))
from kfp_api import KfpApi, kfp_api
from kfp_runs import FIRST, SECOND, TASKS, end, start, to
from stub_http import answers, drops

TOKEN = "token-of-the-tests-1"
SERVER = "/apis/v1alpha1/runs/.*/nodes/{}/log$"
GONE = '{"error_message": "Failed to read logs: pods \\"x\\" not found", "error_details": "..."}'


@pytest.fixture(autouse=True)
def nothing_of_mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No profile and no cluster of a developer's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(run_logs, "PAUSE", 0.05)


@pytest.fixture
def api() -> Iterator[KfpApi]:
    with kfp_api() as api:
        yield api
    assert api.invalid == []


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KfpApi]:
    """A server with a kubeconfig that leads to it; it answers what a test orders."""
    with kfp_api() as server:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "clusters": [{"name": "here", "cluster": {"server": server.endpoint}}],
            "users": [{"name": "me", "user": {"token": TOKEN}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        yield server


class Printed(tuple[int, str, str, str]):
    """Status, standard output, standard error, and the message of an error."""

    status = property(lambda self: self[0])
    out = property(lambda self: self[1])
    err = property(lambda self: self[2])
    error = property(lambda self: self[3])


def logs(api: KfpApi, *arguments: object) -> Printed:
    """Run the command; standard output and error apart."""
    done = CliRunner().invoke(commands.logs, [*map(str, arguments), "--endpoint", api.endpoint])
    error = done.exception
    if isinstance(error, EvalHubError):
        return Printed((int(error.exit_status), done.stdout, done.stderr, str(error)))
    assert error is None or isinstance(error, SystemExit), repr(error)
    return Printed((done.exit_code, done.stdout, done.stderr, ""))


def pods(api: KfpApi, run_id: str, task: str) -> tuple[str, ...]:
    """The names of a task's pods."""
    state = run_state.read(to(api), run_id)
    return next(step.pods for step in state.steps if step.name == task)


def give(api: KfpApi, pod: str, text: bytes | str, times: int = 1) -> None:
    api.fail("GET", SERVER.format(re.escape(pod)), answers(200, text, Content_Type="text/plain"), times)


def red_run(api: KfpApi) -> str:
    """A run whose first benchmark failed."""
    run_id = start(api)
    end(api, run_id, "FAILED", **{FIRST.replace("-", "_"): "FAILED", "aggregate": "OMITTED", "gate": "OMITTED"})
    return run_id


def test_without_a_task_the_log_of_what_failed_is_printed(api: KfpApi) -> None:
    run_id = red_run(api)
    (pod,) = pods(api, run_id, FIRST)
    give(api, pod, "loading\nout of memory\n")
    done = logs(api, run_id)
    assert (done.status, done.error) == (0, "")
    assert done.out == "loading\nout of memory\n"
    assert done.err == f"==> lm_evaluation_harness / quickstart_arithmetic, pod {pod} <==\n"


def test_the_server_is_asked_by_run_and_pod(api: KfpApi) -> None:
    run_id = red_run(api)
    (pod,) = pods(api, run_id, FIRST)
    give(api, pod, "out of memory\n")
    logs(api, run_id)
    assert api.seen[-1].path == f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log"


@pytest.mark.parametrize(
    "name",
    [
        "quickstart_word_problems",
        "lm_evaluation_harness/quickstart_word_problems",
        "lm_evaluation_harness / quickstart_word_problems",
        "001-quickstart-word-problems",
        SECOND,
        "1",
    ],
)
def test_a_benchmark_has_many_names(api: KfpApi, name: str) -> None:
    run_id = red_run(api)
    (pod,) = pods(api, run_id, SECOND)
    give(api, pod, "well\n")
    assert logs(api, run_id, name).out == "well\n"


@pytest.mark.parametrize("name", ["fingerprint", "aggregate", "gate"])
def test_other_tasks_go_by_their_names(api: KfpApi, name: str) -> None:
    run_id = start(api)
    end(api, run_id, "FAILED", gate="FAILED")
    (pod,) = pods(api, run_id, name)
    give(api, pod, f"{name} says\n")
    assert logs(api, run_id, name).out == f"{name} says\n"


def test_where_nothing_failed_the_tasks_are_listed(api: KfpApi) -> None:
    run_id = start(api)
    end(api, run_id)
    done = logs(api, run_id)
    assert done.status == 0
    first, header, *rows = done.out.splitlines()
    assert first == f"nothing of run {run_id} failed (it is completed); its tasks are:"
    assert header.split() == ["task", "kind", "state"]
    assert [row.split()[0] for row in rows][:2] == ["fingerprint", "quickstart_arithmetic"]
    assert len(rows) == len(TASKS)


def test_a_task_that_is_not_there_is_an_error_that_names_the_nearest(api: KfpApi) -> None:
    run_id = red_run(api)
    done = logs(api, run_id, "quickstart_aritmetic")
    assert done.status == 2
    assert done.error == f"run {run_id}: has no task 'quickstart_aritmetic' (did you mean 'quickstart_arithmetic'?)"


def test_every_attempt_is_printed_the_first_one_first(api: KfpApi) -> None:
    run_id = start(api)
    api.advance(run_id, "RUNNING", {FIRST: "RUNNING"}, failed_attempts={FIRST: 1})
    one, two = pods(api, run_id, FIRST)
    give(api, one, "killed\n")
    give(api, two, "well\n")
    done = logs(api, run_id, FIRST)
    assert done.out == "killed\nwell\n"
    assert [line.split()[-2] for line in done.err.splitlines() if line] == [one, two]


def test_only_the_last_lines_are_printed(api: KfpApi) -> None:
    run_id = red_run(api)
    (pod,) = pods(api, run_id, FIRST)
    give(api, pod, "".join(f"line {n}\n" for n in range(100_000)))
    assert logs(api, run_id, "--tail", 2).out == "line 99998\nline 99999\n"


def test_what_looks_like_a_page_is_a_log_all_the_same(api: KfpApi) -> None:
    run_id = red_run(api)
    (pod,) = pods(api, run_id, FIRST)
    give(api, pod, b'<html>\n{"not": "json"}\n\xff\xfe end')
    assert logs(api, run_id).out == '<html>\n{"not": "json"}\n\ufffd\ufffd end\n'


def test_behind_a_dashboard_its_own_path_is_asked(api: KfpApi) -> None:
    run_id = red_run(api)
    (pod,) = pods(api, run_id, FIRST)
    api.fail("GET", "/k8s/pod/logs$", answers(200, "from the dashboard\n", Content_Type="text/plain"))
    connection = to(api, namespace="team-a")
    found = [line.text for line in run_logs.logs(connection, run_id)]
    assert found == ["from the dashboard"]
    date = api.runs[run_id]["created_at"][:10]
    query = {"podname": pod, "runid": run_id, "podnamespace": "team-a", "createdat": date}
    assert api.seen[-1].query == query


def test_kubernetes_is_asked_last(api: KfpApi, cluster: KfpApi) -> None:
    run_id = red_run(api)
    (pod,) = pods(api, run_id, FIRST)
    api.fail("GET", "/nodes/.*/log$", answers(500, GONE, Content_Type="application/json"))
    cluster.fail("GET", f"/pods/{pod}/log$", answers(200, '{"level": "error"}', Content_Type="text/plain"))
    found = [line.text for line in run_logs.logs(to(api, namespace="team-a"), run_id)]
    assert found == ['{"level": "error"}']
    (asked,) = cluster.seen
    assert (asked.path, asked.query) == (f"/api/v1/namespaces/team-a/pods/{pod}/log", {"container": "main"})
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert not [seen for seen in api.seen if TOKEN in str(seen.headers)]


def test_where_nobody_has_the_log_each_says_why(api: KfpApi, cluster: KfpApi) -> None:
    run_id = red_run(api)
    api.fail("GET", "/nodes/.*/log$", answers(500, GONE, Content_Type="application/json"))
    cluster.fail("GET", "/log$", answers(404, '{"message": "pods not found"}', Content_Type="application/json"))
    done = logs(api, run_id, "-n", "team-a")
    assert done.status == 2
    assert 'pods "x" not found' in done.error
    assert "Kubernetes: the pod is gone, or not in namespace team-a" in done.error
    assert TOKEN not in done.error


def test_without_a_way_to_kubernetes_that_is_said(api: KfpApi) -> None:
    done = logs(api, red_run(api))
    assert done.status == 2
    assert f"Kubeflow Pipelines: there are no logs at {api.endpoint}" in done.error
    assert "nothing says where Kubernetes is" in done.error


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "it does not know who you are"),
        (403, "you may not read logs in namespace kubeflow"),
        (400, 'it answers 400: container "main" is waiting to start'),
    ],
)
def test_what_kubernetes_refuses_is_said(api: KfpApi, cluster: KfpApi, status: int, said: str) -> None:
    run_id = red_run(api)
    message = '{"message": "container \\"main\\" is waiting to start"}'
    cluster.fail("GET", "/log$", answers(status, message, Content_Type="application/json"))
    assert said in logs(api, run_id).error


def test_a_log_that_nobody_has_does_not_hide_the_others(api: KfpApi) -> None:
    run_id = start(api)
    failed = {FIRST.replace("-", "_"): "FAILED", SECOND.replace("-", "_"): "FAILED", "gate": "OMITTED"}
    end(api, run_id, "FAILED", aggregate="OMITTED", **failed)
    (pod,) = pods(api, run_id, SECOND)
    give(api, pod, "the second\n")
    done = logs(api, run_id)
    assert done.status == 2
    assert done.out == "the second\n"
    assert "quickstart_arithmetic: pod " in done.error


def test_a_connection_that_breaks_off_is_an_error(api: KfpApi, cluster: KfpApi) -> None:
    run_id = red_run(api)
    api.fail("GET", "/nodes/.*/log$", drops, times=5)
    done = logs(api, run_id)
    assert done.status == 2
    assert "broke off" in done.error


def test_a_task_without_a_pod_says_so(api: KfpApi) -> None:
    run_id = start(api)
    api.advance(run_id, "RUNNING", {"fingerprint": "RUNNING"})
    done = logs(api, run_id, FIRST)
    assert done.status == 2
    assert "quickstart_arithmetic: has had no pod yet" in done.error


def test_a_run_that_is_not_there_is_an_error(api: KfpApi) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        list(run_logs.logs(to(api), "00000000-0000-4000-8000-000000000000"))


def test_a_log_is_followed_until_its_task_is_over(api: KfpApi) -> None:
    run_id = start(api)
    api.advance(run_id, "RUNNING", {FIRST: "RUNNING"})
    (pod,) = pods(api, run_id, FIRST)
    give(api, pod, "one\ntw")
    give(api, pod, "one\ntwo\n")
    found = []
    for line in run_logs.logs(to(api), run_id, FIRST, follow=True):
        found.append(line.text)
        if line.text == "two":
            give(api, pod, "one\ntwo\nthree", times=3)
            api.advance(run_id, "RUNNING", {FIRST: "SUCCEEDED"})
    assert found == ["one", "two", "three"]


def test_following_outlives_a_pod_that_starts_and_a_server_that_is_away(
    api: KfpApi, eventually: Callable[[Callable[[], Any]], Any]
) -> None:
    run_id = start(api)
    found: list[str] = []
    follower = threading.Thread(
        target=lambda: found.extend(line.text for line in run_logs.logs(to(api), run_id, FIRST, follow=True))
    )
    follower.start()
    eventually(lambda: len(api.asked("GET", f"/runs/{run_id}$")) > 1)  # there is no pod yet
    api.fail("GET", SERVER.format(".*"), answers(500, GONE, Content_Type="application/json"), times=2)
    api.advance(run_id, "RUNNING", {FIRST: "RUNNING"})
    eventually(lambda: len(api.asked("GET", "/nodes/")) > 1)  # it is just starting
    api.fail("GET", f"/runs/{run_id}$", drops, times=4)
    eventually(lambda: not api.faults[-1].times)
    (pod,) = pods(api, run_id, FIRST)
    give(api, pod, "well\n", times=1000)
    api.advance(run_id, "SUCCEEDED", {FIRST: "SUCCEEDED"})
    follower.join()
    assert found == ["well"]


def test_the_end_of_a_log_is_followed_from(api: KfpApi) -> None:
    run_id = red_run(api)
    (pod,) = pods(api, run_id, FIRST)
    give(api, pod, "one\ntwo\nthree\n")
    assert logs(api, run_id, FIRST, "--follow", "--tail", 2).out == "two\nthree\n"


def test_what_is_followed_has_a_name(api: KfpApi) -> None:
    done = logs(api, red_run(api), "--follow")
    assert done.status == 2
    assert "name the task to follow" in done.err


def test_a_log_that_is_gone_cannot_be_followed(api: KfpApi) -> None:
    with pytest.raises(Unreadable, match="nobody gives its log"):
        list(run_logs.logs(to(api), red_run(api), FIRST, follow=True))


def test_a_task_that_was_never_begun_has_no_log_to_follow(api: KfpApi) -> None:
    run_id = start(api)
    api.advance(run_id, "FAILED", {"fingerprint": "FAILED"})
    done = logs(api, run_id, FIRST, "--follow")
    assert done.status == 2
    assert "quickstart_arithmetic: has had no pod" in done.error


HOSTILE = "\x1b]0;title\x07\x1b[31mred\x1b[0m \x1b[2J\u202egpj.exe\x9b31m\tdone\r\n 10%\r 99%\r100%\n"


def test_a_terminal_gets_no_control_sequences(api: KfpApi, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = red_run(api)
    (pod,) = pods(api, run_id, FIRST)
    give(api, pod, HOSTILE)
    screen = on_a_terminal(lambda: commands.logs([run_id, "--endpoint", api.endpoint], standalone_mode=False))
    text = screen.decode()
    assert "red" in text
    assert "gpj.exe" in text
    assert not set(text) & set("\x1b\x07\u202e\x9b\x00")
    assert "100%" in text
    assert " 99%" not in text


def test_a_file_gets_the_text_as_it_is(api: KfpApi) -> None:
    run_id = red_run(api)
    (pod,) = pods(api, run_id, FIRST)
    give(api, pod, "a\tb\u202ec\r\n 99%\r100%\n")
    assert logs(api, run_id).out == "a\tb\u202ec\n 99%\r100%\n"


def on_a_terminal(work: Any) -> bytes:
    """Run `work` with a terminal as standard output, and return what it shows."""
    leader, follower = pty.openpty()
    found: list[bytes] = []

    def read() -> None:
        while True:
            try:
                chunk = os.read(leader, 4096)
            except OSError:  # the other end is closed
                return
            if not chunk:
                return
            found.append(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    kept = sys.stdout
    try:
        with os.fdopen(follower, "w") as terminal:
            sys.stdout = terminal
            work()
    finally:
        sys.stdout = kept
    reader.join()
    os.close(leader)
    return b"".join(found)
