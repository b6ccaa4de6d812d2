"""Command line of the collect step: `python -m evalhub_components.collect`."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Copy every benchmark's folder into one; two with the same name are refused."""
    parser = argparse.ArgumentParser("python -m evalhub_components.collect", description=__doc__)
    parser.add_argument("--results", action="append", type=Path, required=True, metavar="DIR", help="a task's results")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder that gets all of them")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    for source in options.results:
        for folder in sorted(path for path in source.iterdir() if path.is_dir()):
            target = options.output / folder.name
            if target.exists():
                print(f"{folder}: there is a benchmark of this name already", file=sys.stderr)
                return 2
            shutil.copytree(folder, target, symlinks=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
