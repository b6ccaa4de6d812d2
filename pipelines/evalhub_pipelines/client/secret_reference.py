"""Where a secret is, instead of the secret."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from evalhub_components.errors import EvalHubError


@dataclass(frozen=True)
class SecretReference:
    """Where a secret is; it is read anew for every request, because tokens are renewed."""

    variable: str | None = None
    file: Path | None = None

    def __str__(self) -> str:
        return f"${self.variable}" if self.variable else str(self.file)

    def read(self) -> str:
        """Return the secret.

        Raises:
            EvalHubError: there is none, or it can be no header; the message does not show it.
        """
        value = self.held()
        if value is None:
            what = "is not set" if self.variable else "cannot be read"
            raise EvalHubError(f"{self}: {what}, and the credentials for Kubeflow Pipelines should be there")
        if not value:
            raise EvalHubError(f"{self}: is empty, and the credentials for Kubeflow Pipelines should be there")
        if not (value.isascii() and value.isprintable()):
            raise EvalHubError(f"{self}: must be one line of printable characters")
        return value

    def held(self) -> str | None:
        """Return what is there as it is, None for nothing."""
        if self.variable:
            value = os.environ.get(self.variable)
            return None if value is None else value.strip()
        try:
            return (self.file or Path(os.devnull)).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
