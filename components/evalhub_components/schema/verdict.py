"""`verdict.json`: the decision and everything it rests on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evalhub_components.schema.collection import GateMode
from evalhub_components.schema.document import Document
from evalhub_components.schema.plan import ThresholdSource
from evalhub_components.schema.results import TaskStatus

Decision = Literal["pass", "fail", "inconclusive", "error"]
JobState = Literal["pending", "running", "completed", "failed", "cancelled", "partially_failed"]


class BenchmarkTest(Document):
    """One benchmark's part in the verdict.

    Attributes:
        status: what the task came to; `missing` when it left no results.
        score: the primary metric in its own units, None when there is no score.
        normalized_score: in [0, 1], 1 is best.
        threshold: on the normalised scale when `threshold_source` is `collection`, otherwise in the metric's units.
        passed: against its own threshold; None without a score or a threshold. In files the key is `pass`.
        se: standard error on the normalised scale.
        reason: why there is no score, or how the score compares with the threshold.
    """

    benchmark_index: int
    slug: str
    provider_id: str
    benchmark_id: str
    metric: str
    lower_is_better: bool
    range: tuple[float, float]
    status: TaskStatus | Literal["missing"]
    score: float | None
    normalized_score: float | None
    threshold: float | None
    threshold_source: ThresholdSource | None
    passed: bool | None = Field(alias="pass")
    weight: float
    required: bool
    se: float | None
    se_source: Literal["samples", "provider", "none"]
    num_requested: int | None
    num_evaluated: int | None
    num_errors: int
    reason: str


class Verdict(Document):
    """The decision of a run; a pure function of plan, results and samples.

    Attributes:
        reasons: why, the deciding one first.
        state: what became of the tasks; a completed job can fail its gate.
        score: weighted mean of normalised scores, None when one that counts is missing.
        score_bounds: what `score` could be for any value of the missing ones.
        interval: one-sided bounds of `score` at `confidence`, `[S - z*SE, S + z*SE]`.
        probability: that the true score reaches the threshold, given `score_se`.
        decided: with missing evidence, the verdict that any value of the missing scores would give; None if it is open.
        limited: fewer examples were evaluated than the collection asks for.
    """

    schema_version: Literal[1] = 1
    verdict: Decision
    reasons: list[str]
    state: JobState
    collection_id: str
    collection_version: str
    plan_digest: str
    score: float | None
    score_se: float | None
    interval: tuple[float, float] | None
    probability: float | None
    threshold: float
    threshold_source: Literal["job", "collection", "default"]
    gate_mode: GateMode
    confidence: float
    score_bounds: tuple[float, float] | None
    decided: Literal["pass", "fail"] | None
    limited: bool
    benchmarks: list[BenchmarkTest]
