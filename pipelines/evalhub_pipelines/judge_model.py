"""The model that judges answers in a run on this machine: needed or not, who it is, and the secret it is asked with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evalhub_components.errors import EvalHubError
from evalhub_components.schema.evaluation import JudgeConfig
from evalhub_components.schema.plan import BenchmarkTask, EvaluationPlan
from evalhub_components.schema.run import RecordedJudge
from evalhub_pipelines import directories, steps
from evalhub_pipelines.processes import Listener


def check(plan: EvaluationPlan, judge: JudgeConfig | None, listener: Listener) -> None:
    """Refuse a plan with something to judge and no judge; say so when there is a judge and nothing for it to do."""
    judged = [task.benchmark_id for task in plan.tasks if task.judge]
    if judged and judge is None:
        what = "needs a model that judges answers" if len(judged) == 1 else "need a model that judges answers"
        raise EvalHubError(f"{', '.join(judged)}: {what} (set judge: {{url, name}} in eval.yaml, or --judge-url)")
    if judge and not judged:
        message = "no benchmark of this plan asks the judge (an entry that its provider does not list says judge: true)"
        listener({"event": "stage", "stage": "fingerprint", "message": message})


def recorded(judge: JudgeConfig | None) -> RecordedJudge | None:
    """Return what a run's record has of the judge, before it was asked."""
    if judge is None:
        return None
    return RecordedJudge(
        url=judge.url.rstrip("/"),
        name=judge.name,
        secret=judge.auth.secret_ref if judge.auth else None,
        service_account=bool(judge.auth and judge.auth.service_account),
    )


def asked(judge: RecordedJudge | None, tasks: Sequence[BenchmarkTask]) -> RecordedJudge | None:
    """Return the judge with its fingerprint; None when there is nothing to judge.

    Raises:
        EvalHubError: it does not answer.
    """
    if judge is None or not any(task.judge for task in tasks):
        return None
    by_account = bool(judge.service_account)
    try:
        found = steps.fingerprint(judge.url, judge.name, secret(judge), service_account=by_account, role="judge")
    except EvalHubError as error:
        raise EvalHubError(f"the judge: {error}") from None
    return judge.model_copy(update={"fingerprint": found.digest()})


def secret(judge: RecordedJudge | None) -> Path | None:
    """Return the folder of the judge's secret, None where it has none.

    Raises:
        EvalHubError: there is no such folder.
    """
    name = judge.secret if judge else None
    return directories.secret(name, "judge.auth.secret_ref") if name else None
