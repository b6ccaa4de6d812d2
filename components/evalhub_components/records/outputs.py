"""The files that a verdict is written to for people and for CI: their kinds, and how each is made and kept."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from evalhub_components import atomic, canonical
from evalhub_components.errors import EvalHubError, InvalidDocument, Problem
from evalhub_components.records import report
from evalhub_components.records.ci import junit, tekton
from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import Verdict

Render = Callable[[LoadedRun, Verdict, Publication | None], bytes]


class Output(NamedTuple):
    """One file, or for `tekton` one folder, that a verdict is to be written to."""

    kind: str
    path: Path

    def __str__(self) -> str:
        return f"{self.kind}={self.path}"


def _html(run: LoadedRun, verdict: Verdict, publication: Publication | None) -> bytes:
    from evalhub_components.records import html

    return html.render(run, verdict, publication).encode("utf-8")


FILES: Mapping[str, Render] = {
    "html": _html,
    "markdown": lambda run, verdict, publication: report.render(run, verdict, publication).encode("utf-8"),
    "junit": junit.render,
    "json": lambda run, verdict, publication: canonical.dumps(verdict.as_json()),
}
"""What makes each kind that is one file; `json` is `verdict.json`."""

FOLDER = "tekton"
"""The kind that is a folder, with a file a result."""

KINDS = (*FILES, FOLDER)


def parse(texts: Iterable[str]) -> list[Output]:
    """Return the outputs that texts of the form `KIND=PATH` name.

    Raises:
        InvalidDocument: with everything that is wrong with any of them.
    """
    found: list[Output] = []
    problems = []
    for text in texts:
        kind, _, path = text.partition("=")
        output = Output(kind, Path(path))
        if kind not in KINDS:
            problems.append(Problem(text, f"must be KIND=PATH with a KIND of {', '.join(KINDS)}"))
        elif not path:
            problems.append(Problem(text, f"has no path (such as {kind}=reports/{kind})"))
        elif any(output.path.absolute() == other.path.absolute() for other in found):
            problems.append(Problem(text, "is written to already (give every report a path of its own)"))
        else:
            found.append(output)
    if problems:
        raise InvalidDocument(problems)
    return found


def prepare(outputs: Iterable[Output]) -> None:
    """Make the folders of outputs, and remove what an earlier run left there: it must not pass for this run's.

    Raises:
        InvalidDocument: with every output that could not be written.
    """
    problems = []
    for output in outputs:
        try:
            _prepare(output)
        except OSError as error:
            problems.append(Problem(str(output), f"cannot be written ({error.strerror or error})"))
    if problems:
        raise InvalidDocument(problems)


def write(kind: str, path: Path, run: LoadedRun, verdict: Verdict, publication: Publication | None = None) -> None:
    """Write one output by rename.

    Args:
        kind: one of KINDS.
        path: of the file, or of the folder for `tekton`.
        run: as loaded.
        verdict: over this run.
        publication: where the records went, where that is known.

    Raises:
        EvalHubError: it cannot be written.
    """
    try:
        if kind == FOLDER:
            for name, value in tekton.render(run, verdict, publication).items():
                atomic.write_bytes(path / name, value.encode("utf-8", errors="replace"))
        else:
            atomic.write_bytes(path, FILES[kind](run, verdict, publication))
    except OSError as error:
        raise EvalHubError(f"{Output(kind, path)}: cannot be written ({error.strerror or error})") from None


def keep(run: LoadedRun, verdict: Verdict, publication: Publication | None = None) -> None:
    """Write report.md and report.html into the run directory.

    Raises:
        EvalHubError: they cannot be written.
        MissingExtra: jinja2 is not installed.
    """
    write("markdown", run.path / "report.md", run, verdict, publication)
    write("html", run.path / "report.html", run, verdict, publication)


def _prepare(output: Output) -> None:
    folder = output.path if output.kind == FOLDER else output.path.parent
    folder.mkdir(parents=True, exist_ok=True)
    # the only way to learn whether a folder takes a file is to make one
    with tempfile.TemporaryFile(dir=folder):
        pass
    for file in [output.path / name for name in tekton.NAMES] if output.kind == FOLDER else [output.path]:
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise OSError(f"{file} is there and is no plain file")  # /dev/stdout is not ours to replace
        file.unlink(missing_ok=True)
