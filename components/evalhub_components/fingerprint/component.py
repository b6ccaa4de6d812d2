"""KFP interface of the fingerprint step."""

from __future__ import annotations

from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from evalhub_components import kfp_ports
from evalhub_components.schema import run_inputs


def fingerprint(image: str, *, judge: bool = False) -> BaseComponent:
    """Return the component that asks the model, or the judge, who it is; outputs `fingerprint` and its `digest`.

    It checks the texts of the form too, because it runs before anything that costs.
    """
    ports: dict[str, Any] = {
        "model_url": str,
        "model_name": str,
        "model_auth": str,
        **dict.fromkeys(run_inputs.TEXTS, str),
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
                *("--model-auth", given["model_auth"]),
                *(("--role", "judge") if judge else ()),
                *(word for name in run_inputs.TEXTS for word in (f"--{name.replace('_', '-')}", given[name])),
                *("--output", given["fingerprint"].path),
                *("--digest-file", given["digest"]),
            ],
        )

    return kfp_ports.component("fingerprint", ports, build)
