"""`environment.json`: the machine, the data, and what the adapter said of the framework."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from evalhub_components import canonical

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_ALSO_KEPT = ("evaluation_metadata", "additional_info", "eval_card", "env_card", "metrics_schema")


def facts(
    machine: Mapping[str, Any], payload: Mapping[str, Any] | None, data_digests: Mapping[str, str], seed: int
) -> dict[str, Any]:
    """Return all that is known of how results came about, as JSON values.

    Args:
        payload: what the adapter handed in, if anything.
    """
    said = payload or {}
    framework = said.get("environment") or {}
    found: dict[str, Any] = _jsonable(
        {
            **(framework if isinstance(framework, dict) else {"framework": framework}),
            **machine,
            **{name: said[name] for name in _ALSO_KEPT if said.get(name)},
            "data_digests": data_digests,
            "seed": seed,
        }
    )
    return found


def _jsonable(value: Any) -> Any:
    """Return `value` as canonical JSON can hold it, the same for equal values in another process.

    What is no JSON becomes text, a number out of range too; the address of an object in memory is left out.
    """
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_jsonable(item) for item in value), key=canonical.dumps)
    try:
        canonical.dumps(value)
    except ValueError:
        return _ADDRESS.sub("", str(value)).encode("utf-8", "replace").decode()
    return value
