"""The one interface a provider implements, with the names an EvalHub adapter already uses.

An adapter is a class in `providers/<id>/adapter.py`:

    class MyAdapter(FrameworkAdapter):
        def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults: ...

It runs in a process of its own whose working directory is empty and writable. Whatever it raises becomes a failed
benchmark with the exception as the reason.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from evalhub_components.schema.results import Phase, Sample


class JobPhase(StrEnum):
    """Where a benchmark stands."""

    INITIALIZING = "initializing"
    LOADING_DATA = "loading_data"
    RUNNING_EVALUATION = "running_evaluation"
    POST_PROCESSING = "post_processing"
    PERSISTING_ARTIFACTS = "persisting_artifacts"
    COMPLETED = "completed"


class JobStatus(StrEnum):
    """EvalHub's job states."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PARTIALLY_FAILED = "partially_failed"


@dataclass(frozen=True)
class MessageInfo:
    """EvalHub's form of a message."""

    message: str
    message_code: str = ""


ErrorInfo = MessageInfo


@dataclass(frozen=True)
class ModelEndpoint:
    """The model under test; `url` ends in `/v1`."""

    url: str
    name: str


@dataclass(frozen=True)
class ModelCredentials:
    """The model's credentials as the task's secret holds them.

    Attributes:
        api_key: sent as a bearer token; never printed.
        ca_cert: PEM file with the CA of the model's server.
        hf_token: for tokenizers and data sets of the Hugging Face hub.
        token_file: file with a service account's token, where the model is asked with that. It is replaced about every
            hour, and `api_key` is what it was when the step began: ask `key` before every request.
        noted: called with every token that was read, because it must be in no file that is kept.
    """

    api_key: str | None = field(default=None, repr=False)
    ca_cert: Path | None = None
    hf_token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    noted: Callable[[str], None] | None = field(default=None, repr=False, compare=False)

    def key(self) -> str | None:
        """Return what is to be sent as a bearer token now."""
        if self.token_file is None:
            return self.api_key
        token = ""
        # the folder that the kubelet has just replaced may be gone between finding and opening the file in it
        for _ in range(2):
            with contextlib.suppress(OSError, ValueError):
                token = self.token_file.read_text("ascii").strip()
                break
        # what else there is in it cannot be sent in a header, and an error about that would quote it
        if not token or not token.isprintable():
            return self.api_key
        if self.noted:
            self.noted(token)
        return token


@dataclass(frozen=True)
class JudgeModel:
    """The model that judges answers, for the benchmarks that need one."""

    endpoint: ModelEndpoint
    credentials: ModelCredentials = field(default_factory=ModelCredentials)


@dataclass(frozen=True)
class PrimaryMetric:
    """The metric whose per-example values belong in `JobResults.samples`."""

    metric: str
    lower_is_better: bool


@dataclass(frozen=True)
class JobSpec:
    """One benchmark to run.

    Attributes:
        id: the run's job id.
        num_examples: evaluate at most this many examples; None for all.
        num_few_shot: examples shown in the prompt when `parameters` does not say; None for the benchmark's own.
        timeout: seconds this benchmark may take; the harness enforces it.
        max_error_rate: share of examples that may fail, in [0, 1].
        work_dir: empty folder for this benchmark's scratch files, removed afterwards.
        raw_dir: folder for the framework's own files; they are kept byte for byte.
        test_data: folder with the benchmark's external data, None when it has none.
        judge: the model that judges answers, None when the run has none.
        callback_url, exports: EvalHub's; there is nothing to call and nowhere to push to while a benchmark runs.
    """

    id: str
    provider_id: str
    benchmark_id: str
    benchmark_index: int
    model: ModelEndpoint
    parameters: dict[str, Any]
    primary_score: PrimaryMetric
    work_dir: Path
    raw_dir: Path
    seed: int
    timeout: int
    max_error_rate: float = 0.0
    num_examples: int | None = None
    num_few_shot: int | None = None
    test_data: Path | None = None
    credentials: ModelCredentials = field(default_factory=ModelCredentials)
    judge: JudgeModel | None = None
    experiment_name: str | None = None
    tags: tuple[dict[str, str], ...] = ()
    callback_url: str = ""
    exports: None = None


@dataclass(frozen=True)
class EvaluationResult:
    """One metric.

    Attributes:
        metric_value: in the metric's units.
        stderr: the framework's own standard error, in the same units.
    """

    metric_name: str
    metric_value: float | int | str | bool | None
    metric_type: str = "float"
    stderr: float | None = None
    confidence_interval: tuple[float, float] | None = None
    num_samples: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OCIArtifactSpec:
    """Files the adapter wants in the evidence; `coordinates` is EvalHub's and has no effect here."""

    files_path: Path
    coordinates: Any = None


@dataclass(frozen=True)
class OCIArtifactResult:
    """A pending reference: the artifact is pushed with the evidence of the whole run."""

    digest: str
    reference: str


@dataclass
class JobResults:
    """What a benchmark came to.

    Attributes:
        results: every metric the framework reported.
        num_examples_evaluated: examples that went into the metrics.
        num_examples_requested: examples that should have; None when the framework does not say.
        num_errors: examples without a usable answer.
        samples: per-example values of the primary metric, in its units.
        data_digests: `sha256:` digest of each data file read, by name.
        usage: tokens, requests, seconds.
        environment: facts for `environment.json`: framework name and version, task hashes, seeds, effective settings.
        additional_info, evaluation_metadata, eval_card, env_card, metrics_schema: EvalHub's; kept with the environment.
    """

    id: str
    benchmark_id: str
    benchmark_index: int
    model_name: str
    results: Sequence[EvaluationResult]
    num_examples_evaluated: int
    duration_seconds: float = 0.0
    overall_score: float | None = None
    completed_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    evaluation_metadata: dict[str, Any] = field(default_factory=dict)
    oci_artifact: OCIArtifactResult | None = None
    mlflow_run_id: str | None = None
    num_examples_requested: int | None = None
    num_errors: int = 0
    samples: Sequence[Sample] | None = None
    data_digests: dict[str, str] = field(default_factory=dict)
    usage: dict[str, float] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    additional_info: dict[str, Any] | None = None
    eval_card: Any = None
    env_card: Any = None
    metrics_schema: Any = None


@dataclass(frozen=True)
class JobStatusUpdate:
    """Where a benchmark stands: its phase, and `completed_steps` of `total_steps` examples.

    Attributes:
        progress: share done, in [0, 1], for adapters that count no steps.
    """

    phase: Phase | JobPhase | None = None
    completed_steps: int | None = None
    total_steps: int | None = None
    message: MessageInfo | str | None = None
    status: JobStatus | None = None
    progress: float | None = None
    current_step: str | None = None
    error: ErrorInfo | None = None
    error_message: MessageInfo | None = None
    error_details: dict[str, Any] | None = None
    warning_message: MessageInfo | None = None


class MLflowCallbacks(ABC):
    """EvalHub's `callbacks.mlflow`."""

    @abstractmethod
    def save(self, results: JobResults, job_spec: JobSpec | None = None, artifacts: Any = None) -> str | None:
        """Answer None: `aggregate` makes the MLflow run later, of what the adapter returns."""


class JobCallbacks(ABC):
    """How an adapter talks to the harness while it runs."""

    mlflow: MLflowCallbacks

    @abstractmethod
    def report_status(self, update: JobStatusUpdate, *, benchmark_index: int | None = None) -> None:
        """Report progress; `benchmark_index` says whose, when several benchmarks run at once."""

    @abstractmethod
    def create_oci_artifact(self, spec: OCIArtifactSpec) -> OCIArtifactResult:
        """Copy the files into `raw/`, from where they get into the evidence; answer with a pending reference."""

    @abstractmethod
    def report_results(self, results: JobResults) -> None:
        """Hand in results before returning them; the first word on a benchmark counts, repeating it is harmless."""


class FrameworkAdapter(ABC):
    """A provider's adapter; the harness makes it without arguments, those it takes are EvalHub's."""

    def __init__(self, settings: Any = None, job_spec_path: str | None = None) -> None:
        super().__init__()

    @abstractmethod
    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        """Run one benchmark and return its results; raise when it cannot be scored."""

    def run_batch(self, configs: Sequence[JobSpec], callbacks: JobCallbacks) -> Iterator[JobResults]:
        """Run several benchmarks in one start of the framework and yield each one's results as it is done.

        Override it where the framework gains from running them together. A benchmark without results at the end is run
        again alone by the harness.
        """
        for config in configs:
            yield self.run_benchmark_job(config, callbacks)
