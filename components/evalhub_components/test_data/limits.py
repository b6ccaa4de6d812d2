"""How much a source may hold, and how long its server may be silent."""

from __future__ import annotations

import os
from dataclasses import dataclass

from evalhub_components.errors import EvalHubError

MAX_BYTES = "EVALHUB_TEST_DATA_MAX_BYTES"
"""Environment variable: bytes of one source at most."""

TIMEOUT = "EVALHUB_TEST_DATA_TIMEOUT"
"""Environment variable: seconds a server may be silent."""


@dataclass(frozen=True)
class Limits:
    """What is refused as too much.

    Attributes:
        silence: seconds without a byte until a server counts as gone.
    """

    max_bytes: int = 50 << 30
    max_files: int = 100_000
    silence: int = 60

    @classmethod
    def from_environment(cls) -> Limits:
        """Return the limits that the environment sets, else the defaults."""
        return cls(max_bytes=_positive(MAX_BYTES, cls.max_bytes), silence=_positive(TIMEOUT, cls.silence))

    def check(self, where: str, files: int, size: int) -> None:
        """Refuse more than `max_files` files or `max_bytes` bytes.

        Raises:
            EvalHubError: naming the limit that is exceeded.
        """
        if files > self.max_files:
            raise EvalHubError(f"{where}: holds more than {self.max_files} files (name a smaller part, or pack them)")
        if size > self.max_bytes:
            raise EvalHubError(
                f"{where}: holds more than {self.max_bytes} bytes (name a smaller part, or raise {MAX_BYTES})"
            )


def _positive(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**53):
        raise EvalHubError(f"{name}: must be a whole number of at least 1")
    return int(text)
