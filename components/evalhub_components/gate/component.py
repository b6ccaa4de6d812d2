"""KFP interface of the gate step."""

from __future__ import annotations

from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from evalhub_components import kfp_ports


def gate(image: str) -> BaseComponent:
    """Return the component that fails unless `verdict` passes."""
    ports: dict[str, Any] = {"verdict": dsl.Input[dsl.Artifact]}

    def build(given: dict[str, Any]) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(
            image=image,
            command=["python", "-m", "evalhub_components.gate"],
            args=["--verdict", given["verdict"].path],
        )

    return kfp_ports.component("gate", ports, build)
