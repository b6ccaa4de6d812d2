"""The one error tree, and the exit statuses of every command.

EvalHubError              anything a user can act on; exit status 2
+- InvalidDocument        a YAML, JSON or argument document is wrong; lists every problem at once
+- MissingExtra           an optional part of the distribution is not installed
+- TrackingUnavailable    MLflow refused or is silent; the caller keeps a spool file and goes on
+- NotFound               a registry, layout or server does not have what was asked for
+- Tampered               bytes are not what their digest says; exit status 1
+- NotEvidence            content with the right digest that is no evidence as it is made here (evidence.untrusted_json)
+- Unavailable            Kubeflow Pipelines cannot be reached, or is busy: it may be later (client.failures)
+- NotTheApi              something else answers in its place
+- Garbled                its answer cannot be read: a NotTheApi that is Unavailable too (client.failures)
+- NoCredentials          the file with a token or cookies is not there, or is of no use
+- Refused                it answers, and refuses; `status` says how
+- TimedOut               the wait for a run is over, and the run goes on; exit status 124
+- Overtaken              somebody else applied the same schedule at the same time
+- Unconfigured           nobody says where Kubernetes is (client.cluster)
+- Forbidden              Kubernetes does not let us look
+- Cancelled              the user interrupted the run; exit status 130
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitStatus(IntEnum):
    """What a process of this project exits with."""

    PASS = 0
    FAIL = 1
    ERROR = 2
    INCONCLUSIVE = 3
    WAIT_TIMED_OUT = 124
    INTERRUPTED = 130


class EvalHubError(Exception):
    """Something a user can act on. The message reads "where: what is wrong (what would be right)"."""

    exit_status = ExitStatus.ERROR


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in a document.

    Attributes:
        where: file and key path, such as `collections/x.yaml: benchmarks[0].weight`.
        what: what is wrong and what would be right.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class InvalidDocument(EvalHubError):
    """A document has one or more problems; all of them are in `problems`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class MissingExtra(EvalHubError):
    """A part of the distribution that this command needs is not installed."""

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs an optional part: pip install 'evalhub-kfp[{extra}]'")


class TrackingUnavailable(EvalHubError):
    """MLflow could not be reached or refused; verdicts do not depend on it."""


class NotFound(EvalHubError):
    """A registry or layout does not have what was asked for."""


class Tampered(EvalHubError):
    """Bytes are not what their digest or size says."""

    exit_status = ExitStatus.FAIL


class Cancelled(EvalHubError):
    """The user interrupted the run; what was finished is kept."""

    exit_status = ExitStatus.INTERRUPTED
