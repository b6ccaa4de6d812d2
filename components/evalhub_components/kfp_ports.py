"""KFP components whose number of inputs is known only when a pipeline is compiled: kfp reads ports off a signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

Build = Callable[[dict[str, Any]], dsl.ContainerSpec]


def component(name: str, ports: Mapping[str, Any], build: Build) -> BaseComponent:
    """Return the container component `name` with `ports`.

    Args:
        name: of the component; tasks are named after it.
        ports: annotation by port name: `str`, `int`, `dsl.Input[...]`, `dsl.Output[...]`, `dsl.OutputPath(str)`.
        build: called with kfp's placeholder for every port.
    """

    def function(*placeholders: Any) -> dsl.ContainerSpec:
        return build(dict(zip(ports, placeholders, strict=True)))

    parameters = [
        inspect.Parameter(port, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation)
        for port, annotation in ports.items()
    ]
    function.__name__ = name
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = dict(ports)
    made: BaseComponent = dsl.container_component(function)
    return made
