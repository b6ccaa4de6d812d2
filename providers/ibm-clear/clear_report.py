"""What clear left: a score and the issues of every step that it judged."""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from evalhub_components.adapter import EvaluationResult


@dataclass(frozen=True)
class Judged:
    """One step as clear saw it.

    Attributes:
        score: in [0, 1]; None where the judge gave none.
        issues: those of the list that the judge found in it.
        failure: why its score or its issues cannot be trusted, empty when they can.
    """

    id: str
    agent: str
    trace: str
    score: float | None
    issues: tuple[str, ...]
    failure: str


def read(folder: Path) -> list[Judged]:
    """Return the steps in all files of results below a folder.

    clear's own summary counts a step without a score as 0; these files keep the two apart.
    """
    csv.field_size_limit(1 << 30)
    found: list[Judged] = []
    for path in sorted(folder.rglob("analysis_results_*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found.append(_judged(row))
    return found


def unlisted(folder: Path, threshold: float) -> bool:
    """Return whether there are steps below the threshold for which clear had no list of issues to look for."""
    for results in folder.rglob("analysis_results_*.csv"):
        lists = [json.loads(path.read_text("utf-8")) for path in results.parent.glob("shortcoming_list_*.json")]
        scores = [step.score for step in read(results.parent) if step.score is not None]
        if not all(lists) and any(score < threshold for score in scores):
            return True
    return False


def metrics(steps: Sequence[Judged], *, of_traces: bool) -> list[EvaluationResult]:
    """Return the metrics over steps that all have a score."""
    scores = [step.score for step in steps if step.score is not None]
    troubled = sum(bool(step.issues) for step in steps)
    issues = sum(len(step.issues) for step in steps)
    found: dict[str, float | int] = {
        "average_score": fmean(scores),
        "total_interactions": len(steps),
        "total_issues": issues,
        "interactions_with_issues": troubled,
        "interactions_no_issues": len(steps) - troubled,
        "pct_interactions_with_issues": 100 * troubled / len(steps),
        "issues_per_interaction": issues / len(steps),
    }
    if of_traces:
        found["total_agents"] = len({step.agent for step in steps})
    return [EvaluationResult(name, value, num_samples=len(steps)) for name, value in found.items()]


def _judged(row: dict[str, str]) -> Judged:
    errors = _list(row.get("error", ""))
    score = _score(row["score"])
    failure = "; ".join(errors) or ("" if score is not None else "the judge gave no score")
    issues = tuple(_list(row.get("recurring_issues_str", "")))
    return Judged(
        row.get("id") or row["question_id"],
        row.get("Name") or row.get("agent_name") or "",
        row.get("task_id") or "",
        score,
        issues,
        failure,
    )


def _score(text: str) -> float | None:
    try:
        score = float(text)
    except ValueError:
        return None
    return score if 0 <= score <= 1 else None


def _list(text: str) -> list[str]:
    """Return a list as clear writes it into a cell: JSON or as Python prints it."""
    for read_as in (json.loads, ast.literal_eval):
        try:
            found = read_as(text)
        except (ValueError, SyntaxError):
            continue
        return [str(one) for one in found] if isinstance(found, list) else [str(found)]
    return [text] if text.strip() else []
