"""What this process prints on a CI runner: text that the runner takes for text."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping

from evalhub_components.records.ci.disarming import disarm

_RUNNERS = {"GITHUB_ACTIONS": "true", "TF_BUILD": "True"}


def guard(environ: Mapping[str, str]) -> None:
    """Disarm all that this process prints from now on, when it is a step of a runner.

    Benchmarks, frameworks and model servers name and explain themselves in tables, errors and progress alike.
    """
    if not any(environ.get(variable) == value for variable, value in _RUNNERS.items()):
        return
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, _Guarded):
            stream.flush()
            # UTF-8 is what a runner reads; click would go round a stream of another, narrower encoding
            setattr(sys, name, _Guarded(stream.detach(), encoding="utf-8", errors="replace", line_buffering=True))


class _Guarded(io.TextIOWrapper):
    """Whoever prints here writes whole lines at once."""

    def write(self, text: str, /) -> int:
        super().write(disarm(text))
        return len(text)
