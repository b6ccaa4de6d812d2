"""The facts of a run as single values, for systems that hand them from one step to the next."""

from __future__ import annotations

import json

from evalhub_components.records import wording
from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import Verdict

NAMES = (
    "verdict",
    "criteria",
    "score",
    "threshold",
    "run_id",
    "run_directory",
    "evidence_reference",
    "evidence_digest",
    "mlflow_run_id",
)
"""The values there are."""


def values(run: LoadedRun, verdict: Verdict, publication: Publication | None = None) -> dict[str, str]:
    """Return every value by its name; what a run does not have is an empty text, so that a name always exists."""
    where = publication or Publication()
    found = {
        "verdict": verdict.verdict,
        "criteria": "other" if wording.other_criteria(publication) else "own",
        "score": _number(verdict.score),
        "threshold": _number(verdict.threshold),
        "run_id": run.record.run_id,
        # the folder of a pod is gone when somebody reads this, and evidence has none
        "run_directory": str(run.path.resolve()) if run.record.engine != "kfp" and run.path.is_absolute() else "",
        "evidence_reference": where.evidence_reference or "",
        "evidence_digest": where.evidence_digest or "",
        "mlflow_run_id": where.mlflow_run_id or "",
    }
    return {name: found[name] for name in NAMES}


def without_verdict(run_id: str = "") -> dict[str, str]:
    """Return the values where there is no run, or one without a verdict."""
    return {**dict.fromkeys(NAMES, ""), "verdict": "error", "run_id": run_id}


def _number(value: float | None) -> str:
    return "" if value is None else json.dumps(value)
