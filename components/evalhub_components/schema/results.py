"""What a benchmark task leaves: `results.json`, and one `Sample` a line in `samples.jsonl`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from evalhub_components.schema.document import Document

TaskStatus = Literal["completed", "failed"]
Phase = Literal[
    "initializing", "loading_data", "running_evaluation", "post_processing", "persisting_artifacts", "completed"
]


class MetricValue(Document):
    """A metric as the framework reported it; whatever is no finite number is not a score.

    Attributes:
        value: in the metric's units.
        stderr: the framework's own standard error in the same units, None when it gave none.
    """

    value: bool | int | float | str | None
    stderr: float | None = None


class BenchmarkResults(Document):
    """`results.json` of one benchmark.

    Attributes:
        status: `failed` means that there is no score; `reason` says why.
        num_requested: examples the run asked for, where known.
        num_evaluated: examples that went into the metrics.
        num_errors: examples without a usable answer.
        data_digests: `sha256:` digest of each data file that was read, by name.
        usage: tokens, requests and seconds where the framework or the server reported them.
        redactions: how often a secret was replaced by `***` in the kept files.
    """

    schema_version: Literal[1] = 1
    provider_id: str
    benchmark_id: str
    benchmark_index: int
    task_digest: str
    status: TaskStatus
    reason: str | None = None
    metrics: dict[str, MetricValue] = Field(default_factory=dict)
    num_requested: int | None = None
    num_evaluated: int | None = None
    num_errors: int = 0
    data_digests: dict[str, str] = Field(default_factory=dict)
    started_at: str
    completed_at: str
    usage: dict[str, float] = Field(default_factory=dict)
    redactions: int = 0


class Sample(Document):
    """The score of one example.

    Attributes:
        id: stable over runs of the same data.
        score: in the primary metric's units.
        cluster: examples that share one (a passage, a conversation) are not independent.
        details: hashes and whatever else the framework knows of the example.
    """

    id: str
    score: float
    cluster: str | None = None
    details: dict[str, Any] | None = None
