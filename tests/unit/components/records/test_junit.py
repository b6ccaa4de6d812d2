from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import junitparser
import pytest

from evalhub_components.records.ci import junit
from evalhub_components.run_directory import load
from evalhub_components.schema.run import Publication

WriteRun = Callable[..., Path]

HOSTILE = (
    '"/><failure message="owned"/>]]> <![CDATA[x]]> &lol; '
    '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]> \x00\x1b[31m\ud800\ufffe'
)

# of Jenkins' junit-10.xsd: the attributes and children an element may have
ALLOWED: dict[str, tuple[set[str], set[str]]] = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
        {"properties", "testcase"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": ({"name", "classname", "time"}, {"skipped", "error", "failure", "system-out"}),
    "skipped": ({"type", "message"}, set()),
    "error": ({"type", "message"}, set()),
    "failure": ({"type", "message"}, set()),
    "system-out": (set(), set()),
}


def acc(value: Any) -> dict[str, Any]:
    return {"metrics": {"acc": {"value": value}}}


def rendered(path: Path, publication: Publication | None = None) -> bytes:
    run = load(path)
    return junit.render(run, run.judge(), publication)


def suite_of(path: Path, publication: Publication | None = None) -> junitparser.TestSuite:
    (suite,) = junitparser.JUnitXml.fromstring(rendered(path, publication))
    return suite


def results(suite: junitparser.TestSuite) -> dict[str, tuple[str, str | None, str | None]]:
    found = {}
    for case in suite:
        result = [item for item in case.result if isinstance(item, junitparser.junitparser.Result)]
        kind = type(result[0]).__name__.lower() if result else "passed"
        found[case.name] = (kind, result[0].type if result else None, result[0].message if result else None)
    return found


def test_each_benchmark_and_the_gate_is_a_case(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(
        tmp_path / "run",
        benchmarks=["arc", "gsm8k", "mmlu", "toxicity", "gone"],
        tasks={3: {"weight": 0}, 4: {"weight": 0}},
        results={1: acc(0.4), 2: {"status": "failed", "reason": "out of memory"}, 3: acc(0.1), 4: None},
    )
    suite = suite_of(path)
    found = results(suite)
    assert list(found) == ["arc", "gsm8k", "mmlu", "toxicity", "gone", "gate"]
    assert {name: what[:2] for name, what in found.items()} == {
        "arc": ("passed", None),
        "gsm8k": ("failure", "threshold"),
        "mmlu": ("error", "no score"),
        "toxicity": ("skipped", "advisory"),
        "gone": ("skipped", "advisory"),
        "gate": ("error", "error"),
    }
    assert "0.4 < 0.5" in str(found["gsm8k"][2])
    assert "out of memory" in str(found["mmlu"][2])
    assert "out of memory" in str(found["gate"][2])
    assert (suite.name, {case.classname for case in suite}) == ("quick", {"lm_evaluation_harness", "quick"})


def test_counts_add_up_and_only_known_names_are_used(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(
        tmp_path / "run",
        benchmarks=["arc", "gsm8k", "mmlu", "toxicity"],
        tasks={3: {"weight": 0}},
        results={1: acc(0.4), 2: {"status": "failed", "reason": "out of memory"}},
    )
    root = ElementTree.fromstring(rendered(path))
    for element in root.iter():
        attributes, children = ALLOWED[element.tag]
        assert set(element.attrib) <= attributes, element.tag
        assert {child.tag for child in element} <= children, element.tag
    (suite,) = root
    cases = suite.findall("testcase")
    assert int(suite.attrib["tests"]) == int(root.attrib["tests"]) == len(cases) == 5
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.attrib[key]) == sum(case.find(tag) is not None for case in cases)
    assert (suite.attrib["failures"], suite.attrib["errors"], suite.attrib["skipped"]) == ("1", "2", "1")
    assert float(suite.attrib["time"]) == sum(float(case.attrib["time"]) for case in cases)


@pytest.mark.parametrize(
    ("value", "mode", "expected"),
    [
        (0.9, "point", ("passed", None)),
        (0.55, "point", ("failure", "fail")),  # every benchmark reaches its own 0.5, and the run misses its 0.6
        (0.65, "assured", ("failure", "inconclusive")),
        ("nan", "point", ("error", "error")),
    ],
    ids=["pass", "fail", "inconclusive", "error"],
)
def test_a_run_that_did_not_pass_is_never_green(
    tmp_path: Path, write_run: WriteRun, value: Any, mode: str, expected: tuple[str, str | None]
) -> None:
    path = write_run(tmp_path / "run", results={n: acc(value) for n in range(3)})
    run = load(path)
    verdict = run.judge()
    if mode == "assured":
        verdict = verdict.model_copy(update={"verdict": "inconclusive", "reasons": ["undecided"]})
    (suite,) = junitparser.JUnitXml.fromstring(junit.render(run, verdict))
    assert results(suite)["gate"][:2] == expected


def test_a_benchmark_takes_the_time_of_its_task(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(
        tmp_path / "run",
        results={
            0: {"started_at": "2026-01-02T03:00:00Z", "completed_at": "2026-01-02T04:01:02Z"},
            1: {"started_at": "2026-01-02T03:00:09Z", "completed_at": "2026-01-02T03:00:00Z"},
            2: {"started_at": "yesterday", "completed_at": ""},
        },
    )
    suite = suite_of(path)
    assert [case.time for case in suite] == [3662, 0, 0, 0]
    assert suite.time == 3662
    assert suite.timestamp == "2026-01-02T03:00:00"


def test_a_benchmark_listed_twice_is_two_cases(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(
        tmp_path / "run",
        benchmarks=["arc", "arc", "arc (1)", "gate"],
        tasks={3: {"provider_id": "quick"}},
    )
    names = [(case.classname, case.name) for case in suite_of(path)]
    assert len(set(names)) == 5
    assert [name for _, name in names] == ["arc", "arc (1)", "arc (1) (2)", "gate (3)", "gate"]


def test_properties_say_what_was_judged(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run")
    properties = {item.name: item.value for item in suite_of(path).properties()}
    assert properties["verdict"] == "pass"
    assert properties["score"].startswith("0.75")
    assert properties["threshold"] == "0.6 (of the collection), gate mode point"
    assert properties["collection_version"] == "1.2"
    assert properties["plan_digest"] == load(path).record.plan_digest
    assert (properties["model"], properties["run_id"]) == ("tiny", "r-20260102")
    assert "evidence_digest" not in properties
    publication = Publication(evidence_digest="sha256:" + "e" * 64, evidence_reference="localhost:1/r:t@sha256:e")
    published = {item.name: item.value for item in suite_of(path, publication).properties()}
    assert published["evidence_digest"] == "sha256:" + "e" * 64


def test_the_end_of_the_log_explains_a_missing_score(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run", results={0: {"status": "failed", "reason": "it crashed"}})
    log = path / "benchmarks" / load(path).plan.tasks[0].slug / "log.txt"
    log.write_text("first line\n" + "x" * 100_000 + "\nRuntimeError: the last line\n")
    failed, passed = [str(case.system_out) for case in suite_of(path)][:2]
    assert failed.endswith("RuntimeError: the last line")
    assert "first line" not in failed
    assert len(failed) < 10_000
    assert "log.txt" not in passed
    log.unlink()
    secret = tmp_path / "secret"
    secret.write_text("do not tell")
    log.symlink_to(secret)
    assert b"do not tell" not in rendered(path)


def test_hostile_text_stays_text(tmp_path: Path, write_run: WriteRun) -> None:
    shown = HOSTILE.replace("\ud800", "")
    path = write_run(
        tmp_path / "run",
        benchmarks=["arc", "gsm8k"],
        results={0: {"status": "failed", "reason": shown}, 1: acc(0.1)},
        record={"model_name": shown, "run_id": "r-1"},
    )
    (path / "benchmarks" / load(path).plan.tasks[0].slug / "log.txt").write_bytes(
        HOSTILE.encode("utf-8", "surrogatepass") + b"\xff\n::set-output name=a::b"
    )
    run = load(path)
    verdict = run.judge()
    tests = [test.model_copy(update={"benchmark_id": HOSTILE, "metric": HOSTILE}) for test in verdict.benchmarks]
    content = junit.render(run, verdict.model_copy(update={"benchmarks": tests, "collection_id": HOSTILE}))
    assert b"<!" not in content
    root = ElementTree.fromstring(content)
    assert {element.tag for element in root.iter()} == set(ALLOWED) - {"skipped"}
    assert not [element for element in root.iter() if element.get("message") == "owned"]
    assert len(root.findall("testsuite/testcase")) == 3
    said = root.find("testsuite/testcase/error")
    assert said is not None
    assert '"/><failure message="owned"/>]]>' in said.attrib["message"]
    junitparser.JUnitXml.fromstring(content)
