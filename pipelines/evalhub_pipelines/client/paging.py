"""Lists of the server, which come in pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def pages(ask: Callable[[str], Any]) -> Iterator[Any]:
    """Yield the pages of a list; one is asked for when the one before is used up.

    Args:
        ask: returns the page that a token leads to, the first one for an empty token.
    """
    token = ""
    while True:
        page = ask(token)
        yield page
        token = page.next_page_token
        if not token:
            return
