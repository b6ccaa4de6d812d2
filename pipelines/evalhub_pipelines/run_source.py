"""A run that a user names: its directory, the files that `pull` wrote, or evidence in a layout or a registry."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalhub_components import atomic, run_directory
from evalhub_components.errors import EvalHubError
from evalhub_components.run_directory import LoadedRun, parse
from evalhub_components.schema.run import Publication, RunRecord
from evalhub_components.schema.verdict import Verdict
from evalhub_components.scoring.comparison import shown

if TYPE_CHECKING:
    from evalhub_components.evidence.store import Store

_SUMS = "SHA256SUMS"
_PULLED, _SOMEWHERE = Path("evidence"), Path("RUN_DIR")
_UNCHECKED = "unknown (not checked here)"
_WORDING = ("reason", "reasons")


@dataclass(frozen=True)
class RunSource:
    """A run that can be read.

    Attributes:
        name: as the user named it.
        verdict: what the run's verdict.json says, which is what its results give.
        run: its path is absolute when it is a run directory. Of evidence it is only how commands name the files.
        publication: where the records of a run directory went, or where the evidence was read; None for pulled files.
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
        EvalHubError: there is no such run, it has no verdict yet, is not finished, or has one that its results do not
            give.
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
    is_pulled = (path / _SUMS).exists()
    try:
        verdict = _verdict(name, path, run.judge())
    except EvalHubError:
        how = None if is_pulled else _unfinished(path, run.record)
        if how is None:
            raise
        raise EvalHubError(f"{folder}: {how}go on with it: evalhub-kfp run --resume {folder})") from None
    return RunSource(name, run, verdict, publication_in(path), None if is_pulled else path)


def _unfinished(path: Path, record: RunRecord) -> str | None:
    """Return why verdict.json may be older than the results beside it; None when the run in `path` has ended."""
    if record.state == "cancelled":
        return "was cancelled ("
    if record.state == "running":
        return "is not finished (wait, or "
    # a run of which every benchmark failed has been judged all the same
    return None if record.state != "failed" or (path / "publication.json").exists() else "failed before it was judged ("


def publication_in(directory: Path) -> Publication | None:
    """Return where the records of the run in `directory` are, None when nobody wrote it down.

    Raises:
        EvalHubError: publication.json is none.
    """
    path = directory / "publication.json"
    if not path.exists() or (directory / _SUMS).exists():
        return None
    return located(parse(Publication, atomic.read_json(path), str(path)), directory)


def located(publication: Publication, directory: Path) -> Publication:
    """Return `publication` with the place where evidence in no registry is now: its run may have been moved."""
    layout = directory.resolve() / "evidence"
    digest = publication.evidence_digest
    if publication.evidence_pushed or not digest or not (layout / "index.json").is_file():
        return publication
    where = {"evidence_reference": str(layout), "evidence_address": f"{layout}@{digest}"}
    return publication.model_copy(update=where)


def _evidence(name: str, folder: Path, registry_secret: str | None, ca: Path | None) -> RunSource:
    from evalhub_components.evidence.reading.pull import pull
    from evalhub_components.evidence.verification.recomputation import recompute
    from evalhub_pipelines import evidence_store

    found = evidence_store.opened(name, registry_secret=registry_secret, ca=ca)
    digest = pull(found.store, found.named, folder).digest
    # refuses what a stranger may have put there to make reading it harmful
    recomputed = recompute(folder)
    verdict = _verdict(name, folder, recomputed.verdict)
    publication = _published(found.store, found.named.tag, digest)
    # the files here are gone soon: `pull` writes them where commands find them
    run = replace(recomputed.run, path=_files(recomputed.run, publication))
    return RunSource(name, run, verdict, publication, None)


def _published(store: Store, tag: str | None, digest: str) -> Publication:
    """Return where evidence was read."""
    from evalhub_components.evidence.layout import Layout
    from evalhub_components.evidence.reference import Reference
    from evalhub_components.evidence.signing import signatures

    key = _UNCHECKED if signatures.signers(store, digest).signature else None
    if isinstance(store, Layout):
        place = str(Path(store.place).resolve())
        return Publication(
            evidence_digest=digest, evidence_reference=place, evidence_address=f"{place}@{digest}", evidence_key_id=key
        )
    pinned = replace(Reference.parse(store.place), digest=digest)
    return Publication(
        evidence_digest=digest,
        evidence_reference=str(replace(pinned, tag=tag)),
        evidence_pushed=True,
        evidence_address=pinned.address,
        evidence_key_id=key,
    )


def _files(run: LoadedRun, publication: Publication) -> Path:
    """Return how commands name the files of evidence: as the `pull` in reports does, or its own run directory."""
    if publication.evidence_pushed:
        return _PULLED
    parent = Path(publication.evidence_reference or "").parent
    try:
        mine = atomic.read_json(parent / "run.json").get("run_id") == run.record.run_id
    except (EvalHubError, AttributeError, RecursionError):
        mine = False
    return parent if mine else _SOMEWHERE


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
