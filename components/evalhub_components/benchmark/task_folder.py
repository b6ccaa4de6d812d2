"""The folder a benchmark leaves: only plain files, no secrets, and `results.json` as the last of them."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from evalhub_components import atomic
from evalhub_components.redaction import Redaction
from evalhub_components.schema.plan import TaskRequest
from evalhub_components.schema.results import BenchmarkResults

logger = logging.getLogger(__name__)

_LOG_ON_A_FULL_DISK = 1 << 16  # bytes of the log that are kept when there is no room for more


class TaskFolder:
    """`DIR/<slug>/` of one benchmark."""

    def __init__(self, path: Path, redaction: Redaction) -> None:
        self.path = path
        self.raw = path / "raw"
        self._redaction = redaction

    def prepare(self, request: TaskRequest) -> None:
        """Make the folder anew, with `task.json` in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.raw.mkdir(parents=True)
        (self.path / "log.txt").touch()
        atomic.write_json(self.path / "task.json", request.as_json())

    def empty(self) -> None:
        """Remove what an attempt left that does not count."""
        shutil.rmtree(self.raw, ignore_errors=True)
        self.raw.mkdir(exist_ok=True)
        (self.path / "samples.jsonl").unlink(missing_ok=True)
        (self.path / "log.txt").write_bytes(b"")

    def append_log(self, source: Path) -> None:
        """Append `source` to the benchmark's log."""
        if source.is_file():
            with source.open("rb") as file, (self.path / "log.txt").open("ab") as log:
                shutil.copyfileobj(file, log)

    def keep(self, results: BenchmarkResults, environment: dict[str, Any]) -> None:
        """Write the documents: `results.json` last, because its presence says that all the rest is there."""
        self._clean()
        atomic.write_json(self.path / "environment.json", environment)
        results = results.model_copy(update={"redactions": self._redaction.count})
        self._redaction.count = 0
        atomic.write_json(self.path / "results.json", results.as_json())

    def clean_again(self) -> None:
        """Redact once more, after the end of the last process that could have written here."""
        self._redaction.count = 0
        try:
            self._clean()
        except OSError as error:
            logger.warning("folder=%s kept=documents reason=%s", self.path.name, error.strerror)
            self.make_room()
            self._clean()
        path = self.path / "results.json"
        if self._redaction.count and path.is_file():
            results = BenchmarkResults.model_validate_json(path.read_bytes())
            redactions = results.redactions + self._redaction.count
            atomic.write_json(path, results.model_copy(update={"redactions": redactions}).as_json())
        self._redaction.count = 0

    def make_room(self) -> None:
        """Give up what is large, so that there is room for the results: without them nobody learns why."""
        shutil.rmtree(self.raw, ignore_errors=True)
        self.raw.mkdir(exist_ok=True)
        (self.path / "samples.jsonl").unlink(missing_ok=True)
        log = self.path / "log.txt"
        if log.is_file() and log.stat().st_size > _LOG_ON_A_FULL_DISK:
            os.truncate(log, _LOG_ON_A_FULL_DISK)

    def _clean(self) -> None:
        """Remove all that is no plain file, make the rest readable, and replace the secrets in it."""
        for parent, folders, names in os.walk(self.path):
            for name in [*folders, *names]:
                path = Path(parent) / name
                if path.is_symlink() or not (path.is_file() or path.is_dir()):
                    logger.info("file=%s kept=no reason=not a plain file", self._redaction.text(name))
                    path.unlink(missing_ok=True)
                elif not os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)):
                    path.chmod(0o755 if path.is_dir() else 0o644)
                elif name.startswith(".") and name.endswith(".part") and Path(parent) == self.path:
                    path.unlink()  # half of a file that its writer did not live to finish
        self._redaction.tree(self.path)
