"""Figures of the client of Kubeflow Pipelines, against a stub of it: submitting, and the requests of waiting."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent / "integration"))

from bench_figures import figure
from kfp_api import kfp_api

COMMAND = Path(sys.executable).with_name("evalhub-kfp")
TYPICAL, LARGEST = "leaderboard-v2", "lm-eval-catalogue-v1"
GOAL = "at most 1.5"
WAIT = 30
"""Seconds for which a run is watched."""


class Seconds(NamedTuple):
    """What a command took; the stub's own work is part of the wall seconds alone."""

    cpu: float
    wall: float


def main() -> None:
    """Print every figure."""
    for collection in (TYPICAL, LARGEST):
        first, again = _taken(collection)
        _show(f"submit --detach of {collection}, compiled and uploaded", first)
        _show("    again: its version is there", again)
    moments = _asked_while_waiting(LARGEST)
    closest = min(later - earlier for earlier, later in itertools.pairwise(moments))
    figure(f"status --watch of {LARGEST}: requests in {WAIT} s", str(len(moments)))
    figure("    the shortest time between two", f"{closest:.2f} s", "at least 1")


def _show(name: str, taken: Seconds) -> None:
    figure(name, f"{taken.cpu:.2f} s CPU", GOAL)
    figure("    wall", f"{taken.wall:.2f} s")


def _taken(collection: str) -> tuple[Seconds, Seconds]:
    """Return the medians of submitting to servers that have nothing, and to the same servers again."""
    first: list[Seconds] = []
    again: list[Seconds] = []
    for _ in range(5):
        with kfp_api() as api:
            for found in (first, again):
                found.append(_submitted(collection, api.endpoint))
    return _median(first), _median(again)


def _asked_while_waiting(collection: str) -> list[float]:
    """Return the seconds at which the server was asked while somebody waited for a run that goes on."""
    with kfp_api() as api:
        argv = [str(COMMAND), "submit", collection, "--detach", "--endpoint", api.endpoint]
        argv += ["--model-url", "http://model.example/v1", "--model-name", "model"]
        run_id = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)["run_id"]
        api.advance(run_id, "RUNNING", {"fingerprint": "SUCCEEDED"})
        before, moments = len(api.seen), []
        watch = [str(COMMAND), "status", run_id, "--watch", "--timeout", f"{WAIT}s", "--endpoint", api.endpoint]
        process = subprocess.Popen(watch, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            time.sleep(0.01)
            moments += [time.perf_counter()] * (len(api.seen) - before - len(moments))
        return moments


def _submitted(collection: str, endpoint: str) -> Seconds:
    argv = [str(COMMAND), "submit", collection, "--detach", "--endpoint", endpoint]
    argv += ["--model-url", "http://model.example/v1", "--model-name", "model"]
    started = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    # subprocess would wait for what has gone
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(argv)} exited with {process.returncode}")
    return Seconds(usage.ru_utime + usage.ru_stime, time.perf_counter() - started)


def _median(taken: list[Seconds]) -> Seconds:
    cpu, wall = zip(*taken, strict=True)
    return Seconds(statistics.median(cpu), statistics.median(wall))


if __name__ == "__main__":
    main()
