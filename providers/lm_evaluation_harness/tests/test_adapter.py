"""The adapter with the real lm-eval against the demo model.

They need lm-eval's environment: EVALHUB_LM_EVAL_PYTHON names its interpreter. One process runs the jobs of several
tests, because importing lm-eval takes longer than the jobs.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from evalhub_pipelines.demo_model import DemoModelSettings, running

TESTS = Path(__file__).parent
SOURCES = [str(TESTS.parents[2] / root) for root in ("components", "pipelines")]
GENERATING = ("arithmetic", "refusal", "sycophancy", "word_problems")
CHOOSING = ("comparison", "reasoning")
KEY = "sk-test-3f9a7c1e"
Job = dict[str, Any]


class Run:
    """The outcomes of jobs that ran in one process, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._jobs: dict[str, Job] = {}
        self._outcomes: dict[str, Job] = {}
        self.log = ""
        self.proxied: list[str] = []

    def add(self, name: str, *specs: Job, batch: bool = False, environment: dict[str, str] | None = None) -> None:
        numbered = [{**spec, "folder": str(self.folder / f"{name}-{n}")} for n, spec in enumerate(specs)]
        self._jobs[name] = {"specs": numbered, "batch": batch, "environment": environment or {}}

    def start(self) -> None:
        python = os.environ.get("EVALHUB_LM_EVAL_PYTHON")
        if not python:
            pytest.skip("EVALHUB_LM_EVAL_PYTHON names no interpreter with lm-eval")
        jobs, outcomes = self.folder / "jobs.json", self.folder / "outcomes.json"
        jobs.write_text(json.dumps(list(self._jobs.values())))
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HF_", "OPENAI_")) and not name.lower().endswith("_proxy")
        }
        process = subprocess.run(
            [python, str(TESTS / "adapter_driver.py"), str(jobs), str(outcomes)],
            env={**environment, "PYTHONPATH": os.pathsep.join(SOURCES)},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        self.log = process.stdout
        assert process.returncode == 0, self.log
        self._outcomes = dict(zip(self._jobs, json.loads(outcomes.read_text()), strict=True))

    def outcome(self, name: str) -> Job:
        return self._outcomes[name]

    def results(self, name: str) -> list[Job]:
        outcome = self.outcome(name)
        assert outcome["reason"] is None, outcome["reason"]
        results: list[Job] = outcome["results"]
        return results

    def only(self, name: str) -> Job:
        [result] = self.results(name)
        return result

    def reason(self, name: str) -> str:
        outcome = self.outcome(name)
        assert outcome["reason"] is not None, outcome["results"]
        return str(outcome["reason"])


def quickstart(url: str, name: str, **keys: Any) -> Job:
    return {
        "url": url,
        "benchmark_id": f"quickstart_{name}",
        "metric": "acc" if name in CHOOSING else "exact_match",
        **keys,
    }


@contextmanager
def serving_tls(folder: Path, settings: DemoModelSettings) -> Iterator[tuple[str, Path]]:
    """Serve behind a certificate that signs itself; yield the URL and the certificate."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "demo")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "ca.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    with running(settings) as server:
        # between two polls of the listening socket, so that every connection is a secure one
        server.socket = context.wrap_socket(server.socket, server_side=True)
        yield server.base_url.replace("http://", "https://"), pem


@contextmanager
def serving_alphabet() -> Iterator[str]:
    """Serve completions whose tokens are character codes, likelier the earlier in the alphabet; no tokenizer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self.path.endswith("/completions"):
                self.send_error(404)
                return
            ids = [*request["prompt"][0], ord("!")]
            scores = [-code / 1000 for code in ids]
            tops = [{chr(code): score} for code, score in zip(ids, scores, strict=True)]
            logprobs = {"token_logprobs": [None, *scores[1:]], "top_logprobs": [None, *tops[1:]]}
            body = json.dumps({"choices": [{"index": 0, "text": "", "logprobs": logprobs}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as address:
        yield f"{address}/v1"


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def serving_proxy(url: str, asked: list[str]) -> Iterator[str]:
    """Serve a proxy to which every host is the server at `url`; note the addresses it is asked for."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
            address = url.removesuffix("/v1") + urlsplit(self.path).path
            headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if self.headers[name]}
            try:
                with opener.open(urllib.request.Request(address, body, headers)) as response:
                    status, answer = response.status, response.read()
            except urllib.error.HTTPError as error:
                status, answer = error.code, error.read()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as address:
        yield address


@contextmanager
def serving_answers(*answers: tuple[int, str]) -> Iterator[str]:
    """Serve these answers one after the other, and the last one from then on."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, text = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as address:
        yield f"{address}/v1"


def write_tokenizer(folder: Path) -> None:
    """Write a tokenizer for `transformers` whose tokens are the ASCII characters."""
    folder.mkdir()
    split = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}
    model = {"type": "WordLevel", "vocab": {chr(code): code for code in range(128)}, "unk_token": "?"}
    nothing = dict.fromkeys(("truncation", "padding", "normalizer", "post_processor"))
    ways = {"pre_tokenizer": split, "model": model, "decoder": {"type": "Fuse"}}
    document: Job = {"version": "1.0", **nothing, "added_tokens": [], **ways}
    (folder / "tokenizer.json").write_text(json.dumps(document))
    template = "{% for message in messages %}[{{ message['content'] }}]{% endfor %}"
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "?", "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def write_task(folder: Path, name: str, questions: list[tuple[str, str]], **keys: Any) -> Job:
    """Write a task and its data into a folder; return its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"question": question, "answer": answer}) for question, answer in questions]
    (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 16},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 2},
        **keys,
    }
    (folder / f"{name}.yaml").write_text(json.dumps(task))  # JSON is YAML
    return task


SUMS = [(f"What is {n} plus {n + 3}?", str(2 * n + 3)) for n in range(10, 22)]


DRAWING = """
import random

def process_docs(dataset):
    return dataset.shuffle(seed=random.randrange(1000))

def doc_to_text(document):
    return f"{random.random()} {document['question']}"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    run = Run(tmp_path_factory.mktemp("lm-eval"))
    with ExitStack() as stack:

        def serve(**settings: Any) -> str:
            return stack.enter_context(running(DemoModelSettings(**settings))).base_url

        perfect, skilled = serve(skill=1.0), serve(skill=0.8)
        locked = serve(skill=1.0, api_key=KEY)
        flaky = serve(skill=1.0, error_rate=0.3)
        slow = serve(skill=1.0, latency=30.0)
        tls, ca = stack.enter_context(serving_tls(run.folder, DemoModelSettings(skill=1.0)))

        everything = (*GENERATING, *CHOOSING)
        run.add("perfect", *(quickstart(perfect, name) for name in everything), batch=True)
        run.add("skilled", *(quickstart(skilled, name) for name in everything), batch=True)
        run.add("alone", quickstart(skilled, "word_problems"))
        run.add("alone by choice", quickstart(skilled, "comparison"))
        run.add(
            "batch with bad entries",
            quickstart(perfect, "arithmetic", num_examples=4),
            quickstart(perfect, "refusal", num_examples=4, parameters={"num_fewshots": 1}),
            quickstart("http://127.0.0.1:9/v1", "word_problems", num_examples=4, parameters={"max_retries": 1}),
            quickstart(perfect, "comparison", num_examples=4),
            batch=True,
        )
        completions = {"model_type": "local-completions"}
        run.add("completions", quickstart(skilled, "word_problems", parameters=completions))
        chat = {"model_type": "local-chat-completions"}
        run.add("choices by chat", quickstart(skilled, "comparison", parameters=chat))
        run.add("limit", quickstart(perfect, "comparison", num_examples=5))
        run.add("one at a time", quickstart(perfect, "comparison", num_examples=5, parameters={"num_concurrent": 1}))
        run.add("batched", quickstart(perfect, "comparison", num_examples=5, parameters={"batch_size": 3}))
        run.add("as text", quickstart(perfect, "comparison", num_examples=5, parameters={"tokenized_requests": False}))
        template = {"apply_chat_template": True}
        run.add("template", quickstart(perfect, "comparison", num_examples=5, parameters=template))
        for name, seed in (("seed 1", 1), ("seed 1 again", 1), ("seed 2", 2)):
            shots = {"num_fewshot": 2}
            run.add(name, quickstart(perfect, "comparison", num_examples=8, seed=seed, parameters=shots))
        run.add("few-shot of the entry", quickstart(perfect, "comparison", num_examples=2, num_few_shot=3))

        run.add("right key", quickstart(locked, "comparison", num_examples=5, api_key=KEY))
        run.add("wrong key", quickstart(locked, "arithmetic", api_key=KEY[::-1]))
        run.add("no key", quickstart(locked, "arithmetic"))
        run.add("unknown model", quickstart(perfect, "arithmetic", model_name="other"))
        few = {"num_examples": 5, "parameters": {"max_retries": 1}}
        run.add("trusted", quickstart(tls, "comparison", ca_cert=str(ca), **few))
        run.add("untrusted", quickstart(tls, "arithmetic", **few))
        run.add("no certificate", quickstart(tls, "arithmetic", ca_cert=str(run.folder / "key.pem"), **few))

        proxy = stack.enter_context(serving_proxy(locked, run.proxied))
        netrc = run.folder / "netrc"
        netrc.write_text("default login somebody password else\n")
        netrc.chmod(0o600)
        # a name nobody can resolve, the proxy without a scheme, and credentials that must not replace the key
        proxied = quickstart("http://model.invalid/v1", "comparison", num_examples=5, api_key=KEY)
        run.add(
            "through a proxy",
            proxied,
            environment={"HTTP_PROXY": proxy.removeprefix("http://"), "NETRC": str(netrc)},
        )
        nowhere = {"HTTP_PROXY": "http://user:hidden@127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
        run.add("past a proxy", quickstart(perfect, "comparison", num_examples=5), environment=nowhere)
        run.add("dead proxy", proxied, environment=nowhere)
        # it knows no CONNECT
        refusing = {"HTTPS_PROXY": proxy.replace("//", "//alice:s3cr%2FetPass@")}
        secure = quickstart("https://model.invalid/v1", "arithmetic", num_examples=1, parameters={"max_retries": 1})
        run.add("refusing proxy", secure, environment=refusing)
        broken = {"HTTPS_PROXY": "http://alice:s3cr/etPass@127.0.0.1:9"}
        run.add("proxy that is none", secure, environment=broken)
        run.add("dead choices", quickstart("http://127.0.0.1:9/v1", "comparison"))
        run.add("wrong key choices", quickstart(locked, "comparison", api_key=KEY[::-1]))

        once: Job = {"parameters": {"max_retries": 1}}
        run.add("errors within", quickstart(flaky, "arithmetic", max_error_rate=0.6, **once))
        run.add("errors within choices", quickstart(flaky, "comparison", max_error_rate=0.95, **once))
        run.add(
            "errors in one of two",
            quickstart(flaky, "arithmetic", max_error_rate=0.6, **once),
            quickstart(flaky, "word_problems", max_error_rate=0.05, **once),
            batch=True,
        )
        run.add("errors above", quickstart(flaky, "arithmetic", max_error_rate=0.05, **once))
        run.add("retries", quickstart(flaky, "arithmetic", num_examples=8, parameters={"max_retries": 6}))
        run.add("all errors", quickstart("http://127.0.0.1:9/v1", "arithmetic", max_error_rate=1.0, **once))
        hasty = {"max_retries": 1, "request_timeout": 1}
        run.add("hang", quickstart(slow, "arithmetic", num_examples=2, parameters=hasty))

        tasks = run.folder / "tasks"
        inline = write_task(tasks, "own_sums", SUMS)
        write_task(tasks, "own_mixed", [*SUMS[:3], ("Who am I?", "nobody")])
        group = {"group": "own_group", "task": ["own_sums", "own_mixed"]}
        aggregate = {"aggregate_metric_list": [{"metric": "exact_match", "weight_by_size": True}]}
        (tasks / "own_group.yaml").write_text(json.dumps(group | aggregate))
        write_task(tasks, "own_huge", [("What is 1 plus " + "1" * 200_000 + "?", "2")])
        pair = {"group": "own_pair", "task": ["own_sums", "own_huge"]}
        (tasks / "own_pair.yaml").write_text(json.dumps(pair | aggregate))
        included = {"include_path": str(tasks)}
        run.add("custom file", {"url": perfect, "benchmark_id": "own_sums", "parameters": included})
        run.add("custom group", {"url": perfect, "benchmark_id": "own_group", "parameters": included})
        own_pair = {"url": perfect, "benchmark_id": "own_pair", "max_error_rate": 0.5}
        run.add("hollow group", {**own_pair, "parameters": included})
        run.add(
            "custom inline",
            {"url": perfect, "benchmark_id": "b", "parameters": {"task": inline}, "test_data": str(tasks)},
        )
        run.add("renamed", {"url": perfect, "benchmark_id": "b", "parameters": included | {"task": "own_sums"}})
        run.add("no data", {"url": perfect, "benchmark_id": "b", "parameters": {"task": inline}})
        text = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{question}}"}
        measures = {"metric_list": [{"metric": "byte_perplexity"}]}
        write_task(tasks, "own_text", SUMS, **text, **measures)
        run.add("perplexity", {"url": perfect, "benchmark_id": "own_text", "parameters": included})
        choices = {"output_type": "multiple_choice", "doc_to_choice": ["a", "z"], "doc_to_target": "a"}
        best = {"metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]}
        write_task(tasks, "own_letters", SUMS, **choices, **best)
        letters = {"benchmark_id": "own_letters", "metric": "acc"}
        alphabet = stack.enter_context(serving_alphabet())
        write_tokenizer(run.folder / "tokenizer")
        tokenizer = included | {"tokenizer": str(run.folder / "tokenizer")}
        run.add("own tokenizer", {**letters, "url": alphabet, "parameters": tokenizer})
        run.add("own template", {**letters, "url": alphabet, "parameters": tokenizer | template})
        run.add("no tokenizer", {**letters, "url": alphabet, "parameters": included})
        run.add("lost tokenizer", {**letters, "url": alphabet, "parameters": included | {"tokenizer": "/nowhere"}})
        other = tokenizer | {"tokenized_requests": False}
        run.add("other tokenizer", {**letters, "url": perfect, "parameters": other})
        for name in ("own_first", "own_random"):
            write_task(tasks, name, SUMS)
            path = tasks / f"{name}.yaml"
            functions = ", ".join(f'"{key}": !function drawing.{key}' for key in ("process_docs", "doc_to_text"))
            path.write_text(f"{path.read_text()[:-1]}, {functions}}}")
        (tasks / "drawing.py").write_text(DRAWING)
        own_random = {"url": perfect, "benchmark_id": "own_random", "parameters": included}
        run.add("random alone", own_random)
        run.add("random in a batch", {**own_random, "benchmark_id": "own_first"}, own_random, batch=True)
        run.add("random otherwise", {**own_random, "seed": 43})
        (tasks / "broken.yaml").write_text("task: [broken\n")
        run.add("broken file", {"url": perfect, "benchmark_id": "broken", "parameters": included})
        # with the same folder as above, so that lm-eval's own tasks are indexed once
        run.add("unknown task", quickstart(perfect, "arithmetics", parameters=included))
        run.add("a tag", {"url": perfect, "benchmark_id": "winogender", "parameters": included})
        run.start()
        yield run


@pytest.mark.parametrize("name", [*GENERATING, *CHOOSING])
def test_perfect_model_gets_every_quickstart_question_right(run: Run, name: str) -> None:
    [result] = [one for one in run.results("perfect") if one["benchmark_id"] == f"quickstart_{name}"]

    metric = "acc" if name in CHOOSING else "exact_match"
    # agreeing with a wrong suggestion is what a perfect model never does
    assert result["results"][metric] == [0.0 if name == "sycophancy" else 1.0, 0.0]
    assert result["num_examples_evaluated"] == result["num_examples_requested"] == len(result["samples"])
    assert result["num_errors"] == 0


def test_less_skill_scores_less_with_the_standard_error_of_the_samples(run: Run) -> None:
    for result in run.results("skilled"):
        metric = "acc" if result["benchmark_id"].endswith(CHOOSING) else "exact_match"
        value, stderr = result["results"][metric]
        scores = [sample["score"] for sample in result["samples"]]
        assert 0 < value < 1
        assert value == pytest.approx(sum(scores) / len(scores))
        assert stderr == pytest.approx(math.sqrt(value * (1 - value) / (len(scores) - 1)))


def test_a_batch_scores_as_each_benchmark_alone(run: Run) -> None:
    together = {one["benchmark_id"]: one for one in run.results("skilled")}

    for name in ("alone", "alone by choice"):
        alone = run.only(name)
        merged = together[alone["benchmark_id"]]
        assert (alone["results"], alone["samples"]) == (merged["results"], merged["samples"])
        assert alone["environment"]["task_hashes"] == merged["environment"]["task_hashes"]


def test_bad_entries_of_a_batch_cost_the_others_nothing(run: Run) -> None:
    names = {result["benchmark_id"] for result in run.results("batch with bad entries")}

    assert names == {"quickstart_arithmetic", "quickstart_comparison"}


def test_other_filters_keep_their_name_and_the_first_gets_the_bare_one(run: Run) -> None:
    results = run.only("alone")["results"]

    assert set(results) == {"exact_match,last-number", "exact_match"}
    assert results["exact_match"] == results["exact_match,last-number"]
    assert set(run.only("alone by choice")["results"]) == {"acc", "acc_norm"}


def test_texts_are_generated_by_chat_unless_completions_are_asked_for(run: Run) -> None:
    assert run.only("alone")["environment"]["model_args"]["base_url"].endswith("/v1/chat/completions")
    completions = run.only("completions")
    assert completions["environment"]["model_args"]["base_url"].endswith("/v1/completions")
    assert completions["results"]["exact_match"] == run.only("alone")["results"]["exact_match"]


def test_choices_cannot_be_compared_by_chat(run: Run) -> None:
    assert "model_type" in run.reason("choices by chat")


@pytest.mark.parametrize("name", ["limit", "one at a time", "batched", "as text", "template", "right key"])
def test_ways_to_ask_give_the_same_answers_to_the_first_examples(run: Run, name: str) -> None:
    result = run.only(name)

    assert result["results"]["acc"][0] == 1.0
    assert [sample["id"] for sample in result["samples"]] == ["0", "1", "2", "3", "4"]
    assert (result["num_examples_requested"], result["num_examples_evaluated"]) == (5, 5)


def test_a_batch_of_prompts_is_one_request(run: Run) -> None:
    assert run.only("limit")["usage"]["requests"] == 20
    assert run.only("batched")["usage"]["requests"] == 7


def test_the_seed_decides_the_examples_in_the_prompt(run: Run) -> None:
    def prompts(name: str) -> list[str]:
        return [sample["details"]["prompt_hash"] for sample in run.only(name)["samples"]]

    assert prompts("seed 1") == prompts("seed 1 again") != prompts("seed 2")
    assert run.only("seed 1")["environment"]["seeds"]["fewshot"] == 1


def test_tasks_that_draw_at_random_draw_the_same_alone_and_in_a_batch(run: Run) -> None:
    alone, (_, merged), otherwise = (
        run.only("random alone"),
        run.results("random in a batch"),
        run.only("random otherwise"),
    )

    assert alone["samples"] == merged["samples"] != otherwise["samples"]


def test_number_of_examples_in_the_prompt_is_the_parameters_then_the_entrys_then_the_tasks(run: Run) -> None:
    for name, expected in (("seed 1", 2), ("few-shot of the entry", 3), ("limit", 0)):
        assert run.only(name)["environment"]["n_shot"] == {"quickstart_comparison": expected}


def test_usage_is_what_the_server_counted(run: Run) -> None:
    usage = run.only("limit")["usage"]

    # one token is generated for each of four choices of five questions
    assert usage["completion_tokens"] == 20
    assert usage["prompt_tokens"] > 20
    assert usage["seconds"] > 0


@pytest.mark.parametrize("name", ["alone", "skilled"])
def test_progress_counts_up_to_every_example_of_every_benchmark(run: Run, name: str) -> None:
    updates = run.outcome(name)["updates"]

    for index, result in enumerate(sorted(run.results(name), key=lambda one: int(one["benchmark_index"]))):
        own = [update[1:] for update in updates if update[0] == index]
        steps = [(done, total) for phase, done, total in own if phase == "running_evaluation"]
        assert steps[-1] == (result["num_examples_requested"],) * 2
        assert steps == sorted(steps)
        assert [phase for phase, _ in itertools.groupby(phase for phase, _, _ in own)] == [
            "initializing",
            "loading_data",
            "running_evaluation",
            "post_processing",
            "persisting_artifacts",
            "completed",
        ]


def test_environment_names_framework_tasks_and_settings(run: Run) -> None:
    environment = run.only("custom file")["environment"]

    assert environment["framework"]["name"] == "lm-eval"
    assert environment["task_versions"] == {"own_sums": 2}
    assert environment["higher_is_better"] == {"exact_match": True}
    assert environment["gen_kwargs"]["own_sums"]["max_gen_toks"] == 16
    assert len(environment["task_hashes"]["own_sums"]) == 64
    assert environment["model_args"]["num_concurrent"] == 8


def test_raw_files_are_those_of_lm_eval_for_the_benchmark_alone(run: Run) -> None:
    raw = run.folder / "skilled-0" / "raw_dir"
    results = json.loads((raw / "results.json").read_text())

    assert sorted(path.name for path in raw.iterdir()) == ["results.json", "samples_quickstart_arithmetic.jsonl"]
    assert list(results["results"]) == list(results["configs"]) == ["quickstart_arithmetic"]
    lines = [json.loads(line) for line in (raw / "samples_quickstart_arithmetic.jsonl").read_text().splitlines()]
    assert len(lines) == results["n-samples"]["quickstart_arithmetic"]["effective"] == 60
    assert {"arguments", "resps", "doc", "exact_match"} <= lines[0].keys()


def test_wrong_key_is_named_as_the_reason(run: Run) -> None:
    assert "HTTP 401" in run.reason("wrong key")
    assert "api-key" in run.reason("wrong key")
    assert "no API key" in run.reason("no key")


def test_key_is_in_no_log_message_or_file(run: Run) -> None:
    files = [path for name in ("right key-0", "wrong key-0") for path in (run.folder / name).rglob("*.json*")]
    texts = [run.log, json.dumps(run.outcome("right key")), run.reason("wrong key"), *(p.read_text() for p in files)]

    assert (run.folder / "right key-0/raw_dir/results.json") in files
    assert not [text for text in texts if KEY in text or KEY[::-1] in text]


def test_unknown_model_is_named_as_the_reason(run: Run) -> None:
    assert "HTTP 404" in run.reason("unknown model")
    assert "'other'" in run.reason("unknown model")


def test_ca_file_makes_a_self_signed_server_trusted(run: Run) -> None:
    # log-likelihoods: both the requests and the tokenizer's go through it
    assert run.only("trusted")["results"]["acc"][0] == 1.0
    assert "ca_cert" in run.reason("untrusted")
    assert "PEM" in run.reason("no certificate")


def test_requests_go_through_the_proxy_of_the_environment(run: Run) -> None:
    assert run.only("through a proxy")["results"]["acc"][0] == 1.0
    server = "http://model.invalid"
    expected = {f"{server}/{path}" for path in ("v1/models", "v1/completions", "tokenize", "tokenizer_info")}
    assert set(run.proxied) == expected


def test_no_proxy_names_servers_asked_directly(run: Run) -> None:
    assert run.only("past a proxy")["results"]["acc"][0] == 1.0


def test_dead_proxy_is_named_as_the_reason_without_its_password(run: Run) -> None:
    reason = run.reason("dead proxy")

    assert "through the proxy 127.0.0.1:9" in reason
    assert "hidden" not in reason + run.log


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("refusing proxy", "the proxy answers HTTP 501"),
        ("proxy that is none", "HTTPS_PROXY: is no address of a proxy"),
    ],
)
def test_a_proxy_that_helps_nothing_is_the_reason_without_its_password(run: Run, name: str, said: str) -> None:
    reason = run.reason(name)
    assert said in reason
    assert [part for part in ("alice", "s3cr", "etPass") if part in reason + run.log] == []


def test_server_that_is_dead_or_refuses_the_key_is_not_taken_for_one_without_a_tokenizer(run: Run) -> None:
    assert "Cannot connect" in run.reason("dead choices")
    assert "HTTP 401" in run.reason("wrong key choices")
    for name in ("dead choices", "wrong key choices"):
        assert "parameters.tokenizer" not in run.reason(name)


TOKENS = (200, '{"tokens": [1]}')


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([TOKENS], True),
        ([(503, "busy"), TOKENS], True),
        ([(404, "{}")], False),
        ([(405, "{}")], False),
        ([(501, "{}")], False),
        ([(422, '{"error": "missing field inputs"}')], False),
        ([(200, "<html>hello</html>")], False),
        ([(200, '{"tokens": null}')], False),
    ],
)
def test_server_has_a_tokenizer_when_it_tokenizes(
    answers: list[tuple[int, str]], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(TESTS.parent))
    import lm_eval_probe
    from lm_eval_endpoint import Endpoint

    with serving_answers(*answers) as url:
        assert lm_eval_probe.tokenizes(Endpoint(url, "m")) is expected


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_refusal_to_tokenize_is_the_reason_without_the_key(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TESTS.parent))
    import lm_eval_probe
    from lm_eval_endpoint import Endpoint

    from evalhub_components.adapter import ModelCredentials

    with (
        serving_answers((status, f'{{"error": "not with {KEY}"}}')) as url,
        pytest.raises(Exception, match="HTTP") as caught,
    ):
        lm_eval_probe.tokenizes(Endpoint(url, "m", ModelCredentials(api_key=KEY)))

    assert type(caught.value).__name__ == "EvalHubError"
    assert f"/tokenize: HTTP {status}: not with ***" in str(caught.value)


@pytest.mark.parametrize(("name", "metric"), [("errors within", "exact_match"), ("errors within choices", "acc")])
def test_examples_without_an_answer_are_left_out_of_the_score(run: Run, name: str, metric: str) -> None:
    result = run.only(name)

    assert 0 < result["num_errors"] < 60
    assert result["num_examples_requested"] == 60
    assert result["num_examples_evaluated"] == len(result["samples"]) == 60 - result["num_errors"]
    # an empty answer taken for a wrong one would pull a perfect model down
    assert result["results"][metric][0] == 1.0
    assert {sample["score"] for sample in result["samples"]} == {1.0}
    assert len({sample["id"] for sample in result["samples"]}) == len(result["samples"])


def test_more_errors_than_allowed_fail_the_benchmark_with_their_number_and_reason(run: Run) -> None:
    reason = run.reason("errors above")

    assert "of 60 examples got no usable answer and at most 3 may" in reason
    assert "HTTP 500: simulated failure" in reason


def test_nothing_more_is_asked_once_there_are_too_many_errors(run: Run) -> None:
    [*_, (_, phase, done, total)] = [one for one in run.outcome("errors above")["updates"] if one[2] is not None]

    assert (phase, total) == ("running_evaluation", 60)
    assert done < 60


def test_benchmark_above_its_error_rate_leaves_the_other_of_its_batch_alone(run: Run) -> None:
    result = run.only("errors in one of two")

    assert result["benchmark_id"] == "quickstart_arithmetic"
    assert result["results"]["exact_match"][0] == 1.0


def test_retries_get_answers_from_a_flaky_server(run: Run) -> None:
    result = run.only("retries")

    assert (result["num_errors"], result["results"]["exact_match"][0]) == (0, 1.0)
    assert result["usage"]["requests"] > 8


def test_no_answer_at_all_is_no_score_whatever_the_error_rate(run: Run) -> None:
    assert "Cannot connect" in run.reason("all errors")


def test_group_is_not_scored_without_one_of_its_tasks(run: Run) -> None:
    reason = run.reason("hollow group")

    assert "no example of own_huge got a usable answer: 1 x HTTP 400" in reason


def test_server_that_hangs_is_named_as_the_reason(run: Run) -> None:
    assert "no answer within 1 s" in run.reason("hang")


@pytest.mark.parametrize("name", ["custom file", "custom inline", "renamed"])
def test_own_tasks_run_on_their_own_data(run: Run, name: str) -> None:
    result = run.only(name)

    assert result["results"]["exact_match"][0] == 1.0
    assert result["num_examples_evaluated"] == len(SUMS)
    [(file, digest)] = result["data_digests"].items()
    assert file == "own_sums.jsonl"
    assert digest.startswith("sha256:")


def test_group_has_the_samples_of_its_tasks(run: Run) -> None:
    result = run.only("custom group")

    assert result["results"]["exact_match"][0] == pytest.approx(15 / 16)
    assert {sample["id"].partition("/")[0] for sample in result["samples"]} == {"own_sums", "own_mixed"}
    assert result["num_examples_requested"] == len(result["samples"]) == 16
    assert set(result["data_digests"]) == {"own_sums.jsonl", "own_mixed.jsonl"}


def test_metric_that_is_no_mean_has_no_samples(run: Run) -> None:
    result = run.only("perplexity")

    assert result["results"]["byte_perplexity"][0] > 1
    assert result["samples"] is None
    assert (result["num_examples_requested"], result["num_examples_evaluated"]) == (len(SUMS), len(SUMS))


def test_tokenizer_of_the_hub_kind_serves_where_the_server_has_none(run: Run) -> None:
    plain, templated = run.only("own tokenizer"), run.only("own template")

    assert plain["results"]["acc"] == templated["results"]["acc"] == [1.0, 0.0]
    assert plain["environment"]["model_args"]["tokenizer_backend"] == "huggingface"
    assert plain["environment"]["task_hashes"] != templated["environment"]["task_hashes"]
    # the prompt was sent through the template
    samples = run.folder / "own template-0" / "raw_dir" / "samples_own_letters.jsonl"
    prompt = json.loads(samples.read_text().splitlines()[0])["arguments"]["gen_args_0"]["arg_0"]
    assert prompt.startswith("[Question: ")


def test_tokenizer_that_is_missing_or_not_the_models_is_named_as_the_reason(run: Run) -> None:
    assert "parameters.tokenizer" in run.reason("no tokenizer")
    assert "/nowhere" in run.reason("lost tokenizer")
    assert "does not tokenize like parameters.tokenizer" in run.reason("other tokenizer")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no data", ["own_sums.jsonl", "test_data_ref"]),
        ("broken file", ["'broken'", "broken.yaml was skipped"]),
        ("unknown task", ["'quickstart_arithmetics'", "did you mean quickstart_arithmetic"]),
        ("a tag", ["winogender_all", "no score of its own"]),
    ],
)
def test_tasks_that_cannot_be_loaded_say_what_is_missing(run: Run, name: str, words: list[str]) -> None:
    assert all(word in run.reason(name) for word in words), run.reason(name)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"num_fewshots": 5}, "b: parameters.num_fewshots: unknown key (did you mean num_fewshot?)"),
        ({"zzz": 5}, "b: parameters.zzz: unknown key (known: num_fewshot, "),
        ({"repetitions": 3}, "b: parameters.repetitions: is not known to lm-eval: `repeats` "),
        ({"temperature": 0.5}, "b: parameters.temperature: is a setting of generation: put it into gen_kwargs"),
        ({"num_concurrent": 0}, "b: parameters.num_concurrent: "),
        ({"model_type": "hf"}, "b: parameters.model_type: "),
    ],
)
def test_parameters_that_are_not_understood_are_named(
    parameters: Job, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(TESTS.parent))
    from lm_eval_parameters import parse

    with pytest.raises(Exception, match="parameters") as caught:
        parse("b", parameters)

    assert str(caught.value).startswith(message)
