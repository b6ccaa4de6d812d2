"""The model under test, as MTEB wants one: batches of a data loader in, a matrix out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from mteb.abstasks.task_metadata import TaskMetadata  # type: ignore[import-not-found,import-untyped,unused-ignore]
from mteb.models import ModelMeta  # type: ignore[import-not-found,import-untyped,unused-ignore]
from mteb.models.abs_encoder import AbsEncoder  # type: ignore[import-not-found,import-untyped,unused-ignore]
from mteb.types import PromptType  # type: ignore[import-not-found,import-untyped,unused-ignore]
from mteb_embeddings import Embeddings
from mteb_parameters import Parameters
from numpy.typing import NDArray

from evalhub_components.errors import EvalHubError


class EndpointEncoder(AbsEncoder):  # type: ignore[misc,unused-ignore]
    """An embedding model behind an endpoint.

    A text without a vector gets zeros, and is written down: who reads the scores has to look at `lost` first.

    Args:
        train_split: the split whose texts are there to learn from.
        most_lost: with more lost texts than this there is no sense in going on.

    Attributes:
        lost: what got no vector: ids of queries, else texts.
        seen: how many inputs there were of each split and subset, documents aside.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        model_name: str,
        parameters: Parameters,
        train_split: str | None = None,
        most_lost: float = math.inf,
    ) -> None:
        self._embeddings = embeddings
        self._train_split = train_split
        self._most_lost = most_lost
        self._prompts = parameters.prompts
        self.model_prompts = self.prompts_dict = parameters.prompts or None
        self.instruction_template = parameters.instruction_template
        self.mteb_model_meta = ModelMeta.create_empty(overwrites={"name": model_name, "modalities": ["text"]})
        self.lost: set[str] = set()
        self.seen: Counter[tuple[str, str]] = Counter()

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> NDArray[np.float32]:
        """Return the vectors of all inputs, one a row.

        Raises:
            EvalHubError: the model is no use, or what all examples need got no vector.
        """
        names: list[str] = []
        texts: list[str] = []
        prompt = self._prompt(task_metadata, prompt_type)
        is_corpus = False
        for batch in inputs:
            is_corpus = "id" in batch and prompt_type == PromptType.document
            names += batch.get("id", batch["text"])
            texts += [prompt + text for text in batch["text"]]
        vectors = self._embeddings.of(texts)
        lost = {name for name, text in zip(names, texts, strict=True) if text not in vectors}
        shared = is_corpus or hf_split == self._train_split
        if lost and shared:
            what = "documents" if is_corpus else "texts to learn from"
            raise EvalHubError(f"{len(lost)} of {len(texts)} {what}, which every example needs, got no embedding")
        if not vectors:
            raise EvalHubError(f"none of {len(texts)} texts got an embedding")
        if not shared:
            self.lost |= lost
            if len(self.lost) > self._most_lost:
                raise EvalHubError(f"{len(self.lost)} texts got no embedding, more than max_error_rate allows")
            self.seen[hf_split, hf_subset] += len(texts)
        nothing = np.zeros_like(next(iter(vectors.values())))
        return np.stack([vectors.get(text, nothing) for text in texts])

    def _prompt(self, metadata: TaskMetadata, prompt_type: PromptType | None) -> str:
        """Return what goes before each text, by MTEB's rules for prompts and for models with instructions."""
        if self.instruction_template and prompt_type != PromptType.document:
            return str(self.get_task_instruction(metadata, prompt_type))
        name = self.get_prompt_name(metadata, prompt_type)
        return self._prompts[name] if name else ""
