"""Documents of users, checked whole: every problem is reported at once, with its place and what would be right."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, ValidationError

from evalhub_components.errors import InvalidDocument, Problem
from evalhub_pipelines.bounded_yaml import join_path, kind, read, refusal

Model = TypeVar("Model", bound=BaseModel)

MAX_PROBLEMS = 100


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
        details = error.errors()
        problems = sorted({_problem(detail, data, model, where) for detail in details[:MAX_PROBLEMS]})
        if len(details) > MAX_PROBLEMS:
            problems.append(Problem(where, f"has {len(details) - MAX_PROBLEMS} more problems like these"))
        raise InvalidDocument(problems) from None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` is probably a misspelling of."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), None)


def near(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the known name nearest to `name`, or an empty string."""
    close = nearest(name, known)
    return f" (did you mean {close!r}?)" if close else ""


_MESSAGES = {
    "missing": "is missing",
    "greater_than_equal": "must be >= {ge:.12g}",
    "greater_than": "must be > {gt:.12g}",
    "less_than_equal": "must be <= {le:.12g}",
    "less_than": "must be < {lt:.12g}",
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
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must match {pattern}",
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
        what = _unknown(str(names[-1]), _keys_at(model, names[:-1]))
    elif detail["type"] == "value_error":
        what = str(detail["ctx"]["error"])
    else:
        template = _MESSAGES.get(detail["type"])
        what = template.format(**detail.get("ctx", {})) if template else detail["msg"]
        if detail["type"] == "string_type" and isinstance(detail["input"], int | float):
            what += " (put it in quotes)"
        if detail["type"] != "missing":
            what += f", got {_shown(detail['input'])}"
    return Problem(f"{where}: {path}" if path else where, what)


def _unknown(key: str, keys: Mapping[str, str]) -> str:
    if key in keys:
        return f"says the same as {keys[key]!r} (keep one)"
    return f"unknown key{near(key, keys)}"


def _keys_at(model: type[BaseModel], names: list[str | int]) -> dict[str, str]:
    """Return the keys a document may have at the place that `names` lead to, each with the name it goes by here."""
    current: type[BaseModel] | None = model
    for name in names:
        if isinstance(name, int) or current is None:
            continue
        field = current.model_fields.get(_names(current).get(str(name), ""))
        current = _model_in(field.annotation) if field else None
    return _names(current) if current else {}


def _names(model: type[BaseModel]) -> dict[str, str]:
    """Return the field's name for every key that a `model` accepts, aliases included."""
    names: dict[str, str] = {}
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        keys = [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [alias or name]
        names.update(dict.fromkeys(map(str, keys), name))
    return names


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for argument in typing.get_args(annotation) if (found := _model_in(argument))), None)


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return kind(value)
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
