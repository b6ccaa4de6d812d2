"""KFP interface of the collect step."""

from __future__ import annotations

from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from evalhub_components import kfp_ports


def collect(image: str, count: int) -> BaseComponent:
    """Return the component that merges the inputs `results_0` to `results_<count - 1>` into the output `results`."""
    names = [f"results_{position}" for position in range(count)]
    ports: dict[str, Any] = dict.fromkeys(names, dsl.Input[dsl.Artifact])
    ports["results"] = dsl.Output[dsl.Artifact]

    def build(given: dict[str, Any]) -> dsl.ContainerSpec:
        arguments = [word for name in names for word in ("--results", given[name].path)]
        return dsl.ContainerSpec(
            image=image,
            command=["python", "-m", "evalhub_components.collect"],
            args=[*arguments, "--output", given["results"].path],
        )

    return kfp_ports.component("collect", ports, build)
