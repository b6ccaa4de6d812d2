"""Sums and word problems whose answer is one number."""

from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset
from inspect_ai.scorer import match
from inspect_ai.solver import generate

DATA = Path(__file__).resolve().parents[1] / "data" / "arithmetic.jsonl"


@task
def arithmetic() -> Task:
    """Return the task: the answer must end in the number."""
    return Task(
        dataset=json_dataset(str(DATA), name=DATA.stem), solver=generate(), scorer=match(numeric=True), version=1
    )
