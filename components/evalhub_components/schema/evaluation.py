"""`eval.yaml`: one evaluation - which model, which benchmarks, where the records go."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, Field, ValidationInfo, field_validator

from evalhub_components.schema.collection import BenchmarkConfig, Execution, Gate, HardwareConfig
from evalhub_components.schema.document import Digest, Document, EndpointURL, Identifier, Pairs, Positive, SecretName
from evalhub_components.schema.exports import Exports
from evalhub_components.schema.provider import PassCriteria


class ModelAuth(Document):
    """What a model is asked with.

    Attributes:
        service_account: the token of the run's own service account in the place of an `api-key`, as KServe wants it.
        secret_ref: the secret with the model's credentials (keys `api-key`, `ca_cert`, `hf-token`).
    """

    service_account: bool = False
    secret_ref: SecretName | None = Field(default=None, validate_default=True)

    @field_validator("secret_ref")
    @classmethod
    def _or_a_service_account(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and not info.data.get("service_account", True):
            raise ValueError("must have a secret_ref, or service_account: true")
        return value


class ModelConfig(Document):
    """The model under test, behind an OpenAI-compatible endpoint.

    Attributes:
        url: base address, ending in `/v1`.
        digest: of the model's own OCI manifest, where it has one; the evidence is then about that model and no other.
        environment: what the caller declares of the server (hardware, engine, quantization); kept as declared.
    """

    url: EndpointURL
    name: str = Field(min_length=1)
    auth: ModelAuth | None = None
    digest: Digest | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)


class JudgeConfig(Document):
    """The model that judges answers, for the frameworks that need one."""

    url: EndpointURL
    name: str = Field(min_length=1)
    auth: ModelAuth | None = None


class CollectionRef(Document):
    """A collection by id; its entries named in `benchmarks` take the keys given here over their own."""

    id: Identifier
    benchmarks: list[dict[str, Any]] = Field(default_factory=list)


class ExperimentConfig(Document):
    """The MLflow experiment that the run belongs to; `required` makes an MLflow failure an error."""

    name: str | None = None
    tags: Pairs = Field(default_factory=dict)
    required: bool = False

    @field_validator("tags", mode="before")
    @classmethod
    def _tags_as_map(cls, value: object) -> object:
        if isinstance(value, list):
            if not all(
                isinstance(tag, dict) and set(tag) == {"key", "value"} and isinstance(tag["key"], str) for tag in value
            ):
                raise ValueError("must be a map, or a list of {key, value}")
            tags = {tag["key"]: tag["value"] for tag in value}
            if len(tags) < len(value):
                raise ValueError("must name every key once")
            return tags
        return value


class EvaluationConfig(Document):
    """One evaluation. Either `collection` or `benchmarks`."""

    name: str | None = None
    description: str | None = None
    tags: list[str] = Field(default_factory=list)
    model: ModelConfig
    judge: JudgeConfig | None = None
    collection: CollectionRef | None = Field(default=None, validation_alias=AliasChoices("collection", "collection_id"))
    benchmarks: list[BenchmarkConfig] = Field(default_factory=list, validate_default=True)
    pass_criteria: PassCriteria | None = None
    gate: Gate | None = None
    execution: Execution | None = None
    num_examples: Positive | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    experiment: ExperimentConfig | None = None
    exports: Exports | None = None
    hardware_config: HardwareConfig | None = None
    custom: dict[str, Any] | None = None

    @field_validator("collection", mode="before")
    @classmethod
    def _by_id(cls, value: object) -> object:
        return {"id": value} if isinstance(value, str) else value

    @field_validator("benchmarks")
    @classmethod
    def _or_a_collection(cls, value: list[BenchmarkConfig], info: ValidationInfo) -> list[BenchmarkConfig]:
        # a field's check and not the document's, so that it is reported together with what else is wrong
        if "collection" in info.data and (info.data["collection"] is None) == (not value):
            raise ValueError("must name either a collection or benchmarks, and not both")
        return value
