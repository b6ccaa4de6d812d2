"""Resolution: what a plan says, where it came from, what is refused, and when its digest changes."""

import contextlib
import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from evalhub_components import canonical
from evalhub_components.errors import InvalidDocument
from evalhub_components.schema.collection import Collection
from evalhub_components.schema.evaluation import EvaluationConfig
from evalhub_components.schema.plan import EvaluationPlan
from evalhub_components.schema.provider import Provider
from evalhub_pipelines import documents
from evalhub_pipelines.resolution import collection_of, resolve, resolve_job, slug, slug_text

PROVIDER: dict[str, Any] = {
    "id": "p",
    "runtime": {"k8s": {"image": "quay.io/example/p:1"}},
    "benchmarks": [
        {
            "id": "arc",
            "aliases": ["arc_alias"],
            "name": "ARC",
            "category": "reasoning",
            "metrics": ["acc", "acc_norm"],
            "num_few_shot": 5,
            "dataset_size": 100,
            "primary_score": {"metric": "acc", "lower_is_better": False},
            "pass_criteria": {"threshold": 0.3},
        },
        {
            "id": "attack",
            "metrics": ["attack_success_rate"],
            "primary_score": {"metric": "attack_success_rate", "lower_is_better": True, "range": [0, 100]},
            "pass_criteria": {"threshold": 30},
        },
        {
            "id": "latency",
            "metrics": ["ms", "tokens_per_second"],
            "primary_score": {"metric": "ms", "lower_is_better": True, "range": [0, 500], "range_overflow": "clip"},
        },
        {"id": "bare"},
    ],
}


def resolve_config(job: EvaluationConfig, named: Collection | None, providers: dict[str, Provider]) -> EvaluationPlan:
    return resolve_job(job, collection_of(job, named), providers)


def provider(data: Mapping[str, Any] = PROVIDER) -> Provider:
    return documents.validate(data, Provider, "provider.yaml")


def collection(*entries: Mapping[str, Any], **keys: Any) -> Collection:
    benchmarks = [{"provider_id": "p", **entry} for entry in entries]
    return documents.validate({"id": "c", "benchmarks": benchmarks, **keys}, Collection, "c.yaml")


def config(**keys: Any) -> EvaluationConfig:
    return documents.validate({"model": {"url": "http://x/v1", "name": "m"}, **keys}, EvaluationConfig, "eval.yaml")


def plan(*entries: Mapping[str, Any], job: Mapping[str, Any] | None = None, **keys: Any) -> EvaluationPlan:
    source = collection(*(entries or [{"id": "arc"}]), **keys)
    return resolve_config(config(collection={"id": "c"}, **(job or {})), source, {"p": provider()})


def problems_of(*entries: Mapping[str, Any], job: Mapping[str, Any] | None = None, **keys: Any) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        plan(*entries, job=job, **keys)
    return str(caught.value).splitlines()


# what is refused


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"id": "acr"}, "[0].id: provider p has no benchmark 'acr' (did you mean 'arc'?)"),
        ({"id": "arc_alais"}, "[0].id: provider p has no benchmark 'arc_alais' (did you mean 'arc_alias'?)"),
        ({"id": "zzz"}, "[0].id: provider p has no benchmark 'zzz'"),
        ({"id": "arc", "provider_id": "pp"}, "[0].provider_id: there is no provider 'pp' (did you mean 'p'?)"),
        ({"id": "bare"}, "[0]: benchmark 'bare' has no primary score (add primary_score: {metric: ...})"),
        (
            {"id": "arc", "primary_score": {"metric": "acc_nrom"}},
            "[0].primary_score.metric: arc has no metric 'acc_nrom' (did you mean 'acc_norm'?)",
        ),
        (
            {"id": "arc", "primary_score": {"metric": "f1"}},
            "[0].primary_score.metric: arc has no metric 'f1' (it has acc, acc_norm)",
        ),
        (
            {"id": "latency", "required": True},
            "[0]: is required and so must have a threshold (add pass_criteria: {threshold: ...})",
        ),
        (
            {"id": "arc", "pass_criteria": {"threshold": 80}},
            "[0].pass_criteria.threshold: must be within the range [0, 1] of acc, got 80; "
            "percent? declare range: [0, 100]",
        ),
        (
            {"id": "arc", "pass_criteria": {"threshold": -0.1}},
            "[0].pass_criteria.threshold: must be within the range [0, 1] of acc, got -0.1",
        ),
        (
            {"id": "arc", "pass_criteria": {"threshold": 1000}},
            "[0].pass_criteria.threshold: must be within the range [0, 1] of acc, got 1000",
        ),
        (
            {"id": "latency", "pass_criteria": {"threshold": 501}},
            "[0].pass_criteria.threshold: must be within the range [0, 500] of ms, got 501",
        ),
        (
            {"id": "attack", "primary_score": {"metric": "attack_success_rate", "range": [0, 1]}},
            "[0].pass_criteria.threshold: must be within the range [0, 1] of attack_success_rate, got 30; "
            "percent? declare range: [0, 100]",
        ),
    ],
)
def test_an_entry_that_cannot_be_judged_is_refused(entry: Mapping[str, Any], message: str) -> None:
    assert problems_of(entry) == [f"collection c: benchmarks{message}"]


def test_without_a_weight_nothing_decides() -> None:
    assert problems_of({"id": "arc", "weight": 0}, {"id": "attack", "weight": 0}) == [
        "collection c: benchmarks: no benchmark has a weight above 0 (weight 0 is advisory, so nothing would decide)"
    ]


@pytest.mark.parametrize("threshold", [-0.01, 1.01, 38.0])
def test_an_overall_threshold_is_normalised(threshold: float) -> None:
    what = f"must be within [0, 1] (scores are normalised, 1 is best), got {threshold:g}"
    criteria = {"threshold": threshold}
    assert problems_of(pass_criteria=criteria) == [f"collection c: pass_criteria.threshold: {what}"]
    assert problems_of(job={"pass_criteria": criteria}) == [f"pass_criteria.threshold: {what}"]


def test_all_problems_are_reported_at_once() -> None:
    problems = problems_of(
        {"id": "nothing", "weight": 0},
        {"id": "arc", "weight": 0, "pass_criteria": {"threshold": 2}},
        {"id": "bare", "provider_id": "q", "weight": 0},
        {"id": "latency", "weight": 0, "required": True},
        job={"pass_criteria": {"threshold": 2}},
    )
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["collection c", "benchmarks[0].id"],
        ["collection c", "benchmarks[1].pass_criteria.threshold"],
        ["collection c", "benchmarks[2].provider_id"],
        ["collection c", "benchmarks[3]"],
        ["collection c", "benchmarks"],
        ["pass_criteria.threshold", "must be within [0, 1] (scores are normalised, 1 is best), got 2"],
    ]


# where criteria come from


@pytest.mark.parametrize(
    ("entry", "keys", "value", "source"),
    [
        ({"id": "arc", "pass_criteria": {"threshold": 0.9}}, {"pass_criteria": {"threshold": 0.7}}, 0.9, "benchmark"),
        ({"id": "arc"}, {"pass_criteria": {"threshold": 0.7}}, 0.7, "collection"),
        ({"id": "attack"}, {"pass_criteria": {"threshold": 0.7}}, 0.7, "collection"),
        ({"id": "arc"}, {}, 0.3, "provider"),
        ({"id": "attack"}, {}, 30, "provider"),
    ],
)
def test_the_most_specific_threshold_counts(
    entry: Mapping[str, Any], keys: dict[str, Any], value: float, source: str
) -> None:
    threshold = plan(entry, **keys).tasks[0].threshold
    assert threshold is not None
    assert (threshold.value, threshold.source) == (value, source)


def test_without_any_threshold_a_benchmark_is_scored_and_not_tested() -> None:
    assert plan({"id": "latency"}).tasks[0].threshold is None


def test_a_threshold_of_the_job_is_about_the_whole_and_not_about_each_entry() -> None:
    resolved = plan({"id": "latency"}, job={"pass_criteria": {"threshold": 0.9}})
    assert resolved.tasks[0].threshold is None
    assert (resolved.header.threshold, resolved.header.threshold_source) == (0.9, "job")


def test_the_providers_threshold_is_not_for_another_metric() -> None:
    assert plan({"id": "arc", "primary_score": {"metric": "acc_norm"}}).tasks[0].threshold is None


@pytest.mark.parametrize("threshold", [0, 1, 1 + 1e-10])
def test_a_threshold_may_be_at_the_end_of_its_range(threshold: float) -> None:
    assert plan({"id": "arc", "pass_criteria": {"threshold": threshold}}).tasks


@pytest.mark.parametrize(
    ("job", "own", "threshold", "source"),
    [(0.9, 0.7, 0.9, "job"), (None, 0.7, 0.7, "collection"), (None, None, 0.5, "default"), (0.0, None, 0.0, "job")],
)
def test_the_overall_threshold_is_the_jobs_then_the_collections_then_a_half(
    job: float | None, own: float | None, threshold: float, source: str
) -> None:
    keys = {} if own is None else {"pass_criteria": {"threshold": own}}
    header = plan(job={} if job is None else {"pass_criteria": {"threshold": job}}, **keys).header
    assert (header.threshold, header.threshold_source) == (threshold, source)


@pytest.mark.parametrize(
    ("benchmark", "score", "expected"),
    [
        ("arc", None, ("acc", False, (0, 1), "error")),
        ("arc", {"metric": "acc"}, ("acc", False, (0, 1), "error")),
        ("attack", {"metric": "attack_success_rate"}, ("attack_success_rate", True, (0, 100), "error")),
        ("latency", {"metric": "ms"}, ("ms", True, (0, 500), "clip")),
        ("latency", {"metric": "ms", "range": [0, 250]}, ("ms", True, (0, 250), "clip")),
        ("latency", {"metric": "ms", "lower_is_better": False}, ("ms", False, (0, 500), "clip")),
        ("latency", {"metric": "ms", "range_overflow": "error"}, ("ms", True, (0, 500), "error")),
        ("latency", {"metric": "tokens_per_second"}, ("tokens_per_second", False, (0, 1), "error")),
        ("bare", {"metric": "anything", "lower_is_better": True}, ("anything", True, (0, 1), "error")),
    ],
)
def test_what_an_entry_leaves_out_is_inherited_for_the_same_metric(
    benchmark: str, score: dict[str, Any] | None, expected: tuple[Any, ...]
) -> None:
    entry = {"id": benchmark, **({"primary_score": score} if score else {})}
    found = plan(entry).tasks[0].primary_score
    assert (found.metric, found.lower_is_better, found.range, found.range_overflow) == expected


def test_a_providers_own_primary_metric_need_not_be_in_its_list() -> None:
    data = copy.deepcopy(PROVIDER)
    data["benchmarks"][0]["metrics"] = ["acc_norm"]
    source = collection({"id": "arc", "primary_score": {"metric": "acc"}})
    assert resolve(source, {"p": provider(data)}).tasks[0].primary_score.metric == "acc"


def test_the_same_benchmark_twice_keeps_each_entrys_criteria() -> None:
    first, second = plan(
        {"id": "arc", "weight": 2, "pass_criteria": {"threshold": 0.9}, "parameters": {"k": 1}},
        {"id": "arc", "weight": 3, "primary_score": {"metric": "acc_norm"}, "required": True, "num_examples": 7},
        pass_criteria={"threshold": 0.6},
    ).tasks
    assert first.threshold is not None
    assert second.threshold is not None
    assert (first.index, first.slug, first.weight, first.threshold.value) == (0, "000-arc", 2, 0.9)
    assert (second.index, second.slug, second.weight, second.threshold.value) == (1, "001-arc", 3, 0.6)
    assert (first.primary_score.metric, second.primary_score.metric) == ("acc", "acc_norm")
    assert (first.required, second.required) == (False, True)
    assert (first.num_examples, second.num_examples) == (None, 7)
    assert (first.parameters, second.parameters) == ({"k": 1}, {})


def test_the_same_entry_twice_makes_two_tasks() -> None:
    resolved = plan({"id": "arc"}, {"id": "arc"})
    assert len(set(resolved.header.task_digests)) == 2


def test_an_alias_resolves_to_the_benchmark() -> None:
    assert plan({"id": "arc_alias"}).tasks[0].benchmark_id == "arc"


def test_a_task_knows_what_its_provider_says_of_the_benchmark() -> None:
    task = plan().tasks[0]
    assert (task.num_few_shot, task.dataset_size) == (5, 100)


# how it is run


def test_defaults_leave_nothing_to_decide() -> None:
    resolved = plan()
    task, header = resolved.tasks[0], resolved.header
    assert (task.seed, task.timeout, task.max_error_rate, task.weight, task.required) == (42, 3600, 0.0, 1, False)
    assert (header.gate_mode, header.confidence) == ("point", 0.95)
    assert (header.execution.retries, header.execution.cache, header.execution.max_parallel) == (2, False, None)
    assert (header.collection_id, header.collection_version) == ("c", "0")
    assert header.runtimes["p"].image == "quay.io/example/p:1"


def test_what_the_job_says_goes_before_the_collection_key_by_key() -> None:
    resolved = plan(
        {"id": "arc"},
        {"id": "attack", "timeout": 5},
        execution={"timeout": 60, "retries": 0, "max_parallel": 4, "max_error_rate": 0.2},
        gate={"mode": "assured", "confidence": 0.9},
        job={"execution": {"timeout": 120, "cache": True}, "seed": 0, "gate": {"mode": "lenient"}},
    )
    assert [task.timeout for task in resolved.tasks] == [120, 5]
    assert [task.max_error_rate for task in resolved.tasks] == [0.2, 0.2]
    assert [task.seed for task in resolved.tasks] == [0, 0]
    execution = resolved.header.execution
    assert (execution.retries, execution.max_parallel, execution.cache) == (0, 4, True)
    assert (resolved.header.gate_mode, resolved.header.confidence) == ("lenient", 0.95)


def test_an_entrys_limit_on_examples_goes_before_the_collections() -> None:
    tasks = plan({"id": "arc", "num_examples": 5}, {"id": "arc"}, num_examples=10).tasks
    assert [task.num_examples for task in tasks] == [5, 10]


def test_hardware_is_merged_key_by_key_with_the_jobs_first() -> None:
    hardware = (
        plan(
            {"id": "arc", "hardware_config": {"gpu": {"count": 2}, "cpu": {"request": "1"}}},
            hardware_config={"queue": {"name": "q"}, "gpu": {"count": 8}, "node_selector": {"zone": "a"}},
            job={"hardware_config": {"cpu": {"request": "4"}}},
        )
        .tasks[0]
        .hardware
    )
    assert hardware is not None
    assert hardware.cpu is not None
    assert hardware.gpu is not None
    assert hardware.queue is not None
    assert (hardware.cpu.request, hardware.gpu.count, hardware.queue.name) == ("4", 2, "q")
    assert hardware.node_selector == {"zone": "a"}


# eval.yaml over a collection


def overridden(*overrides: Mapping[str, Any], source: Collection | None = None) -> Collection:
    source = source or collection(
        {"id": "arc", "weight": 2, "pass_criteria": {"threshold": 0.4}, "parameters": {"a": 1, "b": 2}},
        {"id": "attack"},
        {"id": "arc", "weight": 3},
    )
    return collection_of(config(collection={"id": "c", "benchmarks": list(overrides)}), source)


def override_problems(*overrides: Mapping[str, Any]) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        overridden(*overrides)
    return str(caught.value).splitlines()


def test_an_override_changes_only_what_it_names() -> None:
    first, attack, third = overridden({"id": "arc", "weight": 5, "parameters": {"b": 3, "c": 4}}).benchmarks
    assert (first.weight, first.parameters) == (5, {"a": 1, "b": 3, "c": 4})
    assert first.pass_criteria is not None
    assert first.pass_criteria.threshold == 0.4
    assert (attack.weight, third.weight) == (1, 3)


def test_the_nth_override_of_a_benchmark_is_for_its_nth_entry() -> None:
    changed = overridden({"benchmark_id": "arc", "weight": 5}, {"id": "arc", "provider_id": "p", "required": True})
    assert [entry.weight for entry in changed.benchmarks] == [5, 1, 3]
    assert [entry.required for entry in changed.benchmarks] == [False, False, True]


def test_the_collection_itself_is_not_changed() -> None:
    source = collection({"id": "arc", "parameters": {"a": 1}})
    overridden({"id": "arc", "parameters": {"a": 2}}, source=source)
    assert source.benchmarks[0].parameters == {"a": 1}


def test_all_problems_of_overrides_are_reported_at_once() -> None:
    assert override_problems(
        {"id": "arc", "wieght": 1, "weight": -1},
        {"id": "atack"},
        {"id": "attack", "parameters": "fast"},
        {"id": "attack"},
        {"id": "arc", "provider_id": "q"},
        {"weight": 1},
        {"id": ["arc"]},
    ) == [
        "collection.benchmarks[0].weight: must be >= 0, got -1",
        "collection.benchmarks[0].wieght: unknown key (did you mean 'weight'?)",
        "collection.benchmarks[1]: collection c has no benchmark 'atack' (did you mean 'attack'?)",
        "collection.benchmarks[2].parameters: must be a mapping of keys, got 'fast'",
        "collection.benchmarks[3]: collection c has no further benchmark 'attack'",
        "collection.benchmarks[4]: collection c has no further benchmark 'arc'",
        "collection.benchmarks[5].id: must name a benchmark of collection c",
        "collection.benchmarks[6].id: must name a benchmark of collection c",
    ]


def test_an_overridden_weight_reaches_the_plan() -> None:
    job = config(collection={"id": "c", "benchmarks": [{"id": "arc", "weight": 0.25}]})
    assert resolve_config(job, collection({"id": "arc"}), {"p": provider()}).tasks[0].weight == 0.25


@pytest.mark.parametrize(
    ("name", "collection_id"),
    [(None, "benchmarks"), ("My run, today", "my-run--today"), ("x" * 300, "x" * 60), ("\u00fc", "x")],
)
def test_benchmarks_of_a_job_are_a_collection_of_their_own(name: str | None, collection_id: str) -> None:
    job = config(name=name, benchmarks=[{"id": "arc", "provider_id": "p", "weight": 4}])
    resolved = resolve_config(job, None, {"p": provider()})
    assert resolved.header.collection_id == collection_id
    assert resolved.tasks[0].weight == 4


# names


@pytest.mark.parametrize(
    ("index", "benchmark_id", "expected"),
    [
        (0, "arc_easy", "000-arc-easy"),
        (12, "inspect/petri-full", "012-inspect-petri-full"),
        (3, "lcb:codegeneration_v6", "003-lcb-codegeneration-v6"),
        (7, "MMLU.Pro", "007-mmlu.pro"),
        (1, "../../etc", "001-etc"),
        (2, "\u00e9t\u00e9", "002-t"),
        (4, "\u4e2d\u6587", "004-x"),
        (1000, "a", "1000-a"),
        (5, "a" * 100, "005-" + "a" * 56),
        (5, "a" * 55 + "_b", "005-" + "a" * 55),
    ],
)
def test_a_slug_is_safe_in_file_names_and_tags(index: int, benchmark_id: str, expected: str) -> None:
    assert slug(index, benchmark_id) == expected


@given(st.integers(0, 9999), st.text(min_size=1))
def test_any_slug_is_short_and_plain(index: int, benchmark_id: str) -> None:
    found = slug(index, benchmark_id)
    assert re.fullmatch(r"[a-z0-9.-]{5,60}", found)
    assert found.startswith(f"{index:03d}-")
    assert found[-1] not in "-."
    assert slug_text(found) == found


# digests

SAMPLE: dict[str, Any] = {
    "id": "c",
    "version": "1",
    "pass_criteria": {"threshold": 0.6},
    "gate": {"mode": "assured", "confidence": 0.9},
    "execution": {"batch": "provider", "max_parallel": 2, "timeout": 60, "retries": 1, "cache": True},
    "num_examples": 50,
    "benchmarks": [
        {
            "id": "arc",
            "provider_id": "p",
            "weight": 0.1,
            "required": True,
            "primary_score": {"metric": "acc_norm"},
            "pass_criteria": {"threshold": 1 / 3},
            "parameters": {"z": [1, 2.5, None, {"\u00e9": "\U0001f600"}], "a": 1e20},
        },
        {"id": "latency", "provider_id": "p", "test_data_ref": {"git": {"url": "https://x/y", "ref": "main"}}},
    ],
}


def digest_of(data: Mapping[str, Any], provider_data: Mapping[str, Any] = PROVIDER, **job: Any) -> str:
    source = documents.validate(data, Collection, "c.yaml")
    resolved = resolve_config(config(collection={"id": "c"}, **job), source, {"p": provider(provider_data)})
    assert resolved.header.task_digests == [task.digest() for task in resolved.tasks]
    return resolved.header.digest()


def changed(data: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    result: dict[str, Any] = copy.deepcopy(dict(data))
    *names, last = (int(name) if name.isdigit() else name for name in path.split("."))
    here: Any = result
    for name in names:
        here = here[name]
    here[last] = value
    return result


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("id", "d"),
        ("version", "2"),
        ("pass_criteria.threshold", 0.6000001),
        ("gate.mode", "point"),
        ("gate.confidence", 0.95),
        ("execution.batch", "none"),
        ("execution.timeout", 61),
        ("execution.retries", 2),
        ("execution.max_error_rate", 0.1),
        ("num_examples", 51),
        ("benchmarks.0.id", "attack"),
        ("benchmarks.0.weight", 0.2),
        ("benchmarks.0.required", False),
        ("benchmarks.0.primary_score", {"metric": "acc"}),
        ("benchmarks.0.primary_score", {"metric": "acc_norm", "lower_is_better": True}),
        ("benchmarks.0.primary_score", {"metric": "acc_norm", "range": [0, 2]}),
        ("benchmarks.0.primary_score", {"metric": "acc_norm", "range_overflow": "clip"}),
        ("benchmarks.0.pass_criteria.threshold", 0.3333),
        ("benchmarks.0.pass_criteria", None),
        ("benchmarks.0.parameters.a", 1),
        ("benchmarks.0.num_examples", 5),
        ("benchmarks.0.timeout", 5),
        ("benchmarks.1.test_data_ref.git.ref", "other"),
        ("benchmarks.1.hardware_config", {"gpu": {"count": 1}}),
        ("benchmarks", [SAMPLE["benchmarks"][0]]),
        ("benchmarks", SAMPLE["benchmarks"][::-1]),
    ],
)
def test_the_digest_changes_with_whatever_decides(path: str, value: Any) -> None:
    data = changed(SAMPLE, path, value)
    if path == "benchmarks.0.id":
        del data["benchmarks"][0]["primary_score"]
    assert digest_of(data) != digest_of(SAMPLE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("runtime.k8s.image", "quay.io/example/p:2"),
        ("benchmarks.0.num_few_shot", 0),
        ("benchmarks.2.primary_score.lower_is_better", False),
        ("benchmarks.2.primary_score.range", [0, 501]),
    ],
)
def test_the_digest_changes_with_what_the_provider_decides(path: str, value: Any) -> None:
    assert digest_of(SAMPLE, changed(PROVIDER, path, value)) != digest_of(SAMPLE)


@pytest.mark.parametrize(
    "job",
    [
        {"pass_criteria": {"threshold": 0.7}},
        {"pass_criteria": {"threshold": 0.6}},
        {"seed": 1},
        {"gate": {"mode": "point"}},
        {"execution": {"timeout": 7}},
        {"hardware_config": {"queue": {"name": "q"}}},
        {"collection": {"id": "c", "benchmarks": [{"id": "arc", "weight": 9}]}},
    ],
    ids=repr,
)
def test_the_digest_changes_with_what_the_job_decides(job: dict[str, Any]) -> None:
    # the same threshold from another source is another plan: the report names the source
    source = documents.validate(SAMPLE, Collection, "c.yaml")
    resolved = resolve_config(config(**{"collection": {"id": "c"}, **job}), source, {"p": provider()})
    assert resolved.header.digest() != digest_of(SAMPLE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "Another name"),
        ("description", "words"),
        ("tags", ["a"]),
        ("domains", ["b"]),
        ("custom", {"c": 1}),
        ("agent", {"d": 2}),
        ("execution.timeout", "1m"),
        ("benchmarks.0.id", "arc_alias"),
        ("benchmarks.0.weight", "0.1"),
    ],
)
def test_the_digest_does_not_change_with_words_and_spellings(path: str, value: Any) -> None:
    assert digest_of(changed(SAMPLE, path, value)) == digest_of(SAMPLE)


def test_the_model_and_the_runs_own_limit_are_no_part_of_the_plan() -> None:
    assert digest_of(SAMPLE, num_examples=3, name="other", tags=["t"]) == digest_of(SAMPLE)


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_the_digest_is_the_same_in_another_process(hash_seed: str) -> None:
    script = """
import json, sys
from evalhub_components.schema.collection import Collection
from evalhub_components.schema.provider import Provider
from evalhub_pipelines import documents
from evalhub_pipelines.resolution import resolve
collection, provider = json.loads(sys.stdin.read())
plan = resolve(documents.validate(collection, Collection, "c"), {"p": documents.validate(provider, Provider, "p")})
print(plan.header.digest())
"""
    environ = {**os.environ, "PYTHONHASHSEED": hash_seed, "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    text = json.dumps([SAMPLE, PROVIDER])
    found = subprocess.run(
        [sys.executable, "-c", script], input=text, capture_output=True, text=True, env=environ, check=True
    )
    assert found.stdout.strip() == digest_of(SAMPLE)


def test_the_digest_survives_the_file() -> None:
    resolved = resolve(documents.validate(SAMPLE, Collection, "c.yaml"), {"p": provider()})
    again = EvaluationPlan.model_validate(json.loads(canonical.dumps(resolved.as_json())))
    assert again == resolved
    assert again.header.digest() == resolved.header.digest()
    assert [task.digest() for task in again.tasks] == again.header.task_digests


def test_the_plan_is_frozen() -> None:
    resolved = plan()
    for document, key in ((resolved, "tasks"), (resolved.header, "threshold"), (resolved.tasks[0], "weight")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(document, key, 0)


# no surprise

NAMES = st.sampled_from(["arc", "arc_alias", "attack", "latency", "bare", "acc", "acc_norm", "ms", "p", "q", "zzz"])
BENCHMARKS = st.sampled_from(["arc", "arc_alias", "attack", "latency", "arc", "attack", "bare", "zzz"])
NUMBERS = st.sampled_from([0.5, 1, 0.25, 0, 30, -1, 1e308])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
SCORE = st.fixed_dictionaries(
    {"metric": st.sampled_from(["acc", "attack_success_rate", "ms", "zzz"])},
    optional={
        "lower_is_better": st.booleans(),
        "range": st.lists(NUMBERS, min_size=2, max_size=2),
        "range_overflow": st.sampled_from(["clip", "error"]),
    },
)
CRITERIA = st.fixed_dictionaries({"threshold": NUMBERS})
ENTRY = st.fixed_dictionaries(
    {"id": BENCHMARKS, "provider_id": st.sampled_from(["p"] * 9 + ["q"])},
    optional={
        "weight": NUMBERS,
        "required": st.booleans(),
        "primary_score": SCORE,
        "pass_criteria": CRITERIA,
        "parameters": st.dictionaries(TEXT, JSON, max_size=3),
        "timeout": st.sampled_from([0, 1, "5m", "999999999d", 10**12]),
        "num_examples": st.sampled_from([0, 1, 100, 10**12]),
    },
)
COLLECTION = st.fixed_dictionaries(
    {"benchmarks": st.lists(ENTRY, max_size=4)},
    optional={"pass_criteria": CRITERIA, "num_examples": st.integers(0, 100), "gate": st.just({}) | JSON},
)
KEYS = ["provider_id", "weight", "required", "primary_score", "pass_criteria", "parameters", "timeout", "zzz"]
OVERRIDE = st.fixed_dictionaries({"id": BENCHMARKS | JSON}, optional=dict.fromkeys(KEYS, JSON))
JOB = st.fixed_dictionaries(
    {},
    optional={
        "name": TEXT | st.text(st.characters(exclude_categories=["Cs"]), min_size=190),
        "pass_criteria": CRITERIA,
        "seed": st.integers(-1, 2**33),
        "overrides": st.lists(OVERRIDE, max_size=2),
    },
)


@settings(max_examples=300)
@given(COLLECTION, JOB, st.booleans())
def test_no_documents_raise_anything_but_invalid_document(data: Any, job: dict[str, Any], inline: bool) -> None:
    overrides = job.pop("overrides", [])
    with contextlib.suppress(InvalidDocument):
        if inline:
            resolve_config(config(benchmarks=data["benchmarks"], **job), None, {"p": provider()})
        else:
            source = documents.validate({"id": "c", **data}, Collection, "c.yaml")
            named = {"id": "c", "benchmarks": overrides}
            resolved = resolve_config(config(collection=named, **job), source, {"p": provider()})
            assert len(resolved.tasks) == len(data["benchmarks"])
            event("resolved")


def test_a_provider_that_takes_others_runs_what_it_does_not_list_by_the_entrys_own_score() -> None:
    ours = {"id": "our_faq", "primary_score": {"metric": "f1"}, "pass_criteria": {"threshold": 0.8}, "judge": True}
    plan = resolve(collection(ours), {"p": provider({**PROVIDER, "takes_others": True})})
    [task] = plan.tasks
    assert (task.benchmark_id, task.primary_score.metric, task.judge) == ("our_faq", "f1", True)
    assert task.threshold is not None
    assert task.threshold.value == 0.8


def test_what_nobody_lists_and_nobody_scores_is_refused() -> None:
    with pytest.raises(
        InvalidDocument, match=r"no benchmark 'arx' \(did you mean 'arc'\?\); one that it does not list"
    ):
        resolve(collection({"id": "arx"}), {"p": provider({**PROVIDER, "takes_others": True})})
    with pytest.raises(InvalidDocument, match="no benchmark 'arx'"):
        resolve(collection({"id": "arx", "primary_score": {"metric": "acc"}}), {"p": provider()})


def test_a_provider_that_is_an_image_made_for_evalhub_has_no_judge() -> None:
    runtime = {"k8s": {"image": "quay.io/example/p:1", "entrypoint": ["python", "main.py"]}}
    with pytest.raises(InvalidDocument, match="needs an adapter made for this program"):
        provider({"id": "p", "runtime": runtime, "benchmarks": [{"id": "b", "judge": True}]})
