"""A provider's catalogue: what provider.yaml says, and whether check_catalogue.py finds it true of the framework.

def test_only_what_was_altered_is_found_wrong():
    entries = entries_of(PROVIDER)
    entries["my_benchmark"]["metrics"].append("nonsense")
    assert check_catalogue(PROVIDER, entries.values()).kinds == ["my_benchmark: metric"]
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from evalhub_components.errors import EvalHubError
from evalhub_components.schema.provider import Provider
from evalhub_pipelines import environments

_LONGEST = 600  # seconds


class Findings(NamedTuple):
    """What check_catalogue.py printed, and its exit status."""

    status: int
    lines: list[str]

    @property
    def kinds(self) -> list[str]:
        """Of every difference that is not acknowledged where it is and what it is about, sorted."""
        lines = [line for line in self.lines if "(acknowledged: " not in line]
        return sorted(": ".join(line.split(": ")[:2]) for line in lines)


class Default(NamedTuple):
    """How a benchmark is judged when a collection does not say."""

    metric: str
    lower_is_better: bool
    range: tuple[float, float]
    threshold: float


def check_catalogue(provider: Path, altered: Iterable[Mapping[str, Any]] | None = None) -> Findings:
    """Return what check_catalogue.py finds in provider.yaml.

    Args:
        provider: the provider's folder.
        altered: benchmarks of a second catalogue, checked in the same start of the framework, which takes seconds.

    Raises:
        EvalHubError: it cannot be run, or ends without saying what it found.
    """
    argv = [str(environments.python_of(provider)), "-B", str(provider / "check_catalogue.py")]
    environ = {**os.environ, "PYTHONPATH": str(environments.components_path())}
    with tempfile.TemporaryDirectory() as folder:
        if altered is not None:
            file = Path(folder) / "altered.yaml"
            file.write_text(yaml.safe_dump({"benchmarks": [dict(entry) for entry in altered]}), "utf-8")
            argv += [str(provider / "provider.yaml"), str(file)]
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=_LONGEST)
    lines = done.stdout.splitlines()
    # Python, too, ends with status 1 when a program breaks
    if done.returncode not in (0, 1) or (done.returncode == 1 and not lines):
        raise EvalHubError(f"check_catalogue.py exited with status {done.returncode}: {done.stderr[-2000:]}")
    return Findings(done.returncode, lines)


def entries_of(provider: Path) -> dict[str, dict[str, Any]]:
    """Return the benchmarks of provider.yaml as they are written, by their ids, to be altered."""
    document = yaml.safe_load((provider / "provider.yaml").read_text("utf-8"))
    return {entry["id"]: entry for entry in document["benchmarks"]}


def defaults_of(provider: Provider) -> dict[str, Default]:
    """Return how every benchmark of the provider is judged.

    Raises:
        AssertionError: one lacks a direction, a range or a threshold.
    """
    found = {}
    for benchmark in provider.benchmarks:
        score, criteria = benchmark.primary_score, benchmark.pass_criteria
        assert score is not None, benchmark.id
        assert score.lower_is_better is not None, benchmark.id
        assert score.range is not None, benchmark.id
        assert criteria is not None, benchmark.id
        found[benchmark.id] = Default(score.metric, score.lower_is_better, score.range, criteria.threshold)
    return found
