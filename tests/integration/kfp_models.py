"""What clients send to Kubeflow Pipelines, read as strictly as protobuf does, by the models of `kfp_server_api`."""

from __future__ import annotations

import datetime
import re
from typing import Any

import kfp_server_api

_INT64 = {"max_concurrency", "interval_second", "long_value"}
"""Fields that JSON has as text and protobuf reads as numbers too."""


def problems(value: Any, model: str, where: str = "") -> list[str]:
    """Everything in `value` that is no field of the model, or has another type."""
    if model.startswith("list["):
        if not isinstance(value, list):
            return [f"{where}: must be a list"]
        return [found for i, item in enumerate(value) for found in problems(item, model[5:-1], f"{where}[{i}]")]
    if model.startswith("dict("):
        if not isinstance(value, dict):
            return [f"{where}: must be an object"]
        kind = model[5:-1].partition(", ")[2]
        return [found for key, item in value.items() for found in problems(item, kind, f"{where}.{key}")]
    if model == "object":
        return []
    if model in ("str", "int", "bool"):
        wanted = {"str": str, "int": int, "bool": bool}[model]
        number = isinstance(value, int) and not isinstance(value, bool)
        right = number if model == "int" else isinstance(value, wanted)
        if right or (number and where.rpartition(".")[2] in _INT64):
            return []
        return [f"{where}: must be {model}, got {value!r}"]
    if model == "datetime":
        return [] if is_timestamp(value) else [f"{where}: must be a timestamp of RFC 3339, got {value!r}"]
    return _of_class(value, getattr(kfp_server_api, model), where)


def _of_class(value: Any, model: Any, where: str) -> list[str]:
    allowed = getattr(model, "allowable_values", None)
    if allowed is not None:
        return [] if value in allowed else [f"{where}: must be one of {allowed}, got {value!r}"]
    if not isinstance(value, dict):
        return [f"{where or model.__name__}: must be an object, got {value!r}"]
    attributes = {name: attribute for attribute, name in model.attribute_map.items()}
    found = []
    for key, item in value.items():
        place = f"{where}.{key}"
        if key not in attributes:
            found.append(f'{place}: unknown field "{key}" of {model.__name__}')
        elif item is not None:
            found += problems(item, model.openapi_types[attributes[key]], place)
    return found


def is_timestamp(value: Any) -> bool:
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[-+]\d\d:\d\d)"
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def timestamp(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_OPERATIONS = {
    1: "EQUALS",
    2: "NOT_EQUALS",
    3: "GREATER_THAN",
    5: "GREATER_THAN_EQUALS",
    6: "LESS_THAN",
    7: "LESS_THAN_EQUALS",
    8: "IN",
    9: "IS_SUBSTRING",
}


def matches(record: dict[str, Any], document: Any) -> bool:
    """Whether a record fulfils every predicate of a filter that `filter_problems` found nothing in."""
    for predicate in document.get("predicates", []):
        snake = {_snake(key): value for key, value in predicate.items()}
        operation = _OPERATIONS.get(snake["operation"], snake["operation"])
        value = record.get(snake["key"], "")
        (wanted,) = (item for key, item in snake.items() if key.endswith(("_value", "_values")))
        wanted = wanted["values"] if isinstance(wanted, dict) else wanted
        if not {
            "EQUALS": lambda value=value, wanted=wanted: value == wanted,
            "NOT_EQUALS": lambda value=value, wanted=wanted: value != wanted,
            "GREATER_THAN": lambda value=value, wanted=wanted: value > wanted,
            "GREATER_THAN_EQUALS": lambda value=value, wanted=wanted: value >= wanted,
            "LESS_THAN": lambda value=value, wanted=wanted: value < wanted,
            "LESS_THAN_EQUALS": lambda value=value, wanted=wanted: value <= wanted,
            "IN": lambda value=value, wanted=wanted: value in wanted,
            "IS_SUBSTRING": lambda value=value, wanted=wanted: wanted in value,
        }[operation]():
            return False
    return True


def filter_problems(document: Any, fields: set[str]) -> list[str]:
    """What is wrong with a filter over these fields; camel case and numbers of operations are right, as in protobuf."""
    if not isinstance(document, dict) or set(document) - {"predicates"}:
        return ["filter: must be an object with predicates"]
    found = []
    for predicate in document.get("predicates", []):
        snake = {_snake(key): value for key, value in predicate.items()}
        snake["operation"] = _OPERATIONS.get(snake.get("operation"), snake.get("operation"))
        found += problems(snake, "V2beta1Predicate", "predicate")
        if snake.get("key") not in fields:
            found.append(f"no support for filtering on unrecognized field {snake.get('key')!r}")
        if sum(key.endswith(("_value", "_values")) for key in snake) != 1:
            found.append("a predicate has exactly one value")
    return found


def _snake(name: str) -> str:
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
