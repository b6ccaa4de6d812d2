"""The memory of the container, read from control groups of both versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalhub_components.benchmark.memory import MemoryWatch

MIB = 1 << 20


def version_2(root: Path, limit: str, used: int, cache: int) -> None:
    (root / "memory.max").write_text(f"{limit}\n")
    (root / "memory.current").write_text(f"{used}\n")
    (root / "memory.stat").write_text(f"anon 4096\nactive_file 8192\ninactive_file {cache}\nslab 1\n")


def version_1(root: Path, limit: str, used: int, cache: int) -> None:
    folder = root / "memory"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"cache 1\ninactive_file 0\ntotal_inactive_file {cache}\n")


both = pytest.mark.parametrize("group", [version_1, version_2])


@both
def test_more_than_95_percent_of_the_limit_is_exceeded(tmp_path: Path, group: object) -> None:
    group(tmp_path, str(100 * MIB), 96 * MIB, 0)  # type: ignore[operator]
    said = MemoryWatch(tmp_path).exceeded()
    assert said == "out of memory: 96 MiB in use of the container's 100 MiB (raise its memory limit)"


@both
def test_95_percent_of_the_limit_is_not_exceeded(tmp_path: Path, group: object) -> None:
    group(tmp_path, str(100 * MIB), 95 * MIB, 0)  # type: ignore[operator]
    assert MemoryWatch(tmp_path).exceeded() is None


@both
def test_file_cache_that_the_kernel_can_drop_does_not_count(tmp_path: Path, group: object) -> None:
    group(tmp_path, str(100 * MIB), 99 * MIB, 50 * MIB)  # type: ignore[operator]
    assert MemoryWatch(tmp_path).exceeded() is None


@both
def test_usage_is_read_every_time(tmp_path: Path, group: object) -> None:
    group(tmp_path, str(100 * MIB), 10 * MIB, 0)  # type: ignore[operator]
    watch = MemoryWatch(tmp_path)
    assert watch.exceeded() is None
    name = "memory.current" if group is version_2 else "memory/memory.usage_in_bytes"
    (tmp_path / name).write_text(str(97 * MIB))
    assert "97 MiB" in str(watch.exceeded())


def test_a_group_without_a_limit_is_never_exceeded(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    version_1(tmp_path / "one", "9223372036854771712", 1 << 50, 0)
    (tmp_path / "two").mkdir()
    version_2(tmp_path / "two", "max", 1 << 50, 0)
    for name in ("one", "two"):
        watch = MemoryWatch(tmp_path / name)
        assert watch.limit is None
        assert watch.exceeded() is None


def test_a_machine_without_control_groups_is_never_exceeded(tmp_path: Path) -> None:
    assert MemoryWatch(tmp_path / "nothing").exceeded() is None


def test_numbers_that_vanish_end_nothing(tmp_path: Path) -> None:
    version_2(tmp_path, str(100 * MIB), 99 * MIB, 0)
    watch = MemoryWatch(tmp_path)
    (tmp_path / "memory.current").unlink()
    assert watch.exceeded() is None
