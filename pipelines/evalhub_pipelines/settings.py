"""`settings.json` of a run directory: what a resumed run does as the first one did, and no evidence holds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from evalhub_components import atomic
from evalhub_components.run_directory import parse
from evalhub_components.schema.document import Document

NAME = "settings.json"


class Settings(Document):
    """How a run was begun on this machine.

    Attributes:
        mlflow_uri: None for no tracking.
        mlflow_required: an MLflow failure is an error.
        catalog: folder over the built-in one.
        engine: command of Docker or Podman; None for processes.
    """

    schema_version: Literal[1] = 1
    mlflow_uri: str | None = None
    mlflow_required: bool = False
    catalog: str | None = None
    engine: str | None = None


def write(directory: Path, settings: Settings) -> None:
    """Keep the settings of the run in `directory`."""
    atomic.write_json(directory / NAME, settings.as_json())


def read(directory: Path) -> Settings | None:
    """Return the settings of the run in `directory`, None when it was not begun here.

    Raises:
        EvalHubError: the file is there and cannot be used.
    """
    path = directory / NAME
    return parse(Settings, atomic.read_json(path), str(path)) if path.exists() else None
