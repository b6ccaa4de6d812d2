"""Executes compiled pipelines as a KFP 2.17 backend would, on this machine.

It resolves what the backend resolves: inputs, constants, upstream outputs, sub-pipelines, placeholders, environment,
mounted secrets, retries. Artifacts go through an object store: a pod finds its inputs where the launcher downloads
them, and of its outputs the files alone are kept, if it ends well. A task that fails stops everything behind it. An
executor runs the pods.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kfp_launcher
import yaml
from executors import Executor, Mount, Pod, Processes, outside


@dataclass
class Finished:
    """One task that ran.

    Attributes:
        outputs: what the object store has of its artifacts, and the files with its parameters.
        metadata: what it told the backend of its artifacts, by port.
        attempts: how often it was started; the rest is about the last time.
    """

    name: str
    argv: list[str]
    environ: dict[str, str]
    mounts: dict[str, str]
    returncode: int
    stderr: str
    outputs: dict[str, Path]
    metadata: dict[str, Any]
    attempts: int


@dataclass
class Interpreter:
    """Runs one compiled file; `run` a second time does only what has failed, and what comes after that.

    Attributes:
        images: how pods run; interpreter and environment by image make processes of them.
        secrets: folder by the name of a Secret or ConfigMap in the namespace.
        run_id: what the backend calls this run.
        tell: is called with the path of a task and its state, as the backend calls them.
        outputs: of the tasks that succeeded, by path.
    """

    path: Path
    work: Path
    images: Mapping[str, tuple[str, dict[str, str]]] | Executor
    secrets: Mapping[str, Path] = field(default_factory=dict)
    finished: list[Finished] = field(default_factory=list)
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    tell: Callable[[str, str], None] = lambda path, state: None
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        spec, *platforms = (document for document in yaml.safe_load_all(self.path.read_text()) if document)
        self._spec = spec
        self._executors = spec["deploymentSpec"]["executors"]
        self._settings = platforms[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if platforms else {}
        self._executor = Processes(self.images) if isinstance(self.images, Mapping) else self.images
        self._root = f"minio://mlpipeline/v2/artifacts/{spec['pipelineInfo']['name']}/{self.run_id}"
        self._pods = 0

    def run(self, **parameters: Any) -> bool:
        """Run the pipeline and return whether every task succeeded."""
        declared = self._spec["root"].get("inputDefinitions", {}).get("parameters", {})
        given = {}
        for name, definition in declared.items():
            if name in parameters:
                given[name] = parameters.pop(name)
            elif "defaultValue" in definition:
                given[name] = definition["defaultValue"]
            else:
                assert definition.get("isOptional"), f"{name} must be given"
                given[name] = None
        assert not parameters, f"no such inputs: {parameters}"
        return self._dag(self._spec["root"], given, {}, "") is not None

    def __getitem__(self, name: str) -> Finished:
        (found,) = [task for task in self.finished if task.name == name]
        return found

    def _dag(
        self, component: dict[str, Any], parameters: dict[str, Any], artifacts: dict[str, Any], prefix: str
    ) -> Any:
        dag = component["dag"]
        waiting = dict(dag["tasks"])
        outputs: dict[str, dict[str, Any]] = {}
        while waiting:
            ready = [n for n, task in waiting.items() if all(d in outputs for d in task.get("dependentTasks", []))]
            assert ready, f"no task of {sorted(waiting)} can start"
            for name in ready:
                task = waiting.pop(name)
                given = {}
                for port, source in task.get("inputs", {}).get("parameters", {}).items():
                    if "runtimeValue" in source:
                        constant = source["runtimeValue"]["constant"]
                        # the driver knows it here, and nobody knows it within a command
                        given[port] = self.run_id if constant == "{{$.pipeline_job_uuid}}" else constant
                    elif "componentInputParameter" in source:
                        given[port] = parameters[source["componentInputParameter"]]
                    else:
                        upstream = source["taskOutputParameter"]
                        given[port] = outputs[upstream["producerTask"]][upstream["outputParameterKey"]]
                taken = {}
                for port, source in task.get("inputs", {}).get("artifacts", {}).items():
                    if "componentInputArtifact" in source:
                        taken[port] = artifacts[source["componentInputArtifact"]]
                    else:
                        upstream = source["taskOutputArtifact"]
                        taken[port] = outputs[upstream["producerTask"]][upstream["outputArtifactKey"]]
                target = self._spec["components"][task["componentRef"]["name"]]
                path = prefix + name
                made: dict[str, Any] | None
                if path in self.outputs:
                    made = self.outputs[path]
                elif "dag" in target:
                    made = self._dag(target, given, taken, f"{path}.")
                else:
                    self.tell(path, "RUNNING")
                    made = self._task(task, target, given, taken, parameters, path)
                    self.tell(path, "FAILED" if made is None else "SUCCEEDED")
                if made is None:
                    return None
                self.outputs[path] = outputs[name] = made
        selected = dag.get("outputs", {}).get("artifacts", {})
        return {
            name: outputs[choice["producerSubtask"]][choice["outputArtifactKey"]]
            for name, definition in selected.items()
            for choice in definition["artifactSelectors"]
        }

    def _task(
        self,
        task: dict[str, Any],
        component: dict[str, Any],
        parameters: dict[str, Any],
        artifacts: dict[str, Any],
        scope: dict[str, Any],
        path: str,
    ) -> dict[str, Any] | None:
        """Run a task and return its outputs by port, or None when its last attempt failed."""
        title, label = task["taskInfo"]["name"], component["executorLabel"]
        # the name that people see is part of the address, with its blanks and slash
        root = f"{self._root}/{title}/{uuid.uuid4()}"
        given = kfp_launcher.executor_input(component.get("outputDefinitions", {}), root, parameters, artifacts)
        attempts, left = 0, 1 + task.get("retryPolicy", {}).get("maxRetryCount", 0)
        while left:
            pod = self._pod(label, given, scope, path, attempts)
            ended = self._executor.run(pod)
            attempts, left = attempts + 1, left - 1 if ended.returncode else 0
        kept: dict[str, Path] = {}
        metadata = {}
        if not ended.returncode:  # of a failed task nothing is kept (kubeflow/pipelines#12425)
            kept = self._upload(given, pod)
            metadata = kfp_launcher.executor_output(outside(given["outputs"]["outputFile"], pod.mounts))
        mounts = {place: str(mount.folder) for place, mount in pod.mounts.items()}
        self.finished.append(
            Finished(title, pod.argv, pod.environ, mounts, ended.returncode, ended.stderr, kept, metadata, attempts)
        )
        if ended.returncode:
            return None
        values = {port: kept[port].read_text() for port in given["outputs"]["parameters"]}
        return {**kfp_launcher.listed(given["outputs"]), **values}

    def _pod(self, label: str, given: dict[str, Any], scope: dict[str, Any], task: str, attempt: int) -> Pod:
        """Return one attempt, with its inputs downloaded and the folders of its outputs made."""
        container = self._executors[label]["container"]
        self._pods += 1
        folder = self.work / "pods" / f"{self._pods:03d}-{label}"
        mounts = {"/minio": Mount(folder / "artifacts", True), "/tmp/kfp": Mount(folder / "kfp", True)}
        for artifact in kfp_launcher.listed(given["inputs"]).values():
            _copy(self._stored(artifact), outside(kfp_launcher.local(artifact), mounts))
        outputs = [kfp_launcher.local(artifact) for artifact in kfp_launcher.listed(given["outputs"]).values()]
        outputs += [parameter["outputFile"] for parameter in given["outputs"]["parameters"].values()]
        for mount in mounts.values():
            mount.folder.mkdir(parents=True, exist_ok=True)
        for path in outputs:
            outside(path, mounts).parent.mkdir(parents=True, exist_ok=True)
        for path in folder.rglob("*"):
            path.chmod(0o777 if path.is_dir() else 0o644)
        mounts |= self._mounts(label, scope, folder)

        def seen(path: str) -> str:
            return self._executor.path(path, mounts)

        environ = {variable["name"]: variable["value"] for variable in container.get("env", [])}
        return Pod(
            image=container["image"],
            argv=kfp_launcher.resolved([*container["command"], *container["args"]], given, seen),
            environ={name: seen(value) if value in mounts else value for name, value in environ.items()},
            mounts=mounts,
            memory=container.get("resources", {}).get("resourceMemoryLimit"),
            folder=folder,
            task=task,
            attempt=attempt,
            labels=self._settings.get(label, {}).get("podMetadata", {}).get("labels", {}),
        )

    def _upload(self, given: dict[str, Any], pod: Pod) -> dict[str, Path]:
        """Put the artifacts of a task into the object store; return what it has of them, and the parameters' files."""
        kept = {}
        for port, artifact in kfp_launcher.listed(given["outputs"]).items():
            kept[port] = self._stored(artifact)
            _copy(outside(kfp_launcher.local(artifact), pod.mounts), kept[port])
        for port, parameter in given["outputs"]["parameters"].items():
            kept[port] = outside(parameter["outputFile"], pod.mounts)
        return kept

    def _stored(self, artifact: Mapping[str, Any]) -> Path:
        return self.work / "store" / artifact["uri"].partition("://")[2]

    def _mounts(self, label: str, scope: dict[str, Any], folder: Path) -> dict[str, Mount]:
        """Return the mounts of every Secret and ConfigMap that was named, and of the empty volumes."""
        found = {}
        settings = self._settings.get(label, {})
        for kind, key in (("secretAsVolume", "secretNameParameter"), ("configMapAsVolume", "configMapNameParameter")):
            for mount in settings.get(kind, []):
                source = mount[key]
                constant = source.get("runtimeValue", {}).get("constant")
                name = constant if constant is not None else scope[source["componentInputParameter"]]
                assert name != "", "the driver fails on an empty name"
                if name is None:
                    continue
                assert name in self.secrets or mount["optional"], f"there is no {name}"
                # of an optional one that is not there the kubelet makes an empty folder
                mounted = _as_kubelet(self.secrets.get(name), folder / "secrets" / name)
                found[mount["mountPath"]] = Mount(mounted)
        for mount in settings.get("emptyDirMounts", []):
            place = folder / "volumes" / mount["volumeName"]
            place.mkdir(parents=True)
            place.chmod(0o777)
            found[mount["mountPath"]] = Mount(place, True)
        return found


def _copy(source: Path, target: Path) -> None:
    """Copy as through an object store, which has no modes and no empty folders; what was not made is left out."""
    for path in [source] if source.is_file() else sorted(source.rglob("*")):
        if path.is_file():
            place = target / path.relative_to(source) if path != source else target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def _as_kubelet(secret: Path | None, folder: Path) -> Path:
    """Mount a secret: links through `..data` to files that everybody in the pod may read."""
    if not folder.exists():
        (folder / "..2026_01_01").mkdir(parents=True)
        (folder / "..data").symlink_to("..2026_01_01")
        for path in secret.iterdir() if secret else ():
            shutil.copyfile(path, folder / "..2026_01_01" / path.name)
            (folder / path.name).symlink_to(Path("..data") / path.name)
    return folder
