"""The `parameters` of a benchmark that this provider understands."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from evalhub_components.framework import parameters
from evalhub_components.schema.document import Document, Seconds

ELSEWHERE = {
    "model": "is the run's model",
    "judge": "is the run's judge: {url, name}",
    "max_connections": "is called concurrency here",
    "max_retries": "is called tries here",
    "fewshot": "is a task's own argument: {task_args: {fewshot: 5}}, for tasks that have it",
    "full": "is a task's own argument, like subject and eval_type: {task_args: {full: true}}",
    "subject": "is a task's own argument: {task_args: {subject: ...}}",
    "eval_type": "is a task's own argument: {task_args: {eval_type: ...}}",
    "fail_on_error": "is the entry's max_error_rate",
}


class Parameters(Document):
    """How a task of inspect is run.

    Attributes:
        task: a file and the task in it (`own.py@name`), absolute or inside the data of `test_data_ref`; or the name of
            an installed task (`inspect_evals/ifeval`).
        task_args: the task's own arguments; `{judge}` in a text stands for inspect's name of the judge.
        concurrency: requests at a time.
        shuffle: draw the examples that `num_examples` leaves by the run's seed, where the task does not shuffle itself.
        time_limit: seconds one example may take.
        sandbox: where tasks run code: `local`, `docker`, `k8s`.
        request_timeout: seconds that one try of a request may take.
        tries: how often a request is sent, the first time included.
        extra_body: further keys of every request.
    """

    task: str | None = Field(default=None, min_length=1)
    task_args: dict[str, Any] = Field(default_factory=dict)
    concurrency: int = Field(default=8, ge=1, le=1024)
    epochs: int | None = Field(default=None, ge=1, le=1000)
    shuffle: bool = False
    system_message: str | None = None
    temperature: float | None = Field(default=0.0, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    reasoning_effort: str | None = None
    message_limit: int | None = Field(default=None, ge=1)
    token_limit: int | None = Field(default=None, ge=1)
    time_limit: Seconds | None = None
    sandbox: str | None = None
    request_timeout: Seconds = 120
    tries: int = Field(default=3, ge=1, le=20)
    extra_body: dict[str, Any] = Field(default_factory=dict)


def parse(benchmark_id: str, values: dict[str, object]) -> Parameters:
    """Return the parameters of a benchmark.

    Raises:
        InvalidDocument: with every unknown or wrong key.
    """
    return parameters.parse(Parameters, benchmark_id, values, ELSEWHERE)
