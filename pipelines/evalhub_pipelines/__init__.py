"""Plan, run, judge and verify evaluations: `from evalhub_pipelines import plan, run, judge, verify, compile`.

`from evalhub_pipelines import kubeflow` for runs and schedules on Kubeflow Pipelines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalhub_pipelines.api import Run, compare, compile, judge, plan, report, results, resume, rows, run, verify

__all__ = ["Run", "compare", "compile", "judge", "plan", "report", "results", "resume", "rows", "run", "verify"]


def __getattr__(name: str) -> Any:
    # on first use: `evalhub-kfp --help` imports this package and needs none of it
    if name in __all__:
        from evalhub_pipelines import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
