"""The `parameters` of a benchmark that this provider understands; whatever it does not is an error."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from evalhub_components.framework import parameters
from evalhub_components.schema.document import Document, Seconds

ModelType = Literal["local-completions", "local-chat-completions"]

_NOT_A_SETTING = "is a criterion, not a setting of lm-eval: give the collection an entry of its own for it"
_GENERATION = "is a setting of generation: put it into gen_kwargs"
_ELSEWHERE = {
    "repetitions": "is not known to lm-eval: `repeats` asks every question several times, for tasks that vote",
    "secondary_metric": _NOT_A_SETTING,
    "secondary_threshold": _NOT_A_SETTING,
    "blocking_subtask": _NOT_A_SETTING,
    "blocking_subtask_threshold": _NOT_A_SETTING,
    "temperature": _GENERATION,
    "top_p": _GENERATION,
    "top_k": _GENERATION,
    "max_tokens": _GENERATION,
}


class Parameters(Document):
    """How lm-eval runs one benchmark.

    Attributes:
        num_fewshot: examples in the prompt; None for what the benchmark entry or the task says.
        apply_chat_template: None means that chat completions are asked with it and completions without; a string
            names one of the tokenizer's templates.
        gen_kwargs: overrides of the task's generation settings.
        model_type: None means chat completions for tasks that only generate text, completions for all others.
        tokenizer: folder or hub name of a tokenizer for `transformers`.
        tokenizer_backend: None asks the server, and without its help loads `tokenizer`.
        tokenized_requests: send token ids where log-likelihoods are asked for, so that both sides count alike.
        max_retries: tries per request, the first included.
        request_timeout: seconds one try may take.
        max_length: tokens of context; None for what the server says, else lm-eval's 2048.
        include_path: folder of task YAML files.
        task: name of the task when it is not the benchmark's id, or a whole task as a mapping.
        metadata: handed to the task, as lm-eval's --metadata.
        confirm_run_unsafe_code: let a task execute what the model wrote.
    """

    num_fewshot: int | None = Field(default=None, ge=0)
    apply_chat_template: bool | str | None = None
    fewshot_as_multiturn: bool = True
    system_instruction: str | None = None
    gen_kwargs: dict[str, Any] | str | None = None
    model_type: ModelType | None = None
    tokenizer: str | None = None
    tokenizer_backend: Literal["remote", "huggingface", "tiktoken"] | None = None
    tokenized_requests: bool = True
    add_bos_token: bool = False
    num_concurrent: int = Field(default=8, ge=1, le=1024)
    max_retries: int = Field(default=3, ge=1)
    request_timeout: Seconds = 120
    batch_size: int = Field(default=1, ge=1)
    max_length: int | None = Field(default=None, ge=2)
    max_gen_toks: int = Field(default=256, ge=1)
    think_end_token: str | None = None
    include_path: str | None = None
    task: str | dict[str, Any] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    repeats: int | None = Field(default=None, ge=1)
    confirm_run_unsafe_code: bool = False


def parse(benchmark_id: str, values: dict[str, Any]) -> Parameters:
    """Return the parameters of a benchmark.

    Raises:
        InvalidDocument: with every unknown or wrong key.
    """
    return parameters.parse(Parameters, benchmark_id, values, _ELSEWHERE)
