"""What every document of ours is: frozen, and closed to unknown keys."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Document(BaseModel):
    """A frozen document whose unknown keys are errors."""

    # built on first use: a task needs few of the documents, and building all costs more than its own work
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    def as_json(self) -> dict[str, Any]:
        """Return the document as JSON values, with the names it has in files."""
        return self.model_dump(mode="json", by_alias=True)


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)\s*([smhd]?)\s*", value)
        if not match:
            raise ValueError(f"must be seconds or a duration such as 90s, 30m or 2h, got {value!r}")
        return int(match[1]) * _UNITS[match[2] or "s"]
    return value


Identifier = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\s/\\][^\s\\]*$")]
"""An id as EvalHub writes them: no white space, no backslash, not starting with a slash (`inspect/petri-full`)."""

Seconds = Annotated[int, BeforeValidator(_seconds), Field(gt=0)]
"""A duration in whole seconds; documents may also say `90s`, `30m`, `2h` or `1d`."""

Unit = Annotated[float, Field(ge=0, le=1)]
"""A number in [0, 1]."""

SecretName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
"""The name of a Kubernetes Secret, and of a folder under `$EVALHUB_SECRETS` on a laptop."""
