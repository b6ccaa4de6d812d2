"""The verdict, computed again from the results and criteria in the evidence, and what the evidence says of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalhub_components import run_directory
from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.reading import untrusted_json
from evalhub_components.evidence.reading.untrusted_json import NotEvidence
from evalhub_components.evidence.verification.contents import Contents
from evalhub_components.evidence.verification.outcome import Check, of_errors
from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.verdict import Verdict

_EVALHUB = "io.github.eval-hub."
_WORDING = ("reason", "reasons")
_SHOWN = 3


@dataclass(frozen=True)
class Recomputed:
    """A run as the evidence tells it, and the verdict that follows from it."""

    run: LoadedRun
    verdict: Verdict


def recompute(folder: Path) -> Recomputed:
    """Return the verdict over what is in `folder`.

    Raises:
        NotEvidence: it is no run, or cannot be judged.
    """
    try:
        for name in ("run.json", "plan.json", "fingerprint.json"):
            if (folder / name).exists():
                untrusted_json.loads((folder / name).read_bytes(), name)
        run = run_directory.load(folder)
        return Recomputed(run, run.judge())
    except (EvalHubError, ValueError, ArithmeticError, RecursionError) as error:
        text = str(error).replace(f"{folder}/", "")
        raise NotEvidence(f"the run in it cannot be judged: {' '.join(text.splitlines()[:3])}") from None


def verdict(contents: Contents, recomputed: Recomputed) -> Check:
    """Return whether everything that tells a verdict tells the one that follows from results and criteria."""
    try:
        claimed = untrusted_json.loads(_content(contents, "verdict.json"), "verdict.json")
        computed = recomputed.verdict
        word = claimed.get("verdict") if isinstance(claimed, dict) else None
        if word != computed.verdict:
            because = f"{computed.verdict} ({computed.reasons[0]})"
            raise NotEvidence(f"verdict.json says {str(word)[:20]}, but results and criteria come to {because}")
        _same("verdict.json", claimed, computed.as_json())
        _check_configs(contents, recomputed)
        _check_annotations(contents, recomputed)
    except NotEvidence as error:
        return of_errors("verdict", [error], "")
    limited = ", over fewer examples than its collection asks for" if computed.limited else ""
    words = [] if _wording(claimed) == _wording(computed.as_json()) else ["its reasons were worded by another version"]
    found = [f"{computed.verdict}{limited}: it follows from the results and criteria", _samples(computed), *words]
    return Check("verdict", "ok", "; ".join(found))


def unjudged(contents: Contents) -> Check | None:
    """Return why the verdict cannot be computed, None when it can."""
    if contents.unjudged:
        return Check("verdict", "not checked", _listed(contents.unjudged))
    if contents.too_large:
        what = f"more results than are judged here: {_listed(contents.too_large)}"
        return Check("verdict", "could not check", f"{what} (pull the evidence and use `judge`)")
    return None


def _samples(computed: Verdict) -> str:
    """Return which scores are the means of their samples."""
    scored = [test for test in computed.benchmarks if test.score is not None]
    others = [test.slug for test in scored if test.se_source != "samples"]
    text = f"samples confirm {len(scored) - len(others)} of {len(scored)} scores"
    return f"{text}, not {_listed(others)}" if others else text


def _check_configs(contents: Contents, recomputed: Recomputed) -> None:
    """Compare each manifest's evidence.json with the run.

    Raises:
        NotEvidence: one says something else.
    """
    record, computed = recomputed.run.record, recomputed.verdict
    kinds = [config.get("kind") for config in contents.configs.values()]
    if kinds.count("run") != 1 or kinds.count("benchmark") != len(kinds) - 1:
        raise NotEvidence("evidence.json: must be one of the run, and else of benchmarks")
    fingerprint = recomputed.run.fingerprint
    about_run = {
        "model": {"url": record.model_url, "name": record.model_name, "digest": record.model_digest},
        "fingerprint": fingerprint.digest() if fingerprint else None,
        "judge": record.judge.asked().as_json() if record.judge else None,
        "verdict": {**computed.as_json(), "benchmarks": []},
    }
    tests = {test.benchmark_index: test.as_json() for test in computed.benchmarks}
    seen = set()
    for config in contents.configs.values():
        expected: dict[str, Any] = {"run_id": record.run_id, "job_id": record.job_id}
        if config["kind"] == "run":
            expected |= about_run
        else:
            claim = config.get("test")
            index = claim.get("benchmark_index") if isinstance(claim, dict) else None
            if not isinstance(index, int) or index not in tests or index in seen:
                raise NotEvidence("evidence.json: names no benchmark of the plan, or one twice")
            seen.add(index)
            expected["test"] = tests[index]
        _same("evidence.json", {key: config.get(key) for key in expected}, expected)


def _check_annotations(contents: Contents, recomputed: Recomputed) -> None:
    """Compare what the manifests' annotations say with the run.

    Raises:
        NotEvidence: one says something else.
    """
    record, computed = recomputed.run.record, recomputed.verdict
    expected = {
        "run_id": record.run_id,
        "job_id": record.job_id,
        "job": record.job_id,
        "collection_id": computed.collection_id,
        "collection_version": computed.collection_version,
        "model": record.model_name,
        "model_digest": record.model_digest,
        "verdict": computed.verdict,
        "limited": "true" if computed.limited else None,
    }
    assert contents.tree is not None
    for said in (contents.tree.index.annotations, *(part.annotations for part in contents.tree.parts)):
        _same("annotations", {key: said.get(f"{_EVALHUB}{key}") for key in expected}, expected)


def _content(contents: Contents, title: str) -> bytes:
    if title not in contents.files:
        raise NotEvidence(f"there is no {title}")
    return (contents.folder / title).read_bytes()


def _same(where: str, claimed: Any, computed: Any) -> None:
    found = [difference for difference, _ in zip(_differences(claimed, computed, ""), range(_SHOWN + 1), strict=False)]
    if found:
        raise NotEvidence(f"{where}: {_listed(found)}")


def _differences(claimed: Any, computed: Any, path: str) -> Iterator[str]:
    """Yield where JSON values differ by more than rounding; how reasons are worded does not count."""
    if isinstance(claimed, dict) and isinstance(computed, dict):
        for key in sorted(claimed.keys() | computed.keys()):
            if key not in _WORDING:
                yield from _differences(claimed.get(key), computed.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(claimed, list) and isinstance(computed, list) and len(claimed) == len(computed):
        for position, (one, other) in enumerate(zip(claimed, computed, strict=True)):
            yield from _differences(one, other, f"{path}[{position}]")
    elif not _equal(claimed, computed):
        yield f"{path} says {str(claimed)[:60]}, and it comes to {str(computed)[:60]}"


def _equal(claimed: Any, computed: Any) -> bool:
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (claimed, computed)]
    if all(numbers):
        try:
            # the last digits of a logarithm depend on the machine's mathematical library
            return math.isclose(claimed, computed, rel_tol=1e-9, abs_tol=1e-12)
        except OverflowError:
            return False
    return type(claimed) is type(computed) and bool(claimed == computed)


def _wording(value: Any) -> Any:
    tests = value.get("benchmarks") if isinstance(value, Mapping) else None
    reasons = [test.get("reason") for test in tests] if isinstance(tests, list) else []
    return value.get("reasons"), reasons


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
