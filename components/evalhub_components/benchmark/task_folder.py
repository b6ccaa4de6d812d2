"""The folder a benchmark leaves: only plain files, no secrets, and `results.json` as the last of them."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from evalhub_components import atomic
from evalhub_components.file_names import refusals
from evalhub_components.redaction import Redaction
from evalhub_components.schema.plan import TaskRequest
from evalhub_components.schema.results import BenchmarkResults

logger = logging.getLogger(__name__)

_LOG_ON_A_FULL_DISK = 1 << 16  # bytes of the log that are kept when there is no room for more
_OWN = ("task.json", "log.txt", "samples.jsonl", "environment.json", "results.json", "raw")


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
        atomic.write_json(self.path / "environment.json", environment)
        results = results.model_copy(update={"redactions": self._redaction.count})
        self._redaction.count = 0
        atomic.write_json(self.path / "results.json", results.as_json())

    def clean_again(self) -> None:
        """Redact once more, after the end of the last process that could have written here."""
        self._redaction.count = 0
        try:
            refused = self.clean()
        except OSError as error:
            logger.warning("folder=%s kept=documents reason=%s", self.path.name, error.strerror)
            self.make_room()
            refused = self.clean()
        path = self.path / "results.json"
        if path.is_file() and (self._redaction.count or refused):
            results = BenchmarkResults.model_validate_json(path.read_bytes())
            changes: dict[str, Any] = {"redactions": results.redactions + self._redaction.count}
            if refused and results.status == "completed":
                logger.warning("folder=%s status=failed reason=%s", self.path.name, refused)
                changes |= {"status": "failed", "reason": refused, "metrics": {}}
            atomic.write_json(path, results.model_copy(update=changes).as_json())
        self._redaction.count = 0

    def make_room(self) -> None:
        """Give up what is large, so that there is room for the results: without them nobody learns why."""
        shutil.rmtree(self.raw, ignore_errors=True)
        self.raw.mkdir(exist_ok=True)
        (self.path / "samples.jsonl").unlink(missing_ok=True)
        log = self.path / "log.txt"
        if log.is_file() and log.stat().st_size > _LOG_ON_A_FULL_DISK:
            os.truncate(log, _LOG_ON_A_FULL_DISK)

    def clean(self) -> str | None:
        """Remove all that evidence cannot keep, make the rest readable, and replace the secrets in it.

        Returns:
            why a plain file was removed: then what is left is not all that the benchmark has to show.
        """
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
        return self._remove_refused()

    def _remove_refused(self) -> str | None:
        """Remove the files whose names evidence cannot bear, and return what is wrong with the first of them."""
        found = [Path(parent) / name for parent, _, names in os.walk(self.path) for name in names]
        # of two that are one name, a document of this folder's own is not the one to go
        titles = [*_OWN, *sorted(path.relative_to(self.path).as_posix() for path in found)]
        refused = list(refusals(titles, folders_above=2))  # benchmarks/<task>
        for refusal in refused:
            (self.path / refusal.title).unlink(missing_ok=True)
        return refused[0].reason if refused else None
