"""One process at a time works in a run directory."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evalhub_components.errors import EvalHubError

_SECONDS_FOR_ORPHANS = 60


@contextmanager
def held(directory: Path) -> Iterator[int]:
    """Hold the lock of a run directory and yield its file descriptor; the kernel drops it when all holders have ended.

    A run that was killed may leave a step that is still writing; that one is waited for.

    Raises:
        EvalHubError: another process holds it.
    """
    with (directory / "lock").open("a+") as file:
        deadline = time.monotonic() + _SECONDS_FOR_ORPHANS
        while not _taken(file.fileno()):
            file.seek(0)
            holder = file.read().strip()
            if _is_alive(holder) or time.monotonic() > deadline:
                what = f"is in use by process {holder or 'unknown'} (wait until it ends, or end it)"
                raise EvalHubError(f"{directory}: {what}")
            time.sleep(0.1)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file.fileno()


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass  # of another user
    return True
