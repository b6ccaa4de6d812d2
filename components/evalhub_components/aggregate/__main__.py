"""Command line of the aggregate step."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalhub_components import kfp_output
from evalhub_components.aggregate import pipeline_run
from evalhub_components.aggregate.aggregation import aggregate
from evalhub_components.aggregate.assembly import assemble
from evalhub_components.errors import EvalHubError, ExitStatus
from evalhub_components.run_directory import parse
from evalhub_components.schema import run_inputs
from evalhub_components.schema.plan import PlanHeader
from evalhub_components.schema.run import RunRecord


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge and publish a run; return 0 when both were done, whatever the verdict."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("evalhub_components").setLevel(logging.INFO)
    try:
        header = parse(PlanHeader, _json(options.header, "--header"), "--header")
        if options.run:
            record = parse(RunRecord, _json(options.run, "--run"), "--run")
        else:
            record = pipeline_run.record(
                header,
                run_id=options.run_id,
                model_url=options.model_url,
                model_name=options.model_name,
                num_examples=options.num_examples,
                inputs=run_inputs.read(options),
                results=options.results,
            )
        with tempfile.TemporaryDirectory(prefix="evalhub-") as folder:
            output = options.output or Path(folder) / record.run_id
            assemble(header, record, options.fingerprint, options.results, output)
            verdict = aggregate(output, mlflow_uri=options.mlflow_uri, mlflow_required=options.mlflow_required)
            wanted = {"verdict.json": options.verdict_file, "report.html": options.report}
            pipeline_run.hand_over(output, wanted | {"report.md": options.report_text}, options.evidence)
            shown: dict[str, Mapping[str, float | str]] = {
                "metrics": pipeline_run.numbers(verdict),
                "evidence": pipeline_run.whereabouts(output),
            }
            kfp_output.write(options.executor_input, shown)
    except EvalHubError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        cure = "the disk is full: make room and do it again" if full else "what is finished is kept"
        print(f"error: {error.filename or 'a file of the run'}: {error.strerror} ({cure})", file=sys.stderr)
        return ExitStatus.ERROR
    return ExitStatus.PASS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m evalhub_components.aggregate", description="judge and publish a run")
    parser.add_argument("--header", required=True, metavar="JSON", help="the plan's header; @FILE reads it from a file")
    parser.add_argument("--run", metavar="JSON", help="the run record, instead of what describes a pipeline run")
    parser.add_argument("--fingerprint", required=True, type=Path, metavar="FILE", help="the model's fingerprint")
    parser.add_argument(
        "--results",
        required=True,
        action="append",
        type=Path,
        metavar="DIR",
        help="folder with a folder per benchmark; may be given several times",
    )
    parser.add_argument("--output", type=Path, metavar="RUN_DIR", help="the run directory (default: a temporary one)")
    parser.add_argument("--mlflow-uri", metavar="URI", help="MLflow to log to (default: none)")
    parser.add_argument("--mlflow-required", action="store_true", help="an MLflow that does not work is an error")
    run = parser.add_argument_group("a pipeline run")
    run.add_argument("--run-id", help="id of the run")
    run.add_argument("--model-url", help="base address of the model")
    run.add_argument("--model-name", help="the model's name at that address")
    run.add_argument("--num-examples", type=int, default=0, help="examples a benchmark at most; 0 is no limit")
    run.add_argument("--verdict-file", type=Path, metavar="FILE", help="gets verdict.json")
    run.add_argument("--evidence", type=Path, metavar="DIR", help="gets the evidence")
    run.add_argument("--report", type=Path, metavar="FILE", help="gets report.html")
    run.add_argument("--report-text", type=Path, metavar="FILE", help="gets report.md")
    run.add_argument("--executor-input", metavar="JSON", help="what Kubeflow Pipelines tells a task of itself")
    run_inputs.add_options(parser)
    return parser


def _json(argument: str, where: str) -> Any:
    try:
        return json.loads(Path(argument[1:]).read_bytes() if argument.startswith("@") else argument)
    except (OSError, ValueError, RecursionError) as error:
        raise EvalHubError(f"{where}: must be JSON or @FILE ({error})") from None


if __name__ == "__main__":
    sys.exit(main())
