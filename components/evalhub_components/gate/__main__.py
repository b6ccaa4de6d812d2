"""Command line of the gate step: the verdict as an exit status, and one line that says why."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError, ExitStatus
from evalhub_components.gate import exit_status
from evalhub_components.schema.verdict import Verdict


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status that the verdict stands for; a file that is no verdict never passes."""
    parser = argparse.ArgumentParser("python -m evalhub_components.gate", description="exit with a verdict's status")
    parser.add_argument("--verdict", required=True, type=Path, metavar="FILE", help="verdict.json of a run")
    options = parser.parse_args(arguments)
    try:
        verdict = Verdict.model_validate(atomic.read_json(options.verdict))
    except (EvalHubError, ValidationError, RecursionError) as error:
        reason = str(error) if isinstance(error, EvalHubError) else f"{options.verdict}: is not a verdict"
        print(_one_line(f"error: {reason}"), file=sys.stderr)
        return ExitStatus.ERROR
    limited = " (limited: fewer examples than the collection asks for)" if verdict.limited else ""
    reason = verdict.reasons[0] if verdict.reasons else "no reason was given"
    print(_one_line(f"{verdict.verdict}: {reason}{limited}"))
    return exit_status(verdict.verdict)


def _one_line(text: str) -> str:
    """Return `text` without line breaks and terminal controls: benchmarks name themselves in it."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


if __name__ == "__main__":
    sys.exit(main())
