"""Tasks with the data beside them: the smallest examples of one that generates and one that compares.

A file like this is what `parameters.custom_tasks` names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lighteval.metrics.metrics import Metrics
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc

DATA = Path(__file__).resolve().parent / "data"


def _ask(line: dict[str, Any], task_name: str) -> Doc:
    return Doc(task_name=task_name, query=f"{line['question']}\nAnswer:", choices=[line["answer"]], gold_index=0)


def _choose(line: dict[str, Any], task_name: str) -> Doc:
    choices = [f" {choice}" for choice in line["choices"]]
    query = f"Question: {line['question']}\nAnswer:"
    return Doc(task_name=task_name, query=query, choices=choices, gold_index=line["gold"])


TASKS_TABLE = [
    LightevalTaskConfig(
        name="quickstart_arithmetic",
        prompt_function=_ask,
        hf_repo=str(DATA / "quickstart_arithmetic"),
        hf_subset="default",
        hf_avail_splits=["test"],
        evaluation_splits=["test"],
        few_shots_select="sequential",
        # room for a model that reasons before it answers
        generation_size=512,
        # the last number of an answer, and the whole answer
        metrics=[Metrics.expr_gold_metric, Metrics.exact_match],
    ),
    LightevalTaskConfig(
        name="quickstart_comparison",
        prompt_function=_choose,
        hf_repo=str(DATA / "quickstart_comparison"),
        hf_subset="default",
        hf_avail_splits=["test"],
        evaluation_splits=["test"],
        few_shots_select="sequential",
        metrics=[Metrics.loglikelihood_acc],
    ),
]
