"""Kubeflow Pipelines from Python: `from evalhub_pipelines import kubeflow`.

`connect` says where; `submit` starts a run, with the images of `read_lock`; `wait` and `status` return its state, and
`verdict` what it recorded. What takes a connection takes it first, and `submit` by name.
"""

from __future__ import annotations

from evalhub_pipelines.chosen_images import read_lock
from evalhub_pipelines.client.connection import Connection
from evalhub_pipelines.client.connection import resolve as connect
from evalhub_pipelines.client.runs.run_actions import cancel, delete, retry
from evalhub_pipelines.client.runs.run_list import ListedRun, RunPage, list_runs
from evalhub_pipelines.client.runs.run_logs import logs
from evalhub_pipelines.client.runs.run_record import RunRecord
from evalhub_pipelines.client.runs.run_record import find as verdict
from evalhub_pipelines.client.runs.run_state import RunState
from evalhub_pipelines.client.runs.run_state import read as status
from evalhub_pipelines.client.runs.waiting import TimedOut, wait
from evalhub_pipelines.client.scheduling import schedules
from evalhub_pipelines.client.submitting.submission import Submission, submit

__all__ = [
    "Connection",
    "ListedRun",
    "RunPage",
    "RunRecord",
    "RunState",
    "Submission",
    "TimedOut",
    "cancel",
    "connect",
    "delete",
    "list_runs",
    "logs",
    "read_lock",
    "retry",
    "schedules",
    "status",
    "submit",
    "verdict",
    "wait",
]
