"""Documents of users, checked whole: every problem is reported at once, with its place and what would be right."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from evalhub_components.errors import InvalidDocument, Problem
from evalhub_pipelines.bounded_yaml import join_path, kind, read, refusal

Model = TypeVar("Model", bound=BaseModel)


def load(path: Path, model: type[Model], *, defaults: Mapping[str, Any] | None = None) -> Model:
    """Return the document in `path`.

    Args:
        defaults: values for top-level keys that the document leaves out.

    Raises:
        InvalidDocument: with every problem found.
    """
    data = read(path)
    if isinstance(data, dict):
        data = {**(defaults or {}), **data}
    return validate(data, model, str(path))


def validate(data: Any, model: type[Model], where: str) -> Model:
    """Return `data` as a `model`.

    Raises:
        InvalidDocument: with every problem; a misspelt key suggests the nearest one.
    """
    if not isinstance(data, dict):
        raise refusal(where, f"must be a mapping of keys, got {kind(data)}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InvalidDocument(sorted({_problem(detail, data, model, where) for detail in error.errors()})) from None


def near(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the known name nearest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


_MESSAGES = {
    "missing": "is missing",
    "greater_than_equal": "must be >= {ge:g}",
    "greater_than": "must be > {gt:g}",
    "less_than_equal": "must be <= {le:g}",
    "less_than": "must be < {lt:g}",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "literal_error": "must be {expected}",
    "too_short": "must have at least {min_length} item(s)",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
}


def _problem(detail: Any, data: Any, model: type[BaseModel], where: str) -> Problem:
    names: list[str | int] = []
    here: Any = data
    # pydantic adds the branches of unions to the location; what is not in the data is not a key of the user's
    for part in detail["loc"]:
        if isinstance(here, dict) and isinstance(part, str):
            if part not in here and detail["type"] != "missing":
                continue
            here = here.get(part)
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            continue
        names.append(part)
    path = ""
    for name in names:
        path = f"{path}[{name}]" if isinstance(name, int) else join_path(path, name)
    if detail["type"] == "extra_forbidden":
        known = _keys_at(model, names[:-1])
        what = f"unknown key{near(str(names[-1]), known)}"
    elif detail["type"] == "value_error":
        what = str(detail["ctx"]["error"])
    else:
        template = _MESSAGES.get(detail["type"])
        what = template.format(**detail.get("ctx", {})) if template else detail["msg"]
        if detail["type"] != "missing":
            what += f", got {_shown(detail['input'])}"
    return Problem(f"{where}: {path}" if path else where, what)


def _keys_at(model: type[BaseModel], names: list[str | int]) -> list[str]:
    """Return the keys a document may have at the place that `names` lead to."""
    current: type[BaseModel] | None = model
    for name in names:
        if isinstance(name, int) or current is None:
            continue
        field = current.model_fields.get(name)
        current = _model_in(field.annotation) if field else None
    return list(current.model_fields) if current else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for argument in typing.get_args(annotation) if (found := _model_in(argument))), None)


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return kind(value)
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
