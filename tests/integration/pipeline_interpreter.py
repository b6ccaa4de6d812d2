"""Executes compiled pipelines as a KFP backend would, with processes in place of pods.

It resolves what the backend's driver and launcher resolve: inputs, constants, upstream outputs, sub-pipelines,
placeholders, environment, mounted secrets. A task that fails stops everything behind it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass
class Finished:
    """One task that ran."""

    name: str
    argv: list[str]
    environ: dict[str, str]
    mounts: dict[str, str]
    returncode: int
    stderr: str
    outputs: dict[str, Path]
    metadata: dict[str, Any]


@dataclass
class Interpreter:
    """Runs one compiled file.

    Attributes:
        images: interpreter and environment that stand for an image.
        secrets: folder by the name of a Secret or ConfigMap in the namespace.
    """

    path: Path
    work: Path
    images: Mapping[str, tuple[str, dict[str, str]]]
    secrets: Mapping[str, Path] = field(default_factory=dict)
    finished: list[Finished] = field(default_factory=list)

    def __post_init__(self) -> None:
        spec, *platforms = (document for document in yaml.safe_load_all(self.path.read_text()) if document)
        self._spec = spec
        self._executors = spec["deploymentSpec"]["executors"]
        self._settings = platforms[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if platforms else {}
        self._run_id = str(uuid.uuid4())

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
        return self._dag(self._spec["root"], given, {}) is not None

    def __getitem__(self, name: str) -> Finished:
        (found,) = [task for task in self.finished if task.name == name]
        return found

    def _dag(self, component: dict[str, Any], parameters: dict[str, Any], artifacts: dict[str, Path]) -> Any:
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
                        given[port] = source["runtimeValue"]["constant"]
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
                if "dag" in target:
                    made = self._dag(target, given, taken)
                else:
                    made = self._task(name, task, target, given, taken, parameters)
                if made is None:
                    return None
                outputs[name] = made
        selected = dag.get("outputs", {}).get("artifacts", {})
        return {
            name: outputs[choice["producerSubtask"]][choice["outputArtifactKey"]]
            for name, definition in selected.items()
            for choice in definition["artifactSelectors"]
        }

    def _task(
        self,
        name: str,
        task: dict[str, Any],
        component: dict[str, Any],
        parameters: dict[str, Any],
        artifacts: dict[str, Path],
        scope: dict[str, Any],
    ) -> dict[str, Any] | None:
        label = component["executorLabel"]
        container = self._executors[label]["container"]
        folder = self.work / f"{len(self.finished):03d}-{name}"
        ports = component.get("outputDefinitions", {})
        # the backend makes the parent folders of outputs, not the outputs
        files = {port: folder / "outputs" / port for port in ports.get("artifacts", {})}
        values = {port: folder / "parameters" / port for port in ports.get("parameters", {})}
        for path in (*files.values(), *values.values()):
            path.parent.mkdir(parents=True, exist_ok=True)
        executor_input = {
            "inputs": {"parameterValues": parameters},
            "outputs": {
                "artifacts": {
                    port: {"artifacts": [{"name": port, "uri": f"minio://bucket/{name}/{port}", "metadata": {}}]}
                    for port in files
                },
                "outputFile": str(folder / "kfp" / "executor_output.json"),
            },
        }

        def resolved(word: str) -> str:
            known = {"{{$}}": json.dumps(executor_input), "{{$.pipeline_job_uuid}}": self._run_id}
            known |= {f"{{{{$.inputs.parameters['{k}']}}}}": _text(v) for k, v in parameters.items()}
            known |= {f"{{{{$.inputs.artifacts['{k}'].path}}}}": str(v) for k, v in artifacts.items()}
            known |= {f"{{{{$.outputs.artifacts['{k}'].path}}}}": str(v) for k, v in files.items()}
            known |= {f"{{{{$.outputs.parameters['{k}'].output_file}}}}": str(v) for k, v in values.items()}
            assert not re.search(r"\{\{\$", word) or word in known, f"{name}: unknown placeholder {word}"
            return known.get(word, word)

        python, extra = self.images[container["image"]]
        argv = [resolved(word) for word in (*container["command"], *container["args"])]
        assert argv[0] in ("python", "python3")
        mounts = self._mounts(label, scope)
        environ = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "TMPDIR")} | extra
        for variable in container.get("env", []):
            environ[variable["name"]] = mounts.get(variable["value"], variable["value"])
        done = subprocess.run(
            [python, *argv[1:]], env=environ, capture_output=True, text=True, cwd=extra.get("PWD", self.work)
        )
        output = folder / "kfp" / "executor_output.json"
        metadata = json.loads(output.read_text())["artifacts"] if output.is_file() else {}
        title = task["taskInfo"]["name"]
        self.finished.append(
            Finished(title, argv, environ, mounts, done.returncode, done.stderr, {**files, **values}, metadata)
        )
        if done.returncode:
            return None
        return {**files, **{port: path.read_text() for port, path in values.items()}}

    def _mounts(self, label: str, scope: dict[str, Any]) -> dict[str, str]:
        """Return the folder behind every mount path whose Secret or ConfigMap was named."""
        found = {}
        settings = self._settings.get(label, {})
        for kind, key in (("secretAsVolume", "secretNameParameter"), ("configMapAsVolume", "configMapNameParameter")):
            for mount in settings.get(kind, []):
                source = mount[key]
                constant = source.get("runtimeValue", {}).get("constant")
                name = constant if constant is not None else scope[source["componentInputParameter"]]
                assert name != "", "the driver fails on an empty name"
                if name is not None and name in self.secrets:
                    found[mount["mountPath"]] = str(self.secrets[name])
                else:
                    assert name is None or mount["optional"], f"there is no {name}"
        for mount in settings.get("emptyDirMounts", []):
            place = self.work / "volumes" / f"{len(self.finished):03d}"
            place.mkdir(parents=True)
            found[mount["mountPath"]] = str(place)
        return found


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # the file says 0.0 for the integer 0, the backend passes 0
    return value if isinstance(value, str) else json.dumps(value)
