"""KFP interface of the fingerprint step."""

from __future__ import annotations

from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from evalhub_components import kfp_ports


def fingerprint(image: str) -> BaseComponent:
    """Return the component that asks the model who it is; outputs `fingerprint` and its `digest`."""
    ports: dict[str, Any] = {
        "model_url": str,
        "model_name": str,
        "fingerprint": dsl.Output[dsl.Artifact],
        "digest": dsl.OutputPath(str),
    }

    def build(given: dict[str, Any]) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(
            image=image,
            command=["python", "-m", "evalhub_components.fingerprint"],
            args=[
                *("--model-url", given["model_url"]),
                *("--model-name", given["model_name"]),
                *("--output", given["fingerprint"].path),
                *("--digest-file", given["digest"]),
            ],
        )

    return kfp_ports.component("fingerprint", ports, build)
