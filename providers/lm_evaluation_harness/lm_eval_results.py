"""From what lm-eval returns to the results of one benchmark, and to the files that are kept of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.metrics import mean
from lm_eval.utils import handle_non_serializable, hash_string, sanitize_list
from lm_eval_tasks import LoadedTasks

from evalhub_components.adapter import EvaluationResult
from evalhub_components.schema.results import Sample

_BY_NAME = ("results", "groups", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples")


def extract(evaluation: Mapping[str, Any], loaded: LoadedTasks) -> dict[str, Any]:
    """Return the part of an evaluation of several benchmarks that is about one of them, with its task hashes."""
    part = dict(evaluation)
    for key in (*_BY_NAME, "samples"):
        if key in part:
            part[key] = {name: value for name, value in part[key].items() if name in loaded.names}
    # as lm-eval's command line computes them
    part["task_hashes"] = {
        name: hash_string("".join(one["doc_hash"] + one["prompt_hash"] + one["target_hash"] for one in logged))
        for name, logged in part["samples"].items()
    }
    return part


def metrics(values: Mapping[str, Any]) -> list[EvaluationResult]:
    """Return a task's metrics: `acc` for lm-eval's `acc,none`, `exact_match,strict-match` for other filters.

    Where no filter is called `none`, the metric of the task's first one gets the bare name too.
    """
    found: dict[str, EvaluationResult] = {}
    for key, value in values.items():
        metric, comma, filter_name = key.partition(",")
        if not comma or metric.endswith("_stderr"):
            continue
        stderr = _number(values.get(f"{metric}_stderr,{filter_name}"))
        names = [metric] if filter_name == "none" else [f"{metric},{filter_name}"]
        if f"{metric},none" not in values and metric not in found:
            names.append(metric)
        for name in names:
            found[name] = EvaluationResult(name, _plain(value), stderr=stderr)
    return list(found.values())


def samples(evaluation: Mapping[str, Any], loaded: LoadedTasks, metric: str) -> list[Sample] | None:
    """Return the metric's value for every example; None when the metric is not the mean of such values."""
    name, _, filter_name = metric.partition(",")
    found: list[Sample] = []
    for task_name, task in loaded.tasks.items():
        logged = evaluation["samples"].get(task_name) or []
        filters = list(dict.fromkeys(sample["filter"] for sample in logged))
        wanted = filter_name or ("none" if "none" in filters else next(iter(filters), ""))
        if task.aggregation().get(name) is not mean:
            return None
        for sample in logged:
            if sample["filter"] != wanted:
                continue
            score = _number(sample.get(name))
            if score is None:
                return None
            number = str(sample["doc_id"])
            hashes = {key: sample[key] for key in ("doc_hash", "prompt_hash", "target_hash")}
            whole = task_name == loaded.name
            found.append(Sample(id=number if whole else f"{task_name}/{number}", score=score, details=hashes))
    return found or None


def write_raw(evaluation: Mapping[str, Any], folder: Path) -> None:
    """Write the files lm-eval's command line would write: the results, and the samples of each task."""
    folder.mkdir(parents=True, exist_ok=True)
    results = {key: value for key, value in evaluation.items() if key != "samples"}
    text = json.dumps(results, indent=2, default=handle_non_serializable, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    for name, logged in evaluation["samples"].items():
        _write_samples(folder / f"samples_{name.replace('/', '_')}.jsonl", logged)


def facts(evaluation: Mapping[str, Any], loaded: LoadedTasks, model_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `environment.json` keeps of the run."""
    config = evaluation["config"]
    return {
        "framework": {"name": "lm-eval", "version": evaluation["lm_eval_version"]},
        "task_versions": evaluation["versions"],
        "task_hashes": evaluation["task_hashes"],
        "n_shot": evaluation["n-shot"],
        "higher_is_better": evaluation["higher_is_better"].get(loaded.name, {}),
        "model": config["model"],
        "model_args": dict(model_args),
        "gen_kwargs": {
            name: settings["generation_kwargs"]
            for name, settings in evaluation["configs"].items()
            if settings.get("generation_kwargs")
        },
        "seeds": {
            "random": config["random_seed"],
            "numpy": config["numpy_seed"],
            "fewshot": config["fewshot_seed"],
            "request": model_args["seed"],
        },
    }


def _write_samples(path: Path, logged: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for sample in logged:
            line = dict(sample) | {
                "arguments": {f"gen_args_{i}": _numbered(arguments) for i, arguments in enumerate(sample["arguments"])},
                "resps": sanitize_list(sample["resps"]),
                "filtered_resps": sanitize_list(sample["filtered_resps"]),
                "target": str(sample["target"]),
            }
            file.write(json.dumps(line, default=handle_non_serializable, ensure_ascii=False) + "\n")


def _numbered(arguments: Iterable[Any]) -> dict[str, Any]:
    return {f"arg_{number}": argument for number, argument in enumerate(arguments)}


def _plain(value: Any) -> Any:
    """Return a metric as a JSON value; whatever is none becomes text, which is not a score."""
    value = value.item() if hasattr(value, "item") else value
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _number(value: Any) -> float | None:
    value = _plain(value)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
