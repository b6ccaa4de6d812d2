"""The examples of a task, which MTEB does not count: pairs, texts or queries, by split and subset of the data."""

from __future__ import annotations

import hashlib
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Set
from typing import Any

from datasets import Dataset  # type: ignore[import-not-found,import-untyped,unused-ignore]
from mteb.abstasks import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    AbsTaskClassification,
    AbsTaskClustering,
    AbsTaskPairClassification,
    AbsTaskRetrieval,
    AbsTaskSTS,
)
from mteb.abstasks.abstask import AbsTask  # type: ignore[import-not-found,import-untyped,unused-ignore]

from evalhub_components.errors import EvalHubError

Group = tuple[str, str]
"""A split and a subset."""


class Examples(ABC):
    """What is left of a task's examples when no more than `limit` of each split and subset are to be evaluated.

    Attributes:
        width: texts that one example has embedded.
        count: examples of all splits and subsets.
    """

    width = 1

    def __init__(self, task: AbsTask, limit: int | None) -> None:
        self.task = task
        self._draw = random.Random(task.seed)
        subsets = task.hf_subsets or list(task.dataset)
        self.groups: list[Group] = [(split, subset) for split in task.eval_splits for subset in subsets]
        self._prepare()
        for group in self.groups:
            chosen = self._choose(group, limit)
            if chosen is not None:
                self._keep(group, chosen)
        self._state = task.rng_state.getstate()
        self.count = sum(self.size(group) for group in self.groups)

    def drop(self, lost: Set[str]) -> int:
        """Take out the examples with a text or query in `lost`, make the task ready again and return how many."""
        before = self.count
        for group in self.groups:
            self._keep(group, [n for n, names in enumerate(self.names(group)) if not names & lost])
        self.count = sum(self.size(group) for group in self.groups)
        self.task.rng_state.setstate(self._state)
        return before - self.count

    def ids(self, group: Group) -> list[str]:
        """Return an id for each example, the same in every run on this data."""
        splits, subsets = ({each[position] for each in self.groups} for position in (0, 1))
        prefix = (f"{group[0]}/" if len(splits) > 1 else "") + (f"{group[1]}/" if len(subsets) > 1 else "")
        return [prefix + name for name in self._ids(group)]

    def check(self) -> None:
        """Look whether there is something to score.

        Raises:
            EvalHubError: there is not.
        """
        empty = [group for group in self.groups if not self.size(group)]
        if empty:
            raise EvalHubError(f"nothing is left of split {empty[0][0]}, subset {empty[0][1]}")

    @property
    def shared(self) -> int:
        """Texts beside the examples that have to be embedded too, at most."""
        return 0

    @abstractmethod
    def size(self, group: Group) -> int:
        """Return the number of examples."""

    @abstractmethod
    def names(self, group: Group) -> Iterator[set[str]]:
        """Yield, for each example, what the encoder calls its texts."""

    @abstractmethod
    def _ids(self, group: Group) -> list[str]: ...

    @abstractmethod
    def _keep(self, group: Group, indices: list[int]) -> None: ...

    def _prepare(self) -> None:  # noqa: B027 (most have nothing to do)
        """Bring the data into the form that all tasks of a kind have."""

    def _choose(self, group: Group, limit: int | None) -> list[int] | None:
        """Return which examples are evaluated, None for all."""
        size = self.size(group)
        return None if limit is None or limit >= size else sorted(self._draw.sample(range(size), limit))


class Rows(Examples):
    """One row of a table an example."""

    @property
    def columns(self) -> list[str]:
        """The columns with texts."""
        return [self.task.input_column_name]

    @property
    def label(self) -> str:
        """The column with labels."""
        return str(self.task.label_column_name)

    def table(self, group: Group, split: str | None = None) -> Any:
        """Return the rows."""
        return self._holder(group)[split or group[0]]

    def size(self, group: Group) -> int:
        """Return the number of rows."""
        return len(self.table(group))

    def names(self, group: Group) -> Iterator[set[str]]:
        """Yield the texts of each row."""
        table = self.table(group)
        return (set(texts) for texts in zip(*(table[column] for column in self.columns), strict=True))

    def _ids(self, group: Group) -> list[str]:
        """Return digests of the texts; a second row with the same texts gets a number."""
        table = self.table(group)
        times: Counter[str] = Counter()
        found = []
        for texts in zip(*(table[column] for column in self.columns), strict=True):
            digest = hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
            times[digest] += 1
            found.append(f"{digest}-{times[digest]}" if times[digest] > 1 else digest)
        return found

    def _keep(self, group: Group, indices: list[int]) -> None:
        self._holder(group)[group[0]] = self.table(group).select(indices)

    def _holder(self, group: Group) -> Any:
        data = self.task.dataset
        return data.get(group[1], data)


class Pairs(Rows):
    """Two texts and how alike they are."""

    width = 2

    @property
    def columns(self) -> list[str]:
        """The columns with texts."""
        return list(self.task.column_names)

    def check(self) -> None:
        """Look whether there are different scores: without them there is no correlation."""
        super().check()
        for group in self.groups:
            if len(set(self.table(group)["score"])) < 2:
                raise EvalHubError("all pairs have the same score, so there is no correlation (take more examples)")


class LabelledPairs(Rows):
    """Two texts that belong together or do not."""

    width = 2

    @property
    def columns(self) -> list[str]:
        """The columns with texts."""
        return [self.task.input1_column_name, self.task.input2_column_name]

    def check(self) -> None:
        """Look whether there are both kinds of pairs: without them everything is in the right order."""
        super().check()
        for group in self.groups:
            if len(set(self.table(group)[self.label])) < 2:
                raise EvalHubError("all pairs have the same label, so there is no precision (take more examples)")

    def _prepare(self) -> None:
        # the older form has one row with a list in each column
        for group in self.groups:
            table = self.table(group)
            if len(table) == 1 and isinstance(table[0][self.label], list):
                self._holder(group)[group[0]] = Dataset.from_dict(table[0])


class Labelled(Rows):
    """A text and its class; a classifier learns from those of another split."""

    @property
    def shared(self) -> int:
        """Texts to learn from."""
        found = 0
        for group in self.groups:
            train = self.table(group, self.task.train_split)
            drawn = self.task.n_experiments * self.task.samples_per_label * len(set(train[self.label]))
            found += min(len(train), drawn)
        return found


class Clustered(Rows):
    """A text and the cluster it belongs to."""

    def _choose(self, group: Group, limit: int | None) -> list[int] | None:
        """Draw what MTEB would draw, which embeds only some of the texts of large data."""
        size, most, fraction = self.size(group), self.task.max_document_to_embed, None
        if most is None:
            fraction = self.task.max_fraction_of_documents_to_embed
        if most is None and fraction is None and limit is None:
            return None
        allowed = [size, size if limit is None else limit]
        allowed += [] if most is None else [most]
        allowed += [] if fraction is None else [int(fraction * size)]
        chosen: list[int] = self.task.rng_state.sample(range(size), k=min(allowed))
        return chosen

    def __init__(self, task: AbsTask, limit: int | None) -> None:
        super().__init__(task, limit)
        # it is done
        task.max_document_to_embed = task.max_fraction_of_documents_to_embed = None


class Queries(Examples):
    """A query, for which documents are to be found or put in order.

    Attributes:
        scores: of each query, by the names that MTEB's own judge has for metrics.
    """

    def __init__(self, task: AbsTask, limit: int | None) -> None:
        super().__init__(task, limit)
        self.scores: dict[Group, dict[str, dict[str, float]]] = {}
        own: Callable[..., dict[str, float]] = task.task_specific_scores

        def listen(scores: Any, *args: Any, hf_split: str, hf_subset: str) -> dict[str, float]:
            self.scores[hf_split, hf_subset] = scores
            return own(scores, *args, hf_split=hf_split, hf_subset=hf_subset)

        task.task_specific_scores = listen

    @property
    def shared(self) -> int:
        """Documents."""
        return sum(len(self._data(group)["corpus"]) for group in self.groups)

    def size(self, group: Group) -> int:
        """Return the number of queries."""
        return len(self._data(group)["queries"])

    def names(self, group: Group) -> Iterator[set[str]]:
        """Yield the id of each query."""
        return ({name} for name in self._data(group)["queries"]["id"])

    def query_ids(self, group: Group) -> list[str]:
        """Return MTEB's own id of each query."""
        return list(self._data(group)["queries"]["id"])

    def _ids(self, group: Group) -> list[str]:
        return self.query_ids(group)

    def _data(self, group: Group) -> Any:
        return self.task.dataset[group[1]][group[0]]

    def _prepare(self) -> None:
        self.task.convert_v1_dataset_format_to_v2(None)
        for group in self.groups:
            relevant = self._data(group)["relevant_docs"]
            # MTEB leaves out queries for which nothing is right
            self._keep(group, [n for n, name in enumerate(self.query_ids(group)) if relevant.get(name)])

    def _keep(self, group: Group, indices: list[int]) -> None:
        data = self._data(group)
        data["queries"] = data["queries"].select(indices)
        names = set(data["queries"]["id"])
        data["relevant_docs"] = {name: found for name, found in data["relevant_docs"].items() if name in names}
        if data.get("top_ranked"):
            data["top_ranked"] = {name: found for name, found in data["top_ranked"].items() if name in names}
            # no other document is looked at
            wanted = {document for found in data["top_ranked"].values() for document in found}
            kept = [n for n, name in enumerate(data["corpus"]["id"]) if name in wanted]
            data["corpus"] = data["corpus"].select(kept)


_KINDS: tuple[tuple[type, type[Examples]], ...] = (
    (AbsTaskSTS, Pairs),
    (AbsTaskPairClassification, LabelledPairs),
    (AbsTaskClassification, Labelled),
    (AbsTaskClustering, Clustered),
    (AbsTaskRetrieval, Queries),
)


def examples_of(task: AbsTask, limit: int | None) -> Examples:
    """Return the examples of a task whose data is loaded."""
    return next(examples for kind, examples in _KINDS if isinstance(task, kind))(task, limit)
