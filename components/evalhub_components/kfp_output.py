"""What a step tells Kubeflow Pipelines when it ends: the executor output, with the numbers its dashboard shows.

The shape is KFP's own (`outputs.outputFile` of the executor input that `{{$}}` becomes); it needs no kfp.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError


def write(executor_input: str | None, metadata: Mapping[str, Mapping[str, float | str]]) -> None:
    """Write the executor output with `metadata` for the output artifacts it names; nothing without an executor input.

    Args:
        executor_input: the JSON that `{{$}}` became; None where no KFP started the step.
        metadata: numbers (of metrics) or texts by name, by output artifact. Names that the pipeline does not have are
            left out.

    Raises:
        EvalHubError: the executor input is not what KFP writes.
    """
    if not executor_input:
        return
    try:
        outputs = json.loads(executor_input)["outputs"]
        target = Path(outputs["outputFile"])
        artifacts: dict[str, Any] = {}
        for name, listed in outputs.get("artifacts", {}).items():
            first = listed["artifacts"][0]
            if name in metadata:
                kept = {
                    key: value
                    for key, value in metadata[name].items()
                    if isinstance(value, str) or math.isfinite(value)
                }
                # backends before 2.15 give artifacts no name
                named = {key: first[key] for key in ("name", "uri") if key in first}
                artifacts[name] = {"artifacts": [{**named, "metadata": kept}]}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise EvalHubError(f"--executor-input: is not what Kubeflow Pipelines passes ({error!r})") from None
    atomic.write_bytes(target, json.dumps({"artifacts": artifacts}).encode())
