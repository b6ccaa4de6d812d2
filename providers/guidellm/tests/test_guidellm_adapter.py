"""The adapter with the real guidellm against the demo model.

Starting guidellm takes far longer than its requests: several tests share a start, and two go on at a time.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from registries import write_certificates
from rotating_tokens import files_with_a_token, guarded

from evalhub_pipelines.demo_model import DemoModelSettings, running
from evalhub_pipelines.demo_model.protocol import Protocol
from evalhub_pipelines.demo_model.reply import Reply
from evalhub_pipelines.provider_testing import NOWHERE, Outcome, Trial, hanging

PROVIDER = Path(__file__).resolve().parents[1]
PROMPTS = PROVIDER / "data" / "prompts.jsonl"
KEY = "sk-test-3f9a7c1e"
LATENCY = 0.05
REQUESTS = 6
BROKEN, SILENT = 1, 3
"""The questions that the unreliable server answers with HTTP 500, and never."""


def bundled(count: int = REQUESTS) -> list[str]:
    return [json.loads(line)["prompt"] for line in PROMPTS.read_text().splitlines()[:count]]


def prompt_digest(prompt: str) -> str:
    asked = [{"content": [{"text": prompt, "type": "text"}], "role": "user"}]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


class Watched(Protocol):
    """The demo model, which answers after `LATENCY` and counts the requests that are open at once."""

    def __init__(self, settings: DemoModelSettings) -> None:
        super().__init__(settings)
        self.most = 0
        self._open = 0
        self._counting = threading.Lock()

    def handle(self, method: str, path: str, authorization: str | None, body: bytes) -> Reply:
        with self._counting:
            self._open += 1
            self.most = max(self.most, self._open)
        try:
            self.wait(body)
            if prompt_of(BROKEN) in body:
                return self.broken(method, path, authorization, body)
            return super().handle(method, path, authorization, body)
        finally:
            with self._counting:
                self._open -= 1

    def wait(self, body: bytes) -> None:
        time.sleep(LATENCY)

    def broken(self, method: str, path: str, authorization: str | None, body: bytes) -> Reply:
        return super().handle(method, path, authorization, body)


class Unreliable(Watched):
    """One that fails to answer two of the questions."""

    def __init__(self, settings: DemoModelSettings, over: threading.Event) -> None:
        super().__init__(settings)
        self._over = over

    def wait(self, body: bytes) -> None:
        self._over.wait(120 if prompt_of(SILENT) in body else 0)

    def broken(self, method: str, path: str, authorization: str | None, body: bytes) -> Reply:
        return Reply(500, {"error": {"message": "out of luck"}})


def prompt_of(number: int) -> bytes:
    return bundled()[number].encode()


class Runs:
    """Runs of the adapter, two at a time, by name."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        self.folder = folder
        self.seen: set[str] = set()
        self.written: set[Path] = set()
        self.tokens: list[str] = []
        self._pool = pool
        self._found: dict[str, Any] = {}
        # the step's scratch files, whose place is in the environment of all that it starts
        self.scratch = folder / "scratch"
        self.scratch.mkdir()

    def start(self, name: str, benchmark_id: str, url: str, **keys: Any) -> None:
        keys["parameters"] = {"worker_processes": 1, **keys.get("parameters", {})}
        trial = Trial(PROVIDER, self.folder / name)
        environ = {"TMPDIR": str(self.scratch)}
        self._found[name] = self._pool.submit(trial.run, benchmark_id, url, environ=environ, **keys)

    def __getitem__(self, name: str) -> Outcome:
        outcome = self._found[name].result()
        assert isinstance(outcome, Outcome)
        return outcome

    def wait(self) -> None:
        for run in self._found.values():
            while not run.done():
                self.seen |= self.processes()
                self.written |= self.files_with_the_key()
                time.sleep(0.3)

    def files_with_the_key(self) -> set[Path]:
        """Return the scratch files that would outlive a kill."""
        found = set()
        for path in self.scratch.rglob("*"):
            with suppress(OSError):
                if path.is_file() and any(key.encode() in path.read_bytes() for key in (KEY, KEY[::-1])):
                    found.add(path)
        return found

    def processes(self) -> set[str]:
        """Return command line and environment of the processes that these runs have started."""
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                said = [(process / name).read_bytes().decode(errors="replace") for name in ("cmdline", "environ")]
            except OSError:
                continue
            if str(self.scratch) in said[1]:
                found.add("\n".join(said))
        return found


@contextmanager
def serving_tls(folder: Path, settings: DemoModelSettings) -> Iterator[str]:
    """Serve with a certificate of the CA that is then in the folder."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write_certificates(folder))
    with running(settings) as server:
        # between two polls of the listening socket, so that every connection is a secure one
        server.socket = context.wrap_socket(server.socket, server_side=True)
        yield server.base_url.replace("http://", "https://")


@pytest.fixture(scope="module")
def answers() -> list[tuple[str, int]]:
    """What the model says to each prompt, and in how many tokens."""
    found = []
    with running(DemoModelSettings(skill=0.5)) as server:
        for prompt in bundled():
            body = {"model": "demo-model", "max_tokens": 128, "messages": [{"role": "user", "content": prompt}]}
            request = urllib.request.Request(f"{server.base_url}/chat/completions", json.dumps(body).encode())
            with urllib.request.urlopen(request) as response:
                answer = json.load(response)
            found.append((answer["choices"][0]["message"]["content"], answer["usage"]["completion_tokens"]))
    return found


@pytest.fixture(scope="module")
def watched() -> Watched:
    return Watched(DemoModelSettings(skill=0.5))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, watched: Watched) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("guidellm")
    sums = folder / "data"
    sums.mkdir()
    (sums / "own.jsonl").write_text("".join(json.dumps({"ask": f"What is {n} plus 1?"}) + "\n" for n in range(3)))
    with ExitStack() as stack:

        def serve(protocol: Protocol | None = None, **settings: Any) -> str:
            server = stack.enter_context(running(DemoModelSettings(**settings)))
            server.protocol = protocol or server.protocol
            return server.base_url

        pool = stack.enter_context(ThreadPoolExecutor(2))
        over = threading.Event()
        stack.callback(over.set)
        plain, locked = serve(), serve(api_key=KEY)
        tls = stack.enter_context(serving_tls(folder / "tls", DemoModelSettings(api_key=KEY, latency=LATENCY)))
        ca = (folder / "tls" / "ca.crt").read_text()
        runs = Runs(folder, pool)

        # what starts guidellm
        own = {"parameters": {"streams": [1, 2]}, "num_examples": REQUESTS}
        runs.start("two loads", "concurrent", serve(watched), seed=7, **own)
        secret = {"api-key": KEY, "ca_cert": ca}
        runs.start("key and certificate", "time_to_first_token", tls, secret=secret, num_examples=REQUESTS)
        account, tokens = stack.enter_context(guarded(folder / "account", every=2, grace=1))
        by_account = {"token_file": tokens.file, "num_examples": REQUESTS}
        runs.start("service account", "time_to_first_token", account.base_url, **by_account)
        unreliable = serve(Unreliable(DemoModelSettings(), over))
        impatient = {"streams": 2, "request_timeout": 5}
        within = {"parameters": impatient, "num_examples": REQUESTS, "max_error_rate": 0.5}
        runs.start("errors within", "concurrent", unreliable, **within)
        above = {"streams": 1, "request_timeout": 5}
        runs.start("errors above", "concurrent", unreliable, parameters=above, num_examples=20)
        one_token = {"parameters": {"data": "own.jsonl", "prompt_column": "ask"}, "test_data": sums}
        runs.start("nothing between", "inter_token_latency", plain, **one_token)
        # the next request would be ten minutes later
        runs.start("late", "constant", plain, parameters={"rate": 0.00167}, timeout=20)

        # what fails before
        runs.start("unreachable", "concurrent", NOWHERE)
        runs.start("wrong key", "concurrent", locked, secret={"api-key": KEY[::-1]})
        runs.start("no key", "concurrent", locked)
        runs.start("unknown model", "concurrent", plain, model_name="other")
        runs.start("untrusted", "concurrent", tls, secret={"api-key": KEY})
        runs.start("no certificate", "concurrent", tls, secret={"ca_cert": "none"})
        runs.start("hang", "concurrent", stack.enter_context(hanging()), parameters={"request_timeout": 1})
        runs.wait()
        runs.tokens = tokens.made
        yield runs


def test_every_request_is_counted_and_its_tokens_are_those_of_the_models_answers(
    runs: Runs, answers: list[tuple[str, int]]
) -> None:
    results = runs["two loads"].results
    assert (results.num_requested, results.num_evaluated, results.num_errors) == (2 * REQUESTS, 2 * REQUESTS, 0)
    assert results.usage["requests"] == 2 * REQUESTS
    assert results.usage["completion_tokens"] == 2 * sum(tokens for _, tokens in answers)


def test_samples_have_the_digest_of_their_prompt_as_id_and_that_of_the_answer(
    runs: Runs, answers: list[tuple[str, int]]
) -> None:
    samples = {sample["id"]: sample["details"] for sample in runs["two loads"].samples}
    digests = [prompt_digest(prompt) for prompt in bundled()]
    assert list(samples) == sorted(digest[:16] for digest in digests)
    for digest, (text, tokens) in zip(digests, answers, strict=True):
        details = samples[digest[:16]]
        assert details["output_sha256"] == hashlib.sha256(text.encode()).hexdigest()
        assert details["output_tokens"] == tokens


def test_every_request_has_the_token_that_is_good_then_and_none_is_kept(runs: Runs) -> None:
    outcome = runs["service account"]
    assert (outcome.results.status, outcome.results.num_evaluated) == ("completed", REQUESTS)
    assert len(runs.tokens) > 3
    assert files_with_a_token(outcome.folder, runs.tokens) == []
    assert not [token for token in runs.tokens if any(token in process for process in runs.seen)]


def test_ids_are_the_same_with_another_seed_load_and_server(runs: Runs) -> None:
    ids = [[sample["id"] for sample in runs[name].samples] for name in ("two loads", "key and certificate")]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == REQUESTS


def test_as_many_requests_are_open_as_there_are_streams(runs: Runs, watched: Watched) -> None:
    assert runs["two loads"].results.status == "completed"
    assert watched.most == 2


def test_speed_is_what_the_models_latency_allows(runs: Runs) -> None:
    metrics = runs["two loads"].metrics
    assert metrics["mean_ttft_ms"] >= 1000 * LATENCY
    assert metrics["mean_request_latency_seconds"] >= LATENCY
    # two streams, each of which waits for every answer
    assert 0 < metrics["requests_per_second"] <= 2 / LATENCY
    assert metrics["output_tokens_per_second"] > metrics["requests_per_second"]
    assert metrics["median_ttft_ms"] <= metrics["p95_ttft_ms"] <= metrics["p99_ttft_ms"]


def test_every_load_is_measured_and_the_fastest_is_scored(runs: Runs) -> None:
    outcome = runs["two loads"]
    loads = outcome.environment["strategies"]
    assert [one["strategy"]["streams"] for one in loads] == [1, 2]
    assert [one["measured"]["successful"] for one in loads] == [REQUESTS, REQUESTS]
    speeds = [one["metrics"]["output_tokens_per_second"] for one in outcome.environment["measurements"]]
    assert outcome.score == max(speeds) == speeds[outcome.environment["scored_strategy"]]


def test_the_mean_of_the_samples_is_the_metric_with_its_standard_error(runs: Runs) -> None:
    outcome = runs["key and certificate"]
    scores = [sample["score"] for sample in outcome.samples]
    assert len(scores) == REQUESTS
    assert outcome.score == pytest.approx(fmean(scores))
    assert outcome.score >= 1000 * LATENCY
    assert outcome.results.metrics["mean_ttft_ms"].stderr == pytest.approx(stdev(scores) / REQUESTS**0.5)


def test_what_ran_is_recorded(runs: Runs) -> None:
    outcome = runs["two loads"]
    environment = outcome.environment
    assert environment["framework"] == {"name": "guidellm", "version": "0.8.1"}
    assert environment["settings"]["backend"]["verify"] is True
    assert environment["settings"]["data"][0]["path"] == "prompts.jsonl"
    assert (environment["settings"]["seed"]["value"], environment["worker_processes"]) == (7, 1)
    assert environment["lost_requests"] is None
    digest = hashlib.sha256(PROMPTS.read_bytes()).hexdigest()
    assert outcome.results.data_digests == {"prompts.jsonl": f"sha256:{digest}"}
    report = json.loads((outcome.raw / "benchmarks.json").read_text())
    assert report["metadata"]["guidellm_version"] == "0.8.1"


def test_progress_counts_the_requests_of_all_loads(runs: Runs) -> None:
    events = runs["two loads"].events
    steps = [(one["completed"], one["total"]) for one in events if one.get("phase") == "running_evaluation"]
    assert steps[0] == (0, 2 * REQUESTS)
    assert steps[-1] == (2 * REQUESTS, 2 * REQUESTS)
    assert steps == sorted(steps)


def test_requests_without_an_answer_are_errors_and_the_rest_is_scored(runs: Runs) -> None:
    outcome = runs["errors within"]
    results = outcome.results
    assert outcome.score > 0
    assert (results.num_requested, results.num_evaluated, results.num_errors) == (REQUESTS, REQUESTS - 2, 2)
    answered = [prompt for number, prompt in enumerate(bundled()) if number not in (BROKEN, SILENT)]
    assert [sample["id"] for sample in outcome.samples] == sorted(prompt_digest(prompt)[:16] for prompt in answered)
    assert "500" in outcome.environment["lost_requests"]
    assert "timeout" in outcome.environment["lost_requests"].lower()


def test_too_many_errors_end_the_load_early(runs: Runs) -> None:
    outcome = runs["errors above"]
    assert "more than max_error_rate 0 allows" in outcome.reason
    report = json.loads((outcome.raw / "benchmarks.json").read_text())
    made = report["benchmarks"][0]["scheduler_metrics"]["requests_made"]
    assert made["errored"] == 1
    # what had been sent on before the error was noticed may be answered still
    assert BROKEN <= made["successful"] < made["total"] < 20
    assert f"(1 failed, {made['incomplete']} were cut off, {20 - made['total']} were never sent)" in outcome.reason


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("errors above", ["500"]),
        ("nothing between", ["nothing was measured for mean_itl_ms", "answers of one token"]),
        ("late", ["timed out"]),
        ("unreachable", ["127.0.0.1:9", "cannot connect"]),
        ("wrong key", ["HTTP 401", "api-key"]),
        ("no key", ["HTTP 401", "no API key"]),
        ("unknown model", ["HTTP 404", "'other'"]),
        ("untrusted", ["no secure connection", "ca_cert"]),
        ("no certificate", ["ca_cert: cannot be read as PEM certificates"]),
        ("hang", ["no answer within 1 s"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_scored_fails_with_the_reason(runs: Runs, name: str, expected: list[str]) -> None:
    reason = runs[name].reason
    assert [part for part in expected if part not in reason] == [], reason


def test_the_key_is_in_no_argument_variable_or_file(runs: Runs) -> None:
    assert runs["key and certificate"].results.status == "completed"
    assert any("guidellm" in said.partition("\n")[0] for said in runs.seen)
    assert [said for said in runs.seen if KEY in said] == []
    assert runs.written == set()
    outcomes = [runs[name] for name in ("key and certificate", "wrong key", "untrusted")]
    assert [outcome.files_with(key) for outcome in outcomes for key in (KEY, KEY[::-1])] == [[]] * 6
    # nothing had to be struck out either
    assert [outcome.results.redactions for outcome in outcomes] == [0, 0, 0]


def test_no_worker_outlives_its_benchmark(runs: Runs) -> None:
    assert runs["late"].results.status == "failed"
    deadline = time.monotonic() + 30
    while (left := runs.processes()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == set()


def test_wrong_parameters_are_all_named_before_anything_is_asked(tmp_path: Path) -> None:
    table: list[tuple[str, dict[str, Any], list[str]]] = [
        ("swep", {}, ["is no benchmark of guidellm", "known: sweep", "parameters.profile"]),
        (
            "concurrent",
            {"stream_count": 3, "max_requests": 3, "sweep_size": 1},
            [
                "stream_count: unknown key",
                "max_requests: is called num_requests",
                "sweep_size: input should be greater",
            ],
        ),
        ("concurrent", {"num_requests": None}, ["num_requests or max_seconds must say when a strategy ends"]),
        ("constant", {"rate": 0}, ["rate must be positive"]),
        ("throughput", {"prompt_tokens": 5, "output_tokens": 5}, ["need tokenizer"]),
        ("concurrent", {"data": "own.jsonl"}, ["own.jsonl is relative", "test_data_ref"]),
        ("concurrent", {"data": "/nowhere/own.jsonl"}, ["/nowhere/own.jsonl: there is no such file"]),
    ]
    entries = [{"benchmark_id": name, "parameters": parameters} for name, parameters, _ in table]
    outcomes = Trial(PROVIDER, tmp_path).run_batch(entries, NOWHERE)
    found = [[part for part in row[2] if part not in one.reason] for row, one in zip(table, outcomes, strict=True)]
    assert found == [[]] * len(table), [outcome.reason for outcome in outcomes]
