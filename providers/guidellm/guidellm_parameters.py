"""The `parameters` of a benchmark that this provider understands; whatever it does not is an error."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from evalhub_components.errors import EvalHubError
from evalhub_components.framework import parameters
from evalhub_components.schema.document import Document, Seconds

ProfileKind = Literal["synchronous", "concurrent", "throughput", "constant", "poisson", "sweep"]

PROFILES: dict[str, dict[str, Any]] = {
    "sweep": {"profile": "sweep", "sweep_size": 5},
    "throughput": {"profile": "throughput"},
    "concurrent": {"profile": "concurrent", "streams": [8]},
    "constant": {"profile": "constant", "rate": [1.0]},
    "poisson": {"profile": "poisson", "rate": [1.0]},
    "quick_perf_test": {"profile": "concurrent", "streams": [4], "num_requests": 20},
    "comprehensive_perf_test": {"profile": "concurrent", "streams": [1, 2, 4, 8, 16]},
    "time_to_first_token": {"profile": "synchronous", "num_requests": 32},
    "inter_token_latency": {"profile": "synchronous", "num_requests": 32},
}
"""What each benchmark of the catalogue means, under whatever its entry says otherwise."""

_ELSEWHERE = {
    "max_requests": "is called num_requests here, and the entry's own key num_examples lowers it",
    "max_duration": "is called max_seconds here",
    "concurrency": "is called streams here",
    "num_concurrent": "is called streams here",
    "api_key": "comes from the model's secret",
    "target": "is the model's url",
    "backend": "is made of the model's url, its secret and the keys of this provider",
}


class Parameters(Document):
    """How guidellm loads the server.

    Attributes:
        streams: for `concurrent`: requests kept open at a time, one strategy each.
        rate: for `constant` and `poisson`: requests begun a second, one strategy each.
        max_concurrency: for `throughput`, `sweep`, `constant` and `poisson`: requests open at a time, at most.
        sweep_size: strategies of a sweep: one at a time, all at once, and rates between.
        num_requests: requests of each strategy, at most as many as there are prompts.
        max_seconds: ends each strategy early; with `num_requests: null` it alone ends it.
        max_tokens: the longest answer that is asked for.
        data: JSON lines file with prompts: absolute, or inside the data of `test_data_ref`.
        prompt_column: the prompts' key in it; None takes the first of guidellm's usual names.
        prompt_tokens, output_tokens: make prompts up instead, of this many tokens of `tokenizer`.
        body: further keys of every request.
        worker_processes: processes that send requests; None for as many as there are processors.
    """

    profile: ProfileKind | None = None
    streams: list[int] | int | None = None
    rate: list[float] | float | None = None
    max_concurrency: int = Field(default=64, ge=1, le=4096)
    sweep_size: int = Field(default=5, ge=2, le=100)
    num_requests: int | None = Field(default=64, ge=1)
    max_seconds: Seconds | None = None
    rampup: float = Field(default=0.0, ge=0)
    request_format: Literal["chat", "completions"] = "chat"
    stream: bool = True
    max_tokens: int | None = Field(default=128, ge=1)
    data: str | None = None
    prompt_column: str | None = None
    prompt_tokens: int | None = Field(default=None, ge=1)
    output_tokens: int | None = Field(default=None, ge=1)
    tokenizer: str | None = None
    request_timeout: Seconds = 120
    body: dict[str, Any] = Field(default_factory=dict)
    worker_processes: int | None = Field(default=None, ge=1, le=64)

    @model_validator(mode="after")
    def _consistent(self) -> Parameters:
        if self.num_requests is None and self.max_seconds is None:
            raise ValueError("num_requests or max_seconds must say when a strategy ends")
        if (self.prompt_tokens is None) != (self.output_tokens is None):
            raise ValueError("prompt_tokens and output_tokens go together")
        if self.prompt_tokens is not None and self.tokenizer is None:
            raise ValueError("made-up prompts need tokenizer (a folder, or a name on the hub)")
        if self.prompt_tokens is not None and self.data is not None:
            raise ValueError("data and prompt_tokens exclude each other")
        needed = {"concurrent": "streams", "constant": "rate", "poisson": "rate"}.get(self.profile or "")
        levels = self.levels
        if needed and not levels:
            raise ValueError(f"profile {self.profile} needs {needed}")
        if any(level <= 0 for level in levels):
            raise ValueError(f"{needed} must be positive")
        return self

    @property
    def levels(self) -> list[float]:
        """The loads of a profile that tries several: streams or rates."""
        chosen = {"concurrent": self.streams, "constant": self.rate, "poisson": self.rate}.get(self.profile or "")
        if chosen is None:
            return []
        return list(chosen) if isinstance(chosen, list) else [chosen]

    @property
    def patience(self) -> float:
        """Seconds without a word from guidellm after which it is stuck: imports, an answer, and a pause of the load."""
        slowest = min(self.levels, default=1.0) if self.profile in ("constant", "poisson") else 1.0
        return 120.0 + self.request_timeout + 10.0 / slowest

    @property
    def num_strategies(self) -> int:
        """How many loads are tried, one after the other."""
        return self.sweep_size if self.profile == "sweep" else max(1, len(self.levels))


def parse(benchmark_id: str, values: Mapping[str, Any]) -> Parameters:
    """Return the parameters of a benchmark: the catalogue's under the entry's own.

    Raises:
        InvalidDocument: with every unknown or wrong key.
        EvalHubError: the benchmark is not known and says no profile.
    """
    known = PROFILES.get(benchmark_id, {})
    if not known and not values.get("profile"):
        near = ", ".join(difflib.get_close_matches(benchmark_id, PROFILES, n=1) or PROFILES)
        raise EvalHubError(f"{benchmark_id}: is no benchmark of guidellm (known: {near}; or set parameters.profile)")
    return parameters.parse(Parameters, benchmark_id, {**known, **values}, _ELSEWHERE)
