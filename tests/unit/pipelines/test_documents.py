"""Documents checked whole: every problem at once, with its place and what would be right."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from evalhub_components.errors import InvalidDocument
from evalhub_components.schema.collection import Collection
from evalhub_components.schema.evaluation import EvaluationConfig
from evalhub_components.schema.provider import Provider
from evalhub_pipelines import documents


def problems_of(data: Any, model: type[BaseModel]) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        documents.validate(data, model, "x.yaml")
    return str(caught.value).splitlines()


def problem_of(data: Any, model: type[BaseModel]) -> str:
    (problem,) = problems_of(data, model)
    return problem.removeprefix("x.yaml: ")


def collection(**keys: Any) -> dict[str, Any]:
    return {"id": "c", "benchmarks": [{"id": "b", "provider_id": "p"}], **keys}


def entry(**keys: Any) -> dict[str, Any]:
    return collection(benchmarks=[{"id": "b", "provider_id": "p", **keys}])


def provider(**keys: Any) -> dict[str, Any]:
    return {"id": "p", **keys}


def evaluation(**keys: Any) -> dict[str, Any]:
    return {"model": {"url": "http://localhost:8000/v1", "name": "m"}, "collection": {"id": "c"}, **keys}


def test_all_problems_of_a_collection_are_reported_at_once() -> None:
    data = {
        "id": "a collection",
        "verison": "1",
        "pass_criteria": {"treshold": 0.5},
        "gate": {"mode": "strict", "confidence": 2, "baseline": "runs/1"},
        "execution": {"batch": "all", "timeout": "an hour", "max_parallel": 0, "retries": 11, "max_error_rate": 1.5},
        "num_examples": 0,
        "benchmarks": [
            {"id": "b", "provider_id": "p", "weight": -1, "required": "perhaps"},
            {"provider_id": "p", "weigth": 1, "primary_score": {"metric": "", "range": [1, 0]}},
            {"id": "b", "test_data_ref": {"s3": {"bucket": "b"}, "hf": {"repo_id": "r"}}, "parameters": [1]},
            "arc_easy",
        ],
    }
    assert problems_of(data, Collection) == [
        "x.yaml: benchmarks[0].required: must be true or false, got 'perhaps'",
        "x.yaml: benchmarks[0].weight: must be >= 0, got -1",
        "x.yaml: benchmarks[1].id: is missing",
        "x.yaml: benchmarks[1].primary_score.metric: must not be empty, got ''",
        "x.yaml: benchmarks[1].primary_score.range: must be [low, high] with low < high, got [1, 0]",
        "x.yaml: benchmarks[1].weigth: unknown key (did you mean 'weight'?)",
        "x.yaml: benchmarks[2].parameters: must be a mapping of keys, got a list",
        "x.yaml: benchmarks[2].provider_id: is missing",
        "x.yaml: benchmarks[2].test_data_ref.s3.key: is missing",
        "x.yaml: benchmarks[3]: must be a mapping of keys, got 'arc_easy'",
        "x.yaml: execution.batch: must be 'none' or 'provider', got 'all'",
        "x.yaml: execution.max_error_rate: must be <= 1, got 1.5",
        "x.yaml: execution.max_parallel: must be >= 1, got 0",
        "x.yaml: execution.retries: must be <= 10, got 11",
        "x.yaml: execution.timeout: must be seconds or a duration such as 90s, 30m or 2h, got 'an hour'",
        "x.yaml: gate.baseline: not yet supported (remove it; `pass_criteria.threshold` gates on the score itself)",
        "x.yaml: gate.confidence: must be < 1, got 2",
        "x.yaml: gate.mode: must be 'point', 'assured' or 'lenient', got 'strict'",
        r"x.yaml: id: must match ^[^\s/\\][^\s\\]*$, got 'a collection'",
        "x.yaml: num_examples: must be >= 1, got 0",
        "x.yaml: pass_criteria.threshold: is missing",
        "x.yaml: pass_criteria.treshold: unknown key (did you mean 'threshold'?)",
        "x.yaml: verison: unknown key (did you mean 'version'?)",
    ]


def test_all_problems_of_a_provider_are_reported_at_once() -> None:
    data = {
        "runtme": {},
        "runtime": {
            "k8s": {"image_pull_policy": "sometimes", "env": [{"name": "1X"}], "gpu": {"count": 0}, "cpu_limit": 2},
            "local": {"comand": "true"},
        },
        "benchmarks": [{"id": "a", "num_few_shot": -1}, {"id": "b", "aliases": "c", "metrics": [1]}],
    }
    assert problems_of(data, Provider) == [
        "x.yaml: benchmarks[0].num_few_shot: must be >= 0, got -1",
        "x.yaml: benchmarks[1].aliases: must be a list, got 'c'",
        "x.yaml: benchmarks[1].metrics[0]: must be text (put it in quotes), got 1",
        "x.yaml: id: is missing",
        "x.yaml: runtime.k8s.cpu_limit: must be text (put it in quotes), got 2",
        "x.yaml: runtime.k8s.env[0].name: must match ^[A-Za-z_][A-Za-z0-9_]*$, got '1X'",
        "x.yaml: runtime.k8s.gpu.count: must be >= 1, got 0",
        "x.yaml: runtime.k8s.image_pull_policy: must be 'Always', 'IfNotPresent' or 'Never', got 'sometimes'",
        "x.yaml: runtime.local.comand: unknown key (did you mean 'command'?)",
        "x.yaml: runtme: unknown key (did you mean 'runtime'?)",
    ]


def test_all_problems_of_an_evaluation_are_reported_at_once() -> None:
    data = {
        "modle": {},
        "model": {"url": "localhost:8000", "auth": {"secret": "x"}},
        "judge": {"url": "http://judge/v1"},
        "seed": -1,
        "experiment": {"name": 3, "tags": {"build": 17}},
        "exports": {"oci": {"coordinates": {"oci_host": "h"}}, "signing": {"type": "x"}, "s3": {}},
    }
    assert problems_of(data, EvaluationConfig) == [
        "x.yaml: must name either a collection or benchmarks, and not both",
        "x.yaml: experiment.name: must be text (put it in quotes), got 3",
        "x.yaml: experiment.tags.build: must be text (put it in quotes), got 17",
        "x.yaml: exports.oci.coordinates.oci_repository: is missing",
        "x.yaml: exports.s3: unknown key",
        "x.yaml: exports.signing.secret_ref: is missing",
        "x.yaml: exports.signing.type: must be 'key-pair', got 'x'",
        "x.yaml: judge.name: is missing",
        "x.yaml: model.auth: must have a secret_ref, or service_account: true",
        "x.yaml: model.auth.secret: unknown key (did you mean 'secret_ref'?)",
        "x.yaml: model.name: is missing",
        "x.yaml: model.url: must be an http or https address such as http://localhost:8000/v1, "
        "without query, user and password (credentials belong in a secret: auth.secret_ref)",
        "x.yaml: modle: unknown key (did you mean 'model'?)",
        "x.yaml: seed: must be >= 0, got -1",
    ]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"weight": True}, "weight: must be a number, got true"),
        ({"weight": "heavy"}, "weight: must be a number, got 'heavy'"),
        ({"weight": None}, "weight: must be a number, got None"),
        ({"weight": float("nan")}, "weight: must be a finite number, got nan"),
        ({"weight": 1e300}, "weight: must be <= 1000000, got 1e+300"),
        ({"pass_criteria": {"threshold": False}}, "pass_criteria.threshold: must be a number, got false"),
        ({"pass_criteria": {"threshold": float("inf")}}, "pass_criteria.threshold: must be a finite number, got inf"),
        ({"pass_criteria": 0.5}, "pass_criteria: must be a mapping of keys, got 0.5"),
        ({"primary_score": {"metric": "m", "range": [0]}}, "primary_score.range: must be [low, high], got 1 value(s)"),
        (
            {"primary_score": {"metric": "m", "range": [0, 1, 2]}},
            "primary_score.range: must be [low, high], got 3 value(s)",
        ),
        ({"primary_score": {"metric": "m", "range": 100}}, "primary_score.range: must be a list, got 100"),
        (
            {"primary_score": {"metric": "m", "range": [2, 2]}},
            "primary_score.range: must be [low, high] with low < high, got [2, 2]",
        ),
        (
            {"primary_score": {"metric": "m", "range": [-1e308, 1e308]}},
            "primary_score.range: must be [low, high] with low < high, got [-1e+308, 1e+308]",
        ),
        ({"timeout": "0m"}, "timeout: must be > 0, got '0m'"),
        ({"timeout": "367d"}, "timeout: must be <= 31622400, got '367d'"),
        ({"timeout": 1.5}, "timeout: must be a whole number, got 1.5"),
        ({"num_examples": True}, "num_examples: must be a number, got true"),
        ({"id": "/etc/passwd"}, r"id: must match ^[^\s/\\][^\s\\]*$, got '/etc/passwd'"),
        ({"id": "x" * 201}, f"id: must have at most 200 characters, got '{'x' * 76}..."),
        ({"test_data_ref": {}}, "test_data_ref: must name exactly one of s3, pvc, git and hf, got none"),
        (
            {"test_data_ref": {"pvc": {"claim_name": "c"}, "git": {"url": "https://host.example/u", "ref": "r"}}},
            "test_data_ref: must name exactly one of s3, pvc, git and hf, got pvc and git",
        ),
    ],
)
def test_a_wrong_value_says_what_would_be_right(keys: dict[str, Any], message: str) -> None:
    assert problem_of(entry(**keys), Collection) == f"benchmarks[0].{message}"


@pytest.mark.parametrize(
    ("text", "seconds"), [(90, 90), ("90", 90), ("90s", 90), ("30m", 1800), (" 2h ", 7200), ("1 d", 86400)]
)
def test_a_duration_has_a_unit_or_is_in_seconds(text: object, seconds: int) -> None:
    assert documents.validate(entry(timeout=text), Collection, "x").benchmarks[0].timeout == seconds


@pytest.mark.parametrize(
    ("data", "model", "message"),
    [
        (collection(benchmark=[]), Collection, "benchmark: unknown key (did you mean 'benchmarks'?)"),
        (collection(zzzzz=1), Collection, "zzzzz: unknown key"),
        (entry(hardware_config={"gpu": {"nmae": "x"}}), Collection, "benchmarks[0].hardware_config.gpu.nmae: {name}"),
        (entry(primary_score={"metric": "m", "lower_better": True}), Collection, "benchmarks[0].primary_score.{lower}"),
        (provider(runtime={"kubernetes": {}}), Provider, "runtime.kubernetes: unknown key"),
        (evaluation(num_exmples=3), EvaluationConfig, "num_exmples: unknown key (did you mean 'num_examples'?)"),
        (
            evaluation(exports={"oci": {"coordinates": {"oci_host": "h", "oci_repository": "r", "tag": "t"}}}),
            EvaluationConfig,
            "exports.oci.coordinates.tag: unknown key (did you mean 'oci_tag'?)",
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_a_misspelt_key_suggests_the_nearest(data: Any, model: type[BaseModel], message: str) -> None:
    words = {
        "name": "unknown key (did you mean 'name'?)",
        "lower": "lower_better: unknown key (did you mean 'lower_is_better'?)",
    }
    assert problem_of(data, model) == message.format(**words)


def test_a_misspelt_alias_suggests_the_alias() -> None:
    data = collection(benchmarks=[{"id": "b", "provider_id": "p"}, {"benchmark_i": "b", "provider_id": "p"}])
    assert "x.yaml: benchmarks[1].benchmark_i: unknown key (did you mean 'benchmark_id'?)" in problems_of(
        data, Collection
    )


@pytest.mark.parametrize(
    ("data", "model", "message"),
    [
        (entry(benchmark_id="b"), Collection, "benchmarks[0].benchmark_id: says the same as 'id' (keep one)"),
        (
            evaluation(collection_id="c"),
            EvaluationConfig,
            "collection_id: says the same as 'collection' (keep one)",
        ),
    ],
    ids=["benchmark_id", "collection_id"],
)
def test_both_spellings_of_a_key_are_one_too_many(data: Any, model: type[BaseModel], message: str) -> None:
    assert problem_of(data, model) == message


def test_a_wrong_value_under_an_alias_is_named_by_the_alias() -> None:
    data = collection(benchmarks=[{"benchmark_id": 5, "provider_id": "p"}])
    assert problem_of(data, Collection) == "benchmarks[0].benchmark_id: must be text (put it in quotes), got 5"


@pytest.mark.parametrize("both", [True, False], ids=["both", "neither"])
def test_an_evaluation_names_either_a_collection_or_benchmarks(both: bool) -> None:
    data = evaluation(benchmarks=[{"id": "b", "provider_id": "p"}])
    if not both:
        del data["collection"], data["benchmarks"]
    assert problem_of(data, EvaluationConfig).endswith("must name either a collection or benchmarks, and not both")


@pytest.mark.parametrize(
    "data",
    [
        evaluation(model={"url": "https://user:hunter2@host/v1", "name": "m"}),
        evaluation(model={"url": "http://host/v1", "name": "m", "auth": {"secret_ref": "sk-hunter2/ABC"}}),
        evaluation(model={"url": "http://host/v1", "name": "m", "api_key": "hunter2"}),
    ],
    ids=["address", "secret_ref", "unknown key"],
)
def test_what_may_be_a_secret_is_not_repeated(data: dict[str, Any]) -> None:
    assert "hunter2" not in problem_of(data, EvaluationConfig)


def test_ids_and_aliases_of_a_provider_are_unique() -> None:
    data = provider(benchmarks=[{"id": "a"}, {"id": "b", "aliases": ["a", "c"]}, {"id": "c"}], titel="x")
    assert problems_of(data, Provider) == [
        "x.yaml: benchmarks: ids and aliases must be unique, used twice: a, c",
        "x.yaml: titel: unknown key (did you mean 'title'?)",
    ]


def test_a_benchmark_is_found_by_its_alias() -> None:
    found = documents.validate(provider(benchmarks=[{"id": "a", "aliases": ["b"]}]), Provider, "x")
    assert found.benchmark("b") == found.benchmark("a") == found.benchmarks[0]
    assert found.benchmark("c") is None


@pytest.mark.parametrize("data", [[], "text", 3, None, True], ids=repr)
def test_a_document_is_a_mapping(data: object) -> None:
    assert problem_of(data, Collection).startswith("must be a mapping of keys, got ")


def test_a_flood_of_problems_is_cut_off() -> None:
    data = collection(**{f"key{number}": 1 for number in range(5000)})
    problems = problems_of(data, Collection)
    assert len(problems) == documents.MAX_PROBLEMS + 1
    assert problems[-1] == "x.yaml: has 4900 more problems like these"


def test_a_file_is_named_in_its_problems(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("id: c\nbenchmarks: []\n")
    with pytest.raises(InvalidDocument) as caught:
        documents.load(path, Collection)
    assert str(caught.value) == f"{path}: benchmarks: must have at least 1 item(s), got a list"


def test_defaults_fill_what_a_file_leaves_out_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("benchmarks: [{id: b, provider_id: p}]\nname: own\n")
    loaded = documents.load(path, Collection, defaults={"id": "stem", "name": "default"})
    assert (loaded.id, loaded.name) == ("stem", "own")


KEYS = sorted(
    {
        key
        for model in (Collection, Provider, EvaluationConfig)
        for definition in [model.model_json_schema(), *model.model_json_schema()["$defs"].values()]
        for key in definition.get("properties", {})
    }
    | {"collection_id", "benchmark_id", "zzz"}
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=5) | st.sampled_from(KEYS)
)
DATA = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=15,
)


@settings(max_examples=200)
@given(DATA, st.sampled_from([Collection, Provider, EvaluationConfig]))
def test_no_data_raises_anything_but_invalid_document(data: Any, model: type[BaseModel]) -> None:
    with contextlib.suppress(InvalidDocument):
        documents.validate(data, model, "x.yaml")


@settings(max_examples=200)
@given(st.data())
def test_no_change_to_a_good_document_raises_anything_but_invalid_document(data: st.DataObject) -> None:
    good: dict[str, Any] = data.draw(
        st.sampled_from(
            [
                entry(weight=1, primary_score={"metric": "m", "range": [0, 1]}, hardware_config={"gpu": {"count": 1}}),
                evaluation(experiment={"tags": [{"key": "a", "value": "b"}]}, exports={"oci": {"coordinates": {}}}),
                provider(runtime={"local": {"command": ["a"]}, "k8s": {"env": [{"name": "A"}]}}, benchmarks=[{}]),
            ]
        )
    )
    model: type[BaseModel] = EvaluationConfig if "model" in good else Provider if "runtime" in good else Collection

    def changed(value: Any) -> Any:
        if data.draw(st.integers(0, 9)) == 0:
            return data.draw(DATA)
        if isinstance(value, dict):
            return {key: changed(item) for key, item in value.items()}
        return [changed(item) for item in value] if isinstance(value, list) else value

    with contextlib.suppress(InvalidDocument):
        documents.validate(changed(good), model, "x.yaml")
