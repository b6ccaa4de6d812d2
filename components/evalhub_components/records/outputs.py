"""The files that a verdict is written to for people and for CI: their kinds, and how each is made and kept."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
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

OF_ERRORS = ("junit", FOLDER)
"""The kinds that can tell of a run without a verdict."""

_SUMS = "SHA256SUMS"
_RECORDS = ("run.json", "plan.json")
_OWN = {"markdown": "report.md", "html": "report.html"}


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
        taken = [other for other in found if _collide(output, other)]
        if kind not in KINDS:
            problems.append(Problem(text, f"must be KIND=PATH with a KIND of {', '.join(KINDS)}"))
        elif not path:
            problems.append(Problem(text, f"has no path (such as {kind}=reports/{kind})"))
        elif taken:
            problems.append(Problem(text, f"is written to already by {taken[0]} (give every report a path of its own)"))
        else:
            found.append(output)
    if problems:
        raise InvalidDocument(problems)
    return found


def check(outputs: Iterable[Output], run: Path | None = None) -> None:
    """Refuse outputs among the records of a run, which are not to change.

    Args:
        outputs: what is to be written.
        run: directory of the run whose own verdict is written; its report.md and report.html may be written again.

    Raises:
        InvalidDocument: with every such output.
    """
    problems = []
    for output in outputs:
        path = output.path.resolve()
        folders = [path, *path.parents] if output.kind == FOLDER else path.parents
        found = next((folder for folder in folders if all((folder / name).exists() for name in _RECORDS)), None)
        if found is not None and not (run and found == run.resolve() and _is_own(output, found)):
            what = "is among the records of a run, which are not to change (choose a path outside of"
            problems.append(Problem(str(output), f"{what} {found})"))
    if problems:
        raise InvalidDocument(problems)


def prepare(outputs: Sequence[Output], run: Path | None = None) -> None:
    """Make the folders of outputs, and remove what an earlier run left there: it must not pass for this run's.

    Args:
        outputs: what is to be written.
        run: as for `check`.

    Raises:
        InvalidDocument: with every output that could not be written.
    """
    check(outputs, run)
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
    if kind == FOLDER:
        _write(Output(kind, path), tekton.render(run, verdict, publication))
    else:
        _write(Output(kind, path), FILES[kind](run, verdict, publication))


def write_error(output: Output, message: str, run_id: str = "") -> None:
    """Write to an output, of a kind in OF_ERRORS, that there is no verdict, and why.

    Raises:
        EvalHubError: it cannot be written.
    """
    _write(output, tekton.render_error(message, run_id) if output.kind == FOLDER else junit.render_error(message))


def keep(run: LoadedRun, verdict: Verdict, publication: Publication | None = None) -> None:
    """Write report.md and report.html into the run directory.

    Raises:
        EvalHubError: they cannot be written.
        MissingExtra: jinja2 is not installed.
    """
    for kind, name in _OWN.items():
        write(kind, run.path / name, run, verdict, publication)


def _prepare(output: Output) -> None:
    folder = output.path if output.kind == FOLDER else output.path.parent
    folder.mkdir(parents=True, exist_ok=True)
    # the only way to learn whether a folder takes a file is to make one
    with tempfile.TemporaryFile(dir=folder):
        pass
    for file in _files(output):
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise OSError(f"{file} is there and is no plain file")  # /dev/stdout is not ours to replace
        file.unlink(missing_ok=True)


def _write(output: Output, content: bytes | Mapping[str, str]) -> None:
    try:
        if isinstance(content, bytes):
            atomic.write_bytes(output.path, content)
        else:
            for name, value in content.items():
                atomic.write_bytes(output.path / name, value.encode("utf-8", errors="replace"))
    except OSError as error:
        raise EvalHubError(f"{output}: cannot be written ({error.strerror or error})") from None


def _files(output: Output) -> list[Path]:
    return [output.path / name for name in tekton.NAMES] if output.kind == FOLDER else [output.path]


def _is_own(output: Output, run: Path) -> bool:
    name = _OWN.get(output.kind)
    # the files of evidence are as their sums say
    return name is not None and output.path.resolve() == run / name and not (run / _SUMS).exists()


def _collide(one: Output, other: Output) -> bool:
    """Return whether both write the same file, or one needs a folder where the other writes a file."""
    mine, theirs = ({file.resolve() for file in _files(each)} for each in (one, other))
    return any(a == b or a in b.parents or b in a.parents for a in mine for b in theirs)
