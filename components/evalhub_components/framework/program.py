"""A framework as a process of its own: followed line by line, and ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOK_SECONDS = 0.1
_LAST_WORDS = 20
_LAST_SECONDS = 5.0


@dataclass(frozen=True)
class End:
    """How a process ended.

    Attributes:
        status: its exit status; None when it was stopped.
        said: its last lines.
    """

    status: int | None
    said: list[str]

    @property
    def last_words(self) -> str:
        """The last line in which it said something."""
        return self.said[-1] if self.said else "it said nothing"


def run(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str],
    folder: Path,
    listen: Callable[[str], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> End:
    """Run a program to its end, or until `stop` says so, and print what it prints.

    Nothing that it started in its session is left. Exit codes of frameworks say little: whoever calls this looks at
    what was written.

    Args:
        argv: without a secret, because every user of the machine can read it.
        environ: the whole environment.
        folder: its working directory.
        listen: called with every line that it prints.
        stop: asked ten times a second.

    Raises:
        Exception: what `listen` raised; the program is ended then.
    """
    process = subprocess.Popen(
        argv,
        env=dict(environ),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    said: deque[str] = deque(maxlen=_LAST_WORDS)
    stopped = False
    failures: list[Exception] = []
    reader = threading.Thread(target=_read, args=(process, said, listen, failures), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            if failures or stop():
                stopped = True
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_SECONDS)
    finally:
        # workers may outlive it, and go on asking the model
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # who has left its session keeps the pipe open, and is the harness's to end
        reader.join(_LAST_SECONDS)
    if failures:
        raise failures[0]
    return End(None if stopped else process.returncode, list(said))


def _read(
    process: subprocess.Popen[str], said: deque[str], listen: Callable[[str], None], failures: list[Exception]
) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            sys.stdout.write(line)
            if line.strip():
                said.append(line.strip())
            try:
                listen(line)
            except Exception as error:  # a pipe that nobody reads would stop the program
                failures.append(error)
