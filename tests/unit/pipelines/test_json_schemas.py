"""The JSON Schemas for editors: up to date, and of the same mind as the loader."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from pydantic import BaseModel

from evalhub_components.errors import InvalidDocument
from evalhub_components.schema.collection import Collection
from evalhub_components.schema.evaluation import EvaluationConfig
from evalhub_components.schema.provider import Provider
from evalhub_pipelines import bounded_yaml, documents, json_schemas
from evalhub_pipelines.catalog import Catalog, built_in
from evalhub_pipelines.client.scheduling.schedule_file import Schedule

MODELS: dict[str, type[BaseModel]] = {
    "provider": Provider,
    "collection": Collection,
    "eval": EvaluationConfig,
    "schedule": Schedule,
}
EVALHUB = Path(__file__).parents[1] / "components" / "schema" / "data"
SAMPLE = """
name: nightly
tags: [nightly]
model:
  url: ${MODEL_URL:-http://localhost:8000/v1}
  name: granite-3.3-8b-instruct
  auth: {secret_ref: model-credentials}
  parameters: {temperature: 0}
  environment: {gpu: H100, engine: vllm 0.11, quantization: fp8}
collection:
  id: quickstart-v1
  benchmarks:
    - {id: quickstart_refusal, weight: 3, timeout: 30m}
pass_criteria: {threshold: 0.8}
gate: {mode: assured, confidence: 0.99}
execution: {batch: provider, max_parallel: 2, timeout: 1h, retries: 0, max_error_rate: 0.05}
num_examples: 20
seed: 7
experiment: {name: granite, tags: {team: platform}, required: true}
exports:
  oci:
    coordinates: {oci_host: registry.example.org, oci_repository: team/evaluations}
  signing: {secret_ref: signing-key}
"""


def errors_of(name: str, data: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(json_schemas.schemas()[name])
    return [error.message for error in validator.iter_errors(data)]


def entry(**keys: Any) -> dict[str, Any]:
    return {"benchmarks": [{"id": "b", "provider_id": "p", **keys}]}


def evaluation(**keys: Any) -> dict[str, Any]:
    return {"model": {"url": "http://localhost/v1", "name": "m"}, "collection": {"id": "c"}, **keys}


def schedule(**keys: Any) -> dict[str, Any]:
    return {"name": "nightly", "cron": "0 2 * * *", "time_zone": "UTC", "evaluation": "eval.yaml", **keys}


@pytest.mark.parametrize("name", json_schemas.FILES)
def test_the_files_are_up_to_date(name: str) -> None:
    path = built_in() / json_schemas.FILES[name]
    assert path.read_text() == json_schemas.text(json_schemas.schemas()[name]), (
        "run python -m evalhub_pipelines.json_schemas"
    )


def test_the_files_are_written_to_their_places(tmp_path: Path) -> None:
    json_schemas.write(tmp_path)
    for name, file in json_schemas.FILES.items():
        assert json.loads((tmp_path / file).read_text()) == json_schemas.schemas()[name]


@pytest.mark.parametrize("name", json_schemas.FILES)
def test_every_schema_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schemas.schemas()[name])


def test_what_is_shipped_is_valid() -> None:
    catalog = Catalog.of()
    for collection_id in catalog.collection_ids():
        assert errors_of("collection", bounded_yaml.read(built_in() / "collections" / f"{collection_id}.yaml")) == []
    for provider_id in catalog.provider_ids():
        path = catalog.provider_directory(provider_id) / "provider.yaml"
        assert errors_of("provider", bounded_yaml.read(path)) == []


def test_the_schemas_are_no_documents_of_the_catalogue() -> None:
    catalog = Catalog.of()
    assert not [name for name in [*catalog.collection_ids(), *catalog.provider_ids()] if "schema" in name]


@pytest.mark.parametrize("path", sorted(EVALHUB.glob("*.yaml")), ids=lambda path: path.stem)
def test_documents_of_evalhub_are_valid(path: Path) -> None:
    name = path.stem.partition("-")[0]
    assert errors_of(name, bounded_yaml.read(path)) == []


def test_a_full_evaluation_is_valid() -> None:
    data = yaml.safe_load(SAMPLE)
    assert errors_of("eval", data) == []
    documents.validate(bounded_yaml.substitute(data, {}, "eval.yaml"), EvaluationConfig, "eval.yaml")


ACCEPTED = [
    ("collection", {"id": "c", **entry(timeout="90s")}),
    ("collection", {"id": "c", **entry(timeout=90)}),
    ("collection", {"id": "c", **entry(parameters=None)}),
    ("collection", {"id": "c", "benchmarks": [{"benchmark_id": "b", "provider_id": "p"}]}),
    ("collection", {"id": "c", **entry(primary_score={"metric": "m", "range": [0, 100], "range_overflow": "clip"})}),
    ("eval", evaluation(experiment={"tags": {"a": "b"}})),
    ("eval", evaluation(experiment={"tags": [{"key": "a", "value": "b"}]})),
    ("eval", evaluation(collection="c")),
    ("eval", evaluation(collection={"id": "c", "benchmarks": [{"id": "b", "weight": 2}]})),
    ("schedule", schedule()),
    ("schedule", schedule(enabled=False, end="2027-01-01T00:00:00", mlflow={"uri": "http://mlflow:5000"})),
    ("provider", {"id": "p", "runtime": {"k8s": {"image_pull_policy": "always"}, "local": None}}),
    ("provider", {"id": "p", "runtime": {"k8s": {"image_pull_policy": "IfNotPresent"}}}),
    ("provider", {"id": "p", "runtime": {"local": {"command": ["python", "-m", "x"]}}}),
]
REFUSED = [
    ("collection", {"id": "c", **entry(wieght=1)}),
    ("collection", {"id": "c", **entry(weight=-1)}),
    ("collection", {"id": "c", **entry(weight=True)}),
    ("collection", {"id": "c", **entry(timeout="soon")}),
    ("collection", {"id": "c", **entry(timeout=0)}),
    ("collection", {"id": "c", **entry(num_examples=0)}),
    ("collection", {"id": "c", **entry(benchmark_id="b")}),
    ("collection", {"id": "c", **entry(primary_score={"metric": "m", "range": [0]})}),
    ("collection", {"id": "c", "benchmarks": [{"provider_id": "p"}]}),
    ("collection", {"id": "c", "benchmarks": []}),
    ("collection", {"id": "c", "gate": {"baseline": "runs/1"}, **entry()}),
    ("collection", {"id": "c", "pass_criteria": {"treshold": 0.5}, **entry()}),
    ("eval", evaluation(num_exampels=3)),
    ("eval", evaluation(benchmarks=[{"id": "b", "provider_id": "p"}])),
    ("eval", evaluation(collection_id="c")),
    ("eval", {"model": {"url": "http://localhost/v1", "name": "m"}}),
    ("eval", evaluation(experiment={"tags": [{"key": "a"}]})),
    ("eval", evaluation(model={"url": "http://localhost/v1", "name": "m", "api_key": "x"})),
    ("schedule", schedule(crn="0 2 * * *")),
    ("schedule", {"name": "nightly", "cron": "0 2 * * *", "evaluation": "eval.yaml"}),
    ("schedule", schedule(model={"url": "http://localhost/v1"})),
    ("provider", {"id": "p", "runtme": {}}),
    ("provider", {"id": "p", "runtime": {"k8s": {"image_pull_policy": "sometimes"}}}),
    ("provider", {"name": "p"}),
]


@pytest.mark.parametrize(("name", "data"), ACCEPTED)
def test_what_the_loader_accepts_is_valid(name: str, data: Any) -> None:
    documents.validate(data, MODELS[name], "x.yaml")
    assert errors_of(name, data) == []


@pytest.mark.parametrize(("name", "data"), REFUSED)
def test_what_the_loader_refuses_is_not_valid(name: str, data: Any) -> None:
    with pytest.raises(InvalidDocument):
        documents.validate(data, MODELS[name], "x.yaml")
    assert errors_of(name, data)


def test_a_collection_may_leave_its_id_to_its_file() -> None:
    assert errors_of("collection", entry()) == []


def test_keys_are_described_for_whoever_hovers_over_them() -> None:
    definitions = json_schemas.schemas()["collection"]["$defs"]
    assert definitions["Execution"]["properties"]["timeout"]["description"] == "of one benchmark, in seconds."
    assert definitions["Gate"]["description"] == "How the overall test treats uncertainty."
