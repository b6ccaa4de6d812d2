"""`collections/<id>.yaml`: which benchmarks a team runs, and what passes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, Field, field_validator, model_validator

from evalhub_components.schema.document import (
    Document,
    Identifier,
    Number,
    Positive,
    Seconds,
    SecretName,
    SourceURL,
    Unit,
)
from evalhub_components.schema.provider import PassCriteria, PrimaryScore

_LEAST_WEIGHT = 1e-6
GateMode = Literal["point", "assured", "lenient"]


class Gate(Document):
    """How the overall test treats uncertainty.

    Attributes:
        mode: `point` compares the score; `assured` passes only when even the lower bound reaches the threshold;
            `lenient` fails only when even the upper bound misses it.
        confidence: of the one-sided bound, between 0.5 and 1.
    """

    mode: GateMode = "point"
    confidence: Number = Field(default=0.95, gt=0.5, lt=1)
    baseline: str | None = None

    @field_validator("baseline")
    @classmethod
    def _no_baseline_yet(cls, value: str | None) -> str | None:
        if value is not None:
            raise ValueError("not yet supported (remove it; `pass_criteria.threshold` gates on the score itself)")
        return value


class Execution(Document):
    """How the benchmarks are run. What is not said here is decided by the engine.

    Attributes:
        batch: `provider` runs a provider's benchmarks in one start of the framework, `none` each in its own.
        max_parallel: at most this many tasks at once.
        timeout: of one benchmark, in seconds.
        retries: of a task whose pod or process died.
        cache: reuse of results by Kubeflow Pipelines.
        max_error_rate: the share of a benchmark's requests that may fail before the benchmark counts as failed.
    """

    batch: Literal["none", "provider"] | None = None
    max_parallel: Positive | None = None
    timeout: Seconds | None = None
    retries: int | None = Field(default=None, ge=0, le=10)
    cache: bool | None = None
    max_error_rate: Unit | None = None


class ResourceBounds(Document):
    """A Kubernetes request and limit, such as `500m` or `4Gi`."""

    request: str | None = None
    limit: str | None = None


class GPUConfig(Document):
    """An accelerator by its resource name."""

    name: str = "nvidia.com/gpu"
    count: Positive = 1


class QueueConfig(Document):
    """The Kueue queue that admits the pods."""

    name: str


class HardwareConfig(Document):
    """What a pod asks of the cluster; without effect on a laptop."""

    cpu: ResourceBounds | None = None
    memory: ResourceBounds | None = None
    gpu: GPUConfig | None = None
    queue: QueueConfig | None = None
    tolerations: list[dict[str, Any]] = Field(default_factory=list)
    node_selector: dict[str, str] = Field(default_factory=dict)


class S3Data(Document):
    """Objects under a key prefix."""

    bucket: str
    key: str
    secret_ref: SecretName | None = None


class PVCData(Document):
    """A volume mounted read-only."""

    claim_name: str
    sub_path: str | None = None


class GitData(Document):
    """A folder of a repository; the commit it resolved to is recorded."""

    url: SourceURL
    ref: str
    sub_path: str | None = None
    secret_ref: SecretName | None = None


class HFData(Document):
    """A data set of the Hugging Face hub."""

    repo_id: str
    revision: str | None = None
    sub_path: str | None = None
    secret_ref: SecretName | None = None


class TestDataRef(Document):
    """Where a benchmark's own data comes from: exactly one source."""

    __test__ = False  # not a test class, whatever its name says to pytest

    type: Literal["data_set", "pre_recorded_data"] = "data_set"
    s3: S3Data | None = None
    pvc: PVCData | None = None
    git: GitData | None = None
    hf: HFData | None = None

    @model_validator(mode="after")
    def _exactly_one_source(self) -> TestDataRef:
        named = [name for name in ("s3", "pvc", "git", "hf") if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(f"must name exactly one of s3, pvc, git and hf, got {' and '.join(named) or 'none'}")
        return self


class BenchmarkConfig(Document):
    """One entry of a collection or of eval.yaml. The same benchmark may have several entries.

    Attributes:
        judge: whether a model judges the answers, for what the provider does not list; None is what its catalogue says.
    """

    id: Identifier = Field(validation_alias=AliasChoices("id", "benchmark_id"))
    provider_id: Identifier
    weight: Number = Field(default=1, ge=0, le=1_000_000)
    required: bool = False
    primary_score: PrimaryScore | None = None
    pass_criteria: PassCriteria | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    hardware_config: HardwareConfig | None = None
    test_data_ref: TestDataRef | None = None
    timeout: Seconds | None = None
    num_examples: Positive | None = None
    judge: bool | None = None

    @field_validator("weight")
    @classmethod
    def _weight_that_counts(cls, value: float) -> float:
        # the square of a smaller one vanishes, and with it the uncertainty of the score
        if 0 < value < _LEAST_WEIGHT:
            raise ValueError(f"must be 0 (advisory) or at least {_LEAST_WEIGHT:g}, got {value:g}")
        return value

    @field_validator("parameters", mode="before")
    @classmethod
    def _no_parameters(cls, value: object) -> object:
        return {} if value is None else value


class Collection(Document):
    """A versioned list of benchmarks with the criteria that decide.

    Attributes:
        domains, tasks, modalities, evaluation_targets, curation_order: EvalHub's catalogue labels, for search only.
        pass_criteria: the threshold of the overall score and of entries without their own, normalised, in [0, 1].
    """

    id: Identifier
    name: str | None = None
    version: str = Field(default="0", min_length=1)
    category: str | None = None
    description: str | None = None
    tags: list[str] = Field(default_factory=list)
    domains: list[str] = Field(default_factory=list)
    tasks: list[str] = Field(default_factory=list)
    modalities: list[str] = Field(default_factory=list)
    evaluation_targets: list[str] = Field(default_factory=list)
    curation_order: int | None = None
    custom: dict[str, Any] | None = None
    pass_criteria: PassCriteria | None = None
    gate: Gate | None = None
    execution: Execution | None = None
    hardware_config: HardwareConfig | None = None
    num_examples: Positive | None = None
    benchmarks: list[BenchmarkConfig] = Field(min_length=1)
    agent: dict[str, Any] | None = None
