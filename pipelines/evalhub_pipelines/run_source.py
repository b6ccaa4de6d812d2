"""A run that a user names: its directory, the files that `pull` wrote, or evidence in a layout or a registry."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalhub_components import atomic, run_directory
from evalhub_components.errors import EvalHubError
from evalhub_components.run_directory import LoadedRun, parse
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import Verdict
from evalhub_components.scoring.comparison import shown

_SUMS = "SHA256SUMS"
_WORDING = ("reason", "reasons")


@dataclass(frozen=True)
class RunSource:
    """A run that can be read.

    Attributes:
        name: as the user named it.
        verdict: what the run's verdict.json says, which is what its results give.
        publication: where the records of a run directory went; None for evidence, which cannot know.
        directory: the run directory; None for evidence, its pulled files included: those are not to change.
    """

    name: str
    run: LoadedRun
    verdict: Verdict
    publication: Publication | None
    directory: Path | None


@contextmanager
def opened(name: str | Path, *, registry_secret: str | None = None, ca: Path | None = None) -> Iterator[RunSource]:
    """Yield the run that `name` means; files of evidence are gone when the block ends.

    Args:
        name: a run directory, a folder of pulled files, or evidence as `evidence_store.opened` takes it. A run
            directory is read itself, not the evidence in it; `@sha256:...` behind it means the evidence.
        registry_secret: name of the secret with `.dockerconfigjson`; by default Docker's own configuration is used.
        ca: file with the certificates that a registry's is checked with.

    Raises:
        Tampered: something in the evidence is not what its digest says.
        EvalHubError: there is no such run, it has no verdict yet, or one that its results do not give.
        MissingExtra: the OCI libraries are not installed.
    """
    folder = Path(name)
    if (folder / "run.json").is_file():
        yield _in_directory(str(name), folder)
    elif folder.is_dir() and not (folder / "index.json").exists() and not (folder / "evidence").is_dir():
        raise EvalHubError(f"{folder}: holds no run (there is neither a run.json nor an OCI layout in it)")
    else:
        with tempfile.TemporaryDirectory(prefix="evalhub-") as scratch:
            yield _evidence(str(name), Path(scratch) / "run", registry_secret, ca)


def _in_directory(name: str, folder: Path) -> RunSource:
    path = folder.absolute()
    run = run_directory.load(path)
    if not (path / "verdict.json").exists():
        cure = f"it did not end; go on with it: evalhub-kfp run --resume {folder}"
        raise EvalHubError(f"{folder}: has no verdict.json ({cure})")
    verdict = _verdict(name, path, run.judge())
    is_pulled = (path / _SUMS).exists()
    publication = None
    if not is_pulled and (path / "publication.json").exists():
        publication = parse(Publication, atomic.read_json(path / "publication.json"), str(path / "publication.json"))
    return RunSource(name, run, verdict, publication, None if is_pulled else path)


def _evidence(name: str, folder: Path, registry_secret: str | None, ca: Path | None) -> RunSource:
    from evalhub_components.evidence.reading.pull import pull
    from evalhub_components.evidence.verification.recomputation import recompute
    from evalhub_pipelines import evidence_store

    found = evidence_store.opened(name, registry_secret=registry_secret, ca=ca)
    pull(found.store, found.named, folder)
    # refuses what a stranger may have put there to make reading it harmful
    recomputed = recompute(folder)
    return RunSource(name, recomputed.run, _verdict(name, folder, recomputed.verdict), None, None)


def _verdict(name: str, folder: Path, computed: Verdict) -> Verdict:
    """Return what verdict.json says.

    Raises:
        EvalHubError: the results give something else; how reasons are worded does not count.
    """
    try:
        claimed = parse(Verdict, atomic.read_json(folder / "verdict.json"), f"{name}: verdict.json")
    except RecursionError:
        raise EvalHubError(f"{name}: verdict.json: is nested too deeply") from None
    if _same(claimed.as_json(), computed.as_json()):
        return claimed
    if (said := _decision(claimed)) != (found := _decision(computed)):
        what = f"verdict.json says {said}, but the results and criteria give {found}"
    else:
        what = "verdict.json says something else of a benchmark than its results give"
    why = "a file was edited, or another version judged it"
    raise EvalHubError(f"{name}: {what} ({why}; `evalhub-kfp judge` shows what the results of a folder give)")


def _decision(verdict: Verdict) -> str:
    score = "without a score" if verdict.score is None else f"with score {shown(verdict.score)}"
    return f"{verdict.verdict} {score}, threshold {shown(verdict.threshold)}"


def _same(one: Any, other: Any) -> bool:
    """Return whether JSON values are equal but for rounding and the wording of reasons."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(key in _WORDING or _same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) or isinstance(other, float):
        numbers = isinstance(one, int | float) and isinstance(other, int | float)
        return numbers and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other)
