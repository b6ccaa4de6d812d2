"""A parent run with a child per benchmark, whoever made them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from evalhub_components.records.tracking.recording import Recording, RunRecording
from evalhub_components.records.tracking.runs import Runs

_WRITERS = 4
_PATIENCE = 600.0  # seconds for everything: a server may be too slow without ever timing out


class Place(NamedTuple):
    """Where a benchmark is recorded.

    Attributes:
        run_id: of the run that holds it; None while there is none.
        parent_id: of the run below which one is made.
        foreign: whether somebody else made the run, and ends it.
        params: that it has already, and that cannot be changed.
    """

    run_id: str | None
    parent_id: str
    foreign: bool = False
    params: Mapping[str, str] = {}


class Tree:
    """The runs that hold a recording.

    Attributes:
        run_id: of the parent.
    """

    def __init__(
        self, runs: Runs, run_id: str, places: Mapping[str, Place], *, created: bool = False, foreign: bool = False
    ) -> None:
        """Take the parent that is there.

        Args:
            places: where benchmarks are recorded, by the value of their key; the others get new runs below the parent.
            created: whether the parent has its tags.
            foreign: whether somebody else made the parent, and ends it.
        """
        self.run_id = run_id
        self.experiment_id = runs.experiment_id
        self._runs = runs
        self._places = places
        self._created = created
        self._foreign = foreign
        self._deadline = time.monotonic() + _PATIENCE

    def write(self, recording: Recording) -> None:
        """Write everything; the parent first, whose tags say to a repeated step that it has to look for the rest."""
        self._runs.log(self.run_id, recording.parent, tags=not self._created)
        with ThreadPoolExecutor(_WRITERS, "mlflow") as pool:
            futures = [pool.submit(self._child, child) for child in recording.children]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        for name, text in recording.artifacts.items():
            self._check_time()
            self._runs.attach(self.run_id, name, text)
        if not self._foreign:
            self._runs.end(self.run_id, recording.parent)

    def _child(self, child: RunRecording) -> None:
        self._check_time()
        place = self._places.get(child.key[1], Place(None, self.run_id))
        run_id = place.run_id or self._runs.create(child, place.parent_id)
        if place.params:
            # of the task's inputs some have the same names
            taken = {name for name, value in child.params.items() if place.params.get(name, value) != value}
            params = {f"evalhub.{name}" if name in taken else name: value for name, value in child.params.items()}
            child = child.model_copy(update={"params": params})
        self._runs.log(run_id, child, tags=place.run_id is not None)
        if not place.foreign:
            self._runs.end(run_id, child)

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise TimeoutError(f"is too slow: not everything was logged within {_PATIENCE:.0f} s")
