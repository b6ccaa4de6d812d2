"""Test cases: records of a JSON lines file, checked for what a metric needs of them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepeval_benchmarks import Benchmark

from evalhub_components.errors import EvalHubError, InvalidDocument, Problem

_BUNDLED = Path(__file__).resolve().parent / "data"
_MOST_PROBLEMS = 20
_KNOWN = {"id", "input", "actual_output", "expected_output", "context", "retrieval_context"}


@dataclass(frozen=True)
class Case:
    """One test case.

    Attributes:
        id: the record's own, or a digest of what is asked: the same in every run of the same data.
        output: what the model under test said; None until it was asked.
        recorded: whether the record brought the output along.
        failure: why there is no output.
    """

    id: str
    input: str
    expected: str | None = None
    context: tuple[str, ...] = ()
    output: str | None = None
    recorded: bool = False
    failure: str | None = None

    @property
    def has_output(self) -> bool:
        """Whether there is something to judge."""
        return bool(self.output and self.output.strip())


@dataclass(frozen=True)
class Data:
    """The test cases of a benchmark, in their file's order.

    Attributes:
        digests: `sha256:` digest of the file by its name.
    """

    cases: Sequence[Case]
    digests: dict[str, str]


def load(where: str, chosen: str | None, test_data: Path | None, benchmark: Benchmark) -> Data:
    """Return the test cases of a benchmark.

    Args:
        where: the benchmark's id.
        chosen: the file that its parameters name.
        benchmark: has the bundled file, and the keys without which its metric cannot judge; `context` may be called
            `retrieval_context` as well.

    Raises:
        EvalHubError: there is no such file, or it is not clear which.
        InvalidDocument: with the records that are wrong.
    """
    path = _file(where, chosen, test_data, benchmark.data)
    try:
        raw = path.read_bytes()
        lines = raw.decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise EvalHubError(f"{where}: parameters.data: {path} cannot be read: {error}") from None
    problems: list[Problem] = []
    cases = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            wrong, case = _case(line, benchmark.needs)
            problems += [Problem(f"{path.name}: line {number}", what) for what in wrong]
            cases.append(case)
    if not problems and not cases:
        problems.append(Problem(path.name, "holds no test case"))
    if problems:
        raise InvalidDocument(problems[:_MOST_PROBLEMS])
    return Data(_told_apart([case for case in cases if case]), {path.name: f"sha256:{hashlib.sha256(raw).hexdigest()}"})


def _file(where: str, chosen: str | None, test_data: Path | None, bundled: str) -> Path:
    if chosen is None and test_data is None:
        return _BUNDLED / bundled
    if chosen is None:
        assert test_data is not None
        found = sorted(path for path in test_data.rglob("*.jsonl") if path.is_file())
        if len(found) != 1:
            names = ", ".join(str(path.relative_to(test_data)) for path in found) or "none"
            raise EvalHubError(
                f"{where}: test data: one JSON lines file is expected, or its name in parameters.data: {names}"
            )
        return found[0]
    path = Path(chosen)
    if not path.is_absolute() and test_data is None:
        raise EvalHubError(f"{where}: parameters.data: {chosen} is relative, and there is no test_data_ref")
    path = path if path.is_absolute() else Path(str(test_data)) / path
    if not path.is_file():
        raise EvalHubError(f"{where}: parameters.data: {path}: there is no such file")
    return path


def _case(line: str, needs: Sequence[str]) -> tuple[list[str], Case | None]:
    """Return what is wrong with a record, and the test case it is when nothing is."""
    try:
        record = json.loads(line)
    except ValueError as error:
        return [f"is no JSON: {error}"], None
    if not isinstance(record, dict):
        return ["must be an object"], None
    record = {key: value for key, value in record.items() if value is not None}
    context = record.get("context", record.get("retrieval_context", []))
    context = [context] if isinstance(context, str) else context
    wrong = [f"{key}: unknown key (known: {', '.join(sorted(_KNOWN))})" for key in sorted(record.keys() - _KNOWN)]
    for key in ("input", "actual_output", "expected_output"):
        if not isinstance(record.get(key, ""), str):
            wrong.append(f"{key}: must be text")
    if not isinstance(context, list) or not all(isinstance(text, str) for text in context):
        wrong.append("context: must be a list of texts")
    for key in ("input", *needs):
        if not (context if key == "context" else record.get(key)):
            wrong.append(f"{key}: is missing, and this benchmark needs it")
    if wrong:
        return wrong, None
    asked = {"input": record["input"], "expected": record.get("expected_output"), "context": context}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    return [], Case(
        id=str(record.get("id") or digest),
        input=record["input"],
        expected=record.get("expected_output"),
        context=tuple(context),
        output=record.get("actual_output"),
        recorded="actual_output" in record,
    )


def _told_apart(cases: Sequence[Case]) -> list[Case]:
    """Return the cases with ids that are their own: the second of two equal ones gets `-2`."""
    seen: Counter[str] = Counter()
    found = []
    for case in cases:
        seen[case.id] += 1
        found.append(replace(case, id=f"{case.id}-{seen[case.id]}") if seen[case.id] > 1 else case)
    return found
