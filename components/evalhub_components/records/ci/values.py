"""The facts of a run as single values, for systems that hand them from one step to the next."""

from __future__ import annotations

import json

from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import Verdict


def values(run: LoadedRun, verdict: Verdict, publication: Publication | None = None) -> dict[str, str]:
    """Return every value by its name; what a run does not have is an empty text, so that a name always exists."""
    where = publication or Publication()
    return {
        "verdict": verdict.verdict,
        "score": _number(verdict.score),
        "threshold": _number(verdict.threshold),
        "run_id": run.record.run_id,
        # the folder of a pod is gone when somebody reads this
        "run_directory": "" if run.record.engine == "kfp" else str(run.path.resolve()),
        "evidence_reference": where.evidence_reference or "",
        "evidence_digest": where.evidence_digest or "",
        "mlflow_run_id": where.mlflow_run_id or "",
    }


def _number(value: float | None) -> str:
    return "" if value is None else json.dumps(value)
