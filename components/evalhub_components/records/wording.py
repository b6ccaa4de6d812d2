"""What a verdict says in words, as plain text: every record of a run says it alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError
from evalhub_components.records.markdown import cut, one_line
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
_MACHINES = 12
_AGAIN = "judged again under other criteria"
_NAMED = 3
_NAME = 80  # characters of a benchmark's name in a sentence
_WITHIN = re.compile(r"threshold (\S+) is within the interval \[\S+, \S+\] \(score (\S+), confidence \S+\)")
_BOUND = re.compile(r"((?:even )?the (?:upper|lower) bound .+ \(score \S+), confidence \S+\)")


def sentence(run: LoadedRun, verdict: Verdict) -> str:
    """Return the verdict as a sentence, with the reason that decided it."""
    first = reasons(verdict)[0]
    collection = f"{verdict.collection_id} version {verdict.collection_version}"
    return f"{DECISIONS[verdict.verdict]}: {run.record.model_name} on collection {collection}: {first}."


def names(verdict: Verdict) -> dict[int, str]:
    """Return what each benchmark is called, by its index: its id, with its number where several have that id."""
    ids = {test.benchmark_index: cut(one_line(test.benchmark_id), _NAME) for test in verdict.benchmarks}
    times = Counter(ids.values())
    return {index: name if times[name] == 1 else f"{name} (#{index})" for index, name in ids.items()}


def listed(called: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(called) - _NAMED} more" if len(called) > _NAMED else ""
    return ", ".join(called[:_NAMED]) + more


def reasons(verdict: Verdict) -> list[str]:
    """Return why, the deciding reason first; benchmarks go by their names, and those that share a cause share a line.

    What is in `verdict.reasons` is for machines to compare: it names folders, and each benchmark alone.
    """
    called = names(verdict)
    by_slug = {test.slug: called[test.benchmark_index] for test in verdict.benchmarks}
    lacking = {f"{test.slug} has {test.reason}": test for test in verdict.benchmarks if test.score is None}
    said: dict[str, list[str]] = {}
    for reason in verdict.reasons:
        if test := lacking.get(reason):
            said.setdefault(test.reason, []).append(called[test.benchmark_index])
        else:
            said.setdefault(_with_names(_in_one_term(verdict, reason), by_slug), [])
    found = [
        f"{listed(who)} {'has' if len(who) == 1 else 'have'} {what}" if who else what for what, who in said.items()
    ]
    return found or ["no reason was given"]


def confidence(verdict: Verdict) -> str:
    """Return the confidence of every bound as a percentage."""
    return f"{shown(100 * verdict.confidence)}%"


def probability(value: float) -> str:
    """Return a probability as people read it; a normal approximation is never certain."""
    return "below 0.001" if value < 0.001 else "above 0.999" if value > 0.999 else f"{value:.3f}"


def judged_again(own: Decision) -> Publication:
    """Return what to publish with a verdict under other criteria than the run's: evidence and MLflow hold the own one.

    Args:
        own: what the run's own criteria give.
    """
    return Publication(warnings=[f"{_AGAIN}; the run's own verdict is {own}"])


def other_criteria(publication: Publication | None) -> str:
    """Return that a verdict is under other criteria than the run's own, in words; empty when it is not."""
    return next((text for text in (publication.warnings if publication else ()) if text.startswith(_AGAIN)), "")


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
        text += f", one-sided {confidence(verdict)} bounds {shown(low)} and {shown(high)}"
    else:
        text += ", no bounds (a benchmark gave no standard error)"
    if verdict.probability is not None:
        reached = f"the true score reaches {shown(verdict.threshold)}"
        text += f", probability that {reached}: {probability(verdict.probability)}"
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


def reach(test: BenchmarkTest, confidence: float) -> float | None:
    """Return how far each one-sided bound is from a benchmark's normalised score, None without a standard error."""
    if test.normalized_score is None or test.se is None:
        return None
    return NormalDist().inv_cdf(confidence) * test.se


def bounds(test: BenchmarkTest, confidence: float) -> str:
    """Return a benchmark's one-sided bounds in the metric's units, `-` for none."""
    distance, score = reach(test, confidence), test.normalized_score
    if distance is None or score is None:
        return "-"
    worst, best = reversed(test.range) if test.lower_is_better else test.range
    ends = (worst + (best - worst) * end for end in interval((score - distance, score + distance)))
    return " to ".join(shown(end) for end in sorted(ends))


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
    lines = [f"{count} benchmark{'' if count == 1 else 's'} on {text}" for text, count in found.most_common(_MACHINES)]
    return [*lines, *([f"{len(found) - _MACHINES} more kinds"] if len(found) > _MACHINES else [])]


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


def _in_one_term(verdict: Verdict, reason: str) -> str:
    """Return a reason with the bounds called what they are called beside it, and shown as they are there."""
    if verdict.interval is not None and (found := _WITHIN.fullmatch(reason)):
        low, high = interval(verdict.interval)
        both = f"the one-sided {confidence(verdict)} bounds {shown(low)} and {shown(high)}"
        return f"threshold {found[1]} is between {both} (score {found[2]})"
    if found := _BOUND.fullmatch(reason):
        return f"{found[1]}, one-sided {confidence(verdict)} bounds)"
    return reason


def _with_names(reason: str, by_slug: Mapping[str, str]) -> str:
    # a slug within a path stays: that is where the files are
    return re.sub(r"(?<![\w./-])[\w-]+(?![\w/-])", lambda word: by_slug.get(word[0], word[0]), reason)


def _framework(facts: dict[str, Any]) -> list[str]:
    framework = facts.get("framework")
    if isinstance(framework, dict):
        return [f"{framework.get('name')} {framework.get('version')}"]
    return [f"{framework} {facts.get('framework_version') or ''}".strip()] if framework else []
