"""The adapter's process as the harness sees it: its events, its end, and the end of all it started."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalhub_components.adapter import JobSpec
from evalhub_components.benchmark import child

_PR_SET_CHILD_SUBREAPER = 36
_CHUNK = 1 << 16


def adopt_orphans() -> None:
    """Become the parent of processes whose parent ends, so that `AdapterProcess.end` finds them (Linux only)."""
    child.prctl(_PR_SET_CHILD_SUBREAPER, 1)


class AdapterProcess:
    """A child that runs benchmarks.

    Attributes:
        log: what it prints outside a benchmark of its own.
        status: what waitpid says of it, None while it runs.
    """

    def __init__(self, adapter_file: Path, specs: Sequence[JobSpec], log: Path) -> None:
        log.unlink(missing_ok=True)
        self.log = log
        self.status: int | None = None
        self._pid, self._pipe, self._go_ahead = child.fork(adapter_file, specs, log)
        self._pipe_is_open = True
        self._buffer = b""

    def events(self, seconds: float) -> list[dict[str, Any]]:
        """Return the events that arrive within `seconds`; after the child's end, the ones that were left."""
        if self._has_ended():
            self.end()
            while self._read(0):
                pass
        elif self._pipe_is_open:
            self._read(seconds)
        else:
            time.sleep(seconds)
        *lines, self._buffer = self._buffer.split(b"\n")
        return [event for line in lines if (event := _parsed(line)) is not None]

    def go_ahead(self) -> None:
        """Let it start its next benchmark: the files of the last one are where they belong."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._go_ahead, b"\n")

    def _has_ended(self) -> bool:
        if self.status is not None:
            return True
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _read(self, seconds: float) -> bool:
        """Read what is there or comes within `seconds`; return whether there may be more."""
        readable, _, _ = select.select([self._pipe], [], [], seconds)
        if not readable:
            return False
        chunk = os.read(self._pipe, _CHUNK)
        self._buffer += chunk
        self._pipe_is_open = bool(chunk)
        return self._pipe_is_open

    def end(self) -> None:
        """Kill the child's process group and whatever else it started."""
        if self.status is not None:
            return
        try:
            os.killpg(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(self._pid, signal.SIGKILL)  # it had no time to become the leader of its group
        except PermissionError:
            pass  # macOS says so of a group of zombies
        _, self.status = os.waitpid(self._pid, 0)
        _end_orphans()

    def close(self) -> None:
        """Give up what it may still have said."""
        os.close(self._pipe)
        os.close(self._go_ahead)


def death(status: int) -> str:
    """Return in words how a process ended that should have returned results."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        hint = " (out of memory?)" if number == signal.SIGKILL else ""
        return f"the adapter's process was ended by {name}{hint}"
    return f"the adapter's process exited with status {os.waitstatus_to_exitcode(status)} before it returned results"


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return the event in `line`; None for what several processes wrote into each other."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _end_orphans() -> None:
    """Kill the processes that left the child's group and, see `adopt_orphans`, have become children of this one."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    try:
        while pids := [int(pid) for pid in children.read_text().split()]:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    except OSError:
        pass  # not Linux, or a kernel that does not list children
