"""What a verdict says in words, as plain text: every record of a run says it alike."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError
from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import BenchmarkTest, Decision, Verdict
from evalhub_components.scoring.comparison import shown

Outcome = Literal["pass", "fail", "scored", "no score", "error"]
"""Of one benchmark; `scored` has no threshold, `no score` does not count, `error` counts and has no score."""

DECISIONS: dict[Decision, str] = {
    "pass": "Passed",
    "fail": "Failed",
    "inconclusive": "Inconclusive",
    "error": "No verdict",
}
LIMITED = "Limited: fewer examples were evaluated than the collection asks for."

_THRESHOLD_SOURCES = {"job": "of this job", "collection": "of the collection", "default": "the default"}
_MACHINES = 5


def sentence(run: LoadedRun, verdict: Verdict) -> str:
    """Return the verdict as a sentence, with the reason that decided it."""
    first = verdict.reasons[0] if verdict.reasons else "no reason was given"
    collection = f"{verdict.collection_id} version {verdict.collection_version}"
    return f"{DECISIONS[verdict.verdict]}: {run.record.model_name} on collection {collection}: {first}."


def overall(verdict: Verdict) -> str:
    """Return the overall score with all that is known of its certainty."""
    if verdict.score is None:
        if verdict.score_bounds is None:
            return "none"
        low, high = verdict.score_bounds
        return f"none; between {shown(low)} and {shown(high)} for any value of the missing ones"
    text = shown(verdict.score)
    if verdict.interval is not None:
        low, high = interval(verdict.interval)
        text += f", one-sided {verdict.confidence:.0%} bounds {shown(low)} and {shown(high)}"
    else:
        text += ", no interval (a benchmark gave no standard error)"
    if verdict.probability is not None:
        text += f", P(true score reaches the threshold) = {shown(verdict.probability, 3)}"
    return text


def interval(bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the bounds of a score as they are shown: a normal approximation may leave the scale, and no score does."""
    low, high = bounds
    return min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)


def overall_threshold(verdict: Verdict) -> str:
    """Return what the overall score is compared with, and how."""
    source = _THRESHOLD_SOURCES[verdict.threshold_source]
    return f"{shown(verdict.threshold)} ({source}), gate mode {verdict.gate_mode}"


def counts(test: BenchmarkTest) -> bool:
    """Return whether the verdict depends on this benchmark."""
    return test.weight > 0 or test.required


def outcome(test: BenchmarkTest) -> Outcome:
    """Return what one benchmark came to."""
    if test.score is None:
        return "error" if counts(test) else "no score"
    return "scored" if test.passed is None else "pass" if test.passed else "fail"


def interest(test: BenchmarkTest) -> int:
    """Return how little a benchmark explains of a verdict: 0 for one that alone takes it away."""
    if not counts(test):
        return 3 if test.passed is not True else 4
    return {"error": 0, "fail": 1 if test.required else 2}.get(outcome(test), 4)


def mark(test: BenchmarkTest) -> str:
    """Return how a benchmark takes part, empty when it simply counts."""
    return "required" if test.required else "advisory" if test.weight == 0 else ""


def threshold(test: BenchmarkTest) -> str:
    """Return a benchmark's own threshold, `-` for none."""
    if test.threshold is None:
        return "-"
    return shown(test.threshold) + (" (normalised)" if test.threshold_source == "collection" else "")


def examples(test: BenchmarkTest) -> str:
    """Return how many examples were evaluated, and of how many."""
    numbers = [str(count) for count in (test.num_evaluated, test.num_requested) if count is not None]
    return " of ".join(numbers) or "-"


def is_local(run: LoadedRun, publication: Publication | None) -> bool:
    """Return whether whoever reads this has the run directory: a pod's is gone, and evidence is read anywhere."""
    return publication is not None and run.record.engine != "kfp"


def environments(run: LoadedRun) -> list[str]:
    """Return what the benchmarks ran on, the most frequent first."""
    found = Counter(environment(folder) for folder in run.folders.values())
    found.pop("", None)
    return [f"{count} benchmark{'' if count == 1 else 's'} on {text}" for text, count in found.most_common(_MACHINES)]


def verify_command(publication: Publication, *, local: bool) -> tuple[str, ...] | None:
    """Return the words of the command that verifies the evidence, None when it cannot be reached from elsewhere.

    Args:
        publication: where the evidence went.
        local: whether whoever reads this has the run directory.
    """
    if not publication.evidence_digest or not (publication.evidence_pushed or local):
        return None
    key = ("--key", "public.key") if publication.evidence_key_id else ()
    return ("evalhub-kfp", "verify", publication.evidence_address or "", *key)


def environment(folder: Path) -> str:
    """Return the machine of one benchmark in words, empty when it did not say."""
    try:
        facts = atomic.read_json(folder / "environment.json")
        hardware, python = facts.get("hardware") or {}, facts.get("python") or {}
        accelerators = [str(item.get("name")) for item in facts.get("accelerators") or []]
        parts = [
            *_framework(facts),
            f"Python {python.get('version')}",
            str((facts.get("os") or {}).get("distribution")),
            f"{hardware.get('cpus')} x {hardware.get('cpu')}",
            *(f"{count} x {name}" for name, count in sorted(Counter(accelerators).items())),
        ]
    except (EvalHubError, AttributeError, TypeError, RecursionError):
        return ""
    return ", ".join(parts)


def _framework(facts: dict[str, Any]) -> list[str]:
    framework = facts.get("framework")
    if isinstance(framework, dict):
        return [f"{framework.get('name')} {framework.get('version')}"]
    return [f"{framework} {facts.get('framework_version') or ''}".strip()] if framework else []
