"""A module run as a process: what it is told it gets by its environment, and its end can be forced."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from evalhub_components.errors import EvalHubError


def run(module: str, *arguments: str, environ: Mapping[str, str | None], timeout: float) -> str:
    """Return what `python -m module` prints.

    Args:
        environ: variables over those of this process; None takes one away.
        timeout: seconds it has.

    Raises:
        EvalHubError: it failed, with what it says of that; or it took longer.
    """
    merged = {**os.environ, "PYDANTIC_DISABLE_PLUGINS": "1", **environ}
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env={name: value for name, value in merged.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise EvalHubError(f"no answer within {timeout:g} s (is it up, and not overloaded?)") from None
    if done.returncode:
        said = done.stderr.strip()[-2000:].removeprefix("error: ")
        raise EvalHubError(said or f"{module} exited with status {done.returncode}")
    return done.stdout.strip()
