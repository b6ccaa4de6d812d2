"""One process at a time works in a run directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evalhub_components.errors import EvalHubError


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold the lock of a run directory; the kernel drops it when the process ends, however it ends.

    Raises:
        EvalHubError: another process holds it.
    """
    with (directory / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise EvalHubError(f"{directory}: is in use by process {holder} (wait until it ends, or end it)") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
