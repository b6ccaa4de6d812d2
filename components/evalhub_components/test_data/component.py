"""KFP interface of the test-data step."""

from __future__ import annotations

from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from evalhub_components import kfp_ports


def test_data(image: str) -> BaseComponent:
    """Return the component that fetches what a `test_data_ref` names; outputs `test_data` and its `digest`."""
    ports: dict[str, Any] = {"ref": str, "test_data": dsl.Output[dsl.Dataset], "digest": dsl.OutputPath(str)}

    def build(given: dict[str, Any]) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(
            image=image,
            command=["python", "-m", "evalhub_components.test_data"],
            args=[
                *("--ref", given["ref"]),
                *("--output", given["test_data"].path),
                *("--digest-file", given["digest"]),
                *("--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER),
            ],
        )

    return kfp_ports.component("test_data", ports, build)
