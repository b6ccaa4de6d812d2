"""KFP interface of the aggregate step."""

from __future__ import annotations

from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from evalhub_components import kfp_ports
from evalhub_components.schema import run_inputs

PARAMETERS = {
    "header": str,
    "run_id": str,
    "model_url": str,
    "model_name": str,
    "num_examples": int,
    "mlflow_uri": str,
    **dict.fromkeys(run_inputs.TEXTS, str),
}


def aggregate(image: str, count: int) -> BaseComponent:
    """Return the component that judges and publishes the inputs `results_0` to `results_<count - 1>`.

    Outputs `verdict` (verdict.json), `evidence` (an OCI image layout), and for the dashboard `report` (HTML),
    `report_text` (Markdown) and `metrics`.
    """
    names = [f"results_{position}" for position in range(count)]
    ports: dict[str, Any] = {**PARAMETERS, "fingerprint": dsl.Input[dsl.Artifact]}
    ports |= dict.fromkeys(names, dsl.Input[dsl.Artifact])
    ports |= {
        "verdict": dsl.Output[dsl.Artifact],
        "evidence": dsl.Output[dsl.Artifact],
        "report": dsl.Output[dsl.HTML],
        "report_text": dsl.Output[dsl.Markdown],
        "metrics": dsl.Output[dsl.Metrics],
    }

    def build(given: dict[str, Any]) -> dsl.ContainerSpec:
        options = [word for name in PARAMETERS for word in (f"--{name.replace('_', '-')}", given[name])]
        return dsl.ContainerSpec(
            image=image,
            command=["python", "-m", "evalhub_components.aggregate"],
            args=[
                *options,
                *("--fingerprint", given["fingerprint"].path),
                *(word for name in names for word in ("--results", given[name].path)),
                *("--verdict-file", given["verdict"].path),
                *("--evidence", given["evidence"].path),
                *("--report", given["report"].path),
                *("--report-text", given["report_text"].path),
                *("--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER),
            ],
        )

    return kfp_ports.component("aggregate", ports, build)
