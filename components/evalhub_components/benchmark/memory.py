"""How much of the container's memory is in use, read from the control group."""

from __future__ import annotations

from pathlib import Path

LIMIT_SHARE = 0.95
"""Beyond this share the benchmark is ended: past the limit Kubernetes kills the whole container, evidence included."""


class MemoryWatch:
    """Compares the control group's working set with its limit; without a limit it never triggers."""

    def __init__(self, root: Path = Path("/sys/fs/cgroup")) -> None:
        self._folder, self._current, self._stat_key, self.limit = _find(root)

    def exceeded(self) -> str | None:
        """Return a sentence when more than 95 % of the limit is in use, else None."""
        if self.limit is None or self._folder is None:
            return None
        try:
            used = int((self._folder / self._current).read_text())
            for line in (self._folder / "memory.stat").read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == self._stat_key:
                    used -= int(value)  # file cache that the kernel drops before it kills anything
        except (OSError, ValueError):
            return None
        if used <= self.limit * LIMIT_SHARE:
            return None
        return (
            f"out of memory: {used >> 20} MiB in use of the container's {self.limit >> 20} MiB (raise its memory limit)"
        )


def _find(root: Path) -> tuple[Path | None, str, str, int | None]:
    """Return folder, usage file, cache key and limit of the innermost control group, version 2 or 1."""
    own = ""
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" or "memory" in controllers.split(","):
                own = path.lstrip("/")
                if controllers:
                    break
    except (OSError, ValueError):
        pass
    for folder in (root / own, root):
        limit = _number(folder / "memory.max")
        if limit is not None:
            return folder, "memory.current", "inactive_file", limit
    for folder in (root / "memory" / own, root / "memory"):
        limit = _number(folder / "memory.limit_in_bytes")
        if limit is not None and limit < 1 << 60:  # version 1 writes "no limit" as a huge number
            return folder, "memory.usage_in_bytes", "total_inactive_file", limit
    return None, "", "", None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
