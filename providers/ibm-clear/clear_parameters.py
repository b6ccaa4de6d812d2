"""The `parameters` of a benchmark that this provider understands."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from evalhub_components.errors import InvalidDocument, Problem
from evalhub_components.framework import parameters
from evalhub_components.schema.document import Document, Seconds

Kind = Literal["traces", "responses"]

BENCHMARKS: dict[str, Kind] = {"agentic-evaluation": "traces", "response-analysis": "responses"}
"""What each benchmark analyses."""

_ELSEWHERE = {
    "judge": "is the evaluation's own key",
    "eval_model_name": "is the name in the evaluation's own key judge: {url, name}",
    "gen_model_name": "is the model's name",
    "provider": "is openai: every model here has an OpenAI-compatible API",
    "data_dir": "is called data here",
    "data_path": "is called data here",
    "max_workers": "is called num_concurrent here",
    "max_examples_to_analyze": "is the entry's own key num_examples",
    "max_files": "is the entry's own key num_examples, which counts steps",
    "perform_generation": "is called regenerate here; what has no response gets one anyway",
    "is_reference_based": "is called use_references here",
    "observability_framework": "is called traces here",
}


class Parameters(Document):
    """What is analysed, and how model and judge are asked.

    Attributes:
        data: a folder of traces, or a JSON lines file of rows: absolute, or inside the data of `test_data_ref`.
        traces: how traces are written: as clear's own preprocessing writes them, or as a tracer exports them.
        agent_framework: what made the traces, unless they are `csv`.
        regenerate: ask the model under test for every response, not only for those that are missing.
        use_references: judge responses by references; None when every row has one.
        evaluation_criteria: what to judge by, by name; None for clear's own.
        predefined_issues: what to look for; None has the judge find out.
        high_score_threshold: score from which on a response has no issues.
        max_issues: as many are kept when the judge merges those it found.
        judge_max_tokens: the longest answer of the judge.
        body, judge_body: further keys of every request to the model under test or to the judge.
        num_concurrent: requests at a time.
        max_retries: tries of a request, the first included.
    """

    data: str | None = None
    traces: Literal["csv", "mlflow", "langfuse"] = "csv"
    agent_framework: Literal["langgraph", "crewai", "atif"] | None = None
    regenerate: bool = False
    use_references: bool | None = None
    evaluation_criteria: dict[str, str] | None = Field(default=None, min_length=1)
    predefined_issues: list[str] | None = Field(default=None, min_length=1)
    issues_format: Literal["shortcomings", "recommendations"] = "shortcomings"
    high_score_threshold: float = Field(default=0.91, ge=0, le=1)
    max_issues: int = Field(default=15, ge=1)
    temperature: float | None = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=512, ge=1)
    body: dict[str, Any] = Field(default_factory=dict)
    judge_max_tokens: int = Field(default=8096, ge=1)
    judge_body: dict[str, Any] = Field(default_factory=dict)
    num_concurrent: int = Field(default=8, ge=1, le=256)
    max_retries: int = Field(default=3, ge=1, le=20)
    request_timeout: Seconds = Field(default=90)

    @model_validator(mode="after")
    def _of_one_kind(self) -> Parameters:
        if (self.agent_framework is None) != (self.traces == "csv"):
            raise ValueError("agent_framework goes with traces: mlflow or langfuse, and says what made them")
        return self


def parse(benchmark_id: str, values: dict[str, Any]) -> tuple[Kind, Parameters]:
    """Return what a benchmark analyses, and its parameters.

    Raises:
        InvalidDocument: with every unknown or wrong key, or because there is no such benchmark.
    """
    kind = BENCHMARKS.get(benchmark_id)
    if kind is None:
        raise InvalidDocument([Problem(benchmark_id, f"unknown benchmark (known: {', '.join(BENCHMARKS)})")])
    found = parameters.parse(Parameters, benchmark_id, values, _ELSEWHERE)
    wrong = {"traces": {"use_references"}, "responses": {"traces", "agent_framework"}}[kind] & found.model_fields_set
    if wrong:
        what = f"is not a key of {benchmark_id}"
        raise InvalidDocument([Problem(f"{benchmark_id}: parameters.{name}", what) for name in sorted(wrong)])
    return kind, found
