from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import junitparser
import pytest

from evalhub_components.records.ci import junit, tekton
from evalhub_components.records.wording import judged_again
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


def suites_of(content: bytes) -> tuple[junitparser.TestSuite, junitparser.TestSuite]:
    """Return the suite of the benchmarks and that of the gate."""
    benchmarks, gate = junitparser.JUnitXml.fromstring(content)
    return benchmarks, gate


def suite_of(path: Path, publication: Publication | None = None) -> junitparser.TestSuite:
    return suites_of(rendered(path, publication))[0]


def results(*suites: junitparser.TestSuite) -> dict[str, tuple[str, str | None, str | None]]:
    found = {}
    for case in (case for suite in suites for case in suite):
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
    suite, gate = suites_of(rendered(path))
    found = results(suite, gate)
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
    assert (suite.name, {case.classname for case in suite}) == ("quick", {"lm_evaluation_harness"})
    assert (gate.name, [case.classname for case in gate]) == ("quick gate", ["quick"])


def test_whoever_counts_failed_benchmarks_does_not_count_the_gate(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run", benchmarks="abcdef", results={n: acc(0.1) for n in range(6)})
    suite, gate = suites_of(rendered(path))
    assert (suite.tests, suite.failures) == (6, 6)
    assert (gate.tests, gate.failures) == (1, 1)


def test_a_run_that_passed_has_no_failures(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run", results={0: acc(0.4)})
    suite, gate = suites_of(rendered(path))
    found = results(suite, gate)
    assert found["arc"][:2] == ("skipped", "below threshold")
    assert "0.4 < 0.5" in str(found["arc"][2])
    assert found["gate"][0] == "passed"
    assert (suite.failures, suite.errors, suite.skipped) == (0, 0, 1)


@pytest.mark.parametrize(
    "write",
    [
        {"results": {0: acc(0.4)}},
        {"results": {0: acc(0.1), 1: acc(0.1)}},
        {"tasks": {0: {"weight": 0}}, "results": {0: acc(0.4), 1: acc(0.1)}},
        {"results": {0: {"status": "failed", "reason": "x"}}},
    ],
    ids=["pass", "fail", "advisory and fail", "error"],
)
def test_tekton_counts_the_same(tmp_path: Path, write_run: WriteRun, write: dict[str, Any]) -> None:
    run = load(write_run(tmp_path / "run", **write))
    suites = suites_of(rendered(run.path))
    counted = json.loads(tekton.render(run, run.judge())["TEST_OUTPUT"])
    assert sum(suite.failures + suite.errors for suite in suites) == counted["failures"]
    assert sum(suite.skipped for suite in suites) == counted["warnings"]


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
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases)
        for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[key]) == sum(case.find(tag) is not None for case in cases)
        assert float(suite.attrib["time"]) == sum(float(case.attrib["time"]) for case in cases)
    benchmarks, gate = root
    assert [benchmarks.attrib[key] for key in ("tests", "failures", "errors", "skipped")] == ["4", "1", "1", "1"]
    assert [gate.attrib[key] for key in ("tests", "failures", "errors", "skipped")] == ["1", "0", "1", "0"]
    assert [root.attrib[key] for key in ("tests", "failures", "errors")] == ["5", "1", "2"]
    assert root.attrib["time"] == benchmarks.attrib["time"]


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
    _, gate = suites_of(junit.render(run, verdict))
    assert results(gate)["gate"][:2] == expected


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
    assert [case.time for case in suite] == [3662, 0, 0]
    assert suite.time == 3662
    assert suite.timestamp == "2026-01-02T03:00:00"


def test_a_benchmark_listed_twice_is_two_cases(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(
        tmp_path / "run",
        benchmarks=["arc", "arc", "arc (1)", "gate"],
        tasks={3: {"provider_id": "quick"}},
    )
    names = [(case.classname, case.name) for case in suite_of(path)]
    assert len(set(names)) == 4
    assert [name for _, name in names] == ["arc", "arc (1)", "arc (1) (2)", "gate"]


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
    assert published["criteria"] == "own"


def test_a_verdict_under_other_criteria_says_so(tmp_path: Path, write_run: WriteRun) -> None:
    suite, gate = suites_of(rendered(write_run(tmp_path / "run"), judged_again("fail")))
    properties = {item.name: item.value for item in suite.properties()}
    said = "judged again under other criteria; the run's own verdict is fail"
    assert (properties["criteria"], properties["warnings"]) == ("other", said)
    assert [case.system_out for case in gate] == [said]


def test_what_is_said_of_a_benchmark_is_said_once(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run", results={0: acc(0.1), 1: {"status": "failed", "reason": "it crashed"}})
    text = rendered(path).decode()
    assert text.count("benchmarks/000-arc/") == text.count("benchmarks/001-gsm8k/") == 1


def test_printed_it_is_no_command(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(
        tmp_path / "run", results={0: {"status": "failed", "reason": "##vso[task.setvariable variable=a]b"}}
    )
    log = path / "benchmarks" / load(path).plan.tasks[0].slug / "log.txt"
    log.write_text("one\n::error::owned\n##[error]owned\n ##vso[task.complete]owned\n")
    text = rendered(path).decode()
    assert text.count("owned") == 3
    assert not [line for line in text.splitlines() if line.strip().startswith("::")]
    assert "##[" not in text
    assert "##vso[" not in text
    ElementTree.fromstring(text.encode())


def test_a_run_without_a_verdict_is_a_gate_with_an_error() -> None:
    content = junit.render_error(f"http://localhost:1/v1: refused\n::error::{HOSTILE}")
    (suite,) = junitparser.JUnitXml.fromstring(content)
    assert (suite.tests, suite.errors) == (1, 1)
    kind, _, message = results(suite)["gate"]
    assert kind == "error"
    assert str(message).startswith("No verdict: http://localhost:1/v1: refused ")
    assert b"\n::" not in content
    assert b"<!" not in content


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
    assert verdict.verdict == "error"
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
