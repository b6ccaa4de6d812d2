"""The `parameters` of a benchmark that this provider understands; whatever it does not is an error."""

from __future__ import annotations

from pydantic import Field

from evalhub_components.schema.document import Document, Seconds

ELSEWHERE = {
    "max_samples": "is the entry's own key num_examples",
    "concurrent_requests": "is called num_concurrent here",
    "api_max_retry": "is called max_retries here, and counts the first try",
    "stop_tokens": "is called stop here",
    "few_shot": "is called num_fewshot here",
    "num_few_shot": "is the entry's own key, or num_fewshot here",
    "load_tasks_multilingual": "is called multilingual here",
}
"""Keys that LightEval and its users have under another name."""


class Parameters(Document):
    """How LightEval runs one benchmark.

    Attributes:
        task: LightEval's name of a task or of a group of tasks; None for the benchmark's own.
        custom_tasks: Python file with a TASKS_TABLE: absolute, or inside the data of `test_data_ref`.
        multilingual: whether LightEval's multilingual tasks are known too.
        num_fewshot: examples in the prompt; None for the entry's, else the benchmark's own.
        num_concurrent: requests at a time.
        max_retries: tries per request, the first included.
        request_timeout: seconds one try may take.
        temperature: None is 0, and 0.7 where a task has the model answer each question several times.
        max_new_tokens: length of an answer; None for the task's own.
        stop: texts at which an answer ends; None for the task's own.
        max_model_length: tokens of context, to which answers of models known to reason are extended at most.
        reasoning_tags: what stands between such a pair is not part of the answer.
        bootstrap_iters: draws for the standard error of metrics that are no means; 0 leaves them without.
        confirm_run_unsafe_code: let a task execute code that the model wrote.
    """

    task: str | None = Field(default=None, pattern=r"^[^,|@\s]+$")
    custom_tasks: str | None = None
    multilingual: bool = False
    num_fewshot: int | None = Field(default=None, ge=0)
    num_concurrent: int = Field(default=8, ge=1, le=500)
    max_retries: int = Field(default=3, ge=1)
    request_timeout: Seconds = 120
    system_prompt: str | None = None
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    max_new_tokens: int | None = Field(default=None, ge=1)
    stop: list[str] | None = None
    max_model_length: int = Field(default=32768, ge=1)
    reasoning_tags: list[tuple[str, str]] = Field(default=[("<think>", "</think>")])
    bootstrap_iters: int = Field(default=1000, ge=0)
    confirm_run_unsafe_code: bool = False
