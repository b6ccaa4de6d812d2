"""What every document of ours is: frozen, and closed to unknown keys."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema


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
        match = re.fullmatch(DURATION, value)
        if not match:
            raise ValueError(f"must be seconds or a duration such as 90s, 30m or 2h, got {value!r}")
        return int(match[1]) * _UNITS[match[2] or "s"]
    return _no_boolean(value)


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"must be a number, got {str(value).lower()}")
    return value


def matching(pattern: str, wanted: str) -> Any:
    """Return what makes a text refuse all that does not match `pattern`, without repeating it: it may be a secret."""

    def check(value: str) -> str:
        if not re.match(pattern, value):
            raise ValueError(f"must be {wanted}")
        return value

    return AfterValidator(check)


def _one_line_each(value: dict[str, str]) -> dict[str, str]:
    """Refuse what a form with one `key=value` a line cannot hold, or holds as something else."""
    for name, text in value.items():
        if not name.strip():
            raise ValueError("must have names that are not empty")
        if name != name.strip() or "=" in name or not name.isprintable():
            raise ValueError(f"must have names of printable characters without = and spaces around them, got {name!r}")
        if text != text.strip() or any(unicodedata.category(character) in _BREAKING for character in text):
            raise ValueError(f"{name}: must be one line of text, without spaces around it")
    return value


_BREAKING = ("Cc", "Cs", "Zl", "Zp")
Pairs = Annotated[dict[str, str], AfterValidator(_one_line_each)]
"""Names and texts, such as tags and annotations."""

DURATION = r"^\s*(\d{1,9})\s*([smhd]?)\s*$"

Identifier = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\s/\\][^\s\\]*$")]
"""An id as EvalHub writes them: no white space, no backslash, not starting with a slash (`inspect/petri-full`)."""

Seconds = Annotated[
    int,
    BeforeValidator(_seconds),
    Field(gt=0, le=366 * 86400),
    WithJsonSchema({"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "string", "pattern": DURATION}]}),
]
"""A duration in whole seconds; documents may also say `90s`, `30m`, `2h` or `1d`."""

Number = Annotated[float, BeforeValidator(_no_boolean)]
"""A number that decides something: `true` is not 1."""

Count = Annotated[int, Field(ge=0, le=1_000_000_000), BeforeValidator(_no_boolean)]
"""How many there are, which may be none."""

Positive = Annotated[int, Field(ge=1, le=1_000_000_000), BeforeValidator(_no_boolean)]
"""How many there are, at least one."""

Unit = Annotated[float, Field(ge=0, le=1), BeforeValidator(_no_boolean)]
"""A number in [0, 1]."""

SecretName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matching(
        r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?\Z",
        "the name of a secret (lower-case letters, digits, '-' and '.'), never its content",
    ),
]
"""The name of a Kubernetes Secret, and of a folder under `$EVALHUB_SECRETS` on a laptop."""

EndpointURL = Annotated[
    str,
    matching(
        r"^https?://[^\s@?#]+\Z",
        "an http or https address such as http://localhost:8000/v1, without query, user and password "
        "(credentials belong in a secret: auth.secret_ref)",
    ),
]
"""The base address of an OpenAI-compatible endpoint, ending in `/v1`."""

SourceURL = Annotated[
    str,
    matching(
        r"^https?://[^\s@/?#\\]+(/[^\s?#\\]*)?\Z",
        "an http or https address such as https://host.example/path, without query, user and password "
        "(credentials belong in a secret: secret_ref)",
    ),
]
"""The address of data that is fetched; it is in plans and pipelines, which many may read."""

Digest = Annotated[str, matching(r"^sha256:[0-9a-f]{64}\Z", "a digest: sha256: and 64 hexadecimal digits")]
"""The SHA-256 of some content, as OCI writes it."""
