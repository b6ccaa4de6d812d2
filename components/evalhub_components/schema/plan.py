"""The evaluation plan: everything resolved, nothing left to decide, addressed by digest."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from evalhub_components import canonical
from evalhub_components.schema.collection import GateMode, HardwareConfig, TestDataRef
from evalhub_components.schema.document import Document
from evalhub_components.schema.provider import KubernetesRuntime

ThresholdSource = Literal["benchmark", "collection", "provider"]


class ResolvedScore(Document):
    """The primary score with nothing left to inherit; `range` is in the metric's units."""

    metric: str
    lower_is_better: bool = False
    range: tuple[float, float] = (0.0, 1.0)
    range_overflow: Literal["error", "clip"] = "error"


class ResolvedThreshold(Document):
    """A benchmark's threshold.

    Attributes:
        value: on the normalised scale when `source` is `collection`, otherwise in the metric's units.
        source: where it was found: the entry, the collection's `pass_criteria`, or the provider's default.
    """

    value: float
    source: ThresholdSource


class BenchmarkTask(Document):
    """One benchmark of a plan, as a task gets it.

    Attributes:
        index: the position in the plan; with the digest it names the task.
        slug: `<index:03d>-<benchmark id>`, safe in file names and tags.
        num_examples: the collection's own limit, None for the whole data set.
        dataset_size: documents in the benchmark's data where the provider knows it.
        timeout: seconds one run of this benchmark may take.
        max_error_rate: share of examples that may fail before the benchmark counts as failed.
        judge: whether a model judges the answers.
    """

    index: int = Field(ge=0)
    slug: str
    provider_id: str
    benchmark_id: str
    primary_score: ResolvedScore
    threshold: ResolvedThreshold | None = None
    weight: float = 1.0
    required: bool = False
    parameters: dict[str, Any] = Field(default_factory=dict)
    num_few_shot: int | None = None
    num_examples: int | None = None
    dataset_size: int | None = None
    seed: int = 42
    timeout: int = 3600
    max_error_rate: float = 0.0
    test_data_ref: TestDataRef | None = None
    hardware: HardwareConfig | None = None
    judge: bool = False

    def digest(self) -> str:
        """Return the task digest, `sha256:<hex>`: over every key, those with default values too."""
        return canonical.digest(self.as_json())

    @model_serializer(mode="wrap")
    def _without_judge(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Say `judge` only where it is true: tasks in older evidence have no such key, and keep their digests."""
        found: dict[str, Any] = serialize(self)
        if not self.judge:
            found.pop("judge", None)
        return found

    def as_argument(self) -> dict[str, Any]:
        """Return the task without the keys that have their default values, for where every byte counts."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


class PlanExecution(Document):
    """How the tasks are grouped and bounded; see `schema.collection.Execution`."""

    batch: Literal["none", "provider"] | None
    max_parallel: int | None
    retries: int
    cache: bool


class PlanHeader(Document):
    """The plan without its tasks: small enough for one argument, and what the plan digest covers.

    Attributes:
        threshold: what the overall score must reach, in [0, 1].
        threshold_source: `job` (eval.yaml), `collection` or `default` (0.5).
        runtimes: how each provider runs, by provider id.
    """

    schema_version: Literal[1] = 1
    collection_id: str
    collection_version: str
    threshold: float
    threshold_source: Literal["job", "collection", "default"]
    gate_mode: GateMode
    confidence: float
    execution: PlanExecution
    runtimes: dict[str, KubernetesRuntime]
    task_digests: list[str]

    def digest(self) -> str:
        """Return the plan digest, `sha256:<hex>`."""
        return canonical.digest(self.as_json())


class EvaluationPlan(Document):
    """`plan.json`: the header and the tasks it lists, in order."""

    header: PlanHeader
    tasks: list[BenchmarkTask]


class AskedJudge(Document):
    """The model that judges answers, as a task asks it; `fingerprint` as for the model under test."""

    url: str
    name: str
    fingerprint: str | None = None


class TaskRequest(Document):
    """`task.json`: what a task was asked to do, beyond the plan.

    Attributes:
        judge: None where no model judges the answers.
        num_examples: the limit that applied: the smaller of the run's and the entry's; None for the whole data set.
        task_key: equal for equal work: digest of the task, limit, data, model name and fingerprint, and the judge's.
    """

    schema_version: Literal[1] = 1
    task: BenchmarkTask
    task_digest: str
    model_url: str
    model_name: str
    fingerprint: str | None
    num_examples: int | None
    test_data_digest: str | None
    judge: AskedJudge | None = None
    task_key: str

    @classmethod
    def of(
        cls,
        task: BenchmarkTask,
        *,
        model_url: str,
        model_name: str,
        fingerprint: str | None,
        run_limit: int | None,
        test_data_digest: str | None,
        judge: AskedJudge | None = None,
    ) -> TaskRequest:
        """Return what a run asks of `task`; `run_limit` is the run's own limit on examples, `judge` the run's judge."""
        digest, examples = task.digest(), effective_examples(task, run_limit)
        asked = judge if task.judge else None
        return cls(
            task=task,
            task_digest=digest,
            model_url=model_url,
            model_name=model_name,
            fingerprint=fingerprint,
            num_examples=examples,
            test_data_digest=test_data_digest,
            judge=asked,
            task_key=task_key(digest, examples, test_data_digest, model_name, fingerprint, asked),
        )


def effective_examples(task: BenchmarkTask, run_limit: int | None) -> int | None:
    """Return how many examples a task evaluates at most: the smaller of its own and the run's limit."""
    limits = [limit for limit in (task.num_examples, run_limit) if limit is not None]
    return min(limits) if limits else None


def is_limited(task: BenchmarkTask, run_limit: int | None) -> bool:
    """Return whether the run's limit cuts this task below what its collection asks for."""
    own = task.num_examples if task.num_examples is not None else task.dataset_size
    return run_limit is not None and (own is None or run_limit < own)


def task_key(
    task_digest: str,
    num_examples: int | None,
    data_digest: str | None,
    model_name: str,
    fingerprint: str | None,
    judge: AskedJudge | None = None,
) -> str:
    """Return the key under which a completed result may be used again (resume, caching)."""
    key: dict[str, Any] = {
        "task": task_digest,
        "num_examples": num_examples,
        "data": data_digest,
        "model": model_name,
        "fingerprint": fingerprint,
    }
    return canonical.digest(key | ({"judge": [judge.name, judge.fingerprint]} if judge else {}))
