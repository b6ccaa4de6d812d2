"""The credentials of a data source, read from the folder of a mounted secret, or from a laptop's environment."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evalhub_components.errors import EvalHubError

logger = logging.getLogger(__name__)

TEST_DATA_SECRET = "EVALHUB_TEST_DATA_SECRET"
"""Environment variable that names the secret's folder: one file a key, as Kubernetes mounts it."""

_CONFIDENTIAL = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("password", "token", "hf-token"),
)
_KEYS = (*_CONFIDENTIAL, "AWS_DEFAULT_REGION", "AWS_S3_ENDPOINT", "username")
_VARIABLES = {
    "AWS_ACCESS_KEY_ID": ("AWS_ACCESS_KEY_ID",),
    "AWS_SECRET_ACCESS_KEY": ("AWS_SECRET_ACCESS_KEY",),
    "AWS_SESSION_TOKEN": ("AWS_SESSION_TOKEN",),
    "AWS_DEFAULT_REGION": ("AWS_DEFAULT_REGION", "AWS_REGION"),
    "AWS_S3_ENDPOINT": ("AWS_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "hf-token": ("HF_TOKEN",),
}
"""Where a laptop has each key when there is no folder; git's credentials have no such place."""


@dataclass(frozen=True)
class Secret:
    """The values by key, and the files they came from.

    Attributes:
        ca_cert: certificates to trust, in place of the system's.
    """

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path | None = None
    ca_cert: Path | None = None

    def get(self, key: str) -> str | None:
        """Return the value of `key`, None without one."""
        return self.values.get(key)

    def confidential(self) -> list[str]:
        """Return the values that must not be shown."""
        return [self.values[key] for key in _CONFIDENTIAL if key in self.values]


def read() -> Secret:
    """Return the secret in the folder that `EVALHUB_TEST_DATA_SECRET` names; without one, what the environment holds.

    Raises:
        EvalHubError: a value can be no credential; the message does not show it.
    """
    named = os.environ.get(TEST_DATA_SECRET)
    if not named:
        values = {key: _first(variables) for key, variables in _VARIABLES.items()}
        return Secret({key: value for key, value in values.items() if value})
    folder = Path(named)
    if not folder.is_dir():
        # a secret that a pipeline leaves out is not mounted, and public data needs none
        logger.warning("secret=%s status=missing next=without credentials", folder)
    found = {key: _value(folder / key) for key in _KEYS}
    ca_cert = folder / "ca_cert"
    return Secret({key: value for key, value in found.items() if value}, folder, ca_cert if ca_cert.is_file() else None)


def _first(variables: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in variables if os.environ.get(name)), None)


def _value(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        value = path.read_bytes().decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise EvalHubError(f"{path}: {error.strerror} (it must be readable for this user)") from None
    except UnicodeDecodeError:
        value = "\0"
    # what else there is in it cannot be sent, and an error about that would quote it
    if not value.isprintable():
        raise EvalHubError(f"{path}: must be one line of printable text")
    return value
