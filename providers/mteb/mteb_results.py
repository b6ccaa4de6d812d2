"""What MTEB found: metrics over splits and subsets, and the score of each example where it has one."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from statistics import fmean
from typing import Any

from mteb.abstasks.abstask import AbsTask  # type: ignore[import-not-found,import-untyped,unused-ignore]
from mteb.results import TaskResult  # type: ignore[import-not-found,import-untyped,unused-ignore]
from mteb_examples import Examples, Group, Labelled, Queries

from evalhub_components.adapter import EvaluationResult
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.results import Sample

_OF_A_QUERY = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall", "precision": "P", "hit_rate": "success"}
# how well a query's scores tell that its answer is wrong; over few queries they are no numbers
_LEFT_OUT = re.compile(r"^nauc_")


def metrics(result: TaskResult, primary: str) -> list[EvaluationResult]:
    """Return every metric, as the mean over splits and subsets, which is how MTEB comes to its main score.

    Raises:
        EvalHubError: the one that decides is missing or no number.
    """
    groups = [scores for split in result.scores.values() for scores in split]
    found = []
    for name in groups[0]:
        values = [scores.get(name) for scores in groups]
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
            mean = fmean(values)
            if math.isfinite(mean) and not _LEFT_OUT.match(name):
                found.append(EvaluationResult(name, mean))
            elif name == primary:
                raise EvalHubError(f"{primary} is {mean}, which is no score")
    if primary not in [metric.metric_name for metric in found]:
        known = ", ".join(metric.metric_name for metric in found)
        raise EvalHubError(f"MTEB reports no {primary} (it reports: {known})")
    return found


def samples(examples: Examples, predictions: Path, metric: str) -> list[Sample] | None:
    """Return the score of each example, None where MTEB has none: a correlation or clusters are of all together."""
    metric = examples.task.metadata.main_score if metric == "main_score" else metric
    found: list[Sample] = []
    if isinstance(examples, Queries):
        name, _, cut = metric.rpartition("_at_")
        if name not in _OF_A_QUERY:
            return None
        for group in examples.groups:
            scores = examples.scores[group]
            for sample, query in zip(examples.ids(group), examples.query_ids(group), strict=True):
                found.append(Sample(id=sample, score=scores[query][f"{_OF_A_QUERY[name]}_{cut}"]))
    elif isinstance(examples, Labelled) and metric == "accuracy":
        predicted = json.loads(predictions.read_text("utf-8"))
        for group in examples.groups:
            found += _classified(examples, group, predicted[group[1]][group[0]])
    else:
        return None
    return sorted(found, key=lambda sample: sample.id)


def _classified(examples: Labelled, group: Group, runs: list[list[Any]]) -> list[Sample]:
    """Return how often each text was put into the right class, over classifiers that learned from different texts."""
    table = examples.table(group)
    labels = list(table[examples.label])
    said = [str(label) for label in table["label_text" if "label_text" in table.column_names else examples.label]]
    if any(len(run) != len(labels) for run in runs):
        raise EvalHubError(f"MTEB classified {len(runs[0])} of {len(labels)} texts")
    return [
        Sample(id=sample, score=fmean(float(run[n] == labels[n]) for run in runs), details={"label": said[n]})
        for n, sample in enumerate(examples.ids(group))
    ]


def check(examples: Examples, seen: dict[Group, int]) -> None:
    """Compare what MTEB embedded, and found for, with the examples.

    Raises:
        EvalHubError: some were passed over.
    """
    for group in examples.groups:
        size = examples.size(group)
        done = seen[group] / examples.width
        if isinstance(examples, Queries):
            done = min(done, len(examples.scores.get(group, ())))
        if done != size:
            raise EvalHubError(f"MTEB evaluated {done:g} of {size} examples of split {group[0]}, subset {group[1]}")


def facts(task: AbsTask, result: TaskResult) -> dict[str, Any]:
    """Return what `environment.json` says of the task."""
    return {
        "framework": {"name": "mteb", "version": result.mteb_version},
        "task": {
            "name": task.metadata.name,
            "type": task.metadata.type,
            "dataset": dict(task.metadata.dataset),
            "splits": list(task.eval_splits),
            "subsets": list(task.hf_subsets),
            "main_score": task.metadata.main_score,
        },
    }
