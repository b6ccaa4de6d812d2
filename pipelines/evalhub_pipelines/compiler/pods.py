"""What the pods of a pipeline get: name, credentials, resources, placement, retries and time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl import structures

from evalhub_components.errors import EvalHubError
from evalhub_components.schema.collection import HardwareConfig, TestDataRef
from evalhub_components.schema.plan import BenchmarkTask, PlanExecution
from evalhub_components.schema.provider import KubernetesRuntime
from evalhub_pipelines.manifests import labels

MODEL_MOUNT = "/etc/evalhub/model"
JUDGE_MOUNT = "/etc/evalhub/judge"
PUBLISHING_SECRETS = {
    "mlflow_secret": ("EVALHUB_MLFLOW_SECRET", "/etc/evalhub/mlflow"),
    "registry_secret": ("EVALHUB_REGISTRY_SECRET", "/etc/evalhub/registry"),
    "signing_secret": ("EVALHUB_SIGNING_SECRET", "/etc/evalhub/signing"),
}
"""Variable and folder of each secret that aggregate alone gets, by the input that names it."""

CA_MOUNT = "/etc/evalhub/ca"
DATA_SECRET_MOUNT = "/etc/evalhub/test-data"
DATA_MOUNT = "/test_data"
"""Where adapters made for EvalHub look for their data."""

_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|[MGTPE]|[KMGTPE]i)?")
_LONGEST = "864000s"
"""Ten days, from the beginning of the first try to the end of the last, work and queues included.

That is what Argo takes the backoff's `maxDuration` for, and Kubeflow Pipelines hands it on: of a pod that dies later
there is no other try, and a later try that is still at work then is ended.
"""

_START_UP = 600  # seconds a pod has beyond the time limits of its benchmarks


def prepare(
    task: dsl.PipelineTask,
    title: str,
    execution: PlanExecution,
    image_pull_secrets: Sequence[str],
    *,
    step: labels.Step = "other",
    retries: int | None = None,
    cache: bool = False,
) -> None:
    """Give a task what every pod of ours has: its name on the dashboard, its label, retries, and no rights.

    Args:
        step: whom it talks to, for network policies.
    """
    kubernetes.add_pod_label(task, labels.STEP, step)
    task.set_display_name(title)
    task.set_caching_options(cache)
    count = execution.retries if retries is None else retries
    if count:
        task.set_retry(count, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration=_LONGEST)
    kubernetes.set_security_context(task, run_as_non_root=True)
    if image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(image_pull_secrets))


def mount_model(task: dsl.PipelineTask, inputs: Mapping[str, Any]) -> None:
    """Mount the model's credentials: all that a benchmark ever sees."""
    kubernetes.use_secret_as_volume(task, secret_name=inputs["model_secret"], mount_path=MODEL_MOUNT, optional=True)
    _set_environ(task, {"EVALHUB_MODEL_SECRET": MODEL_MOUNT})
    mount_ca(task, inputs)


def mount_judge(task: dsl.PipelineTask, inputs: Mapping[str, Any]) -> None:
    """Mount the credentials of the model that judges answers, for the benchmarks that ask it."""
    kubernetes.use_secret_as_volume(task, secret_name=inputs["judge_secret"], mount_path=JUDGE_MOUNT, optional=True)
    _set_environ(task, {"EVALHUB_JUDGE_SECRET": JUDGE_MOUNT})


def mount_publishing(task: dsl.PipelineTask, inputs: Mapping[str, Any]) -> None:
    """Mount the credentials of MLflow and the registry, and the signing key, for aggregate alone."""
    for name, (variable, folder) in PUBLISHING_SECRETS.items():
        kubernetes.use_secret_as_volume(task, secret_name=inputs[name], mount_path=folder, optional=True)
        _set_environ(task, {variable: folder})
    mount_ca(task, inputs)


def mount_data_secret(task: dsl.PipelineTask, name: str | None) -> None:
    """Mount the credentials of a data source, for the task that fetches and no other."""
    if name:
        kubernetes.use_secret_as_volume(task, secret_name=name, mount_path=DATA_SECRET_MOUNT)
        _set_environ(task, {"EVALHUB_TEST_DATA_SECRET": DATA_SECRET_MOUNT})


def mount_data(task: dsl.PipelineTask, ref: TestDataRef) -> None:
    """Offer the data at `/test_data`: the volume itself, or an empty folder that the step fills."""
    if ref.pvc:
        kubernetes.mount_pvc(task, pvc_name=ref.pvc.claim_name, mount_path=DATA_MOUNT, sub_path=ref.pvc.sub_path or "")
    else:
        kubernetes.empty_dir_mount(task, volume_name="test-data", mount_path=DATA_MOUNT)
        _set_environ(task, {"EVALHUB_TEST_DATA_MOUNT": DATA_MOUNT})


def configure(task: dsl.PipelineTask, batch: Sequence[BenchmarkTask], runtime: KubernetesRuntime) -> None:
    """Set resources, placement, environment and deadline of a benchmark task; its `hardware_config` goes first."""
    hardware = batch[0].hardware or HardwareConfig()
    _container(task).resources = _resources(title(batch), hardware, runtime)
    selector = (runtime.gpu.node_selector if runtime.gpu else {}) | hardware.node_selector
    for label, value in selector.items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in hardware.tolerations:
        kubernetes.add_toleration(
            task,
            key=toleration.get("key"),
            operator=toleration.get("operator"),
            value=toleration.get("value"),
            effect=toleration.get("effect"),
            toleration_seconds=toleration.get("tolerationSeconds"),
        )
    if hardware.queue:
        kubernetes.add_pod_label(task, "kueue.x-k8s.io/queue-name", hardware.queue.name)
    if runtime.image_pull_policy:
        kubernetes.set_image_pull_policy(task, runtime.image_pull_policy)
    _set_environ(task, {variable.name: variable.value for variable in runtime.env})
    image, _, digest = str(runtime.image).partition("@")
    _set_environ(task, {"EVALHUB_IMAGE": image} | ({"EVALHUB_IMAGE_DIGEST": digest} if digest else {}))
    kubernetes.set_timeout(task, sum(entry.timeout for entry in batch) + _START_UP)


def title(batch: Sequence[BenchmarkTask]) -> str:
    """Return the name a batch has on the dashboard."""
    first = batch[0]
    more = f" and {len(batch) - 1} more" if len(batch) > 1 else ""
    return f"{first.provider_id} / {first.benchmark_id}{more}"


def mount_ca(task: dsl.PipelineTask, inputs: Mapping[str, Any]) -> None:
    """Mount the config map with the CA certificates of the servers a task talks to."""
    kubernetes.use_config_map_as_volume(
        task, config_map_name=inputs["ca_config_map"], mount_path=CA_MOUNT, optional=True
    )
    _set_environ(task, {"EVALHUB_CA": CA_MOUNT})


def _resources(where: str, hardware: HardwareConfig, runtime: KubernetesRuntime) -> structures.ResourceSpec:
    cpu, memory = hardware.cpu, hardware.memory
    amounts = {
        "cpu_request": (cpu and cpu.request) or runtime.cpu_request,
        "cpu_limit": (cpu and cpu.limit) or runtime.cpu_limit,
        "memory_request": (memory and memory.request) or runtime.memory_request,
        "memory_limit": (memory and memory.limit) or runtime.memory_limit,
    }
    for name, amount in amounts.items():
        if amount and not _QUANTITY.fullmatch(amount):
            raise EvalHubError(f"{where}: {name.replace('_', ' ')} {amount!r}: is no quantity (write 500m, 2 or 4Gi)")
    found = structures.ResourceSpec(**{name: amount or None for name, amount in amounts.items()})
    if hardware.gpu:
        found.accelerator_type, found.accelerator_count = hardware.gpu.name, str(hardware.gpu.count)
    elif runtime.gpu:
        found.accelerator_type, found.accelerator_count = runtime.gpu.resource, str(runtime.gpu.count)
    return found


def _set_environ(task: dsl.PipelineTask, environ: Mapping[str, str]) -> None:
    container = _container(task)
    container.env = {**(container.env or {}), **environ}


def _container(task: dsl.PipelineTask) -> structures.ContainerSpecImplementation:
    """Return the container that kfp's setters change; each of those reads the source of all its callers first."""
    return task.container_spec
