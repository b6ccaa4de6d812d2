"""What a benchmark step is given, and how it is told to stop."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from pathlib import Path

from evalhub_components.credentials import Auth
from evalhub_components.schema.plan import AskedJudge


class Terminated(Exception):
    """The step was asked to stop; unfinished benchmarks leave no results.

    Attributes:
        status: what the step exits with.
    """

    def __init__(self, by: str, status: int) -> None:
        super().__init__(by)
        self.status = status


@dataclass(frozen=True)
class Settings:
    """What a task gets from its command line.

    Attributes:
        fingerprint: of the model, as `schema.run.Fingerprint.digest` gives it; None when unknown.
        num_examples: the run's own limit on examples.
        results: folder that gets one folder a benchmark.
        judge: the model that judges answers, None when the run has none.
        auth: what the model is asked with.
        judge_auth: what the judge is.
        ends_with_stdin: stop when standard input closes, because the run that holds its other end is gone.
        stopping: the signals that asked the step to stop; a signal handler adds them.
    """

    model_url: str
    model_name: str
    job_id: str
    fingerprint: str | None
    num_examples: int | None
    test_data: Path | None
    results: Path
    adapter_file: Path
    judge: AskedJudge | None = None
    auth: Auth = "secret"
    judge_auth: Auth = "secret"
    ends_with_stdin: bool = False
    stopping: list[signal.Signals] = field(default_factory=list)
