"""What a GitHub Actions runner is told: a summary of the step, and outputs for the steps after it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from evalhub_components.records import report
from evalhub_components.records.ci.values import values, without_verdict
from evalhub_components.records.markdown import prose
from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import Verdict

SUMMARY, OUTPUT = "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"
"""The variables with which a runner names its files."""

SUMMARY_LIMIT = 2**20
"""Bytes of the summary of a step; a runner drops the whole of a longer one."""

_MESSAGE = 2000


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Return whether this is a step of a runner that takes any of it."""
    return bool(environ.get(SUMMARY) or environ.get(OUTPUT))


def append(run: LoadedRun, verdict: Verdict, publication: Publication | None, environ: Mapping[str, str]) -> list[str]:
    """Append to the runner's files whatever it asks for, and return what could not be, in words."""
    return _append(values(run, verdict, publication), report.render(run, verdict, publication), environ)


def append_error(message: str, environ: Mapping[str, str], run_id: str = "") -> list[str]:
    """Append that there is no verdict, and why; return what could not be, in words."""
    return _append(without_verdict(run_id), f"**No verdict**: {prose(message, _MESSAGE)}\n", environ)


def outputs(found: Mapping[str, str]) -> str:
    """Return lines that set each output to its value, whatever is in it."""
    # a value that cannot know the delimiter cannot end itself and set another output
    delimiter = f"end-{secrets.token_hex(16)}"
    return "".join(f"{name}<<{delimiter}\n{value}\n{delimiter}\n" for name, value in found.items())


def _append(found: Mapping[str, str], summary: str, environ: Mapping[str, str]) -> list[str]:
    problems = []
    if name := environ.get(OUTPUT):
        problems += _appended(OUTPUT, Path(name), outputs(found))
    if name := environ.get(SUMMARY):
        problems += _appended(SUMMARY, Path(name), summary, SUMMARY_LIMIT)
    return problems


def _appended(variable: str, path: Path, text: str, limit: int | None = None) -> list[str]:
    content = text.encode("utf-8", errors="replace")
    try:
        with path.open("a+b") as file:
            if size := file.tell():
                file.seek(-1, 2)
                if file.read(1) != b"\n":
                    content = b"\n" + content  # whatever wrote before left its last line open
            if limit is not None and size + len(content) > limit:
                return [f"{variable}: left out: the summary of this step would be larger than {limit >> 10} KiB"]
            file.write(content)
    except OSError as error:
        return [f"{variable}: {path}: cannot be written ({error.strerror or error})"]
    return []
