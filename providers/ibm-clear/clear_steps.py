"""What is judged: steps of an agent's traces, or single responses; the model under test gives missing ones."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clear_parameters import Parameters

from evalhub_components.errors import EvalHubError, InvalidDocument, Problem
from evalhub_components.framework.relay import Relay

_WHAT_IS_SHOWN = 20
_TRACE_COLUMNS = ("task_id", "step_in_trace_general", "model_input")


@dataclass(frozen=True)
class Step:
    """One response of a model.

    Attributes:
        id: `<trace>_<number of the step>` as clear writes it; for a single response its own or a digest of the input.
        columns: all that is known of it, `model_input` among them.
        response: empty when the model under test is to give it.
        failure: why there is none.
    """

    id: str
    columns: dict[str, str]
    response: str = ""
    failure: str = ""
    file: str = field(default="", compare=False)


def traces(benchmark_id: str, folder: Path) -> list[Step]:
    """Return the steps of the traces in a folder of CSV files, a file after the other, in the order of their numbers.

    Raises:
        EvalHubError: there are none.
        InvalidDocument: with the files that lack a column, or steps that have the same number.
    """
    csv.field_size_limit(1 << 30)
    found: list[Step] = []
    problems: list[Problem] = []
    for path in sorted(folder.glob("*.csv")):
        where = f"{benchmark_id}: {path.name}"
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{("task_id" if k == "trace_id" else k): v for k, v in row.items()} for row in csv.DictReader(file)]
        columns = set(rows[0]) if rows else set()
        lacking = [name for name in _TRACE_COLUMNS if name not in columns]
        if not columns & {"Name", "agent_name"}:
            lacking.append("Name")
        if lacking:
            problems.append(Problem(where, f"has no {', '.join(lacking)}"))
            continue
        try:
            rows.sort(key=lambda row: int(row["step_in_trace_general"]))
        except ValueError as error:
            problems.append(Problem(where, f"step_in_trace_general: {error}"))
            continue
        for row in rows:
            row.setdefault("Name", row.get("agent_name") or "")
            name = f"{row['task_id']}_{int(row['step_in_trace_general'])}"
            found.append(Step(name, row, row.get("response") or "", file=path.name))
    problems += _twice(benchmark_id, found)
    if problems:
        raise InvalidDocument(problems[:_WHAT_IS_SHOWN])
    if not found:
        raise EvalHubError(f"{benchmark_id}: {folder.name}: holds no steps in files *.csv")
    return found


def responses(benchmark_id: str, path: Path) -> list[Step]:
    """Return the rows of a JSON lines file.

    Raises:
        EvalHubError: there are none.
        InvalidDocument: with the lines that are wrong.
    """
    found: list[Step] = []
    problems: list[Problem] = []
    for number, text in enumerate(path.read_text("utf-8").split("\n"), start=1):
        if not text.strip():
            continue
        where = f"{benchmark_id}: {path.name}: line {number}"
        try:
            row = json.loads(text)
        except ValueError as error:
            problems.append(Problem(where, f"is no JSON: {error}"))
            continue
        asked = row.get("model_input") if isinstance(row, dict) else None
        if not isinstance(asked, str) or not asked.strip():
            problems.append(Problem(where, "has no text model_input"))
            continue
        wrong = [name for name in ("response", "reference") if not isinstance(row.get(name) or "", str)]
        problems += [Problem(where, f"{name} is no text") for name in wrong]
        key = str(row["id"]) if "id" in row else hashlib.sha256(asked.encode()).hexdigest()[:16]
        columns = {"model_input": asked, "ground_truth": row.get("reference") or ""}
        found.append(Step(key, columns, row.get("response") or "", file=path.name))
    problems += _twice(benchmark_id, found)
    if problems:
        raise InvalidDocument(problems[:_WHAT_IS_SHOWN])
    if not found:
        raise EvalHubError(f"{benchmark_id}: {path.name}: holds no rows")
    return found


def _twice(benchmark_id: str, steps: Sequence[Step]) -> list[Problem]:
    counts = Counter(step.id for step in steps)
    return [Problem(f"{benchmark_id}: {name}", f"is there {n} times") for name, n in counts.items() if n > 1]


def answered(relay: Relay, model: str, steps: Sequence[Step], parameters: Parameters) -> list[Step]:
    """Return the steps with the responses of the model under test, or why there is none."""
    with ThreadPoolExecutor(parameters.num_concurrent) as pool:
        return list(pool.map(lambda step: _answer(relay, model, step, parameters), steps))


def write(steps: Sequence[Step], folder: Path, *, one_file: bool = False) -> None:
    """Write the steps as clear reads them: a CSV file for each of those they came from."""
    folder.mkdir()
    names = ["rows.csv"] if one_file else sorted({step.file for step in steps})
    for name in names:
        own = [step for step in steps if one_file or step.file == name]
        rows = [{**step.columns, "id": step.id, "response": step.response} for step in own]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)


def _answer(relay: Relay, model: str, step: Step, parameters: Parameters) -> Step:
    body: dict[str, Any] = {
        "model": model,
        "messages": _messages(step.columns["model_input"]),
        "max_tokens": parameters.max_tokens,
        **({} if parameters.temperature is None else {"temperature": parameters.temperature}),
        **parameters.body,
    }
    answer = relay.forward("POST", "/chat/completions", json.dumps(body).encode())
    if answer.failure:
        return replace(step, response="", failure=answer.failure)
    try:
        message = json.loads(answer.body)["choices"][0]["message"]
        said, calls = message.get("content") or "", message.get("tool_calls")
    except (ValueError, LookupError, TypeError, AttributeError):
        return replace(step, response="", failure="the model's reply is no chat completion")
    # the form in which clear's preprocessing has a response that calls tools
    text = json.dumps({"content": said, "tool_calls": calls}) if calls else said
    return replace(step, response=text) if text.strip() else replace(step, response="", failure="the answer is empty")


def _messages(model_input: str) -> list[dict[str, Any]]:
    """Return the conversation that an input holds: traces write all its messages as JSON."""
    try:
        found = json.loads(model_input)
    except ValueError:
        found = None
    if isinstance(found, list) and found and all(isinstance(one, dict) and "role" in one for one in found):
        # an empty list of tool calls is what clear writes for none, and an error to servers
        return [{key: value for key, value in one.items() if key != "tool_calls" or value} for one in found]
    return [{"role": "user", "content": model_input}]
