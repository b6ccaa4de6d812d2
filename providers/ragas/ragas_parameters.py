"""The `parameters` of a benchmark that this provider understands."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator
from ragas_catalogue import BENCHMARKS, METRICS

from evalhub_components.errors import InvalidDocument, Problem
from evalhub_components.framework import parameters
from evalhub_components.schema.document import Document, Seconds

PROMPT = "Answer the question from the context alone.\n\nContext:\n{contexts}\n\nQuestion: {user_input}\nAnswer:"

_ELSEWHERE = {
    "concurrency": "is called num_concurrent here",
    "judge": "is the evaluation's own key",
    "judge_model": "is the evaluation's own key judge: {url, name}",
    "llm": "is the evaluation's own key judge: {url, name}",
    "embeddings": "is called embedding_model here",
    "data_path": "is called data here",
    "max_workers": "is called num_concurrent here",
    "strictness": "belongs into metric_options: {answer_relevancy: {strictness: 3}}",
}


class Parameters(Document):
    """What is scored, and how model and judge are asked.

    Attributes:
        metrics: names of METRICS; None for the benchmark's.
        metric_options: arguments of the metrics' constructors, by metric.
        data: JSON lines file with rows: absolute, or inside the data of `test_data_ref`.
        prompt: what the model under test is asked about a row with contexts; without contexts it is asked `user_input`.
        body: further keys of every request to the model under test.
        num_concurrent: requests at a time.
        max_retries: tries of a request, the first included.
        reasks: how often the judge is asked again when its answer is not of the form that was asked for.
        judge_max_tokens: the longest answer of the judge; None for ragas's default.
        judge_body: further keys of every request to the judge.
        embedding_model: name of the model for embeddings; None for the judge's.
        embedding_url: its address, for a server that wants no key; None for the judge's.
    """

    metrics: list[str] | None = Field(default=None, min_length=1)
    metric_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    data: str | None = None
    prompt: str = PROMPT
    system_prompt: str | None = None
    temperature: float | None = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=512, ge=1)
    body: dict[str, Any] = Field(default_factory=dict)
    num_concurrent: int = Field(default=8, ge=1, le=256)
    max_retries: int = Field(default=3, ge=1, le=20)
    request_timeout: Seconds = Field(default=120, gt=0)
    reasks: int = Field(default=2, ge=0, le=10)
    judge_max_tokens: int | None = Field(default=None, ge=1)
    judge_body: dict[str, Any] = Field(default_factory=dict)
    embedding_model: str | None = None
    embedding_url: str | None = Field(default=None, pattern=r"^https?://.+/v1/?$")

    @field_validator("metrics")
    @classmethod
    def _known(cls, value: list[str] | None) -> list[str] | None:
        if unknown := sorted(set(value or ()) - METRICS.keys()):
            raise ValueError(f"unknown: {', '.join(unknown)} (known: {', '.join(METRICS)})")
        return None if value is None else list(dict.fromkeys(value))

    @field_validator("prompt")
    @classmethod
    def _asks(cls, value: str) -> str:
        if "{user_input}" not in value:
            raise ValueError("must hold {user_input}, and {contexts} where the contexts go")
        return value

    @model_validator(mode="after")
    def _server_has_a_model(self) -> Parameters:
        if self.embedding_url and not self.embedding_model:
            raise ValueError("embedding_url needs embedding_model, the model's name at that address")
        return self


def parse(benchmark_id: str, values: dict[str, Any]) -> Parameters:
    """Return the parameters of a benchmark, with its metrics.

    Raises:
        InvalidDocument: with every unknown or wrong key, or because the benchmark says no metrics.
    """
    found = parameters.parse(Parameters, benchmark_id, values, _ELSEWHERE)
    if found.metrics is not None:
        return found
    known = BENCHMARKS.get(benchmark_id)
    if known is None:
        what = f"unknown benchmark (known: {', '.join(BENCHMARKS)}; any other id needs parameters.metrics)"
        raise InvalidDocument([Problem(benchmark_id, what)])
    return found.model_copy(update={"metrics": list(known)})
