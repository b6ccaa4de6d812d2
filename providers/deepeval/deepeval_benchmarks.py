"""The benchmarks of this provider, without deepeval: its import takes seconds, and what cannot run is said before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        metric: the primary one.
        data: the bundled file.
        needs: keys of a record beside `input`.
        judge: whether a model judges.
        counts: further metrics, and what they are over the test cases.
        prompt: what the model is asked where it is not the input, or the input behind its context.
    """

    metric: str
    data: str
    needs: Sequence[str] = ()
    judge: bool = True
    counts: Mapping[str, Literal["sum", "mean"]] = field(default_factory=dict)
    prompt: str | None = None


BENCHMARKS: dict[str, Benchmark] = {
    "deepeval-faithfulness": Benchmark(
        "faithfulness_score",
        "questions_in_context.jsonl",
        ["context"],
        counts={"claims_count": "sum", "supported_claims_count": "sum"},
    ),
    "deepeval-relevancy": Benchmark("relevancy_score", "questions.jsonl"),
    "deepeval-hallucination": Benchmark(
        "hallucination_score", "questions_in_context.jsonl", ["context"], counts={"hallucination_detected": "mean"}
    ),
    "deepeval-correctness": Benchmark("correctness_score", "questions.jsonl", ["expected_output"]),
    "deepeval-summarization": Benchmark(
        "summarization_score",
        "texts.jsonl",
        prompt="Summarise this text in a few sentences. Say nothing that it does not say.\n\n{input}",
    ),
    "deepeval-exact-match": Benchmark("exact_match", "questions.jsonl", ["expected_output"], judge=False),
}
"""The benchmarks by id: the catalogue's five, and one that needs no judge."""
