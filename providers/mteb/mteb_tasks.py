"""Finds the task of a benchmark: one of MTEB's, or one made of a folder of JSON lines files."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mteb  # type: ignore[import-not-found,import-untyped,unused-ignore]
import mteb_rows
from datasets import Dataset, DatasetDict  # type: ignore[import-not-found,import-untyped,unused-ignore]
from mteb.abstasks import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    AbsTaskClassification,
    AbsTaskClustering,
    AbsTaskMultilabelClassification,
    AbsTaskPairClassification,
    AbsTaskRetrieval,
    AbsTaskSTS,
)
from mteb.abstasks.abstask import AbsTask  # type: ignore[import-not-found,import-untyped,unused-ignore]
from mteb.abstasks.task_metadata import TaskMetadata  # type: ignore[import-not-found,import-untyped,unused-ignore]
from mteb_parameters import OwnData, Parameters, TaskType

from evalhub_components.errors import EvalHubError

KINDS = (AbsTaskSTS, AbsTaskPairClassification, AbsTaskClassification, AbsTaskClustering, AbsTaskRetrieval)

_NAMED = {
    "sts": ("STS", AbsTaskSTS, "cosine_spearman"),
    "pair_classification": ("PairClassification", AbsTaskPairClassification, "cosine_ap"),
    "classification": ("Classification", AbsTaskClassification, "accuracy"),
    "clustering": ("Clustering", AbsTaskClustering, "v_measure"),
    "retrieval": ("Retrieval", AbsTaskRetrieval, "ndcg_at_10"),
    "reranking": ("Reranking", AbsTaskRetrieval, "map_at_10"),
}


def load(name: str, chosen: Parameters, own: OwnData | None, seed: int) -> AbsTask:
    """Return the task with its data.

    Raises:
        EvalHubError: there is no such task, it is of a kind that is not run here, or its data cannot be had.
    """
    task = found(name, chosen, own, seed)
    try:
        task.load_data()
    except EvalHubError:
        raise
    except Exception as error:  # whatever the hub and a task's own code raise
        raise EvalHubError(f"{name}: its data cannot be loaded: {type(error).__name__}: {error}") from error
    return task


def found(name: str, chosen: Parameters, own: OwnData | None, seed: int) -> AbsTask:
    """Return the task without its data.

    Raises:
        EvalHubError: there is no such task, or it is of a kind that is not run here.
    """
    return _own(name, own, seed) if own else _of_mteb(name, chosen, seed)


def _of_mteb(name: str, chosen: Parameters, seed: int) -> AbsTask:
    wanted = chosen.task or name
    try:
        known = type(mteb.get_task(wanted))
    except KeyError as error:
        near = re.search(r"Did you mean: '([^']+)'", str(error))
        hint = f"did you mean {near[1]}?" if near else "set parameters.task, or task_type and data"
        raise EvalHubError(f"{name}: MTEB has no task {wanted} ({hint})") from None
    task = known(seed=seed)
    metadata = task.metadata
    if metadata.modalities != ["text"]:
        raise EvalHubError(f"{name}: it is about {', '.join(metadata.modalities)}, and an endpoint takes text alone")
    plain = isinstance(task, KINDS) and not isinstance(task, AbsTaskMultilabelClassification)
    if not plain or getattr(task, "is_cross_validation", False):
        kinds = ", ".join(kind for kind, _, _ in _NAMED.values())
        raise EvalHubError(f"{name}: tasks of the kind {known.__mro__[1].__name__} are not run here ({kinds} are)")
    _check(name, "splits", chosen.splits, metadata.eval_splits)
    _check(name, "subsets", chosen.subsets, metadata.hf_subsets)
    task.filter_eval_splits(chosen.splits)
    try:
        return task.filter_languages(chosen.languages, hf_subsets=chosen.subsets)
    except ValueError as error:
        raise EvalHubError(f"{name}: parameters.languages: {error}") from None


def _check(name: str, key: str, wanted: list[str] | None, known: list[str]) -> None:
    if unknown := sorted(set(wanted or ()) - set(known)):
        raise EvalHubError(f"{name}: parameters.{key}: it has no {', '.join(unknown)} (it has: {', '.join(known)})")


def digests(own: OwnData) -> dict[str, str]:
    """Return the digest of each data file by name."""
    files = sorted(own.folder.glob("*.jsonl"))
    return {file.name: f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files}


def _own(name: str, own: OwnData, seed: int) -> AbsTask:
    kind, base, main_score = _NAMED[own.task_type]
    of_all = hashlib.sha256(json.dumps(digests(own)).encode()).hexdigest()
    metadata = TaskMetadata(
        name=name,
        description=f"A task of the kind {kind} with local data.",
        dataset={"path": name, "revision": of_all},
        type=kind,
        category="t2c" if own.task_type in ("classification", "clustering") else "t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=main_score,
    )

    def load_data(self: AbsTask, **_: Any) -> None:
        self.dataset = _LOADERS[own.task_type](own.folder)
        self.data_loaded = True

    body = {"metadata": metadata, "load_data": load_data, **_SETTINGS.get(own.task_type, {})}
    return type("OwnTask", (base,), body)(seed=seed)


# all texts are embedded, and each of the ten experiments draws enough of them to meet nearly all of a small set
_SETTINGS: dict[TaskType, dict[str, Any]] = {
    "clustering": {"max_fraction_of_documents_to_embed": None, "max_documents_per_cluster": 128},
}


def _sts(folder: Path) -> Any:
    return DatasetDict(test=Dataset.from_list(mteb_rows.read(folder, "test", "pairs")))


def _pair_classification(folder: Path) -> Any:
    rows = mteb_rows.read(folder, "test", "labelled pairs")
    return DatasetDict(test=Dataset.from_list(rows).rename_column("label", "labels"))


def _classification(folder: Path) -> Any:
    parts = {split: mteb_rows.read(folder, split, split) for split in ("train", "test")}
    labels = sorted({str(row["label"]) for rows in parts.values() for row in rows})
    numbered = {
        split: [
            {"text": row["text"], "label": labels.index(str(row["label"])), "label_text": str(row["label"])}
            for row in rows
        ]
        for split, rows in parts.items()
    }
    return DatasetDict({split: Dataset.from_list(rows) for split, rows in numbered.items()})


def _clustering(folder: Path) -> Any:
    rows = mteb_rows.read(folder, "test", "test")
    return DatasetDict(
        test=Dataset.from_list([{"sentences": row["text"], "labels": str(row["label"])} for row in rows])
    )


def _search(folder: Path, candidates: bool) -> Any:
    relevant: dict[str, dict[str, int]] = defaultdict(dict)
    for row in mteb_rows.read(folder, "relevance", "relevance"):
        relevant[row["query"]][row["document"]] = row["score"]
    data = {
        "corpus": Dataset.from_list(mteb_rows.read(folder, "documents", "documents")),
        "queries": Dataset.from_list(mteb_rows.read(folder, "queries", "queries")),
        "relevant_docs": dict(relevant),
        "top_ranked": {query: list(documents) for query, documents in relevant.items()} if candidates else None,
    }
    known = {"query": set(data["queries"]["id"]), "document": set(data["corpus"]["id"])}
    named = {"query": set(relevant), "document": {document for each in relevant.values() for document in each}}
    for what, names in named.items():
        if strange := sorted(names - known[what]):
            raise EvalHubError(f"{folder / 'relevance.jsonl'}: there is no {what} {', '.join(strange[:5])}")
    return {"default": {"test": data}}


_LOADERS: dict[TaskType, Callable[[Path], Any]] = {
    "sts": _sts,
    "pair_classification": _pair_classification,
    "classification": _classification,
    "clustering": _clustering,
    "retrieval": lambda folder: _search(folder, candidates=False),
    "reranking": lambda folder: _search(folder, candidates=True),
}
