"""A provider's check_catalogue.py: provider.yaml against the framework that is installed, one line per difference.

A line is `where: kind: what is otherwise`. The script says what its framework knows, in a function of the catalogue's
benchmarks; reading, printing and the exit status are the same for all.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

Benchmarks = dict[str, dict[str, Any]]
"""The entries of provider.yaml as they are written, by their ids."""


class Acknowledged(str):
    """A difference that a note of the benchmark explains: it is printed and is no failure."""

    __slots__ = ()

    def __new__(cls, line: str, note: str) -> Acknowledged:
        """Add the note to the line."""
        return super().__new__(cls, f"{line} (acknowledged: {note})")


def main(
    differences: Callable[[Benchmarks], Iterable[str]],
    folder: Path,
    argv: Sequence[str],
    *,
    packages: Iterable[str],
    known: Iterable[str] = (),
) -> int:
    """Print what the files named in `argv`, by default the provider's own, say otherwise than the framework.

    Args:
        differences: yields a line for each difference.
        folder: the provider's.
        packages: the framework's, which must be installed as `requirements.in` pins them.
        known: the benchmarks that the adapter has by itself, all of which the catalogue must offer.

    Returns:
        0 without a difference, 1 with some, 2 when a file cannot be read.
    """
    catalogues: list[Benchmarks] = []
    for path in [Path(name) for name in argv] or [folder / "provider.yaml"]:
        try:
            catalogues.append(_read(path))
        except (OSError, ValueError, yaml.YAMLError) as error:
            print(f"{path}: cannot be read: {error}", file=sys.stderr)
            return 2
    found = list(_versions(folder / "requirements.in", packages))
    for benchmarks in catalogues:
        missing = sorted(set(known) - benchmarks.keys())
        found += [f"{name}: id: the adapter knows it, the catalogue does not" for name in missing]
        found += differences(benchmarks)
    for line in found:
        print(line)
    return int(any(not isinstance(line, Acknowledged) for line in found))


def _read(path: Path) -> Benchmarks:
    document = yaml.safe_load(path.read_text("utf-8"))
    try:
        return {benchmark["id"]: benchmark for benchmark in document["benchmarks"]}
    except (KeyError, TypeError):
        raise ValueError("it has no list of benchmarks, each with an id") from None


def _versions(requirements: Path, packages: Iterable[str]) -> Iterator[str]:
    pins = re.sub(r"\[[^]]*]", "", requirements.read_text("utf-8")).split()  # without extras
    for name in packages:
        installed = metadata.version(name)
        if f"{name}=={installed}" not in pins:
            yield f"{name}: version: {installed} is installed, which is not the one that is required"
