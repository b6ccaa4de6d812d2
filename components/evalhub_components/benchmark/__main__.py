"""Command line of the benchmark step: `python -m evalhub_components.benchmark`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from collections import Counter
from pathlib import Path

from evalhub_components import credentials, kfp_output
from evalhub_components.benchmark import external_data
from evalhub_components.benchmark.harness import Harness, stdout_report
from evalhub_components.benchmark.settings import Settings, Terminated
from evalhub_components.errors import EvalHubError, ExitStatus
from evalhub_components.schema.plan import AskedJudge, BenchmarkTask
from evalhub_components.schema.results import BenchmarkResults


def main(argv: list[str] | None = None) -> int:
    """Run the tasks given in `argv` and return 0: a failed benchmark is in its results, not in the exit status."""
    parser = argparse.ArgumentParser(prog="python -m evalhub_components.benchmark", description=__doc__)
    parser.add_argument("--task", required=True, help="JSON list of benchmark tasks, or @FILE")
    parser.add_argument("--model-url", required=True, help="base address of the model, ending in /v1")
    parser.add_argument("--model-name", required=True, help="the model's name at that address")
    parser.add_argument("--model-auth", default="secret", help="what it is asked with: secret or service-account")
    parser.add_argument("--judge-url", default="", help="base address of the model that judges answers")
    parser.add_argument("--judge-name", default="", help="the judge's name at that address")
    parser.add_argument("--judge-auth", default="secret", help="what the judge is asked with, as for the model")
    parser.add_argument("--judge-fingerprint", default="", help="digest of the judge that answered before the run")
    parser.add_argument("--job-id", default="", help="id that equal configurations share (default: of the task)")
    parser.add_argument("--fingerprint", default=None, help="digest of the model that answered before the run")
    parser.add_argument("--num-examples", type=int, default=0, help="examples a benchmark at most; 0 is no limit")
    parser.add_argument("--test-data", type=Path, default=None, help="folder with the benchmarks' external data")
    parser.add_argument("--executor-input", metavar="JSON", help="what Kubeflow Pipelines tells a task of itself")
    parser.add_argument("--results", type=Path, required=True, help="folder that gets one folder a benchmark")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    stopping: list[signal.Signals] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stopping.append(signal.Signals(received)))
    try:
        settings = Settings(
            model_url=arguments.model_url.rstrip("/"),
            model_name=arguments.model_name,
            job_id=arguments.job_id,
            fingerprint=arguments.fingerprint or None,
            num_examples=arguments.num_examples or None,
            test_data=arguments.test_data.resolve() if arguments.test_data else None,
            results=arguments.results.resolve(),
            adapter_file=_adapter_file(),
            judge=_judge(arguments.judge_url, arguments.judge_name, arguments.judge_fingerprint),
            auth=credentials.auth(arguments.model_auth),
            judge_auth=credentials.auth(arguments.judge_auth, "judge_auth"),
            ends_with_stdin=os.environ.get("EVALHUB_LIFELINE") == "stdin",
            stopping=stopping,
        )
        tasks = _tasks(arguments.task)
        external_data.publish(settings.test_data)
        harness = Harness(settings, stdout_report)
        harness.run(tasks)
        if arguments.executor_input:
            kfp_output.write(arguments.executor_input, {"metrics": _metrics(settings.results, tasks)})
    except Terminated as end:
        print(f"stopped by {end}; finished benchmarks are kept", file=sys.stderr)
        return end.status
    except EvalHubError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except OSError as error:
        print(f"{error.filename or arguments.results}: {error.strerror}", file=sys.stderr)
        return ExitStatus.ERROR
    return 0


def _metrics(results: Path, tasks: list[BenchmarkTask]) -> dict[str, float]:
    """Return the numbers of all benchmarks that completed, for KFP's dashboard."""
    found = {}
    for task in tasks:
        left = BenchmarkResults.model_validate_json((results / task.slug / "results.json").read_bytes())
        prefix = f"{task.benchmark_id}/" if len(tasks) > 1 else ""
        for name, metric in left.metrics.items() if left.status == "completed" else ():
            if isinstance(metric.value, int | float):
                found[prefix + name] = float(metric.value)
    return found


def _judge(url: str, name: str, fingerprint: str) -> AskedJudge | None:
    if bool(url) != bool(name):
        raise EvalHubError("--judge-url and --judge-name: go together")
    return AskedJudge(url=url.rstrip("/"), name=name, fingerprint=fingerprint or None) if url else None


def _tasks(argument: str) -> list[BenchmarkTask]:
    try:
        text = Path(argument[1:]).read_text("utf-8") if argument.startswith("@") else argument
        tasks = [BenchmarkTask.model_validate(item) for item in json.loads(text)]
    except (ValueError, TypeError) as error:
        raise EvalHubError(f"--task: must be a JSON list of benchmark tasks ({error})") from None
    if not tasks:
        raise EvalHubError("--task: must be a JSON list of benchmark tasks (it is empty)")
    for index, times in Counter(task.index for task in tasks).items():
        if times > 1:
            raise EvalHubError(f"--task: index {index} is used twice (every task has its own)")
    return tasks


def _adapter_file() -> Path:
    folder = os.environ.get("EVALHUB_PROVIDER_DIR", "/opt/evalhub/provider")
    return Path(folder).resolve() / "adapter.py"


if __name__ == "__main__":
    sys.exit(main())
