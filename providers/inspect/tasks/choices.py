"""Questions with four answers to choose from; the answer is a letter."""

from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import Sample, json_dataset
from inspect_ai.scorer import match
from inspect_ai.solver import generate

DATA = Path(__file__).resolve().parents[1] / "data" / "choices.jsonl"


def asked(record: dict[str, object]) -> Sample:
    """Return the question with its choices below it.

    inspect's own multiple_choice() wants a sentence of a certain form as the answer, which small models do not keep to.
    """
    choices = record["choices"]
    assert isinstance(choices, list)
    lines = [f"{letter}. {choice}" for letter, choice in zip("ABCD", choices, strict=True)]
    question = "\n".join([str(record["input"]), *lines, "Answer with the letter alone."])
    return Sample(input=question, target=str(record["target"]), id=str(record["id"]))


@task
def choices() -> Task:
    """Return the task: the answer must begin with the right letter."""
    data = json_dataset(str(DATA), asked, name=DATA.stem)
    return Task(dataset=data, solver=generate(), scorer=match(location="begin"), version=1)
