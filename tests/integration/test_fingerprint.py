"""The fingerprint step against real servers: the demo model, and ones that behave badly."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from obedient_models import Server, chat, completion, models, serving

from evalhub_components import canonical
from evalhub_components.adapter import ModelCredentials
from evalhub_components.errors import EvalHubError
from evalhub_components.fingerprint.probe import Probe
from evalhub_components.schema.run import Fingerprint
from evalhub_pipelines.demo_model import DemoModelSettings, running

KEY = "s3cret-KEY-123"
MODEL = "a-model"


def whole(**changes: Any) -> dict[str, Any]:
    """Return the answers of a server that is well, with changes by path."""
    answers = {"/v1/models": models(MODEL), "/v1/chat/completions": chat(), "/v1/completions": completion()}
    return answers | {f"/v1/{path.replace('_', '/')}": answer for path, answer in changes.items()}


# ---- the step and its client


@pytest.fixture
def step(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the step as a process; its document is `tmp_path/fingerprint.json`."""

    def run(
        url: str, name: str = "demo-model", options: tuple[str, ...] = (), **secret: str
    ) -> subprocess.CompletedProcess[str]:
        environ = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        environ.pop("EVALHUB_MODEL_SECRET", None)
        environ.pop("EVALHUB_JUDGE_SECRET", None)
        if secret:
            folder = tmp_path / "secret"
            folder.mkdir(exist_ok=True)
            for key, content in secret.items():
                (folder / key.replace("api_key", "api-key")).write_text(content)
            environ["EVALHUB_JUDGE_SECRET" if "judge" in options else "EVALHUB_MODEL_SECRET"] = str(folder)
        return subprocess.run(
            [
                *(sys.executable, "-m", "evalhub_components.fingerprint", "--model-url", url, "--model-name", name),
                *("--output", str(tmp_path / "fingerprint.json"), *options),
            ],
            env=environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def probe(url: str, name: str = MODEL, *, timeout: float = 60.0, **secrets: Any) -> Fingerprint:
    return Probe(url, name, ModelCredentials(**secrets), timeout).fingerprint()


def refusal(url: str, name: str = MODEL, **more: Any) -> str:
    with pytest.raises(EvalHubError) as caught:
        probe(url, name, **more)
    return str(caught.value)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


# ---- the same model has the same fingerprint


def test_the_same_model_has_the_same_fingerprint_after_a_restart(step: Any, tmp_path: Path) -> None:
    documents = []
    for _ in range(2):
        with running(DemoModelSettings()) as model:
            done = step(model.base_url)
        assert done.returncode == 0, done.stderr
        content = (tmp_path / "fingerprint.json").read_bytes()
        documents.append(Fingerprint.model_validate_json(content))
        assert canonical.dumps(json.loads(content)) == content
    first, second = documents
    assert (first.identity, first.answers) == (second.identity, second.answers)
    assert first.digest() == second.digest()


def test_a_model_that_answers_otherwise_has_the_same_identity() -> None:
    with running(DemoModelSettings(skill=1)) as model:
        able = probe(model.base_url, "demo-model")
    with running(DemoModelSettings(skill=0)) as model:
        unable = probe(model.base_url, "demo-model")
    assert able.identity == unable.identity
    assert able.answers != unable.answers
    assert able.digest() != unable.digest()


def test_a_model_of_another_name_has_another_identity() -> None:
    found = []
    for name in ("demo-model", "demo-model-2"):
        with running(DemoModelSettings(model_name=name)) as model:
            found.append(probe(model.base_url, name))
    assert found[0].identity != found[1].identity
    assert found[0].answers == found[1].answers


@pytest.mark.parametrize("key", ["root", "parent", "max_model_len"])
def test_what_a_server_says_of_its_model_is_part_of_the_identity(key: str) -> None:
    with serving(whole(models=models(MODEL, **{key: "one"}))) as one, serving(whole()) as other:
        assert probe(one.url).identity != probe(other.url).identity


def test_what_changes_with_every_start_is_no_part_of_it() -> None:
    with serving(whole(models=models(MODEL, created=1, permission=[{"id": "p-1"}]))) as server:
        first = probe(server.url)
        server.answers["/v1/models"] = models("another", MODEL, created=2, permission=[{"id": "p-2"}])
        second = probe(server.url)
    assert first.digest() == second.digest()
    assert second.observed["model"]["created"] == 2


def test_headers_are_recorded_and_not_hashed() -> None:
    headers = {"Server": "vllm/0.9", "X-Request-Id": "1", "Set-Cookie": "session=s3cret"}
    with serving(whole(models=(*models(MODEL), headers))) as server:
        first = probe(server.url)
        headers["X-Request-Id"] = "2"
        second = probe(server.url)
    assert first.observed["headers"]["x-request-id"] == "1"
    assert "vllm/0.9" in first.observed["headers"]["server"]
    assert first.digest() == second.digest()
    assert "set-cookie" not in first.observed["headers"]
    assert "s3cret" not in first.model_dump_json()


def test_it_asks_for_answers_that_can_repeat() -> None:
    with serving(whole()) as server:
        probe(server.url)
    bodies = [body for path, _, body in server.requests if path == "/v1/chat/completions"]
    assert len(bodies) == 3
    for body in bodies:
        assert (body["model"], body["temperature"], body["seed"]) == (MODEL, 0, 0)
        assert body["max_tokens"] <= 16


# ---- what the server does not give


def test_what_is_not_known_of_the_model_is_said(step: Any, tmp_path: Path) -> None:
    with running(DemoModelSettings()) as model:
        done = step(model.base_url)
    assert done.stderr.splitlines() == [
        "not known of the model: the model list gives no parent",
        "not known of the model: the answers carry no system_fingerprint",
    ]
    missing = json.loads((tmp_path / "fingerprint.json").read_bytes())["missing"]
    assert [f"not known of the model: {line}" for line in missing] == done.stderr.splitlines()


def test_a_server_that_tells_everything_leaves_nothing_unknown() -> None:
    card = models(MODEL, root="weights", parent="base", max_model_len=4096)
    with serving(whole(models=card, chat_completions=chat(system_fingerprint="fp_1"))) as server:
        found = probe(server.url)
    assert found.missing == []
    assert found.observed["system_fingerprints"] == ["fp_1"]


def test_a_server_without_a_model_list_is_known_by_its_answers() -> None:
    with serving(whole(models=(404, {}))) as server:
        found = probe(server.url)
    assert found.answers is not None
    assert any("there is no model list" in line and "404" in line for line in found.missing)


@pytest.mark.parametrize("status", [400, 404, 501])
def test_a_server_with_completions_only_is_asked_there(status: int) -> None:
    with serving(whole(chat_completions=(status, {"error": {"message": "no chat template"}}))) as server:
        found = probe(server.url)
    assert found.answers is not None
    assert (server.asked("/v1/chat/completions"), server.asked("/v1/completions")) == (1, 3)


def test_a_server_without_answers_is_known_by_its_list() -> None:
    answers = {"/v1/models": models(MODEL)}
    with serving(answers) as server:
        found = probe(server.url)
    assert found.answers is None
    assert any("it answers no prompts" in line for line in found.missing)


def test_an_answer_without_content_is_an_answer() -> None:
    with serving(whole(chat_completions=chat(None))) as server:
        assert probe(server.url).observed["answers"] == ["", "", ""]


def test_half_a_character_in_an_answer_is_no_obstacle(step: Any, tmp_path: Path) -> None:
    broken = (200, b'{"choices": [{"message": {"content": "\\ud83d"}}]}')
    listing = (200, b'{"data": [{"id": "a-model", "owned_by": "\\ud83d", "max_model_len": 1e400}]}')
    with serving(whole(chat_completions=broken, models=listing)) as server:
        done = step(server.url, MODEL)
    assert done.returncode == 0, done.stderr
    assert Fingerprint.model_validate_json((tmp_path / "fingerprint.json").read_bytes()).answers is not None


# ---- what stops a run before anything is paid for


def free_port() -> int:
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return int(probe_socket.getsockname()[1])


def test_an_unreachable_model_is_exit_2_with_the_cure(step: Any, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    done = step(url)
    assert done.returncode == 2
    assert (
        done.stderr == f"{url}: nothing listens there (start the model server, or check host and port in model.url)\n"
    )
    assert not (tmp_path / "fingerprint.json").exists()


@pytest.mark.parametrize(("key", "sent"), [(None, "sent no key: set model.auth.secret_ref"), (KEY, "sent the key in")])
def test_a_refused_key_is_exit_2_and_never_shown(step: Any, tmp_path: Path, key: str | None, sent: str) -> None:
    with running(DemoModelSettings(api_key="another-key")) as model:
        done = step(model.base_url, **({"api_key": key} if key else {}))
    assert done.returncode == 2
    assert "refuses access, HTTP 401" in done.stderr
    assert sent in done.stderr
    assert KEY not in done.stderr + done.stdout
    assert not (tmp_path / "fingerprint.json").exists()


def test_a_secret_without_a_key_is_told_from_no_secret(step: Any) -> None:
    with running(DemoModelSettings(api_key=KEY)) as model:
        done = step(model.base_url, **{"hf-token": "another"})
    assert done.returncode == 2
    assert "(sent no key: the secret in model.auth.secret_ref holds no file api-key, or an empty one)" in done.stderr


def test_the_right_key_opens(step: Any, tmp_path: Path) -> None:
    with running(DemoModelSettings(api_key=KEY)) as model:
        done = step(model.base_url, api_key=KEY + "\n")
    assert done.returncode == 0, done.stderr
    assert KEY not in (tmp_path / "fingerprint.json").read_text()


def test_a_server_that_repeats_the_key_does_not_get_it_printed_or_kept(step: Any, tmp_path: Path) -> None:
    answers = whole(models=(*models(MODEL), {"X-Echo": f"Bearer {KEY}"}), chat_completions=chat(f"you sent {KEY}"))
    with serving(answers) as server:
        assert step(server.url, MODEL, api_key=KEY).returncode == 0
        assert KEY not in (tmp_path / "fingerprint.json").read_text()
        server.answers["/v1/models"] = (403, {"error": {"message": f"{KEY} may not"}})
        done = step(server.url, MODEL, api_key=KEY)
    assert done.returncode == 2
    assert "*** may not" in done.stderr
    assert KEY not in done.stderr


def test_a_key_that_is_refused_only_when_it_costs_something_stops_too() -> None:
    with serving(whole(chat_completions=(401, {"error": {"message": "expired"}}))) as server:
        assert "refuses access, HTTP 401" in refusal(server.url, api_key=KEY)


def test_an_unknown_model_names_what_is_served(step: Any) -> None:
    with running(DemoModelSettings()) as model:
        done = step(model.base_url, "demo-modle")
        assert done.returncode == 2
        expected = f"{model.base_url}: does not serve a model named 'demo-modle' (it serves: demo-model)\n"
        assert done.stderr == expected


def test_an_unknown_model_is_noticed_without_a_model_list() -> None:
    unknown = (404, {"error": {"message": "The model `x` does not exist."}})
    with serving({"/v1/chat/completions": unknown, "/v1/completions": unknown}) as server:
        assert "The model `x` does not exist." in refusal(server.url, "x")


def test_a_url_without_v1_is_exit_2_with_the_cure(step: Any) -> None:
    with running(DemoModelSettings()) as model:
        done = step(model.base_url.removesuffix("/v1"))
    assert done.returncode == 2
    assert "does the url end in /v1?" in done.stderr


@pytest.mark.parametrize("url", ["file:///etc", "ftp://127.0.0.1/v1", "localhost:8000/v1", "/v1"])
def test_only_http_is_spoken(url: str) -> None:
    assert refusal(url) == f"{url}: must start with http:// or https://"


def test_a_server_that_hangs_gives_no_answer_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        said = refusal(f"http://127.0.0.1:{silent.getsockname()[1]}/v1", timeout=0.3)
    assert "gives no answer in time" in said


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found"])
def test_a_server_that_trickles_gives_no_answer_in_time(status: str) -> None:
    gone = threading.Event()
    with socket.socket() as slow:
        slow.bind(("127.0.0.1", 0))
        slow.listen()

        def trickle() -> None:
            connection, _ = slow.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 100000\r\n\r\n".encode())
                # far longer than the time-out, and not for ever
                for _ in range(1000):
                    connection.sendall(b" ")
                    if gone.wait(0.02):
                        break

        thread = threading.Thread(target=trickle)
        thread.start()
        said = refusal(f"http://127.0.0.1:{slow.getsockname()[1]}/v1", timeout=1)
        gone.set()
        thread.join()
    assert "gives no answer in time" in said


def test_a_model_that_is_too_slow_gives_no_answer_in_time() -> None:
    with running(DemoModelSettings(latency=30)) as model:
        assert "gives no answer in time" in refusal(model.base_url, "demo-model", timeout=1)


def test_a_server_that_hangs_up_is_named() -> None:
    with socket.socket() as rude:
        rude.bind(("127.0.0.1", 0))
        rude.listen()

        def hang_up() -> None:
            connection, _ = rude.accept()
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        url = f"http://127.0.0.1:{rude.getsockname()[1]}/v1"
        said = refusal(url)
        thread.join()
    assert said.startswith(f"{url}: cannot be reached")


def test_a_proxy_that_is_not_there_is_not_taken_for_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("http_proxy", f"http://me:hidden@127.0.0.1:{port}")
    said = refusal("http://model.invalid/v1")
    assert f"there is no way through the proxy 127.0.0.1:{port}, which does not answer (check HTTP_PROXY" in said
    assert "hidden" not in said


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY"])
@pytest.mark.parametrize(
    "address",
    [
        "http://alice:s3cr/etPass@proxy.example:3128",
        "http://alice:12/etPass@proxy.example:3128",
        "http://alice:12?etPass@proxy.example:3128",
        "http://alice:12#etPass@proxy.example:3128",
        "http://alice:12@etPass/@proxy.example:3128",
        "http://alice:s3cr[etPass@proxy.example:3128",
        "http://alice:s3cr\N{ACCOUNT OF}etPass@proxy.example:3128",
        "http://alice:etPass@proxy.example:etPass",
        "http://alice:etPass@proxy example:3128",
        "alice:s3cr/etPass@proxy.example:3128",
        "alice:s3cr://etPass@proxy.example:3128",
        "socks5://alice:etPass@proxy.example:1080",
    ],
)
def test_of_a_proxy_that_is_no_address_only_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, address: str
) -> None:
    monkeypatch.setenv(name, address)
    said = refusal("http://model.invalid/v1")
    assert said.startswith(f"{name}: is no address of a proxy (http://HOST:PORT")
    assert [part for part in ("alice", "s3cr", "12", "etPass") if part in said] == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions"])
def test_a_redirect_is_refused_and_the_key_stays_here(status: int, path: str) -> None:
    with serving(whole()) as elsewhere, serving(whole()) as server:
        server.answers[path] = (status, {}, {"Location": elsewhere.url + path.removeprefix("/v1")})
        assert "answers with a redirect (give the address it leads to)" in refusal(server.url, api_key=KEY)
        assert server.requests[-1][1]["Authorization"] == f"Bearer {KEY}"
    assert elsewhere.requests == []


def test_a_server_that_fails_at_first_is_asked_again() -> None:
    busy = (503, {"error": {"message": "loading"}})
    with serving(whole(models=[busy, models(MODEL)], chat_completions=[(429, {}), chat()])) as server:
        assert probe(server.url).answers is not None
    assert server.asked("/v1/models") == 2


@pytest.mark.parametrize("status", [500, 429])
def test_a_server_that_always_fails_is_given_up(status: int) -> None:
    with serving(whole(chat_completions=(status, {"error": {"message": "out of luck"}}))) as server:
        assert f"answers HTTP {status} to model 'a-model', it says: out of luck" in refusal(server.url)
    assert server.asked("/v1/chat/completions") == 3


@pytest.mark.parametrize("body", [b"<html>a portal</html>", b"[]", b'{"data": 1}', b"[" * 100_000])
def test_a_model_list_that_is_none_is_refused(body: bytes) -> None:
    with serving(whole(models=(200, body))) as server:
        assert "is no OpenAI-compatible model list (does the url end in /v1?)" in refusal(server.url)


@pytest.mark.parametrize("body", [b"<html>a portal</html>", b'{"choices": []}', b"[]", b'{"choices": "none"}'])
def test_an_answer_that_is_none_is_refused(body: bytes) -> None:
    with serving(whole(chat_completions=(200, body))) as server:
        assert "the answer is not OpenAI-compatible" in refusal(server.url)


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    with serving(whole(models=(200, b" " * (8 << 20)))) as server:
        assert "is no OpenAI-compatible model list" in refusal(server.url)


# ---- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Callable[[], AbstractContextManager[Server]]]:
    """A certificate for localhost that signs itself, and a server that shows it."""
    folder = tmp_path_factory.mktemp("tls")
    command = [
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost"),
        *("-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem")),
    ]
    try:
        subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return folder / "ca.pem", lambda: serving(whole(), context)


def test_a_certificate_of_an_unknown_ca_is_refused_with_the_cure(certificate: Any) -> None:
    _, tls = certificate
    with tls() as server:
        said = refusal(server.url, api_key=KEY)
        assert "its certificate is not trusted" in said
        assert "(give its CA as ca_cert in model.auth.secret_ref)" in said
        assert server.requests == []


def test_the_ca_in_the_secret_is_trusted(certificate: Any, step: Any) -> None:
    ca, tls = certificate
    with tls() as server:
        done = step(server.url, MODEL, ca_cert=ca.read_text(), api_key=KEY)
        assert done.returncode == 0, done.stderr
        assert server.requests[0][1]["Authorization"] == f"Bearer {KEY}"


def test_a_certificate_of_another_host_is_refused(certificate: Any) -> None:
    ca, tls = certificate
    with tls() as server:
        said = refusal(server.url.replace("localhost", "127.0.0.1"), ca_cert=ca)
    assert "its certificate is not trusted" in said
    assert "127.0.0.1" in said


def test_a_ca_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca_cert").write_text("not a certificate")
    said = refusal("https://localhost:1/v1", ca_cert=tmp_path / "ca_cert")
    assert said.startswith(f"{tmp_path}/ca_cert: is not a CA certificate in PEM form")


# ---- whom it asks


JUDGE = ("--role", "judge")


@pytest.mark.parametrize(
    ("secret", "sent"),
    [
        ({}, "sent no key: set judge.auth.secret_ref, or for KServe judge.auth.service_account"),
        ({"api_key": KEY}, "sent the key in judge.auth.secret_ref"),
        ({"hf-token": "another"}, "sent no key: the secret in judge.auth.secret_ref holds no file api-key"),
    ],
    ids=["no-secret", "wrong-key", "secret-without-key"],
)
def test_a_judge_that_refuses_is_not_taken_for_the_model(step: Any, secret: dict[str, str], sent: str) -> None:
    with running(DemoModelSettings(api_key="another-key")) as judge:
        done = step(judge.base_url, options=JUDGE, **secret)
    assert done.returncode == 2
    assert sent in done.stderr
    assert "model." not in done.stderr


@pytest.mark.parametrize(
    ("address", "cure"),
    [
        ("http://127.0.0.1:{port}/v1", "check host and port in judge.url"),
        ("http://judge.invalid/v1", "check judge.url"),
    ],
    ids=["nobody-listens", "no-such-host"],
)
def test_a_judge_that_cannot_be_reached_is_not_taken_for_the_model(step: Any, address: str, cure: str) -> None:
    done = step(address.format(port=free_port()), options=JUDGE)
    assert done.returncode == 2
    assert cure in done.stderr
    assert "model." not in done.stderr


def test_a_judge_whose_certificate_is_unknown_is_not_taken_for_the_model(certificate: Any, step: Any) -> None:
    ca, tls = certificate
    with tls() as server:
        done = step(server.url, MODEL, JUDGE, api_key=KEY)
        assert "(give its CA as ca_cert in judge.auth.secret_ref)" in done.stderr
        assert step(server.url, MODEL, JUDGE, api_key=KEY, ca_cert=ca.read_text()).returncode == 0


def test_what_a_judge_is_asked_with_is_named_as_in_its_form(step: Any, tmp_path: Path) -> None:
    with running(DemoModelSettings()) as judge:
        done = step(judge.base_url, options=(*JUDGE, "--model-auth", "sk-a-key-in-the-wrong-field"))
        assert done.stderr == "judge_auth: must be secret or service-account\n"
        done = step(judge.base_url, options=JUDGE, misspelt="x")
        assert f"{tmp_path / 'secret'} (EVALHUB_JUDGE_SECRET): has no api-key" in done.stderr
