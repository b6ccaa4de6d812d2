"""Tekton results: small files that the steps after this one, and Konflux, read."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from evalhub_components.records import wording
from evalhub_components.records.ci.disarming import disarm
from evalhub_components.records.ci.values import values, without_verdict
from evalhub_components.records.markdown import cut, one_line
from evalhub_components.run_directory import LoadedRun, instant
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import BenchmarkTest, Verdict

NAMES = ("TEST_OUTPUT", "VERDICT", "SCORE", "RUN_ID", "EVIDENCE_DIGEST", "EVIDENCE_REFERENCE")
"""The results, as a Task declares them."""

LIMIT = 3584
"""Bytes of all results as Tekton keeps them: of 4,096 in a container's termination message, the rest is its own."""

_NOTE = 240
_ENTRY = '{"key":"","value":"","type":1},'


def render(run: LoadedRun, verdict: Verdict, publication: Publication | None = None) -> dict[str, str]:
    """Return every result by its name, together within LIMIT."""
    found = {name.upper(): value for name, value in values(run, verdict, publication).items()}
    found["TEST_OUTPUT"] = _document(_test_output(run, verdict, wording.other_criteria(publication)))
    results = {name: found[name] for name in NAMES}
    if size(results) > LIMIT:
        results["EVIDENCE_REFERENCE"] = ""  # a part of a reference leads nowhere
    return results


def render_error(message: str, run_id: str = "") -> dict[str, str]:
    """Return every result of a run that came to no verdict."""
    found = {name.upper(): value for name, value in without_verdict(run_id).items()}
    found["TEST_OUTPUT"] = _document(
        {
            "result": "ERROR",
            "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "namespace": "default",
            "successes": 0,
            "failures": 1,
            "warnings": 0,
            "note": cut(one_line(f"No verdict: {message}"), _NOTE),
        }
    )
    return {name: found[name] for name in NAMES}


def size(results: dict[str, str]) -> int:
    """Return how many bytes of the termination message results take, at most."""
    return sum(len(_ENTRY) + len(name) + _escaped(value) for name, value in results.items())


def _document(value: dict[str, str | int]) -> str:
    return disarm(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _test_output(run: LoadedRun, verdict: Verdict, said_first: str) -> dict[str, str | int]:
    """Return TEST_OUTPUT (Konflux ADR 30); the checks it counts are the benchmarks and the gate."""
    passed = verdict.verdict == "pass"
    counted = [_check(test, passed) for test in verdict.benchmarks]
    # Konflux lets a warning pass: whatever is not a pass has to be a failure, an inconclusive gate too
    counted.append("failures" if not passed else "warnings" if verdict.limited else "successes")
    if passed:
        result = "WARNING" if "warnings" in counted else "SUCCESS"
    else:
        result = "ERROR" if verdict.verdict == "error" else "FAILURE"
    sentences = [said_first, wording.sentence(run, verdict)]
    return {
        "result": result,
        "timestamp": _completed(run),
        "namespace": "default",
        "successes": counted.count("successes"),
        "failures": counted.count("failures"),
        "warnings": counted.count("warnings"),
        "note": cut(one_line(". ".join(filter(None, sentences))), _NOTE),
    }


def _check(test: BenchmarkTest, passed: bool) -> str:
    if wording.outcome(test) in ("pass", "scored"):
        return "successes"
    return "failures" if wording.counts(test) and not passed else "warnings"


def _completed(run: LoadedRun) -> str:
    """Return when the tests were complete, as RFC 3339 wants it."""
    for text in (run.completed_at(), run.record.completed_at, run.record.started_at):
        if text and (moment := instant(text)):
            return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    return "1970-01-01T00:00:00Z"


def _escaped(value: str) -> int:
    """Return the length of `value` in the JSON that Go writes, where `<`, `>` and `&` become six characters."""
    text = json.dumps(value, ensure_ascii=False)
    return len(text.encode("utf-8", errors="replace")) + 5 * sum(text.count(character) for character in "<>&")
