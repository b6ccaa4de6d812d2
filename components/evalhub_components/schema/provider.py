"""`providers/<id>/provider.yaml`: a framework, how it is run, and the benchmarks it offers."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from evalhub_components.schema.document import Count, Document, Identifier, Number, Positive


class PrimaryScore(Document):
    """Which metric decides, which way is better and where it lives.

    In a collection's entry every key but `metric` may be left out and is then inherited from the provider's definition
    of the same metric.

    Attributes:
        range: the lowest and highest value in the metric's own units; `[0, 1]` when nobody says.
        range_overflow: `error` refuses a value outside the range, `clip` saturates it (for unbounded metrics).
    """

    metric: str = Field(min_length=1)
    lower_is_better: bool | None = None
    range: tuple[Number, Number] | None = None
    range_overflow: Literal["error", "clip"] | None = None

    @field_validator("range", mode="before")
    @classmethod
    def _two_bounds(cls, value: object) -> object:
        if isinstance(value, list) and len(value) != 2:
            raise ValueError(f"must be [low, high], got {len(value)} value(s)")
        return value

    @field_validator("range")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None:
            low, high = value
            if not (low < high and math.isfinite(high - low)):
                raise ValueError(f"must be [low, high] with low < high, got [{low:g}, {high:g}]")
        return value


class PassCriteria(Document):
    """The threshold of one benchmark (metric's units) or of a whole collection (normalised, in [0, 1])."""

    threshold: Number


class EnvVar(Document):
    """One environment variable of a provider's container."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    value: str = ""


class GPURequest(Document):
    """The accelerator a provider needs."""

    resource: str = "nvidia.com/gpu"
    count: Positive = 1
    node_selector: dict[str, str] = Field(default_factory=dict)


class KubernetesRuntime(Document):
    """How the provider runs in a pod; quantities in Kubernetes notation (`500m`, `4Gi`)."""

    image: str | None = None
    entrypoint: list[str] | None = None
    cpu_request: str | None = None
    cpu_limit: str | None = None
    memory_request: str | None = None
    memory_limit: str | None = None
    gpu: GPURequest | None = None
    env: list[EnvVar] = Field(default_factory=list)
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None

    @field_validator("image_pull_policy", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        """Accept EvalHub's lower-case spelling."""
        known = {"always": "Always", "ifnotpresent": "IfNotPresent", "never": "Never"}
        return known.get(value.lower(), value) if isinstance(value, str) else value


class LocalRuntime(Document):
    """How the provider runs as a process on this machine; without `command` in an environment made for it."""

    command: str | list[str] | None = None
    env: list[EnvVar] = Field(default_factory=list)


class Runtime(Document):
    """Where and how a provider runs."""

    k8s: KubernetesRuntime | None = None
    local: LocalRuntime | None = None


class Benchmark(Document):
    """One benchmark that a provider offers.

    Attributes:
        domains, tasks, modalities, evaluation_targets: EvalHub's catalogue labels, for search only.
        judge: whether answers are judged by a model, which a run must then name.
        agent: free-form notes, such as `unverified` for what nobody has run yet.
    """

    id: Identifier
    aliases: list[Identifier] = Field(default_factory=list)
    name: str | None = None
    description: str | None = None
    category: str | None = None
    metrics: list[str] = Field(default_factory=list)
    num_few_shot: Count | None = None
    dataset_size: Count | None = None
    tags: list[str] = Field(default_factory=list)
    domains: list[str] = Field(default_factory=list)
    tasks: list[str] = Field(default_factory=list)
    modalities: list[str] = Field(default_factory=list)
    evaluation_targets: list[str] = Field(default_factory=list)
    url: str | None = None
    primary_score: PrimaryScore | None = None
    pass_criteria: PassCriteria | None = None
    judge: bool = False
    agent: dict[str, Any] | None = None


class Provider(Document):
    """An evaluation framework and its benchmarks.

    Attributes:
        aliases: other ids that collections may name it by.
        takes_others: whether a collection may ask for benchmarks that are not listed here, with a primary score that
            the entry brings: tasks of the framework's that nobody listed, and a team's own.
    """

    id: Identifier
    aliases: list[Identifier] = Field(default_factory=list)
    takes_others: bool = False
    name: str | None = None
    title: str | None = None
    description: str | None = None
    tags: list[str] = Field(default_factory=list)
    runtime: Runtime = Field(default_factory=Runtime)
    benchmarks: list[Benchmark] = Field(default_factory=list)
    agent: dict[str, Any] | None = None

    @field_validator("benchmarks")
    @classmethod
    def _judged_here(cls, value: list[Benchmark], info: ValidationInfo) -> list[Benchmark]:
        runtime = info.data.get("runtime")
        if runtime and runtime.k8s and runtime.k8s.entrypoint and any(benchmark.judge for benchmark in value):
            raise ValueError(
                "judge: needs an adapter made for this program (an image with an entrypoint gets no judge)"
            )
        return value

    @field_validator("benchmarks")
    @classmethod
    def _ids_are_unique(cls, value: list[Benchmark]) -> list[Benchmark]:
        names = Counter(name for benchmark in value for name in {benchmark.id, *benchmark.aliases})
        twice = sorted(name for name, count in names.items() if count > 1)
        if twice:
            raise ValueError(f"ids and aliases must be unique, used twice: {', '.join(twice)}")
        return value

    def benchmark(self, name: str) -> Benchmark | None:
        """Return the benchmark with this id or alias, or None."""
        return next((b for b in self.benchmarks if name == b.id or name in b.aliases), None)
