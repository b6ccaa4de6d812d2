"""The `parameters` of a benchmark that this provider understands."""

from __future__ import annotations

from pydantic import Field, field_validator

from evalhub_components.framework import parameters
from evalhub_components.schema.document import Document, Seconds

ELSEWHERE = {
    "model": "is the run's model",
    "judge": "is the run's judge: {url, name}",
    "threshold": "is the entry's own key pass_criteria",
    "max_concurrent": "is called concurrency here",
    "max_retries": "is called tries here",
    "test_cases": "is called data here",
}


class Parameters(Document):
    """How test cases are answered and judged.

    Attributes:
        data: JSON lines file with the test cases: absolute, or inside the data of `test_data_ref`.
        prompt: what the model under test is asked; `{input}` and `{context}` stand for a test case's own.
        concurrency: test cases at a time.
        request_timeout: seconds that one try of a request may take.
        tries: how often a request is sent, the first time included.
        include_reason: have the judge explain every score, which is one request more.
        criteria: what `deepeval-correctness` asks of an answer; the judge makes steps of it for every test case.
        evaluation_steps: those steps.
        num_questions: questions about a text that `deepeval-summarization` expects its summary to answer.
    """

    data: str | None = None
    prompt: str | None = None
    system_prompt: str | None = None
    max_tokens: int = Field(default=1024, ge=1)
    temperature: float = Field(default=0.0, ge=0, le=2)
    concurrency: int = Field(default=8, ge=1, le=256)
    request_timeout: Seconds = 120
    tries: int = Field(default=3, ge=1, le=20)
    include_reason: bool = False
    criteria: str | None = None
    evaluation_steps: list[str] | None = Field(default=None, min_length=1)
    num_questions: int = Field(default=5, ge=1, le=50)

    @field_validator("prompt")
    @classmethod
    def _asks(cls, value: str | None) -> str | None:
        if value is not None and "{input}" not in value:
            raise ValueError("must have {input} where the input of a test case belongs")
        return value


def parse(benchmark_id: str, values: dict[str, object]) -> Parameters:
    """Return the parameters of a benchmark.

    Raises:
        InvalidDocument: with every unknown or wrong key.
    """
    return parameters.parse(Parameters, benchmark_id, values, ELSEWHERE)
