"""What LightEval found: metrics, a score for each example, and what is recorded of the run."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from lighteval.logging.evaluation_tracker import EvaluationTracker
from lighteval_names import short_names
from lighteval_tasks import Tasks

from evalhub_components.adapter import EvaluationResult
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.results import Sample


class Report:
    """The results of a run that has ended.

    Args:
        commits: of the data sets of each task.

    Raises:
        EvalHubError: it left no file, or a task without a score.
    """

    def __init__(self, tracker: EvaluationTracker, tasks: Tasks, commits: Mapping[str, Sequence[str]]) -> None:
        self._tasks = tasks
        self._commits = commits
        self._details = tracker.details_logger.details
        self._hashes = tracker.details_logger.compiled_details
        self._scores: Mapping[str, Mapping[str, float]] = tracker.metrics_logger.metric_aggregated
        if not list(Path(tracker.output_dir).glob("results/**/results_*.json")):
            raise EvalHubError("LightEval left no results")
        silent = [task for group in tasks.groups for task in group if not self._scores.get(task)]
        if silent:
            raise EvalHubError(f"no example of {', '.join(silent[:3])} got an answer")
        own = {name for task in tasks.configs for name in self._scores[task] if not name.endswith("_stderr")}
        self._names = short_names(own)

    def metrics(self) -> list[EvaluationResult]:
        """Return every metric that all tasks of the benchmark have; of several tasks, their mean."""
        groups = [[self._scores[task] for task in group] for group in self._tasks.groups]
        common = set.intersection(*(set(scores) for group in groups for scores in group)) & self._names.keys()
        alone = groups[0][0] if len(self._tasks.configs) == 1 else {}
        found = []
        for name in sorted(common):
            value = _mean([_mean([float(scores[name]) for scores in group]) for group in groups])
            error = alone.get(f"{name}_stderr")
            found.append(
                EvaluationResult(
                    metric_name=self._names[name],
                    metric_value=value,
                    stderr=None if error is None else float(error),
                    num_samples=sum(len(self._details[task]) for group in self._tasks.groups for task in group),
                )
            )
        return found

    def samples(self, metric: str) -> list[Sample] | None:
        """Return the score of every example, None where the metric is none of single examples.

        An example is named by its number in the data, behind its task's name where there are several.
        """
        found: dict[str, Sample] = {}
        for task in self._tasks.configs:
            prefix = f"{task.partition('|')[0]}/" if len(self._tasks.configs) > 1 else ""
            rows = []
            for detail in self._details[task]:
                scores = {self._names.get(name, name): value for name, value in detail.metric.items()}
                if metric in scores:
                    rows.append((detail.doc.id, _digest(detail.doc.query), scores[metric]))
            # data of two splits is numbered twice
            seen: Counter[str] = Counter()
            for number, digest, score in sorted(rows, key=lambda row: (row[0], row[1])):
                if not isinstance(score, int | float) and not hasattr(score, "item"):
                    return None
                seen[number] += 1
                name = f"{prefix}{number}" + (f"-{seen[number]}" if seen[number] > 1 else "")
                found[name] = Sample(id=name, score=float(score), details={"query": digest})
        return [found[name] for name in sorted(found, key=_in_order)] or None

    def facts(self) -> dict[str, Any]:
        """Return what `environment.json` keeps of the framework and its tasks."""
        tasks = {}
        for name, config in sorted(self._tasks.configs.items()):
            local = Path(config.hf_repo).is_dir()
            tasks[name] = {
                "version": config.version,
                # where it lies differs between machines, and what it is is in the data's digests
                "data": Path(config.hf_repo).name if local else config.hf_repo,
                "subset": config.hf_subset,
                "revision": config.hf_revision,
                "commits": list(self._commits[name]),
                "splits": list(config.evaluation_splits),
                "num_fewshot": config.num_fewshots,
                "max_new_tokens": config.generation_size,
                "metrics": {self._names[m]: float(v) for m, v in self._scores[name].items() if m in self._names},
                "hashes": dict(self._hashes[name].hashes),
            }
        return {
            "framework": {"name": "lighteval", "version": metadata.version("lighteval")},
            "client": {"name": "litellm", "version": metadata.version("litellm")},
            "tasks": tasks,
        }

    def data_digests(self) -> dict[str, str]:
        """Return the digest of each local data file of the tasks."""
        found = {}
        for folder in {Path(config.hf_repo) for config in self._tasks.configs.values()}:
            for file in sorted(folder.rglob("*")) if folder.is_dir() else ():
                if file.is_file():
                    name = f"{folder.name}/{file.relative_to(folder)}"
                    found[name] = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
        return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _digest(text: str) -> str:
    return hashlib.sha256(json.dumps(text).encode()).hexdigest()[:16]


def _in_order(name: str) -> list[Any]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)]
