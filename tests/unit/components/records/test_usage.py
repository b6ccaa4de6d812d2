from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.records import usage
from evalhub_components.records.usage import Usage
from evalhub_components.run_directory import load
from evalhub_components.schema.results import BenchmarkResults

REPORTED = {"requests": 20.0, "prompt_tokens": 8000.0, "completion_tokens": 500.0, "seconds": 10.0}


def results(**changes: Any) -> BenchmarkResults:
    fields: dict[str, Any] = {
        "provider_id": "p",
        "benchmark_id": "b",
        "benchmark_index": 0,
        "task_digest": "sha256:0",
        "status": "completed",
        "started_at": "2026-01-02T03:00:00Z",
        "completed_at": "2026-01-02T03:04:12Z",
        "usage": REPORTED,
    }
    return BenchmarkResults(**{**fields, **changes})


def test_what_was_reported_is_named_and_rates_are_derived() -> None:
    assert usage.facts(usage.of(results())) == [
        ("wall time", "4 min 12 s"),
        ("waiting for the model", "10 s"),
        ("requests", "20"),
        ("prompt tokens", "8000"),
        ("generated tokens", "500"),
        ("generated tokens per second", "50"),
        ("waiting per request", "0.5 s"),
    ]


def test_nothing_is_made_up() -> None:
    assert usage.facts(usage.of(results(usage={}, started_at="", completed_at=""))) == []
    assert usage.facts(usage.of(results(usage={"requests": 3.0}))) == [("wall time", "4 min 12 s"), ("requests", "3")]


@pytest.mark.parametrize(
    "reported",
    [
        pytest.param({**REPORTED, "seconds": 0.0, "requests": 0.0}, id="no time, no requests"),
        pytest.param({**REPORTED, "seconds": 5e-324, "requests": 0.0}, id="hardly any time"),
        pytest.param({**REPORTED, "seconds": -1.0}, id="negative time"),
    ],
)
def test_a_time_that_cannot_be_divided_by_gives_no_rate(reported: dict[str, float]) -> None:
    found = usage.of(results(usage=reported))
    assert (found.tokens_per_second, found.seconds_per_request) == (None, None)


def test_a_task_that_ended_before_it_began_has_no_wall_time() -> None:
    assert usage.of(results(completed_at="2026-01-02T02:59:59Z")).wall_seconds is None


def test_time_zones_are_heeded() -> None:
    assert usage.of(results(completed_at="2026-01-02T04:00:30+01:00")).wall_seconds == 30


@pytest.mark.parametrize(
    ("reported", "other"),
    [
        pytest.param({**REPORTED, "total_tokens": 8500.0}, {}, id="a sum of what is shown"),
        pytest.param({"total_tokens": 8500.0}, {"total_tokens": 8500.0}, id="all there is"),
        pytest.param({**REPORTED, "latency_p99": 0.7}, {"latency_p99": 0.7}, id="a name of the framework's own"),
    ],
)
def test_whatever_else_was_reported_keeps_its_name(reported: dict[str, float], other: dict[str, float]) -> None:
    assert usage.of(results(usage=reported)).other == other


def test_the_run_sums_what_its_benchmarks_reported(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    changes = {"usage": REPORTED, "completed_at": "2026-01-02T03:20:00Z"}
    run = load(write_run(tmp_path / "run", results={0: changes, 1: {"usage": {"requests": 5.0}}}))
    assert usage.in_total(run) == Usage(
        wall_seconds=1200, requests=25, prompt_tokens=8000, completion_tokens=500, other={}
    )


def test_benchmarks_that_ran_in_one_process_at_once_share_its_time(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    began = "2026-01-02T03:00:00.250Z"
    results = {n: {"started_at": began, "completed_at": f"2026-01-02T03:00:0{n + 1}.250Z"} for n in range(3)}
    results[3] = {"started_at": "2026-01-02T03:00:04Z", "completed_at": "2026-01-02T03:00:05Z"}
    run = load(write_run(tmp_path / "run", benchmarks=tuple("abcd"), results=results))
    each = [usage.in_run(run, index) for index in range(4)]
    assert usage.facts(each[0]) == [("wall time", "3 s together with 2 others")]
    assert usage.facts(each[3]) == [("wall time", "1 s")]
    assert [found.share_seconds for found in each] == [1, 1, 1, 1]
    assert usage.in_run(run, 3) == usage.of(run.outcomes[3].results)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 s"),
        (0.412, "0.41 s"),
        (42.04, "42 s"),
        (59.96, "1 min 0 s"),
        (252, "4 min 12 s"),
        (3599.9, "1 h 0 min"),
        (3780, "1 h 3 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_a_duration_reads_as_people_say_it(seconds: float, words: str) -> None:
    assert usage.duration(seconds) == words
