"""Makes what must be there once on the server, also when somebody else makes it, or the answer is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TypeVar

from evalhub_components.errors import EvalHubError
from evalhub_pipelines.client.failures import Refused, Unavailable

Found = TypeVar("Found")

TRIES = 3
PAUSE = 1.0
"""How often, and after how many seconds, to look for what was perhaps made: a server may still be at it."""


def once(find: Callable[[], Found | None], make: Callable[[], Found]) -> Found:
    """Return what `make` makes, or what `find` finds when that was there before, or its answer was lost.

    A request that makes something is sent once: it is `find` that tells whether it arrived.

    Raises:
        EvalHubError: it was not made.
    """
    try:
        return make()
    except (Refused, Unavailable) as error:
        if isinstance(error, Refused) and error.status != 409:
            raise
        found = look(find)
        if found is None:
            raise
        return found


def look(find: Callable[[], Found | None]) -> Found | None:
    """Return what `find` finds within a few seconds, None for nothing, also where the server is not to be asked."""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE)
        try:
            found = find()
        except EvalHubError:
            return None
        if found is not None:
            return found
    return None


def equals(key: str, value: str) -> str:
    """Return the filter of a list by one value."""
    return json.dumps({"predicates": [{"key": key, "operation": "EQUALS", "string_value": value}]})
