"""What garak is going to do, as `garak_changes` writes it down while garak runs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Plan:
    """The probes of a run.

    Attributes:
        queue: number of probes; None as long as garak has not said.
        detectors: the detectors of each probe that was begun; empty where every prompt has its own.
        planned: prompts of each probe that asks them in one round.
        unread: probes for models that take more than text.
        unloaded: detectors that could not be loaded.
        impossible: why garak was ended.
    """

    queue: int | None = None
    detectors: dict[str, list[str]] = field(default_factory=dict)
    planned: Counter[str] = field(default_factory=Counter)
    unread: set[str] = field(default_factory=set)
    unloaded: set[str] = field(default_factory=set)
    impossible: str | None = None
    _prompts: int = 0
    _prompts_before: int = 0  # of the probes that are done

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Return what a file of events says; it may end in the middle of a line."""
        plan = cls()
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                plan._take(json.loads(line))
        return plan

    def _take(self, event: dict[str, Any]) -> None:
        match event:
            case {"queue": number}:
                self.queue = number
            case {"unloaded": detector}:
                self.unloaded.add(detector)
            case {"impossible": reason}:
                self.impossible = reason
            case {"probe": probe, "detectors": detectors, "reads_text": reads_text}:
                self.detectors[probe] = sorted({*self.detectors.get(probe, []), *detectors})
                self._prompts_before = self._prompts
                if not reads_text:
                    self.unread.add(probe)
            case {"probe": probe, "prompts": number, "one_round": one_round}:
                self._prompts += number
                if one_round:
                    self.planned[probe] += number

    def progress(self, requests: int, generations: int) -> float:
        """Return the share done, in [0, 1], where every probe counts the same.

        Args:
            requests: how many were answered or lost.
        """
        if not self.queue or not self.detectors:
            return 0.0
        asked, asking = requests - self._prompts_before * generations, self._prompts - self._prompts_before
        within = min(1.0, max(0.0, asked / (asking * generations))) if asking else 0.0
        return min(1.0, (len(self.detectors) - 1 + within) / self.queue)
