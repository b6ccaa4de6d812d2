"""How a plan is cut for Kubeflow Pipelines: batches that share a pod, groups that share a sub-pipeline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from evalhub_components import canonical
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.plan import BenchmarkTask, EvaluationPlan

GROUP = 25
"""Tasks of one sub-pipeline at most; with fewer in all there is none."""

BATCH_BYTES = 30_000
"""JSON of one batch, and of the batches of one DAG, at most: escaped it is part of one argument."""

ARGUMENT_LIMIT = 100 * 1024
WORKFLOW_LIMIT = 900 * 1024
TEMPLATE_BYTES = 1_400
"""What the two Argo tasks of one task (driver, executor) take besides its own spec; read off the backend's output."""


def batches(plan: EvaluationPlan) -> list[list[BenchmarkTask]]:
    """Return the tasks that share a pod: one each, or with `execution.batch: provider` those that are alike.

    Alike are tasks of one provider with equal hardware and equal test data.
    """
    if plan.header.execution.batch != "provider":
        return [[task] for task in plan.tasks]
    open_batches: dict[str, list[BenchmarkTask]] = {}
    made: list[list[BenchmarkTask]] = []
    sizes: dict[str, int] = {}
    for task in plan.tasks:
        document = task.as_json()
        key = canonical.dumps([task.provider_id, document["hardware"], document["test_data_ref"]]).decode()
        size = _argument([task])
        if key not in open_batches or sizes[key] + size > BATCH_BYTES:
            open_batches[key], sizes[key] = [], 0
            made.append(open_batches[key])
        open_batches[key].append(task)
        sizes[key] += size
    return made


def cut(made: list[list[BenchmarkTask]]) -> list[list[list[BenchmarkTask]]]:
    """Return the batches cut into sub-pipelines of one provider; a single group when all fit into one.

    A group has at most 25 batches and as much JSON as one batch may have.
    """
    if len(made) <= GROUP and sum(map(_argument, made)) <= BATCH_BYTES:
        return [made]
    groups: list[list[list[BenchmarkTask]]] = []
    filled = 0
    for batch in sorted(made, key=lambda batch: batch[0].provider_id):
        last, size = groups[-1] if groups else [], _argument(batch)
        same = bool(last) and last[0][0].provider_id == batch[0].provider_id
        if same and len(last) < GROUP and filled + size <= BATCH_BYTES:
            last.append(batch)
            filled += size
        else:
            groups.append([batch])
            filled = size
    return groups


def sizes(text: str) -> tuple[int, int]:
    """Return the two `estimates` of a compiled file."""
    return estimates([document for document in yaml.load_all(text, Loader=LOADER) if document])


def estimates(documents: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Return the largest argument of a DAG's driver and the size of the Argo workflow, both estimated, in bytes.

    As the backend writes it (backend/src/v2/compiler/argocompiler of kubeflow/pipelines): a DAG once, a container
    and its component once for all tasks that have the same, a task's spec once more in its driver's arguments, and its
    Kubernetes settings under its own name.
    """
    spec, *platforms = documents
    components, executors = spec.get("components", {}), spec["deploymentSpec"]["executors"]
    settings = platforms[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if platforms else {}
    dags = [spec["root"], *(component for component in components.values() if "dag" in component)]
    workflow = sum(_escaped(dag) for dag in dags)
    containers = {}
    for dag in dags:
        for task in dag["dag"]["tasks"].values():
            workflow += _escaped(task) + TEMPLATE_BYTES
            component = components[task["componentRef"]["name"]]
            label = component.get("executorLabel")
            if label:
                container = executors[label]["container"]
                containers[_length(container), str(container)] = _escaped(container) + _escaped(component)
                workflow += _escaped(settings.get(label, {}))
    return max(_length(dag) for dag in dags), workflow + sum(containers.values())


def check_size(documents: Sequence[dict[str, Any]], plan: EvaluationPlan) -> None:
    """Refuse a compiled pipeline that a cluster could not take.

    Raises:
        EvalHubError: with the size, the limit and the remedy.
    """
    argument, workflow = estimates(documents)
    for what, size, limit in (("argument", argument, ARGUMENT_LIMIT), ("workflow", workflow, WORKFLOW_LIMIT)):
        if size > limit:
            raise EvalHubError(
                f"collection {plan.header.collection_id}: {len(plan.tasks)} benchmarks make a {what} of "
                f"{size // 1024} KiB, and {limit // 1024} KiB fit (set execution.batch: provider, or split it)"
            )


def _argument(batch: list[BenchmarkTask]) -> int:
    return sum(len(canonical.dumps(task.as_argument())) for task in batch)


def _length(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")))


def _escaped(value: Any) -> int:
    """Return the length of `value` as JSON inside a JSON string."""
    return len(json.dumps(json.dumps(value, separators=(",", ":"))))


LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
