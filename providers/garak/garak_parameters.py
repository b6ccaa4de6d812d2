"""The `parameters` of a benchmark that this provider understands; whatever it does not is an error."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from evalhub_components.schema.document import Document, Seconds

ELSEWHERE = {
    "parallel_attempts": "is called num_concurrent here",
    "probe_tags": "is called tags here",
    "probe_spec": "is called probes here",
    "disable_cache": "has nothing to act on: no answers are kept between runs",
}
"""Keys that garak and EvalHub's adapter have under another name."""


class Parameters(Document):
    """How garak runs one benchmark.

    Attributes:
        probes: modules or classes of probes in place of the benchmark's own.
        tags: beginnings of tags in place of the benchmark's own.
        exclude: modules or classes of probes to leave out.
        detectors: judge every answer by these instead of those that its probe names.
        extended_detectors: judge by a probe's further detectors too, not by its first alone.
        generations: answers asked for per prompt.
        prompt_cap: prompts per probe; a hint that some probes ignore, unlike `num_examples`.
        eval_threshold: a detector's score from which on an attack has succeeded.
        num_concurrent: requests at a time.
        max_retries: tries per request, the first included.
        request_timeout: seconds one try may take.
        max_tokens: length of an answer.
        stop: texts at which an answer ends; None for garak's own.
        skip_seq_start: drop what a reasoning model says from here ...
        skip_seq_end: ... up to here.
        extra_params: further keys of every request.
        garak_config: any other setting of garak, as its configuration file has them.
    """

    probes: list[str] | None = Field(default=None, min_length=1)
    tags: list[str] | None = Field(default=None, min_length=1)
    exclude: list[str] = Field(default_factory=list)
    detectors: list[str] | None = Field(default=None, min_length=1)
    extended_detectors: bool = True
    generations: int | None = Field(default=None, ge=1)
    prompt_cap: int | None = Field(default=None, ge=1)
    eval_threshold: float = Field(default=0.5, ge=0, le=1)
    num_concurrent: int = Field(default=8, ge=1, le=500)
    max_retries: int = Field(default=3, ge=1)
    request_timeout: Seconds = 120
    system_prompt: str | None = None
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    stop: list[str] | None = None
    skip_seq_start: str | None = None
    skip_seq_end: str | None = None
    extra_params: dict[str, Any] = Field(default_factory=dict)
    garak_config: dict[Literal["system", "run", "plugins", "reporting"], dict[str, Any]] = Field(default_factory=dict)
