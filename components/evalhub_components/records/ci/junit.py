"""JUnit XML: a suite for the collection, a case for each benchmark, and one more for the gate.

The elements and attributes are those that Jenkins' schema (xunit-plugin, junit-10.xsd) has.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

from evalhub_components.records import usage, wording
from evalhub_components.records.markdown import cut, one_line
from evalhub_components.run_directory import LoadedRun, instant
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import BenchmarkTest, Verdict
from evalhub_components.scoring.comparison import shown

GATE = "gate"
"""Name of the case that is the verdict: benchmarks that all pass do not make a run that missed its score look green."""

_NAME = 200
_MESSAGE = 1000
_REASONS = 50
_LOG_BYTES = 8192
# what XML 1.0 has no way to write (section 2.2)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(run: LoadedRun, verdict: Verdict, publication: Publication | None = None) -> bytes:
    """Return the document as UTF-8.

    Args:
        run: as loaded.
        verdict: over this run.
        publication: where the records went, for the properties that say so.
    """
    cases = [_gate(verdict)]
    names = {(cases[0].get("classname"), cases[0].get("name"))}
    for test in verdict.benchmarks:
        case = _case(run, test)
        while (case.get("classname"), case.get("name")) in names:
            case.set("name", f"{case.get('name')} ({test.benchmark_index})")
        names.add((case.get("classname"), case.get("name")))
        cases.append(case)
    cases.append(cases.pop(0))  # the decision comes after what it rests on
    totals = {
        "name": _line(verdict.collection_id, _NAME),
        "tests": str(len(cases)),
        "failures": _count(cases, "failure"),
        "errors": _count(cases, "error"),
        "time": _seconds(math.fsum(float(case.get("time", "0")) for case in cases)),
    }
    root = ElementTree.Element("testsuites", totals)
    suite = ElementTree.SubElement(root, "testsuite", {**totals, "skipped": _count(cases, "skipped")})
    if started := instant(run.record.started_at):
        suite.set("timestamp", f"{started:%Y-%m-%dT%H:%M:%S}")  # readers of JUnit take no time zone
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(run, verdict, publication).items():
        ElementTree.SubElement(properties, "property", {"name": name, "value": _line(value, _MESSAGE)})
    suite.extend(cases)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _properties(run: LoadedRun, verdict: Verdict, publication: Publication | None) -> dict[str, str]:
    found = {
        "verdict": verdict.verdict,
        "score": wording.overall(verdict),
        "threshold": wording.overall_threshold(verdict),
        "collection": verdict.collection_id,
        "collection_version": verdict.collection_version,
        "plan_digest": verdict.plan_digest,
        "model": run.record.model_name,
        "model_url": run.record.model_url,
        "run_id": run.record.run_id,
        "limited": str(verdict.limited).lower(),
    }
    if publication is not None:
        found |= {
            "evidence_digest": publication.evidence_digest or "",
            "evidence_reference": publication.evidence_reference or "",
            "mlflow_run_id": publication.mlflow_run_id or "",
        }
    return found


def _gate(verdict: Verdict) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase", {"classname": _line(verdict.collection_id, _NAME), "name": GATE, "time": "0"}
    )
    if verdict.verdict != "pass":
        first = verdict.reasons[0] if verdict.reasons else "no reason was given"
        said = [*verdict.reasons[:_REASONS], f"overall score: {wording.overall(verdict)}"]
        said.append(f"threshold: {wording.overall_threshold(verdict)}")
        # an inconclusive run did not pass, and JUnit knows nothing between passed and failed
        tag = "error" if verdict.verdict == "error" else "failure"
        message = f"{wording.DECISIONS[verdict.verdict]}: {first}"
        _said(case, tag, verdict.verdict, message, "\n".join(_line(text, _MESSAGE) for text in said))
    return case


def _case(run: LoadedRun, test: BenchmarkTest) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase",
        {
            "classname": _line(test.provider_id, _NAME),
            "name": _line(test.benchmark_id, _NAME),
            "time": _seconds(_wall_seconds(run, test)),
        },
    )
    outcome, details = wording.outcome(test), _details(test)
    if not wording.counts(test):
        _said(case, "skipped", "advisory", f"advisory ({outcome}), decides nothing: {test.reason}")
    elif outcome == "error":
        _said(case, "error", "no score", test.reason, details)
    elif outcome == "fail":
        _said(case, "failure", "threshold", test.reason, details)
    output = ElementTree.SubElement(case, "system-out")
    output.text = _text(details)
    if test.score is None and (log := _log(run.folders.get(test.benchmark_index))):
        output.text += _text(f"\n\nend of log.txt:\n{log}")
    return case


def _details(test: BenchmarkTest) -> str:
    facts = {
        "result": ", ".join(part for part in (wording.outcome(test), wording.mark(test)) if part),
        "metric": test.metric + (" (lower is better)" if test.lower_is_better else ""),
        "score": "-" if test.score is None else shown(test.score),
        "threshold": wording.threshold(test),
        "weight": shown(test.weight),
        "examples": wording.examples(test),
        "reason": test.reason,
        "files": f"benchmarks/{test.slug}/",
    }
    return "\n".join(f"{name}: {_line(value, _MESSAGE)}" for name, value in facts.items())


def _said(case: ElementTree.Element, tag: str, kind: str, message: str, text: str = "") -> None:
    element = ElementTree.SubElement(case, tag, {"type": kind, "message": _line(message, _MESSAGE)})
    if text:
        element.text = _text(text)


def _wall_seconds(run: LoadedRun, test: BenchmarkTest) -> float:
    outcome = run.outcomes.get(test.benchmark_index)
    return (usage.of(outcome.results).wall_seconds if outcome else None) or 0.0


def _log(folder: Path | None) -> str:
    """Return the end of a benchmark's log, empty when there is none that can be read."""
    path = folder / "log.txt" if folder else None
    if path is None or path.is_symlink() or not path.is_file():
        return ""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _LOG_BYTES, 0))
            return file.read(_LOG_BYTES).decode("utf-8", errors="replace").strip()
    except OSError:
        return ""


def _count(cases: list[ElementTree.Element], tag: str) -> str:
    return str(sum(case.find(tag) is not None for case in cases))


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _line(text: str, width: int) -> str:
    return _text(cut(one_line(text), width))


def _text(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
