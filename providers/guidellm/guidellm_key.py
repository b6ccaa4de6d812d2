"""The API key on its way to guidellm: through a named pipe, of which a kill leaves nothing on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "EVALHUB_GUIDELLM_KEY"
"""Environment variable: where the pipe is."""
_LONGEST = 1 << 16


@contextmanager
def offered(key: str | None, folder: Path) -> Iterator[dict[str, str]]:
    """Offer the key to one process; gives the variables that tell it where, none without a key.

    Args:
        key: shorter than what a pipe holds.
        folder: of this user's own, where no file is called `key`.
    """
    if not key:
        yield {}
        return
    pipe = folder / "key"
    os.mkfifo(pipe, 0o600)
    # opened for reading too: nobody need be there yet, and what is written stays until it is read
    end = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(end, key.encode())
        yield {VARIABLE: str(pipe)}
    finally:
        os.close(end)
        pipe.unlink()


def taken() -> str | None:
    """Take the key that is offered to this process; None when none is."""
    if VARIABLE not in os.environ:
        return None
    # whoever offered it may be gone, and is not waited for then
    end = os.open(os.environ[VARIABLE], os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(end, _LONGEST).decode()
    finally:
        os.close(end)
