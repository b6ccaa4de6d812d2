"""Figures of logging to a real MLflow server: our recording beside the same calls as raw REST from one thread."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_figures import figure, once

sys.path.insert(0, str(Path(__file__).parent / "integration"))

from mlflow_servers import database, mlflow_server

from evalhub_components.records import tracking
from evalhub_components.records.tracking.recording import DatasetRecording, Recording, RunRecording

_CHILDREN = 50
_METRICS = 10
_ROUNDS = 7


def main() -> None:
    """Print every figure."""
    try:
        import mlflow
    except ImportError:
        print("mlflow is not installed: no figures of it")
        return
    figure("importing MLflow's client", f"{once([sys.executable, '-c', 'from mlflow import MlflowClient']):.2f} s")
    with tempfile.TemporaryDirectory() as folder, mlflow_server(Path(folder), database(Path(folder))) as uri:
        # the first of each imports modules, connects and warms the server up
        tracking.send(recording("warm"), uri)
        raw_rest(recording("warm-raw"), uri)
        pairs = [
            (wall(tracking.send, recording(f"ours-{n}"), uri), wall(raw_rest, recording(f"raw-{n}"), uri))
            for n in range(_ROUNDS)
        ]
    ours, raw = (statistics.median(column) for column in zip(*pairs, strict=True))
    what = f"1 parent + {_CHILDREN} children x {_METRICS} metrics"
    figure(f"{what} to MLflow {mlflow.__version__}", f"{ours:.2f} s")
    figure("    the same calls as raw REST from one thread", f"{raw:.2f} s")
    figure("    ratio", f"{statistics.median(a / b for a, b in pairs):.2f}", "at most 1.2")


def wall(send: Callable[[Recording, str], object], content: Recording, uri: str) -> float:
    """Return the wall seconds of sending `content`."""
    started = time.perf_counter()
    send(content, uri)
    return time.perf_counter() - started


def recording(run_id: str) -> Recording:
    """Return what MLflow is to hold of a run."""

    def run(key: tuple[str, str], **more: Any) -> RunRecording:
        fields: dict[str, Any] = {"key": key, "name": key[1], "status": "FINISHED", "started": 1000, "ended": 2000}
        fields |= {"tags": {f"evalhub.tag_{n}": "x" * 40 for n in range(8)}, "params": {}, "metrics": {}}
        return RunRecording(**{**fields, **more})

    return Recording(
        experiment="bench",
        experiment_tags={},
        parent=run(
            ("evalhub.run_id", run_id), metrics={f"b{n}/score": 0.5 for n in range(_CHILDREN)} | {"gate/score": 0.5}
        ),
        children=[
            run(
                ("evalhub.task_key", f"{run_id}/{index}"),
                params={f"parameter_{n}": "1" for n in range(10)},
                metrics={f"metric_{n}": 0.1 * n for n in range(_METRICS)},
                dataset=DatasetRecording(name=f"lm/b{index}", digest="ab" * 18, source="{}"),
            )
            for index in range(_CHILDREN)
        ],
        artifacts={"verdict.json": "{}", "report.md": "# Report\n"},
    )


def raw_rest(content: Recording, uri: str) -> None:
    """Log `content` as somebody would who writes the requests by hand: one connection a call, no library."""

    def call(path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"{uri}/api/2.0/mlflow/{path}",
            json.dumps(body).encode() if body is not None else None,
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())

    def write(run: RunRecording, parent: str | None, finish: bool = True) -> str:
        tags = {run.key[0]: run.key[1], **run.tags, **({"mlflow.parentRunId": parent} if parent else {})}
        body = {"experiment_id": experiment, "start_time": run.started, "run_name": run.name, "tags": _pairs(tags)}
        run_id: str = call("runs/create", body)["run"]["info"]["run_id"]
        metrics = [
            {"key": key, "value": value, "timestamp": run.ended, "step": 0} for key, value in run.metrics.items()
        ]
        batch = {"run_id": run_id, "metrics": metrics, "params": _pairs(run.params)}
        call("runs/log-batch", batch)
        if run.dataset:
            dataset = {**run.dataset.as_json(), "source_type": "evalhub"}
            tag = {"key": "mlflow.data.context", "value": "evaluation"}
            call("runs/log-inputs", {"run_id": run_id, "datasets": [{"dataset": dataset, "tags": [tag]}]})
        if finish:
            call("runs/update", {"run_id": run_id, "status": run.status, "end_time": run.ended})
        return run_id

    experiment = call(f"experiments/get-by-name?experiment_name={content.experiment}")["experiment"]["experiment_id"]
    key, value = content.parent.key
    call("runs/search", {"experiment_ids": [experiment], "filter": f"tags.`{key}` = '{value}'"})
    parent = write(content.parent, None, finish=False)
    for child in content.children:
        write(child, parent)
    place = call(f"runs/get?run_id={parent}")["run"]["info"]["artifact_uri"].removeprefix("mlflow-artifacts:")
    for name, text in content.artifacts.items():
        put = f"{uri}/api/2.0/mlflow-artifacts/artifacts{place}/{name}"
        with urllib.request.urlopen(urllib.request.Request(put, text.encode(), method="PUT")) as answer:
            answer.read()
    call("runs/update", {"run_id": parent, "status": content.parent.status, "end_time": content.parent.ended})


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


if __name__ == "__main__":
    main()
