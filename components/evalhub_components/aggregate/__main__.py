"""Command line of the aggregate step."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalhub_components.aggregate.aggregation import aggregate
from evalhub_components.aggregate.assembly import assemble
from evalhub_components.aggregate.run_directory import parse
from evalhub_components.errors import EvalHubError, ExitStatus
from evalhub_components.schema.plan import PlanHeader
from evalhub_components.schema.run import RunRecord


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge and publish a run; return 0 when both were done, whatever the verdict."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("evalhub_components").setLevel(logging.INFO)
    try:
        header = parse(PlanHeader, _json(options.header, "--header"), "--header")
        record = parse(RunRecord, _json(options.run, "--run"), "--run")
        assemble(header, record, options.fingerprint, options.results, options.output)
        aggregate(options.output, mlflow_uri=options.mlflow_uri, mlflow_required=options.mlflow_required)
    except EvalHubError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return ExitStatus.PASS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m evalhub_components.aggregate", description="judge and publish a run")
    parser.add_argument("--header", required=True, metavar="JSON", help="the plan's header; @FILE reads it from a file")
    parser.add_argument("--run", required=True, metavar="JSON", help="the run record; @FILE reads it from a file")
    parser.add_argument("--fingerprint", required=True, type=Path, metavar="FILE", help="the model's fingerprint")
    parser.add_argument(
        "--results",
        required=True,
        action="append",
        type=Path,
        metavar="DIR",
        help="folder with a folder per benchmark; may be given several times",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="RUN_DIR", help="the run directory")
    parser.add_argument("--mlflow-uri", metavar="URI", help="MLflow to log to (default: none)")
    parser.add_argument("--mlflow-required", action="store_true", help="an MLflow that does not work is an error")
    return parser


def _json(argument: str, where: str) -> Any:
    try:
        return json.loads(Path(argument[1:]).read_bytes() if argument.startswith("@") else argument)
    except (OSError, ValueError, RecursionError) as error:
        raise EvalHubError(f"{where}: must be JSON or @FILE ({error})") from None


if __name__ == "__main__":
    sys.exit(main())
