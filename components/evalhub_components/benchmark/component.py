"""KFP interface of the benchmark step: any number of benchmarks of one provider, in that provider's image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from evalhub_components import bridge, kfp_ports


def benchmark(
    image: str,
    *,
    name: str = "benchmark",
    entrypoint: Sequence[str] = (),
    test_data: str | None = None,
    judge: bool = False,
) -> BaseComponent:
    """Return the component that runs benchmarks in `image`; outputs `results` and the dashboard's `metrics`.

    Args:
        image: of the provider.
        name: of the component.
        entrypoint: of an image made for EvalHub, which has no package of ours: the bridge runs it.
        judge: whether it takes a model that judges answers.
        test_data: folder of a mounted volume; `""` for a Dataset that a task hands over.
    """
    ports: dict[str, Any] = {
        "task": str,
        "model_url": str,
        "model_name": str,
        "model_auth": str,
        "fingerprint": str,
        "num_examples": int,
    }
    judging = ("judge_url", "judge_name", "judge_auth", "judge_fingerprint") if judge else ()
    ports |= dict.fromkeys(judging, str)
    if test_data == "":
        ports["test_data"] = dsl.Input[dsl.Dataset]
    ports |= {"results": dsl.Output[dsl.Artifact], "metrics": dsl.Output[dsl.Metrics]}

    def build(given: dict[str, Any]) -> dsl.ContainerSpec:
        command = ["python", "-m", "evalhub_components.benchmark"]
        if entrypoint:
            command = ["python3", "-I", "-c", Path(bridge.__file__).read_text("utf-8")]
        data = []
        if test_data is not None:
            data = ["--test-data", test_data or given["test_data"].path]
        return dsl.ContainerSpec(
            image=image,
            command=command,
            args=[
                *("--task", given["task"]),
                *("--model-url", given["model_url"]),
                *("--model-name", given["model_name"]),
                *("--model-auth", given["model_auth"]),
                *("--fingerprint", given["fingerprint"]),
                *("--num-examples", given["num_examples"]),
                *(word for port in judging for word in (f"--{port.replace('_', '-')}", given[port])),
                *data,
                *("--results", given["results"].path),
                *("--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER),
                *(["--", *entrypoint] if entrypoint else []),
            ],
        )

    return kfp_ports.component(name, ports, build)
