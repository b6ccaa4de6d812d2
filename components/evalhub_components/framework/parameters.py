"""The `parameters` of a benchmark, read as what a provider understands: whatever it does not is an error."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from evalhub_components.errors import InvalidDocument, Problem
from evalhub_components.schema.document import Document

_ELSEWHERE = {
    "limit": "is the entry's own key num_examples",
    "num_examples": "is the entry's own key, beside parameters",
    "seed": "belongs to the evaluation, not to a benchmark",
    "timeout": "is the entry's own key; for one request use request_timeout",
}

ParametersT = TypeVar("ParametersT", bound=Document)


def parse(
    model: type[ParametersT], benchmark_id: str, values: Mapping[str, Any], elsewhere: Mapping[str, str] = {}
) -> ParametersT:
    """Return the parameters of a benchmark as a `model`.

    Args:
        elsewhere: keys that a user of the framework may look for, with where they belong here.

    Raises:
        InvalidDocument: with every unknown or wrong key.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            place = ".".join([f"{benchmark_id}: parameters", *map(str, item["loc"])])
            if item["type"] == "extra_forbidden":
                top = len(item["loc"]) == 1
                what = _unknown(str(item["loc"][0]), model, {**_ELSEWHERE, **elsewhere}) if top else "unknown key"
            else:
                what = item["msg"].removeprefix("Value error, ")
            problems.append(Problem(place, what[:1].lower() + what[1:]))
        raise InvalidDocument(problems) from None


def _unknown(key: str, model: type[Document], elsewhere: Mapping[str, str]) -> str:
    if key in elsewhere:
        return elsewhere[key]
    near = difflib.get_close_matches(key, model.model_fields, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(model.model_fields)}"
    return f"unknown key ({hint})"
