"""guidellm as a process: the question before it starts, its environment, and its progress."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guidellm_key
from guidellm_parameters import Parameters

from evalhub_components.adapter import JobSpec
from evalhub_components.credentials import SERVICE_ACCOUNT_TOKEN
from evalhub_components.errors import EvalHubError
from evalhub_components.framework import program, surroundings
from evalhub_components.framework.upstream import Upstream

LAUNCH = Path(__file__).with_name("guidellm_launch.py")
_STARTS = 2
_PROGRESS = re.compile(
    r"Benchmark (?P<strategy>\d+) \(.*?\): \w+ \| .*?successful=(?P<done>\d+) errored=(?P<errored>\d+)"
)


def ask(config: JobSpec, parameters: Parameters) -> None:
    """Ask the model for one token: guidellm takes ten seconds to start, and says little about a refusal then.

    A server that is busy or broken for the moment is left to the benchmark, which counts the requests it loses.

    Raises:
        EvalHubError: the server cannot be reached or trusted, does not answer in time, or refuses.
    """
    upstream = Upstream(
        config.model, config.credentials, config.work_dir, tries=1, request_timeout=parameters.request_timeout
    )
    chat = parameters.request_format == "chat"
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello."}]} if chat else {"prompt": "Hello."}
    body = {"model": config.model.name, "max_tokens": 1, **asked, **parameters.body}
    answer = upstream.ask("POST", "/chat/completions" if chat else "/completions", json.dumps(body).encode())
    if answer.failure and answer.status < 500 and answer.status != 429:
        raise EvalHubError(f"{config.benchmark_id}: {answer.failure}")


def environment(config: JobSpec, parameters: Parameters) -> dict[str, str]:
    """Return guidellm's environment; no API key is in it.

    Raises:
        EvalHubError: the CA certificate cannot be read.
    """
    processes = parameters.worker_processes or min(10, len(os.sched_getaffinity(0)))
    hub = parameters.tokenizer is not None and not Path(parameters.tokenizer).is_dir()
    found = surroundings.variables(config.work_dir, hub=hub)
    # guidellm takes settings, and parts of a scenario, from variables of its own
    found = {name: value for name, value in found.items() if not name.startswith("GUIDELLM__")}
    found["GUIDELLM__MAX_WORKER_PROCESSES"] = str(processes)
    # its default imports everything anew in every process of every load
    found["GUIDELLM__MP_CONTEXT_TYPE"] = "forkserver"
    if hub and config.credentials.hf_token:
        found["HF_TOKEN"] = config.credentials.hf_token
    if config.credentials.token_file:
        found[SERVICE_ACCOUNT_TOKEN] = str(config.credentials.token_file)
    else:
        found.pop(SERVICE_ACCOUNT_TOKEN, None)
    if bundle := surroundings.ca_bundle(config.credentials.ca_cert, config.work_dir):
        found["SSL_CERT_FILE"] = str(bundle)
    return found


def run(
    scenario: Path,
    environ: dict[str, str],
    work_dir: Path,
    patience: float,
    progress: Callable[[int, int], None],
    key: str | None = None,
) -> None:
    """Run guidellm to its end and print what it prints.

    Now and then it is stuck at the beginning of a load and says nothing more; it gets a second start then.

    Args:
        scenario: the scenario file.
        environ: the environment.
        work_dir: its working directory.
        patience: seconds without a word after which it counts as stuck.
        progress: called with the number of the load, from 0, and the requests of it that have ended.
        key: the API key that it asks with.

    Raises:
        EvalHubError: it failed, or was stuck twice.
    """
    heard = time.monotonic()

    def listen(line: str) -> None:
        nonlocal heard
        heard = time.monotonic()
        if found := _PROGRESS.search(line):
            progress(int(found["strategy"]) - 1, int(found["done"]) + int(found["errored"]))

    def is_stuck() -> bool:
        return time.monotonic() - heard > patience

    how = [str(LAUNCH)] if key or SERVICE_ACCOUNT_TOKEN in environ else ["-m", "guidellm"]
    argv = [sys.executable, *how, "run", "-c", str(scenario), "--disable-console-interactive"]
    for _ in range(_STARTS):
        heard = time.monotonic()
        with guidellm_key.offered(key, work_dir) as told:
            end = program.run(argv, environ=environ | told, folder=work_dir, listen=listen, stop=is_stuck)
        if end.status == 0:
            return
        if end.status is not None:
            raise EvalHubError(f"guidellm exited with status {end.status}: {end.last_words}")
        print(f"guidellm said nothing for {patience:g} s: ended", flush=True)
    raise EvalHubError(f"guidellm got stuck {_STARTS} times: it said nothing for {patience:g} s")
