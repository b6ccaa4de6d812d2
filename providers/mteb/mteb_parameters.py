"""The parameters of a benchmark and what they stand for: a task of MTEB's, or data of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from evalhub_components.adapter import JobSpec
from evalhub_components.errors import EvalHubError
from evalhub_components.framework import parameters
from evalhub_components.schema.document import Document, Positive, Seconds

TaskType = Literal["sts", "pair_classification", "classification", "clustering", "retrieval", "reranking"]

BUNDLED = Path(__file__).resolve().parent / "data"

QUICKSTART: dict[str, TaskType] = {
    "quickstart_sts": "sts",
    "quickstart_pair_classification": "pair_classification",
    "quickstart_classification": "classification",
    "quickstart_clustering": "clustering",
    "quickstart_retrieval": "retrieval",
    "quickstart_reranking": "reranking",
}
"""Benchmarks whose data lies in `data/<task type>`."""

_OWN = ("model", "input", "encoding_format")
_ELSEWHERE = {
    "encoding_format": "is always float",
    "concurrency": "is called num_concurrent",
    "timeout": "is the entry's own key; for one request use request_timeout",
    "eval_splits": "is called splits",
    "hf_subsets": "is called subsets",
    "model_prompts": "is called prompts",
}

Names = Annotated[list[str], Field(min_length=1)]


class Parameters(Document):
    """What an entry may say under `parameters`.

    Attributes:
        task: the name of MTEB's task, when the benchmark's id is another.
        task_type, data: a task of one's own: what kind it is, and the folder with its data.
        prompts: put before a text, by task name, task type, or `query` and `document`.
        instruction_template: a text with `{instruction}`, put before everything but documents.
        num_concurrent: requests at a time.
        max_retries: tries per request, the first included.
        request_timeout: seconds one try may take.
        body: further keys of every request.
    """

    task: str | None = None
    task_type: TaskType | None = None
    data: str | None = None
    splits: Names | None = None
    languages: Names | None = None
    subsets: Names | None = None
    prompts: dict[str, str] = Field(default_factory=dict)
    instruction_template: str | None = None
    batch_size: Positive = 32
    num_concurrent: Annotated[Positive, Field(le=256)] = 8
    max_retries: Positive = 3
    request_timeout: Seconds = 120
    body: dict[str, Any] = Field(default_factory=dict)

    @field_validator("instruction_template")
    @classmethod
    def _has_a_place(cls, value: str | None) -> str | None:
        if value is not None and "{instruction}" not in value:
            raise ValueError(f"must contain {{instruction}}, got {value!r}")
        return value

    @field_validator("body")
    @classmethod
    def _leaves_ours_alone(cls, value: dict[str, Any]) -> dict[str, Any]:
        if wrong := sorted(value.keys() & set(_OWN)):
            raise ValueError(f"must not set {', '.join(wrong)}")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.task_type is None) != (self.data is None):
            raise ValueError("task_type and data belong together: the kind of a task and the folder with its data")
        if self.data is not None and self.task is not None:
            raise ValueError("task names one of MTEB's tasks, task_type and data describe one of your own: not both")
        return self


def parse(benchmark_id: str, values: dict[str, Any]) -> Parameters:
    """Return the parameters of a benchmark.

    Raises:
        InvalidDocument: with every unknown or wrong key.
    """
    return parameters.parse(Parameters, benchmark_id, values, _ELSEWHERE)


class OwnData(Document):
    """A task whose data is a folder of JSON lines files."""

    task_type: TaskType
    folder: Path


def own_data(config: JobSpec, chosen: Parameters) -> OwnData | None:
    """Return the data of a benchmark that is no task of MTEB's, None when it is one.

    Raises:
        EvalHubError: there is no such folder.
    """
    where = f"{config.benchmark_id}: parameters.data"
    if chosen.task_type is None or chosen.data is None:
        kind = QUICKSTART.get(config.benchmark_id) if chosen.task is None else None
        return OwnData(task_type=kind, folder=BUNDLED / kind) if kind else None
    folder = Path(chosen.data)
    if not folder.is_absolute():
        if config.test_data is None:
            raise EvalHubError(
                f"{where}: {chosen.data} is relative, and there is no data that it could be in "
                "(name an absolute path, or give the entry a test_data_ref)"
            )
        folder = config.test_data / folder
    if not folder.is_dir():
        raise EvalHubError(f"{where}: {folder}: there is no such folder")
    return OwnData(task_type=chosen.task_type, folder=folder)
