"""The documents of a run directory that are not results: who ran what, against which model, and where records went."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from evalhub_components import canonical
from evalhub_components.schema.document import Digest, Document
from evalhub_components.schema.exports import Exports, Subject
from evalhub_components.schema.plan import AskedJudge
from evalhub_components.schema.verdict import JobState


class RecordedJudge(AskedJudge):
    """The model that judged answers.

    Attributes:
        secret: name of the secret with its credentials, never its content.
        service_account: whether it was asked with the token of the run's service account; None where nobody says.
    """

    secret: str | None = None
    service_account: bool | None = None

    def asked(self) -> AskedJudge:
        """Return what tasks and others may know: how a secret is called here means nothing to them."""
        return AskedJudge(url=self.url, name=self.name, fingerprint=self.fingerprint)


class RunRecord(Document):
    """`run.json`: one execution of a plan.

    Attributes:
        job_id: 32 hex digits, the same for the same configuration.
        model_secret: name of the secret with the model's credentials, never its content.
        model_service_account: whether the model was asked with the token of the run's service account; None of a
            pipeline's run, whose last step is told no more of it than the secret's name.
        model_digest: of the model's own OCI manifest, where somebody named it.
        judge: None where no model judged answers.
        subject: that manifest, where it is in the repository that the evidence goes to.
        exports: where the evidence was to go.
        declared_environment: what the caller said of the model server; nobody checked it.
        num_examples: the run's own limit on examples a benchmark.
    """

    schema_version: Literal[1] = 1
    run_id: str
    job_id: str
    name: str | None
    plan_digest: str
    model_url: str
    model_name: str
    model_secret: str | None = None
    model_service_account: bool | None = None
    model_digest: Digest | None = None
    judge: RecordedJudge | None = None
    subject: Subject | None = None
    exports: Exports | None = None
    declared_environment: dict[str, Any]
    num_examples: int | None
    tags: list[str]
    experiment_name: str
    experiment_tags: dict[str, str]
    package_version: str
    engine: str
    state: JobState
    started_at: str
    completed_at: str | None


class Fingerprint(Document):
    """`fingerprint.json`: which model answered.

    Attributes:
        identity: digest over the served model's id, root, parent and max_model_len.
        answers: digest over its answers to a few fixed prompts at temperature 0; None when it gave none.
        observed: what the server said of itself, headers included; never part of a digest.
        missing: what the server did not give, in words.
    """

    schema_version: Literal[1] = 1
    model_url: str
    model_name: str
    identity: str
    answers: str | None
    observed: dict[str, Any]
    missing: list[str] = Field(default_factory=list)

    def digest(self) -> str:
        """Return the one value that stands for this model in task keys: `sha256:<hex>` over identity and answers."""
        return canonical.digest({"identity": self.identity, "answers": self.answers})


class Publication(Document):
    """`publication.json`: what came after the verdict, outside the evidence.

    Attributes:
        evidence_digest: of the index of the evidence.
        evidence_reference: where it can be pulled: `repository:tag@digest` in a registry, or the layout's folder.
        evidence_pushed: whether it is in a registry.
        evidence_address: the reference as commands of ours take it: pinned, with `http://` where that was asked for.
        evidence_key_id: of the key that signed it, `sha256:<hex>`; None for unsigned evidence.
        warnings: what could not be published, and how to try again.
    """

    schema_version: Literal[1] = 1
    evidence_digest: str | None = None
    evidence_reference: str | None = None
    evidence_pushed: bool = False
    evidence_address: str | None = None
    evidence_key_id: str | None = None
    mlflow_tracking_uri: str | None = None
    mlflow_experiment_id: str | None = None
    mlflow_run_id: str | None = None
    warnings: list[str] = Field(default_factory=list)


def job_id(
    plan_digest: str, model_url: str, model_name: str, num_examples: int | None, judge: RecordedJudge | None = None
) -> str:
    """Return the id that equal configurations share: 32 hex digits."""
    configuration: dict[str, Any] = {
        "plan": plan_digest,
        "model_url": model_url,
        "model_name": model_name,
        "num_examples": num_examples,
    }
    if judge:
        configuration["judge"] = [judge.url, judge.name]
    return canonical.digest(configuration).removeprefix("sha256:")[:32]
