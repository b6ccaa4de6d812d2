"""Texts to vectors: requests to `/v1/embeddings`, several at a time, and the texts that got none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from mteb_parameters import Parameters
from numpy.typing import NDArray

from evalhub_components.errors import EvalHubError
from evalhub_components.framework.relay import Relay

Vector = NDArray[np.float32]


class Embeddings:
    """Asks one model for vectors.

    MTEB's own client is not used: it asks one batch after the other, checks a server without its key, and knows no
    text without a vector.

    Args:
        keep: whether vectors are remembered, so that no text is asked for again.

    Attributes:
        done: texts that were asked for, with or without success.
    """

    def __init__(self, relay: Relay, pool: ThreadPoolExecutor, model: str, parameters: Parameters, keep: bool) -> None:
        self._relay = relay
        self._pool = pool
        self._body = {**parameters.body, "model": model, "encoding_format": "float"}
        self._batch_size = parameters.batch_size
        self._known: dict[str, Vector] | None = {} if keep else None
        self._asked = hashlib.sha256()
        self._dimensions = 0
        self.done = 0

    @property
    def facts(self) -> dict[str, Any]:
        """How long the vectors are, and the digest of all texts in the order in which they were asked for."""
        return {"dimensions": self._dimensions, "texts_sha256": self._asked.hexdigest()}

    def try_one(self) -> None:
        """Ask for one vector, so that what would fail every request fails before the framework is loaded.

        Raises:
            EvalHubError: no other request would fare better.
        """
        self._relay.check(chats=False)
        self._checked(self._ask(["What is 2 + 2?"]))
        if self._relay.ledger.is_hopeless:
            raise EvalHubError(self._relay.ledger.explain())

    def of(self, texts: Sequence[str]) -> dict[str, Vector]:
        """Return the vectors of texts; a text whose request was lost has none.

        Raises:
            EvalHubError: there is no sense in asking on, or the server's answer is none.
        """
        wanted = list(dict.fromkeys(texts))
        known = self._known or {}
        missing = [text for text in wanted if text not in known]
        for text in missing:
            self._asked.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        batches = [missing[start : start + self._batch_size] for start in range(0, len(missing), self._batch_size)]
        asked = [self._pool.submit(self._ask, batch) for batch in batches]
        found = {text: known[text] for text in wanted if text in known}
        try:
            for batch, answer in zip(batches, asked, strict=True):
                found |= self._checked(answer.result())
                self.done += len(batch)
        finally:
            for answer in asked:
                answer.cancel()
        if self._relay.ledger.is_hopeless:
            raise EvalHubError(self._relay.ledger.explain())
        if self._known is not None:
            self._known |= found
        return found

    def _ask(self, texts: list[str]) -> dict[str, Vector]:
        body = json.dumps({**self._body, "input": texts}).encode()
        answer = self._relay.forward("POST", "/embeddings", body)
        if not answer.failure:
            return dict(zip(texts, _vectors(answer.body, len(texts)), strict=True))
        if len(texts) == 1 or self._relay.ledger.is_hopeless:
            return {}
        # one text that is too long for the model takes none of its neighbours with it
        return {text: vector for each in texts for text, vector in self._ask([each]).items()}

    def _checked(self, found: dict[str, Vector]) -> dict[str, Vector]:
        for vector in found.values():
            self._dimensions = self._dimensions or vector.size
            if vector.shape != (self._dimensions,) or not self._dimensions:
                raise EvalHubError(f"an embedding has the shape {vector.shape}, others have ({self._dimensions},)")
            if not np.isfinite(vector).all():
                raise EvalHubError("an embedding holds what is no finite number")
        return found


def _vectors(body: bytes, count: int) -> list[Vector]:
    try:
        data = sorted(json.loads(body)["data"], key=lambda entry: entry["index"])
        vectors = [np.asarray(entry["embedding"], dtype=np.float32) for entry in data]
    except (KeyError, TypeError, ValueError) as error:
        raise EvalHubError(f"the server's answer holds no embeddings: {type(error).__name__}: {error}") from None
    if len(vectors) != count:
        raise EvalHubError(f"the server gave {len(vectors)} embeddings for {count} texts")
    return vectors
