"""Runs of compiled pipelines on the API in this process, and the records that real aggregate steps leave of them."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from kfp_api import KfpApi

from evalhub_components.aggregate.__main__ import main as aggregate

COMPILED = Path(__file__).resolve().parents[2] / "compiled"
SMALL, LARGE = "quickstart-v1", "lm-eval-catalogue-v1"
"""Collections: one whose benchmarks are tasks of the pipeline itself, one with 188 in groups."""

PARAMETERS = {"model_url": "http://model/v1", "model_name": "demo-model"}


@cache
def pipeline(collection: str) -> Any:
    """A compiled pipeline as the server has it in a version."""
    with (COMPILED / f"{collection}.yaml").open() as file:
        spec, platform = [document for document in yaml.load_all(file, Loader=yaml.CSafeLoader) if document]
    return {"pipeline_spec": spec, "platform_spec": platform}


def start(api: KfpApi, collection: str = SMALL, namespace: str = "", **parameters: Any) -> str:
    """Start a version of a compiled pipeline, and return the run's id."""
    made = api.create_pipeline({"name": f"evalhub-{collection}-{api.made}"}, namespace)
    version = api.create_version(made["pipeline_id"], {"name": "v1", "pipeline_spec": pipeline(collection)})
    return start_version(api, version, namespace, **parameters)


def start_version(api: KfpApi, version: Any, namespace: str = "", **parameters: Any) -> str:
    reference = {key: version[key] for key in ("pipeline_id", "pipeline_version_id")}
    experiment = next(key for key in api.experiments if api.namespaces[key] == namespace)
    body = {
        "display_name": "nightly",
        "experiment_id": experiment,
        "pipeline_version_reference": reference,
        "runtime_config": {"parameters": {**PARAMETERS, **parameters}},
    }
    return str(api.create_run(body, namespace)["run_id"])


class Named(NamedTuple):
    """A benchmark's task in a pipeline, and its titles."""

    task: str
    titles: list[str]


def benchmarks(collection: str = SMALL) -> list[Named]:
    """The tasks that run benchmarks, by the index of their first."""
    spec = pipeline(collection)["pipeline_spec"]
    dags = [spec["root"], *spec["components"].values()]
    found = []
    for name, task in (item for dag in dags for item in dag.get("dag", {}).get("tasks", {}).items()):
        given = task.get("inputs", {}).get("parameters", {}).get("task", {}).get("runtimeValue")
        if given:
            entries = json.loads(given["constant"])
            titles = [f"{entry['provider_id']} / {entry['benchmark_id']}" for entry in entries]
            found.append((entries[0]["index"], Named(name, titles)))
    return [named for _, named in sorted(found)]


def end(api: KfpApi, run_id: str, state: str = "SUCCEEDED", **states: str) -> None:
    """End a run of SMALL whose tasks succeeded, but for those that are named here, such as `gate="FAILED"`."""
    tasks = dict.fromkeys(["fingerprint", *(named.task for named in benchmarks())], "SUCCEEDED")
    api.advance(run_id, state, {**tasks, "aggregate": "SUCCEEDED", "gate": "SUCCEEDED", **states})


def record(run: Path, run_id: str, work: Path, *arguments: object, mode: str = "point") -> None:
    """Judge a finished run directory as the aggregate step of the pipeline run `run_id` does.

    Args:
        run: a run directory, which stays as it is.
        work: a folder that is not there yet.
        mode: of the gate.
    """
    shutil.copytree(run, work)
    header = json.loads((work / "plan.json").read_text())["header"] | {"gate_mode": mode}
    given = [
        *("--header", json.dumps(header)),
        *("--run-id", run_id, "--model-url", PARAMETERS["model_url"], "--model-name", PARAMETERS["model_name"]),
        *("--fingerprint", work / "fingerprint.json", "--results", work / "benchmarks"),
        *arguments,
    ]
    assert aggregate([str(argument) for argument in given]) == 0
