"""JSON Schemas of the documents that people write, for completion and checks in editors.

`python -m evalhub_pipelines.json_schemas` writes them beside the documents. They describe what the loader accepts, in
the spelling of files; what needs more than one document to decide (ids, thresholds within ranges) is not in them.
"""

from __future__ import annotations

import copy
import inspect
import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from evalhub_components import atomic
from evalhub_components.schema.collection import Collection
from evalhub_components.schema.evaluation import EvaluationConfig
from evalhub_components.schema.provider import Provider
from evalhub_pipelines.catalog import built_in
from evalhub_pipelines.client.scheduling.schedule_file import Schedule

FILES = {
    "provider": "providers/provider.schema.json",
    "collection": "collections/collection.schema.json",
    "eval": "collections/eval.schema.json",
    "schedule": "collections/schedule.schema.json",
}
"""Where each schema is kept in a catalogue."""


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schemas of `provider.yaml`, a collection, `eval.yaml` and a schedule, by the keys of `FILES`."""
    return {
        "provider": _schema(Provider, "provider.yaml"),
        "collection": _schema(Collection, "a collection"),
        "eval": _schema(EvaluationConfig, "eval.yaml"),
        "schedule": _schema(Schedule, "a schedule"),
    }


def text(schema: dict[str, Any]) -> str:
    """Return a schema as it stands in its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write(directory: Path) -> None:
    """Write every schema to its place below `directory`."""
    for name, schema in schemas().items():
        atomic.write_text(directory / FILES[name], text(schema))


class _Generator(GenerateJsonSchema):
    """Leaves out titles, which only repeat the keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    schema = model.model_json_schema(schema_generator=_Generator, mode="validation")
    definitions = schema.setdefault("$defs", {})
    for name, definition in [*definitions.items(), (model.__name__, schema)]:
        definition.pop("title", None)
        _describe(definition)
        accept = _ACCEPT.get(name)
        if accept:
            accept(definition)
    if model is EvaluationConfig:
        # an override names the benchmark and only the keys that differ
        override = copy.deepcopy(definitions["BenchmarkConfig"])
        override.pop("required")
        definitions["BenchmarkOverride"] = override
        definitions["CollectionRef"]["properties"]["benchmarks"]["items"] = {"$ref": "#/$defs/BenchmarkOverride"}
    return {"$schema": GenerateJsonSchema.schema_dialect, "title": title, **schema}


def _describe(definition: dict[str, Any]) -> None:
    """Move what a docstring says of each attribute to that attribute's description."""
    words, _, attributes = inspect.cleandoc(definition.get("description", "")).partition("\n\nAttributes:\n")
    if words:
        definition["description"] = " ".join(words.split())
    for names, meaning in re.findall(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE):
        for name in names.split(", "):
            definition["properties"][name]["description"] = " ".join(meaning.split())


def _accept_aliases(benchmark: dict[str, Any]) -> None:
    properties = benchmark["properties"]
    properties["benchmark_id"] = properties["id"]
    properties["parameters"] = {"anyOf": [properties["parameters"], {"type": "null"}]}
    benchmark["required"].remove("id")
    benchmark["oneOf"] = [{"required": ["id"]}, {"required": ["benchmark_id"]}]


def _accept_file_name_as_id(collection: dict[str, Any]) -> None:
    collection["required"].remove("id")


def _accept_collection_id(config: dict[str, Any]) -> None:
    properties = config["properties"]
    properties["collection"]["anyOf"].append({"type": "string"})
    properties["collection_id"] = {"type": "string"}
    config["oneOf"] = [{"required": [key]} for key in ("collection", "collection_id", "benchmarks")]


def _accept_tags_as_list(experiment: dict[str, Any]) -> None:
    pair = {
        "type": "object",
        "properties": {"key": {"type": "string"}, "value": {"type": "string"}},
        "required": ["key", "value"],
        "additionalProperties": False,
    }
    tags = experiment["properties"]["tags"]
    experiment["properties"]["tags"] = {"anyOf": [tags, {"type": "array", "items": pair}]}


def _accept_lower_case(runtime: dict[str, Any]) -> None:
    policies = runtime["properties"]["image_pull_policy"]["anyOf"][0]["enum"]
    policies += [policy.lower() for policy in policies]


def _refuse_baseline(gate: dict[str, Any]) -> None:
    del gate["properties"]["baseline"]


_ACCEPT = {
    "BenchmarkConfig": _accept_aliases,
    "Collection": _accept_file_name_as_id,
    "EvaluationConfig": _accept_collection_id,
    "ExperimentConfig": _accept_tags_as_list,
    "KubernetesRuntime": _accept_lower_case,
    "Gate": _refuse_baseline,
}
"""What the loader's validators accept or refuse beyond the types of the fields."""


if __name__ == "__main__":
    write(built_in())
