import pytest
from pydantic import Field

from evalhub_components.errors import InvalidDocument
from evalhub_components.framework import parameters
from evalhub_components.schema.document import Document


class Settings(Document):
    shots: int = Field(default=0, ge=0)
    metrics: list[str] = Field(default_factory=list)


def problems(values: dict[str, object], **elsewhere: str) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        parameters.parse(Settings, "a_benchmark", values, elsewhere)
    return [str(problem) for problem in caught.value.problems]


def test_what_is_known_is_read() -> None:
    assert parameters.parse(Settings, "a_benchmark", {"shots": 3}) == Settings(shots=3)


def test_every_problem_is_reported_with_its_place() -> None:
    assert problems({"shots": -1, "metrics": ["a", 2], "shot": 1, "zzz": 1}) == [
        "a_benchmark: parameters.shots: input should be greater than or equal to 0",
        "a_benchmark: parameters.metrics.1: input should be a valid string",
        "a_benchmark: parameters.shot: unknown key (did you mean shots?)",
        "a_benchmark: parameters.zzz: unknown key (known: shots, metrics)",
    ]


def test_keys_that_belong_elsewhere_say_where() -> None:
    assert problems({"limit": 3, "num_fewshot": 5}, num_fewshot="is called shots here") == [
        "a_benchmark: parameters.limit: is the entry's own key num_examples",
        "a_benchmark: parameters.num_fewshot: is called shots here",
    ]
