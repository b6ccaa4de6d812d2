"""Runs of a real pipeline on a stub of Kubeflow Pipelines, and the commands that look after them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from evidence_runs import Done, invoke
from kfp_api import KfpApi

from evalhub_pipelines.client.connection import Connection
from evalhub_pipelines.client.runs.run_description import RunDescription

COMPILED = Path(__file__).parents[2] / "compiled" / "quickstart-v1.yaml"
FIRST, SECOND = "benchmark-000-quickstart-arithmetic", "benchmark-001-quickstart-word-problems"
TASKS = [
    *("fingerprint", FIRST, SECOND, "benchmark-002-quickstart-comparison", "benchmark-003-quickstart-reasoning"),
    *("benchmark-004-quickstart-refusal", "benchmark-005-quickstart-sycophancy", "aggregate", "gate"),
]

_SPEC: dict[str, Any] = next(yaml.safe_load_all(COMPILED.read_text()))


def to(api: KfpApi, **changes: Any) -> Connection:
    return Connection(**{"endpoint": api.endpoint, "origin": "the test", "timeout": 30, **changes})


def start(
    api: KfpApi,
    name: str = "nightly",
    parameters: dict[str, Any] | None = None,
    *,
    experiment_id: str = "",
    **said: Any,
) -> str:
    """Start a run, and return its id; `said` is what its description says."""
    body = {
        "display_name": name,
        "description": RunDescription(**said).text(),
        "pipeline_spec": _SPEC,
        "runtime_config": {
            "parameters": {"model_url": "http://model/v1", "model_name": "granite", **(parameters or {})}
        },
        **({"experiment_id": experiment_id} if experiment_id else {}),
    }
    return str(to(api).runs.run_service_create_run(run=body).run_id)


def end(api: KfpApi, run_id: str, state: str = "SUCCEEDED", **failed: str) -> None:
    """Let all tasks of a run succeed but those in `failed`, by their names with `_` for `-`, and end it."""
    others = {name.replace("_", "-"): word for name, word in failed.items()}
    api.advance(run_id, "RUNNING", dict.fromkeys(TASKS, "RUNNING"))
    api.advance(run_id, state, {name: others.get(name, "SUCCEEDED") for name in TASKS})


def run(api: KfpApi, command: Any, *arguments: object) -> Done:
    """Run a command that talks to the stub."""
    return invoke(command, *arguments, "--endpoint", api.endpoint)
