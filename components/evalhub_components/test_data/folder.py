"""A folder whose content appears when it is complete, and not before."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from evalhub_components.errors import EvalHubError
from evalhub_components.test_data.names import MANIFEST, PARTIAL


class Stage(NamedTuple):
    """Where a source puts what arrives.

    Attributes:
        content: becomes the content of the folder.
        scratch: for anything else, on the same disk; removed in the end.
    """

    content: Path
    scratch: Path


@contextmanager
def replaced(folder: Path) -> Iterator[Stage]:
    """Yield a stage whose content replaces that of `folder` when the block ends well; otherwise it is removed.

    It lies inside of `folder`, because in a container nothing beside that may be writable, and it may be a mount.

    Raises:
        EvalHubError: the folder holds something that this step has not put there, or its disk is full.
    """
    folder = Path(os.path.abspath(folder))
    partial = folder / PARTIAL
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = os.listdir(folder)
        if there and not {MANIFEST, PARTIAL} & set(there):
            raise EvalHubError(f"{folder}: is not empty and was not made by this step (name another folder)")
        shutil.rmtree(partial, ignore_errors=True)
        stage = Stage(partial / "content", partial / "scratch")
        for path in stage:
            path.mkdir(parents=True)
        yield stage
        _publish(stage.content, folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise disk_full(folder) from None
        raise EvalHubError(f"{error.filename or folder}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_room(folder: Path, size: int) -> None:
    """Refuse to begin what cannot fit on the disk of `folder`.

    Raises:
        EvalHubError: saying how much is missing.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise EvalHubError(f"{folder.parents[1]}: the disk has {free} bytes free, and the data needs {size}")


def disk_full(folder: Path) -> EvalHubError:
    """Return the error that says so."""
    return EvalHubError(f"{folder}: the disk is full (free some space, or give the step a larger disk)")


def _publish(content: Path, folder: Path) -> None:
    """Move the content to its place, the manifest first out and last in."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in os.listdir(folder):
        if name != PARTIAL:
            old = folder / name
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    for name in sorted(os.listdir(content), key=lambda name: name == MANIFEST):
        os.rename(content / name, folder / name)
