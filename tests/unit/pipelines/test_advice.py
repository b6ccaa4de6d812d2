"""What a plan says before it is paid for."""

from __future__ import annotations

import math
from typing import Any

import pytest

from evalhub_components.schema.collection import Collection
from evalhub_components.schema.plan import EvaluationPlan
from evalhub_components.schema.provider import Provider
from evalhub_pipelines import advice, resolution

Z95 = 1.6448536269514722


def a_plan(*entries: dict[str, Any], sizes: dict[str, int | None] | None = None, **keys: Any) -> EvaluationPlan:
    found = {"a": 100, "b": 400} | (sizes or {})
    provider = Provider.model_validate(
        {
            "id": "p",
            "runtime": {"k8s": {"image": keys.pop("image", None)}},
            "benchmarks": [
                {"id": name, "primary_score": {"metric": "acc"}, **({"dataset_size": size} if size else {})}
                for name, size in found.items()
            ],
        }
    )
    entries = tuple({"provider_id": "p", **entry} for entry in entries)
    collection = Collection.model_validate(
        {"id": "c", "pass_criteria": {"threshold": 0.5}, **keys, "benchmarks": entries}
    )
    return resolution.resolve(collection, {"p": provider})


def test_detectable_distance_is_that_of_a_weighted_mean_at_its_worst() -> None:
    plan = a_plan({"id": "a", "weight": 1}, {"id": "b", "weight": 3})
    expected = Z95 * math.sqrt(0.25**2 * 0.25 / 100 + 0.75**2 * 0.25 / 400)
    assert advice.detectable(plan) == pytest.approx(expected)


def test_advisory_benchmark_does_not_change_what_is_detectable() -> None:
    alone = a_plan({"id": "a"})
    with_advisory = a_plan({"id": "a"}, {"id": "b", "weight": 0})
    assert advice.detectable(with_advisory) == advice.detectable(alone) == pytest.approx(Z95 * 0.05)


def test_limit_makes_less_detectable() -> None:
    assert advice.detectable(a_plan({"id": "a"}), 25) == pytest.approx(Z95 * 0.1)


def test_unknown_size_leaves_it_open() -> None:
    plan = a_plan({"id": "a"}, sizes={"a": None})
    assert advice.detectable(plan) is None
    assert "the sizes of some data sets are unknown, so what the plan can detect is too" in advice.notes(plan)


@pytest.mark.parametrize(
    ("size", "own", "limit", "expected"),
    [(100, None, None, 100), (100, 20, None, 20), (100, 20, 10, 10), (100, None, 200, 100), (None, 20, None, 20)],
    ids=["all", "own limit", "run's limit", "limit beyond the data", "only the limit is known"],
)
def test_examples_are_what_limits_and_data_leave(
    size: int | None, own: int | None, limit: int | None, expected: int
) -> None:
    entry = {"id": "a", **({"num_examples": own} if own else {})}
    assert advice.examples(a_plan(entry, sizes={"a": size}).tasks[0], limit) == expected


def test_limited_run_is_noted_with_the_benchmarks_it_cuts() -> None:
    plan = a_plan({"id": "a"}, {"id": "b", "num_examples": 30})
    assert "limited to 50 examples, fewer than asked for: 000-a" in advice.notes(plan, 50)
    assert not any("limited" in note for note in advice.notes(plan))


def test_what_decides_nothing_is_noted() -> None:
    plan = a_plan({"id": "a"}, {"id": "b", "weight": 0}, {"id": "b", "weight": 0, "required": True})
    assert "advisory, decides nothing: 001-b" in advice.notes(plan)


def test_benchmark_without_a_threshold_is_noted() -> None:
    plan = a_plan({"id": "a", "pass_criteria": {"threshold": 0.5}}, {"id": "b"}, pass_criteria=None)
    assert "without a threshold of its own: 001-b" in advice.notes(plan)


def test_image_that_is_not_pinned_is_noted() -> None:
    pinned = "registry.example/p@sha256:" + "0" * 64
    assert "images not pinned by digest (on a cluster): p" in advice.notes(
        a_plan({"id": "a"}, image="registry.example/p:1")
    )
    assert not any("pinned" in note for note in advice.notes(a_plan({"id": "a"}, image=pinned)))


def test_data_that_may_change_is_noted() -> None:
    def notes(ref: str) -> list[str]:
        data = {"git": {"url": "https://git.example/data", "ref": ref}}
        return [note for note in advice.notes(a_plan({"id": "a", "test_data_ref": data})) if "git ref" in note]

    assert notes("main") == ["000-a: git ref 'main' is no commit, so the data may change"]
    assert notes("0123456789abcdef" * 2 + "01234567") == []


def test_long_lists_are_cut() -> None:
    plan = a_plan(*[{"id": "a"}] * 9, num_examples=100)
    assert advice.notes(plan, 1)[1].endswith("000-a, 001-a, 002-a, 003-a, 004-a and 4 more")
