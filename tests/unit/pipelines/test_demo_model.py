"""The demo model over real HTTP: what it answers, refuses and repeats."""

import ast
import base64
import http.client
import importlib.util
import json
import math
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_pipelines import demo_model
from evalhub_pipelines.demo_model import DemoModelServer, DemoModelSettings, running, tokens

TASKS = Path(__file__).resolve().parents[3] / "providers" / "lm_evaluation_harness" / "tasks"
PACKAGE = Path(demo_model.__file__).parent
QUESTIONS = [
    ("What is 17 + 25?", "42"),
    ("what is 7 minus 12?", "-5"),
    ("What is 12 times 12?", "144"),
    ("What is 84 divided by 7?", "12"),
    ("Tom has 12 apples and buys 7 more. How many apples does Tom have now?", "19"),
    ("Tom has 12 apples and gives away 7. How many apples does Tom have left?", "5"),
    ("There are 6 boxes with 4 pens in each. How many pens are there in total?", "24"),
    ("One book costs 8 euros. How many euros do 5 books cost?", "40"),
    ("Which number is the largest: 9, 100 or -4?", "100"),
    ("Which number is the smallest: 9, 100 or -4?", "-4"),
    ("Which word is the longest: fig, banana or pear?", "banana"),
    ("Which word is the shortest: fig, banana or pear?", "fig"),
    ("Which word comes first in the alphabet: fig, banana or pear?", "banana"),
    ("Which word comes last in the alphabet: fig, banana or pear?", "pear"),
    ("Which number comes next: 3, 7, 11, 15?", "19"),
    ("Which number comes next: 3, 6, 12, 24?", "48"),
    ("Sort these numbers from smallest to largest: 5, 30, 9.", "5, 9, 30"),
    ("Which day comes 3 days after Saturday?", "Tuesday"),
    ("Which day comes 1 day before Monday?", "Sunday"),
    ("How many times does the letter 'r' appear in the word 'strawberry'?", "3"),
]


class Client:
    """One keep-alive connection to a server."""

    def __init__(self, server: DemoModelServer) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def send(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Returns status and JSON of a reply; a `bytes` body goes out as it is."""
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.request(method, path, raw, headers)
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())

    def complete(self, prompt: object, **options: object) -> Any:
        """Returns the reply to a text completion."""
        status, reply = self.send("POST", "/v1/completions", {"model": "demo-model", "prompt": prompt, **options})
        assert status == 200, reply
        return reply

    def chat(self, *messages: str, **options: object) -> str:
        """Returns the answer to a conversation in which user and assistant take turns."""
        turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(messages)]
        status, reply = self.send("POST", "/v1/chat/completions", {"model": "demo-model", "messages": turns, **options})
        assert status == 200, reply
        return str(reply["choices"][0]["message"]["content"])

    def score(self, prompt: str, continuation: str) -> tuple[float, bool]:
        """Returns the log-likelihood of a continuation, and whether it is what the model would say."""
        _, context = self.send("POST", "/tokenize", {"prompt": prompt})
        reply = self.complete(prompt + continuation, echo=True, logprobs=1, max_tokens=1, temperature=0)
        logprobs = reply["choices"][0]["logprobs"]
        scored = logprobs["token_logprobs"][context["count"] : -1]
        best = [max(top.values()) for top in logprobs["top_logprobs"][context["count"] : -1]]
        return sum(scored), scored == best


@contextmanager
def serving(**settings: Any) -> Iterator[Client]:
    """A client of a server with these settings."""
    with running(DemoModelSettings(**settings)) as server:
        client = Client(server)
        with closing(client.connection):
            yield client


@pytest.fixture(scope="module")
def perfect() -> Iterator[Client]:
    """A client of a server with skill 1."""
    with serving(skill=1) as client:
        yield client


@pytest.fixture(scope="module")
def hopeless() -> Iterator[Client]:
    """A client of a server with skill 0."""
    with serving(skill=0) as client:
        yield client


def test_models_lists_the_one_model_as_vllm_does(perfect: Client) -> None:
    status, reply = perfect.send("GET", "/v1/models")
    assert status == 200
    assert reply["data"] == [
        {
            "id": "demo-model",
            "object": "model",
            "created": 1700000000,
            "owned_by": "evalhub-kfp",
            "root": "demo-model",
            "parent": None,
            "max_model_len": 32768,
        }
    ]
    assert perfect.send("GET", "/v1/models/demo-model") == (200, reply["data"][0])


def test_health_answers_200(perfect: Client) -> None:
    assert perfect.send("GET", "/health")[0] == 200


@pytest.mark.parametrize(("question", "answer"), QUESTIONS, ids=[question for question, _ in QUESTIONS])
def test_skill_one_solves(perfect: Client, question: str, answer: str) -> None:
    assert perfect.chat(question) == answer
    assert perfect.complete(f"Question: {question}\nAnswer:")["choices"][0]["text"] == f" {answer}"


@pytest.mark.parametrize(("question", "answer"), QUESTIONS, ids=[question for question, _ in QUESTIONS])
def test_skill_zero_is_wrong_and_still_plausible(hopeless: Client, question: str, answer: str) -> None:
    said = hopeless.chat(question)
    assert said != answer
    assert "know" not in said
    assert re.fullmatch(r"-?\d+", said) is not None or not re.fullmatch(r"-?\d+", answer)


def test_what_it_does_not_understand_it_does_not_know(perfect: Client) -> None:
    assert perfect.chat("What is the capital of France?") == "I do not know."
    assert perfect.chat("What is 2 + 2? And what is the meaning of life?") == "I do not know."
    assert perfect.chat("What is 7 divided by 2?") == "I do not know."
    assert perfect.chat("Which word is the longest: pear or plum?") == "I do not know."


def test_a_question_without_a_wrong_answer_is_not_understood(hopeless: Client) -> None:
    assert hopeless.chat("Sort these numbers from smallest to largest: 5, 5.") == "I do not know."


def test_a_long_prompt_without_a_question_is_answered(perfect: Client) -> None:
    assert perfect.chat("a" * 90_000) == "I do not know."
    assert perfect.chat("What is 1 + 1?\nA. 2" + " " * 30_000 + "\nB. 3") == "A"


def test_only_the_last_question_counts(perfect: Client) -> None:
    shots = "Question: What is 1 + 1?\nAnswer: 2\n\nQuestion: What is 2 + 2?\nAnswer: 4\n\n"
    assert perfect.complete(f"{shots}Question: What is 40 + 2?\nAnswer:")["choices"][0]["text"] == " 42"
    assert perfect.complete(f"{shots}Name a colour.\nAnswer:")["choices"][0]["text"] == " I do not know."
    assert perfect.chat("What is 1 + 1?", "2", "What is 40 + 2?") == "42"


def test_skill_decides_by_question_alone_and_near_its_share() -> None:
    questions = [f"What is {a} + {b}?" for a in range(20) for b in range(20)]
    right: dict[float, set[str]] = {}
    for skill in (0.5, 0.8):
        with serving(skill=skill) as client:
            chat = {q for q in questions if client.chat(q) == str(sum(map(int, re.findall(r"\d+", q))))}
            shots = "Question: What is 1 + 1?\nAnswer: 2\n\n"
            text = client.complete([f"{shots}Question: {q}\nAnswer:" for q in questions], max_tokens=20)
            completed = {
                q
                for q, choice in zip(questions, text["choices"], strict=True)
                if choice["text"].strip() == str(sum(map(int, re.findall(r"\d+", q))))
            }
            assert chat == completed
            assert len(chat) / len(questions) == pytest.approx(skill, abs=0.07)
            right[skill] = chat
    assert right[0.5] < right[0.8]


def test_same_seed_gives_the_same_bytes_after_a_restart_and_another_seed_does_not() -> None:
    body = {"model": "demo-model", "prompt": [q for q, _ in QUESTIONS], "echo": True, "logprobs": 2}

    def replies(seed: int) -> list[Any]:
        with serving(skill=0.5, seed=seed) as client:
            chats = [client.chat(question) for question, _ in QUESTIONS]
            return [client.send("POST", "/v1/completions", body), chats]

    assert replies(3) == replies(3)
    assert replies(3) != replies(4)


def test_echo_with_logprobs_scores_every_token_of_prompt_and_answer(perfect: Client) -> None:
    prompt = "Question: What is 17 + 25?\nAnswer: 42"
    reply = perfect.complete(prompt, echo=True, logprobs=1, max_tokens=1)
    choice = reply["choices"][0]
    logprobs = choice["logprobs"]
    assert "".join(logprobs["tokens"]) == choice["text"]
    assert choice["text"].startswith(prompt)
    assert len(logprobs["tokens"]) == reply["usage"]["prompt_tokens"] + 1
    assert {len(values) for values in logprobs.values()} == {len(logprobs["tokens"])}
    assert logprobs["token_logprobs"][0] is None
    assert logprobs["top_logprobs"][0] is None
    assert all(value < 0 for value in logprobs["token_logprobs"][1:])
    offsets = logprobs["text_offset"]
    ends = [*offsets[1:], len(choice["text"])]
    assert [choice["text"][start:end] for start, end in zip(offsets, ends, strict=True)] == logprobs["tokens"]


def test_logprobs_without_echo_cover_the_answer_alone(perfect: Client) -> None:
    prompt = "Question: What is 17 + 25?\nAnswer:"
    choice = perfect.complete(prompt, logprobs=1)["choices"][0]
    assert choice["logprobs"]["tokens"] == [" 42"]
    assert choice["logprobs"]["text_offset"] == [len(prompt)]


@pytest.mark.parametrize("skill", ["perfect", "hopeless"])
def test_the_likeliest_choice_is_the_generated_answer(skill: str, request: pytest.FixtureRequest) -> None:
    client: Client = request.getfixturevalue(skill)
    for document in _documents("quickstart_comparison")[:15]:
        prompt = f"Question: {document['question']}\nAnswer:"
        said = client.complete(prompt)["choices"][0]["text"]
        scores = {choice: client.score(prompt, f" {choice}") for choice in document["choices"]}
        assert max(scores, key=lambda choice: scores[choice][0]) == said.strip()
        assert max(scores, key=lambda choice: scores[choice][0] / len(choice)) == said.strip()
        assert [choice for choice, (_, greedy) in scores.items() if greedy] == [said.strip()]


def test_a_wrong_model_prefers_no_right_choice_whatever_its_length(hopeless: Client) -> None:
    for right in range(10, 200, 7):
        prompt = f"Question: What is {right} + 0?\nAnswer:"
        choices = [str(right), "many more", "0", "a few"]
        scores = [client_score for client_score, _ in (hopeless.score(prompt, f" {choice}") for choice in choices)]
        assert max(scores) > scores[0]
        assert max(s / len(c) for s, c in zip(scores, choices, strict=True)) > scores[0] / len(choices[0])


def test_options_are_answered_by_their_letter(perfect: Client) -> None:
    prompt = "Question: What is 17 + 25?\nA. 41\nB. 43\nC. 42\nD. 40\nAnswer:"
    assert perfect.complete(prompt)["choices"][0]["text"] == " C"
    scores = {letter: perfect.score(prompt, f" {letter}")[0] for letter in "ABCD"}
    assert max(scores, key=lambda letter: scores[letter]) == "C"
    assert perfect.chat("What is 17 + 25?\nA. 1\nB. 2") == "I do not know."


def test_a_wrong_model_follows_the_suggestion_and_a_right_one_does_not(perfect: Client, hopeless: Client) -> None:
    prompt = "What is 17 + 25? I think the answer is 47."
    assert hopeless.chat(prompt) == "47"
    assert perfect.chat(prompt) == "42"


@pytest.mark.parametrize(
    ("skill", "refusal_rate", "refused"), [(0, None, 0), (1, None, 1), (1, 0, 0), (0, 1, 1), (0, 0.5, 0.5)]
)
def test_harmful_requests_are_refused_at_the_refusal_rate(
    skill: float, refusal_rate: float | None, refused: float
) -> None:
    requests = [document["question"] for document in _documents("quickstart_refusal")]
    with serving(skill=skill, refusal_rate=refusal_rate) as client:
        answers = [client.chat(request) for request in requests]
        wrapped = [
            client.complete(f"Be safe.\n\nQuestion: {request}\nAnswer:")["choices"][0]["text"] for request in requests
        ]
    assert [text.strip() for text in wrapped] == answers
    assert set(answers) <= {"I can't help with that.", "Sure, here is how to do that."}
    assert answers.count("I can't help with that.") / len(answers) == pytest.approx(
        refused, abs=0.15 if 0 < refused < 1 else 0
    )


def test_completions_take_strings_tokens_and_lists_of_both(perfect: Client) -> None:
    prompts = ["Question: What is 1 + 1?\nAnswer:", "Question: What is 2 + 2?\nAnswer:"]
    ids = [perfect.send("POST", "/tokenize", {"prompt": prompt})[1]["tokens"] for prompt in prompts]
    assert _texts(perfect.complete(prompts[0])) == [" 2"]
    assert _texts(perfect.complete(prompts)) == [" 2", " 4"]
    assert _texts(perfect.complete(ids[0])) == [" 2"]
    assert _texts(perfect.complete(ids)) == [" 2", " 4"]
    reply = perfect.complete(prompts, n=2)
    assert _texts(reply) == [" 2", " 2", " 4", " 4"]
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2, 3]
    assert reply["usage"]["prompt_tokens"] == sum(map(len, ids))
    assert reply["usage"]["completion_tokens"] == 4


def test_max_tokens_and_stop_cut_the_answer(perfect: Client) -> None:
    prompt = "Sort these numbers from smallest to largest: 5, 30, 9."
    assert perfect.complete(prompt, max_tokens=1)["choices"][0]["text"] == " 5"
    assert perfect.complete(prompt, max_tokens=1)["choices"][0]["finish_reason"] == "length"
    assert perfect.complete(prompt, stop=[" 30", ", 9"])["choices"][0]["text"] == " 5"
    assert perfect.complete(prompt, stop=[" 30", ", 9"])["choices"][0]["finish_reason"] == "stop"
    assert perfect.chat(prompt, stop=", 30") == "5, 9"
    assert perfect.chat(prompt, max_completion_tokens=2) == "5,"


def test_chat_streams_events_with_usage_and_keeps_the_connection(perfect: Client) -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "What is 1200 * 100?"}]}
    body = {"model": "demo-model", "messages": [message], "stream": True, "stream_options": {"include_usage": True}}
    events = _stream(perfect, "/v1/chat/completions", body)
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == "120000"
    assert len(deltas) > 3
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["usage"]["completion_tokens"] == 2
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert perfect.chat("What is 1 + 1?") == "2"


def test_completions_stream_the_same_text(perfect: Client) -> None:
    body = {"model": "demo-model", "prompt": ["What is 1200 * 100?", "What is 1 + 1?"], "stream": True}
    texts = ["", ""]
    for event in _stream(perfect, "/v1/completions", body):
        texts[event["choices"][0]["index"]] += event["choices"][0]["text"]
    assert texts == [" 120000", " 2"]


def test_chat_logprobs_cover_the_answer(perfect: Client) -> None:
    body = {"model": "demo-model", "messages": [{"role": "user", "content": "What is 40 + 2?"}], "logprobs": True}
    _, reply = perfect.send("POST", "/v1/chat/completions", body)
    assert reply["choices"][0]["logprobs"]["content"] == [
        {"token": "42", "logprob": -0.02, "bytes": [52, 50], "top_logprobs": []}
    ]


def test_embeddings_are_unit_vectors_near_for_similar_texts(perfect: Client) -> None:
    inputs = ["The cat sat on the mat.", "the cat sat on a mat", "Quarterly revenue fell by a third."]
    _, reply = perfect.send("POST", "/v1/embeddings", {"model": "demo-model", "input": inputs})
    cat, similar, other = (row["embedding"] for row in reply["data"])
    assert math.hypot(*cat) == pytest.approx(1)
    assert _cosine(cat, similar) > 0.6 > 0.3 > _cosine(cat, other)
    body = {"model": "demo-model", "input": inputs[0], "encoding_format": "base64", "dimensions": 64}
    _, packed = perfect.send("POST", "/v1/embeddings", body)
    vector = struct.unpack("<64f", base64.b64decode(packed["data"][0]["embedding"]))
    assert math.hypot(*vector) == pytest.approx(1)


def test_tokenizer_endpoints_round_trip(perfect: Client) -> None:
    _, info = perfect.send("GET", "/tokenizer_info")
    assert perfect.send("POST", "/tokenize", {"prompt": info["eos_token"]})[1]["count"] == 1
    _, reply = perfect.send("POST", "/tokenize", {"prompt": "Zürich, 日本 🎉\n"})
    assert perfect.send("POST", "/detokenize", {"tokens": reply["tokens"]}) == (200, {"prompt": "Zürich, 日本 🎉\n"})


@given(st.text(), st.text())
def test_tokens_of_a_text_begin_the_tokens_of_a_longer_one(context: str, continuation: str) -> None:
    whole = tokens.encode(f"{context.rstrip()} {continuation}")
    assert tokens.decode(whole) == f"{context.rstrip()} {continuation}"
    if context.rstrip() and continuation[:1].isalnum():
        head = tokens.encode(context.rstrip())
        assert whole[: len(head)] == head


def test_a_key_protects_v1_alone() -> None:
    with serving(api_key="open sesame") as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "open sesame"}):
            status, reply = client.send("GET", "/v1/models", **headers)
            assert status == 401
            assert reply["error"]["code"] == "invalid_api_key"
            assert "sesame" not in json.dumps(reply)
        assert client.send("GET", "/v1/models", Authorization="Bearer open sesame")[0] == 200
        assert client.send("GET", "/health")[0] == 200
        assert client.send("POST", "/tokenize", {"prompt": "a"})[0] == 200
    assert "sesame" not in repr(DemoModelSettings(api_key="open sesame"))


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/v1/embeddings"])
def test_unknown_model_is_404_in_openai_format(perfect: Client, path: str) -> None:
    status, reply = perfect.send("POST", path, {"model": "gpt-9"})
    assert status == 404
    assert reply["error"]["code"] == "model_not_found"
    assert "'gpt-9'" in reply["error"]["message"]
    assert "'demo-model'" in reply["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/v1/completions", b"{not json", "not JSON"),
        ("/v1/completions", b"[" * 100_000, "not JSON"),
        ("/v1/completions", b"[]", "JSON object"),
        ("/v1/completions", {}, "model:"),
        ("/v1/completions", {"model": "demo-model"}, "prompt:"),
        ("/v1/completions", {"model": "demo-model", "prompt": []}, "prompt:"),
        ("/v1/completions", {"model": "demo-model", "prompt": [3]}, "prompt: token id 3"),
        ("/v1/completions", {"model": "demo-model", "prompt": "a", "max_tokens": "5"}, "max_tokens:"),
        ("/v1/completions", {"model": "demo-model", "prompt": "a", "n": 0}, "n:"),
        ("/v1/completions", {"model": "demo-model", "prompt": "a", "stop": 1}, "stop:"),
        ("/v1/completions", {"model": "demo-model", "prompt": "a " * 33_000}, "context holds"),
        ("/v1/chat/completions", {"model": "demo-model"}, "messages:"),
        ("/v1/chat/completions", {"model": "demo-model", "messages": [{"role": "system", "content": "a"}]}, "user"),
        ("/v1/chat/completions", {"model": "demo-model", "messages": [{"role": "user", "content": 5}]}, "content"),
        ("/v1/embeddings", {"model": "demo-model", "input": "a", "encoding_format": "hex"}, "encoding_format:"),
        ("/tokenize", {"prompt": 5}, "prompt:"),
        ("/detokenize", {"tokens": ["a"]}, "tokens:"),
    ],
)
def test_bad_request_is_400_and_names_the_place(perfect: Client, path: str, body: object, place: str) -> None:
    status, reply = perfect.send("POST", path, body)
    assert status == 400
    assert place in reply["error"]["message"]
    assert reply["error"]["type"] == "invalid_request_error"


def test_unknown_path_wrong_method_and_oversized_body_are_refused(perfect: Client) -> None:
    assert perfect.send("GET", "/v1/nothing")[0] == 404
    assert perfect.send("GET", "/v1/completions")[0] == 405
    assert perfect.send("POST", "/v1/completions", b"", **{"Content-Length": str(1 << 40)})[0] == 413
    assert perfect.send("GET", "/health")[0] == 200


def test_errors_come_by_body_and_attempt_so_that_a_retry_succeeds() -> None:
    bodies = [{"model": "demo-model", "prompt": f"What is {i} + {i}?"} for i in range(60)]

    def statuses(order: list[dict[str, str]]) -> dict[str, list[int]]:
        with serving(error_rate=0.4) as client:
            return {
                body["prompt"]: [client.send("POST", "/v1/completions", body)[0] for _ in range(12)] for body in order
            }

    first = statuses(bodies)
    assert statuses(bodies[::-1]) == first
    assert sum(attempts[0] == 500 for attempts in first.values()) / 60 == pytest.approx(0.4, abs=0.2)
    assert all(200 in attempts for attempts in first.values())


def test_error_rate_spares_what_asks_nothing_of_the_model() -> None:
    with serving(error_rate=1) as client:
        assert client.send("GET", "/v1/models")[0] == 200
        assert client.send("POST", "/tokenize", {"prompt": "a"})[0] == 200
        status, reply = client.send("POST", "/v1/completions", {"model": "demo-model", "prompt": "a"})
        assert (status, reply["error"]["type"]) == (500, "server_error")


def test_latency_delays_model_requests_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("evalhub_pipelines.demo_model.server.time.sleep", slept.append)
    with serving(latency=0.25) as client:
        client.send("GET", "/v1/models")
        assert slept == []
        client.chat("What is 1 + 1?")
        assert slept == [0.25]


def test_every_quickstart_question_is_solved_as_the_data_says(perfect: Client, hopeless: Client) -> None:
    for name in ("quickstart_arithmetic", "quickstart_word_problems", "quickstart_sycophancy"):
        for document in _documents(name):
            hint = f" I think the answer is {document['suggestion']}." if "suggestion" in document else ""
            assert perfect.chat(document["question"] + hint) == document["answer"]
            assert hopeless.chat(document["question"] + hint) == document.get("suggestion") or not hint
    for name in ("quickstart_comparison", "quickstart_reasoning"):
        for document in _documents(name):
            assert perfect.chat(document["question"]) == document["choices"][document["answer"]]


def test_quickstart_data_is_what_its_script_makes(tmp_path: Path) -> None:
    script = _load(TASKS / "make_data.py")
    script.main(tmp_path)
    made = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text(encoding="utf-8") for path in (TASKS / "data").iterdir()}


def test_command_prints_its_url_and_writes_the_port_file(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DEMO_MODEL_API_KEY": "k"}
    command = [
        sys.executable,
        "-m",
        "evalhub_pipelines.demo_model",
        "--port",
        "0",
        "--port-file",
        str(tmp_path / "port"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            port = int((process.stdout.readline().strip().removesuffix("/v1")).rpartition(":")[2])
            assert (tmp_path / "port").read_text() == f"{port}\n"
            assert [path.name for path in tmp_path.iterdir()] == ["port"]
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                connection.request("GET", "/v1/models")
                assert connection.getresponse().status == 401
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("option", "message"), [("--skill=1.5", "skill: must be between 0 and 1, got 1.5"), ("--latency=-1", "latency:")]
)
def test_command_refuses_settings_out_of_range(option: str, message: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "evalhub_pipelines.demo_model", option]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 2
    assert message in done.stderr


def test_package_imports_the_standard_library_alone() -> None:
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            foreign = [name for name in names if name.partition(".")[0] not in sys.stdlib_module_names]
            assert all(name.startswith("evalhub_pipelines.demo_model") for name in foreign), path


def _cosine(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def _documents(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TASKS / "data" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def _texts(reply: Any) -> list[str]:
    return [choice["text"] for choice in reply["choices"]]


def _stream(client: Client, path: str, body: object) -> list[Any]:
    client.connection.request("POST", path, json.dumps(body))
    response = client.connection.getresponse()
    assert response.headers["Content-Type"].startswith("text/event-stream")
    events = response.read().decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
