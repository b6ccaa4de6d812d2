"""What driver and launcher of KFP 2.17 do around a container: the executor input, placeholders, paths, outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import ExecutorInput, ExecutorOutput

FOLDERS = {"minio": "/minio", "s3": "/s3", "gs": "/gcs"}
"""Where a pod has the artifacts of an object store, by the scheme of their addresses."""
PARAMETERS = "/tmp/kfp/outputs"
"""Where a pod writes its output parameters."""


def executor_input(
    definitions: Mapping[str, Any], root: str, parameters: Mapping[str, Any], artifacts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a task is given and where it is to write.

    Args:
        definitions: of the component's outputs.
        root: address of the task in the object store.
        parameters: inputs; None is one that was not given.
        artifacts: inputs, as this function made them for the task they come from.
    """
    return {
        "inputs": {
            "parameterValues": {name: value for name, value in parameters.items() if value is not None},
            "artifacts": {port: {"artifacts": [artifact]} for port, artifact in artifacts.items()},
        },
        "outputs": {
            "parameters": {port: {"outputFile": f"{PARAMETERS}/{port}"} for port in definitions.get("parameters", {})},
            "artifacts": {
                port: {"artifacts": [{"name": port, "uri": f"{root}/{port}", "type": artifact["artifactType"]}]}
                for port, artifact in definitions.get("artifacts", {}).items()
            },
            "outputFile": f"{local({'uri': root})}/output_metadata.json",
        },
    }


def local(artifact: Mapping[str, Any]) -> str:
    """Return where a pod has an artifact."""
    scheme, _, rest = artifact["uri"].partition("://")
    return str(artifact.get("customPath") or f"{FOLDERS[scheme]}/{rest}")


def listed(ports: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the artifacts of inputs or outputs by port; each of ours has one."""
    return {port: found["artifacts"][0] for port, found in ports["artifacts"].items()}


def resolved(words: Iterable[str], given: dict[str, Any], seen: Callable[[str], str]) -> list[str]:
    """Return a command with its placeholders replaced, wherever they stand.

    Args:
        given: the executor input.
        seen: how the process has to call a path of the pod.
    """
    inputs, outputs = given["inputs"], given["outputs"]
    shown = {**given, "outputs": {**outputs, "outputFile": seen(outputs["outputFile"])}}
    # the backend writes it from the same message, so that what is no part of that is an error here too
    known = {"{{$}}": json_format.MessageToJson(json_format.ParseDict(shown, ExecutorInput()), indent=None)}
    known |= {f"{{{{$.inputs.parameters['{name}']}}}}": _text(v) for name, v in inputs["parameterValues"].items()}
    for way, ports in (("inputs", inputs), ("outputs", outputs)):
        for port, artifact in listed(ports).items():
            known[f"{{{{$.{way}.artifacts['{port}'].path}}}}"] = seen(local(artifact))
    for port, parameter in outputs["parameters"].items():
        known[f"{{{{$.outputs.parameters['{port}'].output_file}}}}"] = seen(parameter["outputFile"])
    return [_replaced(word, known) for word in words]


def executor_output(file: Path) -> dict[str, dict[str, Any]]:
    """Return what a task said of its artifacts, by port; nothing when it wrote no such file."""
    if not file.is_file():
        return {}
    read = json_format.MessageToDict(json_format.Parse(file.read_bytes(), ExecutorOutput()))
    return listed(read) if "artifacts" in read else {}


def _replaced(word: str, known: Mapping[str, str]) -> str:
    for placeholder in re.findall(r"\{\{\$.*?\}\}", word):
        # it would reach the program as it is
        assert placeholder in known, f"the launcher does not know {placeholder}"
        word = word.replace(placeholder, known[placeholder])
    return word


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # every number is a float in the backend, which writes it without an exponent
    return value if isinstance(value, str) else json.dumps(value)
