"""How the benchmark figures are taken and printed: medians of wall or CPU seconds, one line a figure."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence


def figure(name: str, value: str, goal: str = "") -> None:
    """Print one line."""
    print(f"{name:<66} {value:>14}  {goal}", flush=True)


def once(argv: Sequence[str], environ: dict[str, str] | None = None) -> float:
    """Return the wall seconds of a command."""
    started = time.perf_counter()
    done = subprocess.run(argv, env=environ, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(argv)} exited with {done.returncode}:\n{done.stderr}")
    return time.perf_counter() - started


def wall(work: Callable[[], object], times: int = 3) -> float:
    """Return the median wall seconds of `work`."""
    return _median(work, time.perf_counter, times)


def own_cpu(work: Callable[[], object], times: int = 3) -> float:
    """Return the median CPU seconds that `work` takes in this process."""
    return _median(work, time.process_time, times)


def cpu(argv: Sequence[str], environ: dict[str, str] | None = None) -> float:
    """Return the median CPU seconds, user and system, of a command and its children."""
    seconds = []
    for _ in range(5):
        process = subprocess.Popen(argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, _, usage = os.wait4(process.pid, 0)
        seconds.append(usage.ru_utime + usage.ru_stime)
    return statistics.median(seconds)


def _median(work: Callable[[], object], clock: Callable[[], float], times: int) -> float:
    seconds = []
    for _ in range(times):
        started = clock()
        work()
        seconds.append(clock() - started)
    return statistics.median(seconds)
