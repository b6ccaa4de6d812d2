"""MTEB run for real, with the embeddings of the demo model: letters in common are all that they know of a text."""

from __future__ import annotations

import json
import math
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from evalhub_pipelines.demo_model import DemoModelSettings, running
from evalhub_pipelines.demo_model.embeddings import embed
from evalhub_pipelines.provider_testing import NOWHERE, Outcome, Trial, hanging

PROVIDER = Path(__file__).resolve().parents[1]
DATA = PROVIDER / "data"
KEY = "sk-test-93ab07c1"
KINDS = ("sts", "pair_classification", "classification", "clustering", "retrieval", "reranking")

Row = dict[str, Any]


def rows(path: str) -> list[Row]:
    return [json.loads(line) for line in (DATA / path).read_text("utf-8").splitlines()]


@cache
def vector(text: str) -> tuple[float, ...]:
    return tuple(embed(text))


def alike(one: str, other: str) -> float:
    return math.fsum(a * b for a, b in zip(vector(one), vector(other), strict=True))


def ranks(values: Sequence[float]) -> list[float]:
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2 for value in values
    ]


def spearman(pairs: Sequence[Row]) -> float:
    """Return the correlation of the ranks of grades and similarities."""
    one = ranks([pair["score"] for pair in pairs])
    other = ranks([alike(pair["sentence1"], pair["sentence2"]) for pair in pairs])
    middle = (len(pairs) + 1) / 2
    covariance = sum((a - middle) * (b - middle) for a, b in zip(one, other, strict=True))
    spread = sum((a - middle) ** 2 for a in one) * sum((b - middle) ** 2 for b in other)
    return covariance / math.sqrt(spread)


def average_precision(right: Sequence[bool]) -> float:
    """Return the mean, over what is right, of the share that is right from the first to there."""
    return fmean(sum(right[:place]) / place for place, is_right in enumerate(right, 1) if is_right)


def ranked(query: str, documents: Sequence[Row]) -> list[str]:
    return [row["id"] for row in sorted(documents, key=lambda row: -alike(query, row["text"]))]


def relevant(folder: str) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows(f"{folder}/relevance.jsonl"):
        found[row["query"]][row["document"]] = row["score"]
    return found


def ndcg_at_10(prompt: str = "") -> dict[str, float]:
    """Return the score of each query of the search."""
    found, right = {}, relevant("retrieval")
    for query in rows("retrieval/queries.jsonl"):
        order = ranked(prompt + query["text"], rows("retrieval/documents.jsonl"))[:10]
        gain = sum(1 / math.log2(place + 1) for place, name in enumerate(order, 1) if name in right[query["id"]])
        best = sum(1 / math.log2(place + 1) for place in range(1, len(right[query["id"]]) + 1))
        found[query["id"]] = gain / best
    return found


def map_at_10() -> dict[str, float]:
    """Return the score of each query whose documents are put in order."""
    found, graded = {}, relevant("reranking")
    for query in rows("reranking/queries.jsonl"):
        grades = graded[query["id"]]
        candidates = [row for row in rows("reranking/documents.jsonl") if row["id"] in grades]
        found[query["id"]] = average_precision([grades[name] > 0 for name in ranked(query["text"], candidates)])
    return found


def classified() -> list[bool]:
    """Return whether each text is nearest to the middle of its class, which is what a linear classifier comes to."""
    taught = defaultdict(list)
    for row in rows("classification/train.jsonl"):
        taught[row["label"]].append(vector(row["text"]))
    middle = {label: [fmean(column) for column in zip(*vectors, strict=True)] for label, vectors in taught.items()}

    def nearness(text: str, label: str) -> float:
        return math.fsum(a * b for a, b in zip(vector(text), middle[label], strict=True))

    return [
        max(middle, key=lambda label: nearness(row["text"], label)) == row["label"]
        for row in rows("classification/test.jsonl")
    ]


class Faults(BaseHTTPRequestHandler):
    """Embeds as the demo model does, except for what a request itself asks to go wrong."""

    asked: list[Row]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def do_GET(self) -> None:
        self.answer(200, {"object": "list", "data": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        texts: list[str] = body["input"]
        fault = body.get("fault", {})
        if any(text in fault.get("too long", ()) for text in texts):
            return self.answer(400, {"error": {"message": "this text is too long"}})
        data = [{"index": number, "embedding": embed(text)} for number, text in enumerate(texts)]
        if "short" in fault and len(texts) > 1:
            data.pop()
        if "infinite" in fault and len(texts) > 1:
            data[0]["embedding"] = [float("nan")] * 256
        self.answer(200, {"data": data})

    def answer(self, status: int, document: Row) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def faulty() -> Iterator[tuple[str, list[Row]]]:
    asked: list[Row] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Faults,), {"asked": asked})) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
        server.shutdown()


def in_one_start(trial: Trial, url: str, entries: dict[str, Row], **settings: Any) -> dict[str, Outcome]:
    outcomes = trial.run_batch([{"max_error_rate": 0.0, **entry} for entry in entries.values()], url, **settings)
    return dict(zip(entries, outcomes, strict=True))


SEARCH = {"benchmark_id": "quickstart_retrieval"}
ALONE = {"batch_size": 1, "num_concurrent": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    folder = tmp_path_factory.mktemp("mteb")
    own = folder / "data" / "twins"
    own.mkdir(parents=True)
    pairs = rows("sts/test.jsonl")
    (own / "test.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs[::2]), "utf-8")
    (own.parent / "broken").mkdir()
    (own.parent / "broken" / "test.jsonl").write_text('{"sentence1": "one", "sentence2": 2, "score": 1}\n', "utf-8")
    entries: dict[str, Row] = {kind: {"benchmark_id": f"quickstart_{kind}"} for kind in KINDS}
    entries |= {
        "few": {**SEARCH, "num_examples": 6},
        "few, one by one": {**SEARCH, "num_examples": 6, "parameters": ALONE},
        "few others": {**SEARCH, "num_examples": 6, "seed": 7},
        "few texts": {"benchmark_id": "quickstart_clustering", "num_examples": 20},
        "few pairs": {"benchmark_id": "quickstart_sts", "num_examples": 15},
        "prompted": {**SEARCH, "parameters": {"prompts": {"query": "Where does it say this: "}}},
        "own": {
            "benchmark_id": "twins",
            "parameters": {"task_type": "sts", "data": "twins"},
            "primary_score": {"metric": "main_score", "lower_is_better": False, "range": [0, 1]},
        },
        "one pair": {"benchmark_id": "quickstart_sts", "num_examples": 1},
        "one label": {"benchmark_id": "quickstart_pair_classification", "num_examples": 1},
        "broken data": {"benchmark_id": "broken", "parameters": {"task_type": "sts", "data": "broken"}},
        "unknown task": {"benchmark_id": "SciFcat"},
        "unknown split": {"benchmark_id": "SciFact", "parameters": {"splits": ["dev"]}},
        "images": {"benchmark_id": "CIFAR10Clustering"},
        "old kind": {"benchmark_id": "TwentyNewsgroupsClustering"},
        "no hub": {"benchmark_id": "BIOSSES"},
    }
    settings = DemoModelSettings(skill=1.0, api_key=KEY)
    with running(settings) as server:
        return in_one_start(
            Trial(PROVIDER, folder),
            server.base_url,
            entries,
            secret={"api-key": KEY},
            environ={"HF_HUB_OFFLINE": "1"},
            test_data=folder / "data",
        )


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Outcome], list[Row]]]:
    query, document = rows("retrieval/queries.jsonl")[3], rows("retrieval/documents.jsonl")[3]
    pair, taught = rows("sts/test.jsonl")[4], rows("classification/train.jsonl")[4]

    def faulted(benchmark: str, allowed: float = 0.5, **fault: Any) -> Row:
        parameters = {"max_retries": 1, "body": {"fault": {name.replace("_", " "): it for name, it in fault.items()}}}
        return {"benchmark_id": benchmark, "parameters": parameters, "max_error_rate": allowed}

    entries = {
        "query": faulted("quickstart_retrieval", too_long=[query["text"]]),
        "queries": faulted(
            "quickstart_retrieval", 0.1, too_long=[row["text"] for row in rows("retrieval/queries.jsonl")[:8]]
        ),
        "pairs": faulted("quickstart_sts", 0.05, too_long=[row["sentence1"] for row in rows("sts/test.jsonl")[:2]]),
        "document": faulted("quickstart_retrieval", too_long=[document["text"]]),
        "pair": faulted("quickstart_sts", too_long=[pair["sentence2"]]),
        "no pair": faulted("quickstart_sts", 0.0, too_long=[pair["sentence1"]]),
        "text": faulted("quickstart_classification", too_long=[rows("classification/test.jsonl")[0]["text"]]),
        "lesson": faulted("quickstart_classification", too_long=[taught["text"]]),
        "clustered": faulted("quickstart_clustering", too_long=[rows("clustering/test.jsonl")[0]["text"]]),
        "short": faulted("quickstart_sts", short=True),
        "infinite": faulted("quickstart_sts", infinite=True),
        "instructed": {**SEARCH, "parameters": {"instruction_template": "{instruction} > ", "body": {"user": "one"}}},
    }
    with faulty() as (url, asked):
        yield in_one_start(Trial(PROVIDER, tmp_path_factory.mktemp("faults")), url, entries), asked


def counts(outcome: Outcome) -> tuple[int | None, int | None, int]:
    return outcome.results.num_requested, outcome.results.num_evaluated, outcome.results.num_errors


def test_similarity_is_the_correlation_of_grades_and_cosines(runs: dict[str, Outcome]) -> None:
    assert runs["sts"].score == pytest.approx(spearman(rows("sts/test.jsonl")), abs=1e-9)
    assert counts(runs["sts"]) == (20, 20, 0)


def test_pairs_are_scored_by_the_precision_of_their_order(runs: dict[str, Outcome]) -> None:
    pairs = rows("pair_classification/test.jsonl")
    order = sorted(pairs, key=lambda pair: -alike(pair["sentence1"], pair["sentence2"]))
    assert runs["pair_classification"].score == pytest.approx(average_precision([row["label"] == 1 for row in order]))
    assert counts(runs["pair_classification"]) == (20, 20, 0)


def test_texts_are_classified_as_by_the_nearest_middle(runs: dict[str, Outcome]) -> None:
    expected = classified()
    assert 0 < sum(expected) < len(expected)
    outcome = runs["classification"]
    assert outcome.score == pytest.approx(fmean(expected))
    assert sorted(sample["score"] for sample in outcome.samples) == sorted(map(float, expected))
    labels = [sample["details"]["label"] for sample in outcome.samples]
    assert sorted(labels) == sorted(row["label"] for row in rows("classification/test.jsonl"))


def test_clusters_that_lie_apart_are_found(runs: dict[str, Outcome]) -> None:
    texts = rows("clustering/test.jsonl")
    pairs = [(one, other) for number, one in enumerate(texts) for other in texts[:number]]
    inside = [alike(one["text"], other["text"]) for one, other in pairs if one["label"] == other["label"]]
    across = [alike(one["text"], other["text"]) for one, other in pairs if one["label"] != other["label"]]
    assert min(inside) > max(across)
    assert runs["clustering"].score == pytest.approx(1.0)
    assert counts(runs["clustering"]) == (24, 24, 0)


def test_documents_are_found_by_their_likeness(runs: dict[str, Outcome]) -> None:
    expected = ndcg_at_10()
    samples = {sample["id"]: sample["score"] for sample in runs["retrieval"].samples}
    assert samples == pytest.approx(expected)
    # MTEB rounds it
    assert runs["retrieval"].score == pytest.approx(fmean(expected.values()), abs=1e-5)
    assert runs["retrieval"].metrics["main_score"] == runs["retrieval"].score


def test_only_the_candidates_of_a_query_are_put_in_order(runs: dict[str, Outcome]) -> None:
    expected = map_at_10()
    samples = {sample["id"]: sample["score"] for sample in runs["reranking"].samples}
    assert samples == pytest.approx(expected)
    assert runs["reranking"].score == pytest.approx(fmean(expected.values()), abs=1e-5)


def test_a_prompt_goes_before_queries_and_not_before_documents(runs: dict[str, Outcome]) -> None:
    expected = ndcg_at_10("Where does it say this: ")
    assert expected != ndcg_at_10()
    assert {sample["id"]: sample["score"] for sample in runs["prompted"].samples} == pytest.approx(expected)


def test_a_limit_chooses_by_the_seed_alone(runs: dict[str, Outcome]) -> None:
    few, others = runs["few"], runs["few others"]
    assert few.samples == runs["few, one by one"].samples
    assert counts(few) == counts(others) == (6, 6, 0)
    whole = {sample["id"]: sample["score"] for sample in runs["retrieval"].samples}
    assert [sample["id"] for sample in few.samples] != [sample["id"] for sample in others.samples]
    assert all(whole[sample["id"]] == sample["score"] for sample in [*few.samples, *others.samples])
    assert few.score == pytest.approx(fmean(sample["score"] for sample in few.samples), abs=1e-5)
    assert counts(runs["few texts"]) == (20, 20, 0)
    assert counts(runs["few pairs"]) == (15, 15, 0)


def test_batch_size_reaches_the_model(runs: dict[str, Outcome]) -> None:
    # one request to see whether it answers; then 16 documents and 6 queries
    assert runs["few, one by one"].results.usage["requests"] == 23
    assert runs["few"].results.usage["requests"] == 3


def test_data_of_ones_own_makes_a_task(runs: dict[str, Outcome]) -> None:
    assert runs["own"].score == pytest.approx(spearman(rows("sts/test.jsonl")[::2]))
    assert runs["own"].results.data_digests["test.jsonl"] != runs["sts"].results.data_digests["test.jsonl"]


def test_what_ran_is_recorded(runs: dict[str, Outcome]) -> None:
    first, again = runs["few"].environment, runs["few, one by one"].environment
    assert first["framework"] == {"name": "mteb", "version": "2.26.24"}
    assert first["embeddings"] == again["embeddings"]
    assert first["embeddings"]["dimensions"] == 256
    assert first["embeddings"] != runs["prompted"].environment["embeddings"]
    assert (first["seeds"], runs["few others"].environment["seeds"]) == ({"mteb": 42}, {"mteb": 7})
    assert again["settings"]["batch_size"] == 1
    assert {"documents.jsonl", "queries.jsonl", "relevance.jsonl"} <= runs["retrieval"].results.data_digests.keys()


def test_mtebs_own_files_are_kept(runs: dict[str, Outcome]) -> None:
    raw = runs["retrieval"].raw
    [result] = raw.glob("results/*/*/quickstart_retrieval.json")
    [scores] = json.loads(result.read_text())["scores"]["test"]
    assert scores["ndcg_at_10"] == runs["retrieval"].score
    assert (raw / "predictions" / "quickstart_retrieval_predictions.json").is_file()


def test_progress_counts_texts(runs: dict[str, Outcome]) -> None:
    steps = [event for event in runs["retrieval"].events if event.get("total")]
    assert {event["total"] for event in steps} == {32}


def test_the_key_is_in_no_kept_file(runs: dict[str, Outcome]) -> None:
    assert {name: outcome.files_with(KEY) for name, outcome in runs.items() if outcome.files_with(KEY)} == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("one pair", ["all pairs have the same score", "take more examples"]),
        ("one label", ["all pairs have the same label"]),
        ("broken data", ["test.jsonl: line 1: sentence2 is missing or of a wrong type"]),
        ("unknown task", ["MTEB has no task SciFcat", "did you mean SciFact?"]),
        ("unknown split", ["parameters.splits: it has no dev (it has: test)"]),
        ("images", ["it is about image"]),
        ("old kind", ["AbsTaskClusteringLegacy are not run here"]),
        ("no hub", ["its data cannot be loaded"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_task_that_cannot_be_scored_fails_with_the_reason(
    runs: dict[str, Outcome], name: str, expected: list[str]
) -> None:
    reason = runs[name].reason
    assert [part for part in expected if part not in reason] == [], reason


def test_a_query_without_an_embedding_is_an_error_and_the_score_is_over_the_others(
    faults: tuple[dict[str, Outcome], list[Row]],
) -> None:
    outcome = faults[0]["query"]
    expected = {name: score for name, score in ndcg_at_10().items() if name != "q04"}
    assert counts(outcome) == (16, 15, 1)
    assert {sample["id"]: sample["score"] for sample in outcome.samples} == pytest.approx(expected)
    assert outcome.score == pytest.approx(fmean(expected.values()), abs=1e-5)
    assert "this text is too long" in outcome.environment["lost_requests"]


def test_a_lost_pair_or_text_is_left_out(faults: tuple[dict[str, Outcome], list[Row]]) -> None:
    pairs = rows("sts/test.jsonl")
    assert counts(faults[0]["pair"]) == (20, 19, 1)
    assert faults[0]["pair"].score == pytest.approx(spearman([*pairs[:4], *pairs[5:]]))
    assert counts(faults[0]["text"]) == (24, 23, 1)
    assert faults[0]["text"].score == pytest.approx(fmean(classified()[1:]))
    assert counts(faults[0]["clustered"]) == (24, 23, 1)
    assert faults[0]["clustered"].score == pytest.approx(1.0)


def test_what_was_embedded_once_is_not_asked_for_again(faults: tuple[dict[str, Outcome], list[Row]]) -> None:
    lost = rows("sts/test.jsonl")[4]["sentence2"]
    wanted = {"too long": [lost]}
    asked = Counter(text for body in faults[1] if body.get("fault") == wanted for text in body["input"])
    assert {asked[row["sentence1"]] for row in rows("sts/test.jsonl")} == {1}
    # one of these could not be embedded; they were asked for one by one to find out which
    assert {asked[row["sentence2"]] for row in rows("sts/test.jsonl")} == {2}


def test_an_instruction_and_further_keys_reach_the_model(faults: tuple[dict[str, Outcome], list[Row]]) -> None:
    assert faults[0]["instructed"].results.status == "completed"
    texts = {text for body in faults[1] if body.get("user") == "one" for text in body["input"]}
    instruction = "Retrieve text based on user query. > "
    assert texts >= {instruction + row["text"] for row in rows("retrieval/queries.jsonl")}
    assert texts >= {row["text"] for row in rows("retrieval/documents.jsonl")}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("queries", ["8 texts got no embedding, more than max_error_rate allows", "this text is too long"]),
        ("pairs", ["2 of 20 examples got no embedding, more than max_error_rate 0.05 allows", "this text is too long"]),
        ("document", ["1 of 16 documents, which every example needs, got no embedding", "this text is too long"]),
        ("no pair", ["this text is too long"]),
        ("lesson", ["1 of 24 texts to learn from", "this text is too long"]),
        ("short", ["the server gave 19 embeddings for 20 texts"]),
        ("infinite", ["what is no finite number"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_would_be_a_score_of_nothing_fails(
    faults: tuple[dict[str, Outcome], list[Row]], name: str, expected: list[str]
) -> None:
    reason = faults[0][name].reason
    assert [part for part in expected if part not in reason] == [], reason


def test_errors_of_the_server_are_counted_and_too_many_fail(tmp_path: Path) -> None:
    parameters = {**ALONE, "max_retries": 1}
    with running(DemoModelSettings(skill=1.0, error_rate=0.2)) as server:
        outcomes = in_one_start(
            Trial(PROVIDER, tmp_path),
            server.base_url,
            {
                "allowed": {"benchmark_id": "quickstart_sts", "parameters": parameters, "max_error_rate": 0.9},
                "forbidden": {"benchmark_id": "quickstart_sts", "parameters": parameters},
                "tried again": {"benchmark_id": "quickstart_sts", "parameters": {**ALONE, "max_retries": 9}},
            },
        )
    requested, evaluated, errors = counts(outcomes["allowed"])
    assert requested == 20
    assert evaluated == 20 - errors
    assert 0 < errors < 18
    [written] = outcomes["allowed"].raw.glob("predictions/*.json")
    cosines = json.loads(written.read_text())["default"]["test"]["cosine_scores"]
    left = [
        pair
        for pair in rows("sts/test.jsonl")
        if any(math.isclose(alike(pair["sentence1"], pair["sentence2"]), cosine, abs_tol=1e-6) for cosine in cosines)
    ]
    assert len(left) == evaluated
    assert outcomes["allowed"].score == pytest.approx(spearman(left))
    assert "HTTP 500" in outcomes["forbidden"].reason
    assert outcomes["tried again"].score == pytest.approx(spearman(rows("sts/test.jsonl")))


@pytest.mark.parametrize(
    ("url", "keys", "expected"),
    [
        ("nowhere", {"parameters": {"max_retries": 1}}, ["cannot connect", "127.0.0.1:9"]),
        ("locked", {"secret": {"api-key": KEY[::-1]}}, ["HTTP 401", "api-key"]),
        ("locked", {}, ["HTTP 401", "has no API key"]),
        ("locked", {"secret": {"api-key": KEY}, "model_name": "other"}, ["HTTP 404", "other"]),
        ("hanging", {"parameters": {"request_timeout": 1, "max_retries": 1}}, ["no answer within 1 s"]),
        ("locked", {"parameters": {"data": "own", "task_type": "sts"}}, ["own is relative", "test_data_ref"]),
        ("locked", {"parameters": {"data": "/none", "task_type": "sts"}}, ["/none: there is no such folder"]),
        ("locked", {"parameters": {"data": "own"}}, ["task_type and data belong together"]),
        (
            "locked",
            {"parameters": {"batchsize": 3, "num_examples": 3, "instruction_template": "no", "body": {"model": "x"}}},
            ["did you mean batch_size?", "the entry's own key", "must contain {instruction}", "must not set model"],
        ),
    ],
    ids=[
        *("unreachable", "wrong key", "no key", "unknown model", "hang", "relative data", "lost data"),
        *("no kind", "parameters"),
    ],
)
def test_what_cannot_work_fails_before_mteb_is_loaded(tmp_path: Path, url: str, keys: Row, expected: list[str]) -> None:
    settings = DemoModelSettings(skill=1.0, api_key=KEY)
    with running(settings) as server, hanging() as slow:
        urls = {"nowhere": NOWHERE, "locked": server.base_url, "hanging": slow}
        outcome = Trial(PROVIDER, tmp_path).run("quickstart_sts", urls[url], **keys)
    assert [part for part in expected if part not in outcome.reason] == [], outcome.reason
    assert outcome.files_with(KEY) == []
    assert "Running task" not in outcome.log
