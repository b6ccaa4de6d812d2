"""JUnit XML: a suite for the collection with a case for each benchmark, and one for the gate, which is the verdict.

A run that passed has no failures: what its verdict did not rest on is skipped, with the reason.

The elements and attributes are those that Jenkins' schema (xunit-plugin, junit-10.xsd) has.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from evalhub_components.records import usage, wording
from evalhub_components.records.ci.disarming import disarm
from evalhub_components.records.markdown import cut, one_line
from evalhub_components.run_directory import LoadedRun, instant
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import BenchmarkTest, Verdict
from evalhub_components.scoring.comparison import shown

GATE = "gate"
"""Name of the case that is the verdict: benchmarks that all pass do not make a run that missed its score look green."""

_PROGRAM = "evalhub-kfp"
_COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}
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
    cases: list[ElementTree.Element] = []
    names: set[tuple[str | None, str | None]] = set()
    for test in verdict.benchmarks:
        case = _case(run, verdict, test)
        while (case.get("classname"), case.get("name")) in names:
            case.set("name", f"{case.get('name')} ({test.benchmark_index})")
        names.add((case.get("classname"), case.get("name")))
        cases.append(case)
    name = _line(verdict.collection_id, _NAME)
    gate = _gate(name, verdict, publication)
    properties = _properties(run, verdict, publication)
    started = instant(run.record.started_at)
    # readers of JUnit take no time zone
    timestamp = {"timestamp": f"{started:%Y-%m-%dT%H:%M:%S}"} if started else {}
    # a suite each: whoever counts benchmarks does not count the decision over them
    return _document(name, [_suite(name, cases, timestamp, properties), _suite(f"{name} {GATE}", [gate], timestamp)])


def render_error(message: str) -> bytes:
    """Return the document of a run that came to no verdict: the gate, with the reason."""
    gate = _testcase(_PROGRAM, GATE, "0")
    _said(gate, "error", "error", f"No verdict: {message}", message)
    return _document(_PROGRAM, [_suite(f"{_PROGRAM} {GATE}", [gate], {})])


def _suite(
    name: str,
    cases: Sequence[ElementTree.Element],
    timestamp: Mapping[str, str],
    properties: Mapping[str, str] | None = None,
) -> ElementTree.Element:
    counted = {key: str(sum(case.find(tag) is not None for case in cases)) for key, tag in _COUNTED.items()}
    time = _seconds(math.fsum(float(case.get("time", "0")) for case in cases))
    suite = ElementTree.Element("testsuite", {"name": name, "tests": str(len(cases)), **counted, "time": time})
    suite.attrib.update(timestamp)
    if properties:
        parent = ElementTree.SubElement(suite, "properties")
        for key, value in properties.items():
            ElementTree.SubElement(parent, "property", {"name": key, "value": _line(value, _MESSAGE)})
    suite.extend(cases)
    return suite


def _document(name: str, suites: Sequence[ElementTree.Element]) -> bytes:
    root = ElementTree.Element("testsuites", {"name": name})
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in suites)))
    root.set("time", _seconds(math.fsum(float(suite.get("time", "0")) for suite in suites)))
    root.extend(suites)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    # a step may print the file
    return f"<?xml version='1.0' encoding='utf-8'?>\n{disarm(text)}\n".encode()


def _properties(run: LoadedRun, verdict: Verdict, publication: Publication | None) -> dict[str, str]:
    found = {
        "verdict": verdict.verdict,
        "criteria": "other" if wording.other_criteria(publication) else "own",
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
            "warnings": "; ".join(publication.warnings),
        }
    return found


def _gate(name: str, verdict: Verdict, publication: Publication | None) -> ElementTree.Element:
    case = _testcase(name, GATE, "0")
    if verdict.verdict != "pass":
        first, *_ = wording.reasons(verdict)
        said = [*wording.reasons(verdict)[:_REASONS], f"overall score: {wording.overall(verdict)}"]
        said.append(f"threshold: {wording.overall_threshold(verdict)}")
        # an inconclusive run did not pass, and JUnit knows nothing between passed and failed
        tag = "error" if verdict.verdict == "error" else "failure"
        message = f"{wording.DECISIONS[verdict.verdict]}: {first}"
        _said(case, tag, verdict.verdict, message, "\n".join(_line(text, _MESSAGE) for text in said))
    if sentence := wording.other_criteria(publication):
        ElementTree.SubElement(case, "system-out").text = _text(sentence)
    return case


def _case(run: LoadedRun, verdict: Verdict, test: BenchmarkTest) -> ElementTree.Element:
    provider, name = _line(test.provider_id, _NAME), _line(test.benchmark_id, _NAME)
    case = _testcase(provider, name, _seconds(_wall_seconds(run, test)))
    outcome, details = wording.outcome(test), _details(test)
    printed = [details]
    if not wording.counts(test):
        _said(case, "skipped", "advisory", f"advisory ({outcome}), decides nothing: {test.reason}")
    elif outcome == "fail" and verdict.verdict == "pass":
        _said(case, "skipped", "below threshold", f"below its threshold, and the run passed without it: {test.reason}")
    elif outcome in ("error", "fail"):
        tag, kind = ("error", "no score") if outcome == "error" else ("failure", "threshold")
        _said(case, tag, kind, test.reason, details)
        printed = []
    if test.score is None and (log := _log(run.folders.get(test.benchmark_index))):
        printed.append(f"end of log.txt:\n{log}")
    if printed:
        ElementTree.SubElement(case, "system-out").text = _text("\n\n".join(printed))
    return case


def _testcase(classname: str, name: str, time: str) -> ElementTree.Element:
    return ElementTree.Element("testcase", {"classname": classname, "name": name, "time": time})


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
    return (usage.in_run(run, test.benchmark_index).share_seconds if outcome else None) or 0.0


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


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _line(text: str, width: int) -> str:
    return _text(cut(one_line(text), width))


def _text(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
