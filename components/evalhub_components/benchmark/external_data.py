"""The external data a task was handed: its digests, and what is known of where it came from."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ExternalData:
    """The data of `--test-data`.

    Attributes:
        digest: over all files; None without data.
        files: `sha256:` digest by path.
        facts: source, commit or versions, counts; empty for a folder nobody fetched.
    """

    digest: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


TEST_DATA = "EVALHUB_TEST_DATA"
"""Environment variable that names the data's folder to an adapter."""

MOUNT = "EVALHUB_TEST_DATA_MOUNT"
"""Environment variable that names an empty folder where an adapter made for EvalHub looks for the data too."""


def publish(folder: Path | None) -> None:
    """Name `folder` to the adapter, and copy its files to where EvalHub's own adapters expect them."""
    if folder is None:
        return
    os.environ[TEST_DATA] = str(folder)
    mount = os.environ.get(MOUNT)
    if mount and Path(mount).resolve() != folder.resolve():
        shutil.copytree(folder, mount, dirs_exist_ok=True)


def read(folder: Path | None) -> ExternalData:
    """Return what `folder` holds: as the step that fetched it wrote down, else as the files themselves say.

    Raises:
        EvalHubError: the folder is not as it was fetched, or holds a link that leads out or a special file.
    """
    if folder is None:
        return ExternalData()
    # few tasks have external data, and all of them start through here
    from evalhub_components.test_data import manifest, tree
    from evalhub_components.test_data.limits import Limits

    found = manifest.read(folder)
    if found is not None:
        return ExternalData(found.digest, found.digests(), found.facts())
    files = tree.described(folder, Limits.from_environment(), str(folder))
    return ExternalData(manifest.digest(files), {name: file.digest for name, file in sorted(files.items())})
