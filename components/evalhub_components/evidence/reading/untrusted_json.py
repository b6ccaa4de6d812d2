"""JSON from whoever made the evidence: read without surprises, or refused."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from evalhub_components.errors import EvalHubError

_DEPTH = 64


class NotEvidence(EvalHubError):
    """Content that is what its digest says, and yet no evidence as it is made here."""


def loads(content: bytes, where: str) -> Any:
    """Return the JSON in `content`, which is at most 64 levels deep.

    Raises:
        NotEvidence: it is no JSON, or other readers could take it for something else: a key twice, NaN, infinity.
    """
    try:
        value = json.loads(content, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise NotEvidence(f"{where}: is nested too deeply") from None
    except ValueError as error:
        raise NotEvidence(f"{where}: is no JSON as it should be ({str(error)[:200]})") from None
    level = [value]
    for _ in range(_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    raise NotEvidence(f"{where}: is nested too deeply")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"it says {twice[:100]!r} twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"it holds {constant}")
