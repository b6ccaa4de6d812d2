"""The relay between a framework and the model's server: real sockets on both sides."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import http.client
import json
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from obedient_models import chat, models, serving
from registries import write_certificates

from evalhub_components.adapter import JobSpec, JudgeModel, ModelCredentials, ModelEndpoint, PrimaryMetric
from evalhub_components.errors import EvalHubError
from evalhub_components.framework.relay import Relay
from evalhub_pipelines.demo_model import DemoModelSettings, running
from evalhub_pipelines.provider_testing import NOWHERE, hanging

KEY = "s3cret-KEY-123"
CHAT = "/chat/completions"
WRONG = (500, {"error": {"message": "out of luck"}})
QUESTION: dict[str, Any] = {"model": "a-model", "messages": [{"role": "user", "content": "What is 2 + 3?"}]}


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def relay(tmp_path: Path) -> Callable[..., Relay]:
    def make(url: str, **keys: Any) -> Relay:
        secrets = ModelCredentials(api_key=keys.pop("key", KEY), ca_cert=keys.pop("ca_cert", None))
        return Relay(ModelEndpoint(url, "a-model"), secrets, tmp_path, **{"request_timeout": 60.0, **keys})

    return make


def ask(relay: Relay, path: str = CHAT, body: Any = QUESTION, token: str | None = None) -> tuple[int, Any]:
    """Ask as a framework does; return status and document."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token or relay.token}"}
    request = urllib.request.Request(f"{relay.url}{path}", json.dumps(body).encode() if body else None, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_server_gets_the_key_and_the_framework_a_token(relay: Any) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    with serving({f"/v1{CHAT}": chat("5", usage=usage)}) as server, relay(server.url) as found:
        status, document = ask(found)
        assert (status, document["choices"][0]["message"]["content"]) == (200, "5")
        [(_, headers, _)] = server.requests
        assert headers["Authorization"] == f"Bearer {KEY}"
        assert KEY not in found.token
        assert found.ledger.answered == 1
        assert 0 < found.ledger.seconds < 60
        assert dict(found.ledger.usage) == {"requests": 1, "prompt_tokens": 7, "completion_tokens": 2}


def test_nobody_else_on_the_machine_can_use_it(relay: Any) -> None:
    with serving({f"/v1{CHAT}": chat("5")}) as server, relay(server.url) as found:
        assert ask(found, token="relay-guessed")[0] == 401
        assert server.requests == []
        assert found.ledger.lost == []


def test_the_model_list_needs_no_token(relay: Any) -> None:
    with serving({"/v1/models": models("a-model")}) as server, relay(server.url) as found:
        assert ask(found, "/models", None, token="none")[1]["data"] == [{"id": "a-model"}]


def test_defaults_are_added_where_the_framework_says_nothing(relay: Any) -> None:
    with (
        serving({f"/v1{CHAT}": chat("5"), "/v1/embeddings": (200, {"data": []})}) as server,
        relay(server.url, defaults={"seed": 42}) as found,
    ):
        ask(found)
        ask(found, body={**QUESTION, "seed": 7})
        ask(found, "/embeddings", {"input": ["a"]})
    assert [body.get("seed") for _, _, body in server.requests] == [42, 7, None]


def test_a_busy_server_is_asked_again(relay: Any) -> None:
    with (
        serving({f"/v1{CHAT}": [WRONG, (429, {}, {"Retry-After": "0"}), chat("5")]}) as server,
        relay(server.url) as found,
    ):
        assert ask(found)[0] == 200
    assert server.asked(f"/v1{CHAT}") == 3
    assert found.ledger.usage["requests"] == 3
    assert found.ledger.lost == []


def test_a_lost_request_is_written_down_and_no_client_repeats_it(relay: Any) -> None:
    with serving({f"/v1{CHAT}": WRONG}) as server, relay(server.url, tries=2) as found:
        status, document = ask(found)
        assert status == 400  # the one that clients do not take for a passing trouble
        assert "HTTP 500" in document["error"]["message"]
        assert "out of luck" in document["error"]["message"]
        assert server.asked(f"/v1{CHAT}") == 2
        assert found.ledger.reason_for("What is 2 + 3?") == found.ledger.lost[0].reason
        assert found.ledger.reason_for("What is 2 + 4?") is None
        assert found.ledger.explain().startswith("1 x HTTP 500: ")


def test_after_a_loss_nothing_more_is_asked_where_none_is_allowed(relay: Any) -> None:
    with serving({f"/v1{CHAT}": [WRONG, chat("5")]}) as server, relay(server.url, tries=1) as found:
        ask(found)
        assert found.ledger.is_hopeless
        assert ask(found)[0] == 400
        assert server.asked(f"/v1{CHAT}") == 1


def test_after_a_loss_the_rest_is_asked_where_some_are_allowed(relay: Any) -> None:
    with serving({f"/v1{CHAT}": [WRONG, chat("5")]}) as server, relay(server.url, tries=1, max_error_rate=0.5) as found:
        assert [ask(found)[0], ask(found)[0]] == [400, 200]
        assert not found.ledger.is_hopeless
        assert (found.ledger.answered, len(found.ledger.lost)) == (1, 1)


def test_what_was_not_asked_is_lost_too(relay: Any) -> None:
    with serving({f"/v1{CHAT}": WRONG}) as server, relay(server.url, tries=1, max_error_rate=1.0) as found:
        for number in range(12):
            ask(found, body={"messages": [_user(f"number {number}.")]})
    assert len(found.ledger.lost) == 12
    assert (found.ledger.reason_for("number 11.") or "").startswith("not asked: 10 x HTTP 500: ")
    assert found.ledger.explain().startswith("10 x HTTP 500: ")


def test_ten_losses_without_an_answer_are_enough(relay: Any) -> None:
    with serving({f"/v1{CHAT}": WRONG}) as server, relay(server.url, tries=1, max_error_rate=1.0) as found:
        for _ in range(12):
            ask(found)
        assert server.asked(f"/v1{CHAT}") == 10


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_final_and_shows_no_key(relay: Any, status: int) -> None:
    refusal = (status, {"error": {"message": f"the key {KEY} is wrong"}})
    with serving({f"/v1{CHAT}": [refusal, chat("5")]}) as server, relay(server.url, max_error_rate=1.0) as found:
        ask(found)
        assert ask(found)[0] == 400
        assert server.asked(f"/v1{CHAT}") == 1
        assert f"HTTP {status}" in found.ledger.explain()
        assert KEY not in found.ledger.explain()


@pytest.mark.parametrize("status", [422, 501])
def test_what_the_server_finds_wrong_with_a_request_is_lost_at_once(relay: Any, status: int) -> None:
    with serving({f"/v1{CHAT}": (status, {"detail": "too long"})}) as server, relay(server.url) as found:
        ask(found)
        assert server.asked(f"/v1{CHAT}") == 1
        assert "too long" in found.ledger.explain()


def test_an_unreachable_server_is_found_before_the_framework_starts(relay: Any) -> None:
    with relay(NOWHERE, tries=1) as found, pytest.raises(EvalHubError, match=r"^cannot connect: http://127\.0\.0\.1:9"):
        found.check()


@pytest.mark.parametrize("role", ["model", "judge"])
def test_what_keeps_it_from_the_server_names_the_key_that_says_where_it_is(relay: Any, role: str) -> None:
    with (
        relay(NOWHERE, tries=1, role=role) as found,
        pytest.raises(EvalHubError, match=rf"check host and port in {role}\.url"),
    ):
        found.check()


def test_a_wrong_key_is_found_before_the_framework_starts(relay: Any) -> None:
    settings = DemoModelSettings(api_key="another", model_name="a-model")
    refusal = pytest.raises(EvalHubError, match=r"HTTP 401.*is api-key of the")
    with running(settings) as server, relay(server.base_url) as found, refusal:
        found.check()
    assert found.ledger.lost == []


def test_a_key_that_may_not_see_the_list_is_good_when_the_model_answers(relay: Any) -> None:
    with serving({"/v1/models": (403, {}), f"/v1{CHAT}": chat("Hi")}) as server, relay(server.url) as found:
        found.check()


@pytest.mark.parametrize("status", [404, 503])
def test_a_server_without_a_model_list_passes_the_check(relay: Any, status: int) -> None:
    with serving({"/v1/models": (status, {})}) as server, relay(server.url, tries=1) as found:
        found.check()


def test_a_server_that_hangs_costs_no_more_than_the_time_limit(relay: Any) -> None:
    with hanging() as url, relay(url, tries=1, request_timeout=0.3) as found:
        assert "no answer within 0.3 s" in ask(found)[1]["error"]["message"]


def test_a_server_that_trickles_costs_no_more_either(relay: Any) -> None:
    with (
        _raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", drops=True) as url,
        relay(url, tries=1, request_timeout=0.5) as found,
    ):
        assert "no answer within 0.5 s" in ask(found)[1]["error"]["message"]


def test_an_answer_that_is_cut_off_is_no_answer(relay: Any) -> None:
    with _raw(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"choices": []}') as url, relay(url, tries=1) as found:
        assert "connection lost" in ask(found)[1]["error"]["message"]


def test_an_answer_that_is_no_json_is_no_answer(relay: Any) -> None:
    with serving({f"/v1{CHAT}": (200, b"<html>")}) as server, relay(server.url) as found:
        assert "is no JSON" in ask(found)[1]["error"]["message"]


def test_many_requests_at_once_are_all_answered(tmp_path: Path) -> None:
    with running(DemoModelSettings(skill=1.0)) as server:
        endpoint = ModelEndpoint(server.base_url, "demo-model")
        with Relay(endpoint, ModelCredentials(), tmp_path) as found, ThreadPoolExecutor(32) as pool:
            bodies = [{"model": "demo-model", "messages": [_user(f"What is {n} + 1?")]} for n in range(200)]
            answers = list(pool.map(lambda body: ask(found, body=body), bodies))
        assert [answer["choices"][0]["message"]["content"] for _, answer in answers] == [str(n + 1) for n in range(200)]
        assert found.ledger.answered == 200


def test_its_progress_is_heard(relay: Any) -> None:
    heard: list[int] = []
    with (
        serving({f"/v1{CHAT}": chat("5")}) as server,
        relay(server.url, listen=lambda ledger: heard.append(ledger.answered)) as found,
    ):
        ask(found)
    assert heard == [1, 1]  # the last time at the end, with everything in it


def test_a_listener_that_fails_costs_no_answer(relay: Any) -> None:
    def fail(_: object) -> None:
        raise ValueError("no terminal")

    with serving({f"/v1{CHAT}": chat("5")}) as server, relay(server.url, listen=fail) as found:
        assert ask(found)[0] == 200


def test_nothing_else_is_given_without_the_token(relay: Any) -> None:
    secret = (200, {"secret": True})
    with serving({"/v1/files/a": secret, "/v1/../admin": secret}) as server, relay(server.url) as found:
        assert ask(found, "/files/a", None, token="none")[0] == 401
        assert ask(found, "/../admin", None)[0] == 404
        assert ask(found, "/files/a", None)[0] == 200
        assert [path for path, _, _ in server.requests] == ["/v1/files/a"]


def test_it_ends_with_its_context_for_whoever_is_still_connected(relay: Any) -> None:
    with serving({f"/v1{CHAT}": chat("5")}) as server:
        with relay(server.url) as found:
            client = http.client.HTTPConnection("127.0.0.1", int(found.url.rpartition(":")[2].removesuffix("/v1")))
            for _ in range(2):
                headers = {"Authorization": f"Bearer {found.token}"}
                client.request("POST", f"/v1{CHAT}", json.dumps(QUESTION), headers)
                with client.getresponse() as response:
                    response.read()
        client.request("POST", f"/v1{CHAT}", json.dumps(QUESTION), headers)
        with client.getresponse() as response:
            assert "the benchmark is over" in response.read().decode()
        client.close()
        assert server.asked(f"/v1{CHAT}") == 2
    assert found.ledger.answered == 2


@pytest.mark.parametrize(
    ("path", "document", "wrong"),
    [
        (CHAT, {"error": {"message": "upstream is out"}}, "the answer is an error (upstream is out)"),
        (CHAT, {"choices": []}, "the answer has no choices"),
        (CHAT, [], "the answer is no JSON object"),
        ("/embeddings", {"choices": [1]}, "the answer has no data"),
    ],
)
def test_a_good_status_alone_is_no_answer(relay: Any, path: str, document: Any, wrong: str) -> None:
    with serving({f"/v1{path}": (200, document)}) as server, relay(server.url) as found:
        assert ask(found, path)[0] == 400
        assert found.ledger.answered == 0
        assert wrong in found.ledger.explain()


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (b'data: {"choices": [{"delta": {"content": "5"}}]}\n\ndata: [DONE]\n\n', 200),
        (b'data: {"choices": [{"delta": {"content": "5"}}]}\n\n', 400),
        (b'data: {"error": "out"}\n\ndata: [DONE]\n\n', 400),
        (b"", 400),
    ],
    ids=["whole", "cut", "error", "empty"],
)
def test_a_streamed_answer_is_one_when_it_was_ended(relay: Any, stream: bytes, status: int) -> None:
    answer = (200, stream, {"Content-Type": "text/event-stream"})
    with serving({f"/v1{CHAT}": answer}) as server, relay(server.url) as found:
        request = urllib.request.Request(f"{found.url}{CHAT}", b"{}", {"Authorization": f"Bearer {found.token}"})
        try:
            with urllib.request.urlopen(request) as response:
                seen, body = response.status, response.read()
                assert body == stream
        except urllib.error.HTTPError as error:
            with error:
                seen = error.code
        assert seen == status
        assert found.ledger.answered == (status == 200)


def test_numbers_that_are_none_are_not_counted(relay: Any) -> None:
    answer = chat("5", usage=[1])
    with serving({f"/v1{CHAT}": answer}) as server, relay(server.url) as found:
        assert ask(found)[0] == 200
        assert found.ledger.answered == 1


def test_a_part_of_the_api_that_a_server_lacks_is_no_fault_of_the_model(relay: Any) -> None:
    with serving({f"/v1{CHAT}": chat("5")}) as server, relay(server.url) as found:
        assert ask(found, "/tokenize")[0] == 404
        assert ask(found)[0] == 200
        assert not found.ledger.lost


def test_a_redirect_is_not_followed_and_says_where_it_leads(relay: Any) -> None:
    moved = (307, {}, {"Location": "https://elsewhere.example/v1"})
    with serving({f"/v1{CHAT}": moved}) as server, relay(server.url) as found:
        assert "it points to https://elsewhere.example/v1 (name that address)" in ask(found)[1]["error"]["message"]


@pytest.mark.parametrize("when", ["date", "1.5"])
def test_a_server_that_names_its_time_is_left_alone_so_long(relay: Any, when: str) -> None:
    said = (
        email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True) if when == "date" else when
    )
    begun = time.monotonic()
    with serving({f"/v1{CHAT}": [(503, {}, {"Retry-After": said}), chat("5")]}) as server, relay(server.url) as found:
        assert ask(found)[0] == 200
    assert time.monotonic() - begun >= 0.9  # a date has whole seconds


@pytest.mark.parametrize(
    "url", ["http://[fe80::abcd/v1", "http://host:99999/v1", "ftp://host/v1", "http://host/v1?key=1", "http:///v1"]
)
def test_what_is_no_address_is_refused(relay: Any, url: str) -> None:
    with pytest.raises(EvalHubError, match=r"is no http or https address|must be a host and a path"):
        relay(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:s3cret@host/v1?a=b",
        "http://me:s3cret/s3cret@host/v1",
        "http://me:12/s3cret@host/v1?a=b",
        "http://me:12?s3cret@host/v1",
        "http://me:12#s3cret@host/v1",
        "http://me:s3cret@s3cret@host/v1?a=b",
        "http://me:s3\N{ACCOUNT OF}cret@host/v1",
        "me:s3cret@host/v1",
    ],
)
def test_a_password_in_an_address_is_not_repeated(relay: Any, url: str) -> None:
    with pytest.raises(EvalHubError, match=r"\*\*\*@host/v1") as caught:
        relay(url)
    assert [part for part in ("s3", "cret") if part in str(caught.value)] == []


def test_an_address_of_ip_version_6_needs_no_port(relay: Any) -> None:
    with (
        relay("http://[::1]/v1", tries=1) as found,
        pytest.raises(EvalHubError, match=r"cannot connect|connection lost"),
    ):
        found.check()


def test_a_connection_that_breaks_before_it_is_secure_is_tried_again(relay: Any, tmp_path: Path) -> None:
    certificate, key = write_certificates(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    ca = tmp_path / "tls" / "ca.crt"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving({f"/v1{CHAT}": chat("5")}, context))
        found = stack.enter_context(relay(stack.enter_context(_dropping_first(server.url)), ca_cert=ca))
        assert ask(found)[0] == 200
        assert found.ledger.usage["requests"] == 2


def test_a_ca_of_the_servers_own_is_trusted_when_it_is_given(relay: Any, tmp_path: Path) -> None:
    certificate, key = write_certificates(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving({f"/v1{CHAT}": chat("5"), "/v1/models": models("a-model")}, context) as server:
        url = server.url.replace("localhost", "127.0.0.1")
        with relay(url, ca_cert=tmp_path / "tls" / "ca.crt") as found:
            assert ask(found)[0] == 200
        with relay(url) as found, pytest.raises(EvalHubError, match=r"no secure connection.*ca_cert"):
            found.check()
        assert [path for path, _, _ in server.requests] == [f"/v1{CHAT}"]


def test_a_ca_that_is_none_is_named(relay: Any, tmp_path: Path) -> None:
    (tmp_path / "ca_cert").write_text("not a certificate")
    with pytest.raises(EvalHubError, match="ca_cert: cannot be read as PEM certificates"):
        relay("https://127.0.0.1:9/v1", ca_cert=tmp_path / "ca_cert")


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("me:pass%20word@", "pass word"),
        ("me:pa%2Fss%40wo%23rd%3F@", "pa/ss@wo#rd?"),
        ("me:pass@word@", "pass@word"),
    ],
)
def test_a_proxy_is_used_as_the_environment_says(
    relay: Any, monkeypatch: pytest.MonkeyPatch, login: str, password: str
) -> None:
    address = "http://model.invalid:8000/v1"
    with serving({f"{address}{CHAT}": chat("5")}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1").replace("//", f"//{login}"))
        with relay(address) as found:
            assert ask(found)[0] == 200
        [(path, headers, _)] = proxy.requests
        assert path == f"{address}{CHAT}"
        assert headers["Proxy-Authorization"] == f"Basic {base64.b64encode(f'me:{password}'.encode()).decode()}"


def test_a_judge_has_a_relay_with_credentials_of_its_own(tmp_path: Path) -> None:
    with serving({f"/v1{CHAT}": chat("good")}) as server:
        judge = JudgeModel(ModelEndpoint(server.url, "a-judge"), ModelCredentials(api_key="of-the-judge"))
        with Relay.of_judge(_job(tmp_path, judge)) as found:
            ask(found)
        assert [headers["Authorization"] for _, headers, _ in server.requests] == ["Bearer of-the-judge"]
        assert server.requests[0][2]["seed"] == 42


def test_a_benchmark_that_needs_a_judge_says_so(tmp_path: Path) -> None:
    with pytest.raises(EvalHubError, match=r"^fluency: needs a model that judges answers \(set judge: \{url, name\}"):
        Relay.of_judge(_job(tmp_path, None))


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _job(folder: Path, judge: JudgeModel | None) -> JobSpec:
    return JobSpec(
        id="job",
        provider_id="a-provider",
        benchmark_id="fluency",
        benchmark_index=0,
        model=ModelEndpoint(NOWHERE, "a-model"),
        parameters={},
        primary_score=PrimaryMetric("score", lower_is_better=False),
        work_dir=folder,
        raw_dir=folder / "raw",
        seed=42,
        timeout=60,
        judge=judge,
    )


@contextmanager
def _dropping_first(url: str) -> Iterator[str]:
    """Pass bytes on to a server on this machine, but hang up on the first who connects; yield the address."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(1 << 16):
                target.sendall(chunk)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve(listening: socket.socket, port: int) -> None:
        listening.accept()[0].close()
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            with near, socket.create_connection(("127.0.0.1", port)) as far:
                back = threading.Thread(target=pump, args=(far, near), daemon=True)
                back.start()
                pump(near, far)
                back.join()

    port = int(url.rpartition(":")[2].removesuffix("/v1"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening, port), daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}/v1"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def _raw(sent: bytes, drops: bool = False) -> Iterator[str]:
    """Answer every connection with these bytes, and with more drop by drop."""
    over = threading.Event()

    def serve(listening: socket.socket) -> None:
        while not over.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(1 << 16)
                connection.sendall(sent)
                while drops and not over.wait(0.1):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        break

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        over.set()
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
