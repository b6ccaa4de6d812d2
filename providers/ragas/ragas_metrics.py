"""The metrics of the installed ragas, ready to score; importing this module imports ragas, which takes seconds."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import math
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai  # type: ignore[import-not-found,import-untyped,unused-ignore]
import ragas.metrics.collections as collections  # type: ignore[import-not-found,import-untyped,unused-ignore]
from pydantic import BaseModel
from ragas.embeddings.base import embedding_factory  # type: ignore[import-not-found,import-untyped,unused-ignore]
from ragas.llms import llm_factory  # type: ignore[import-not-found,import-untyped,unused-ignore]
from ragas.llms.base import InstructorBaseRagasLLM  # type: ignore[import-not-found,import-untyped,unused-ignore]
from ragas_catalogue import METRICS
from ragas_parameters import Parameters

from evalhub_components.errors import EvalHubError

for _name in ("httpx", "httpx2", "absl", "rouge_score"):
    # one line a request, or a row, would be all there is in the log
    logging.getLogger(_name).setLevel(logging.WARNING)

_said: ContextVar[list[dict[str, Any]]] = ContextVar("said")
_LONGEST = 400
_ROUNDED = 1e-9


@dataclass(frozen=True)
class Server:
    """Where a model answers: a relay's address and token, and the model's name."""

    url: str
    token: str
    model: str


@dataclass(frozen=True)
class Score:
    """What a metric says of a row.

    Attributes:
        value: None when it says nothing, and `failure` says why.
        judge: what the judge said, in its order.
    """

    value: float | None
    failure: str = ""
    judge: list[dict[str, Any]] = field(default_factory=list)


class Judge(InstructorBaseRagasLLM):  # type: ignore[misc,unused-ignore]
    """A model of ragas that remembers what it said, for whoever asks why a score is what it is."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def generate(self, prompt: str, response_model: type[BaseModel]) -> BaseModel:
        """Return an answer of the form `response_model`."""
        return self._remembered(self._model.generate(prompt, response_model))

    async def agenerate(self, prompt: str, response_model: type[BaseModel]) -> BaseModel:
        """Return an answer of the form `response_model`."""
        return self._remembered(await self._model.agenerate(prompt, response_model))

    def _remembered(self, answer: BaseModel) -> BaseModel:
        _said.get().append(answer.model_dump(mode="json"))
        return answer


class Metrics:
    """Some metrics of ragas, with the models they ask.

    Args:
        patience: seconds after which a request is given up; the relay has given up before.

    Raises:
        EvalHubError: a metric does not take the options it is given.
    """

    def __init__(
        self,
        benchmark_id: str,
        parameters: Parameters,
        judge: Server | None,
        embeddings: Server | None,
        patience: float,
    ) -> None:
        assert parameters.metrics is not None
        self._made: dict[str, Any] = {}
        self._clients: list[Any] = []
        for name in parameters.metrics:
            known = METRICS[name]
            kind = getattr(collections, known.class_name)
            options = dict(parameters.metric_options.get(name, {}))
            # ragas swallows those that it does not know
            if unknown := sorted(options.keys() - _options(kind)):
                what = f"unknown: {', '.join(unknown)} (known: {', '.join(sorted(_options(kind))) or 'none'})"
                raise EvalHubError(f"{benchmark_id}: parameters.metric_options.{name}: {what}")
            if known.judge:
                assert judge is not None
                options["llm"] = self._judge(judge, parameters, patience)
            if known.embeddings:
                assert embeddings is not None
                options["embeddings"] = self._embeddings(embeddings, patience, waits=not known.judge)
            try:
                self._made[name] = kind(**options)
            except (TypeError, ValueError) as error:
                raise EvalHubError(f"{benchmark_id}: parameters.metric_options.{name}: {error}") from None

    async def score(self, name: str, inputs: Mapping[str, Any]) -> Score:
        """Return what the metric `name` says of a row; nothing that goes wrong is raised."""
        said: list[dict[str, Any]] = []
        _said.set(said)
        metric = self._made[name]
        try:
            if METRICS[name].embeddings and not METRICS[name].judge:
                # it waits for the embeddings where the others go on
                result = await asyncio.to_thread(asyncio.run, metric.ascore(**inputs))
            else:
                result = await metric.ascore(**inputs)
        except Exception as error:  # ragas raises whatever its libraries do
            return Score(None, _reason(error), said)
        value = float(result.value)
        if not math.isfinite(value):
            return Score(None, f"is {value}: the judge found nothing to score", said)
        if _rests_on_nothing(name, said):
            return Score(None, "the judge found nothing to score", said)
        # a cosine may be a rounding error above 1, which is outside of every range
        return Score(1.0 if 1.0 < value < 1.0 + _ROUNDED else value, "", said)

    def hashes(self) -> dict[str, str]:
        """Return the digest of each metric's source, prompts included."""
        return {name: _source(type(metric)) for name, metric in self._made.items()}

    async def close(self) -> None:
        """Close the connections, in the loop that opened them."""
        for client in self._clients:
            if isinstance(client, openai.AsyncOpenAI):
                await client.close()
            else:
                client.close()

    def _judge(self, server: Server, parameters: Parameters, patience: float) -> Judge:
        more: dict[str, Any] = {"max_retries": parameters.reasks}
        if parameters.judge_max_tokens is not None:
            more["max_tokens"] = parameters.judge_max_tokens
        if parameters.judge_body:
            more["extra_body"] = parameters.judge_body
        client = self._client(openai.AsyncOpenAI, server, patience)
        return Judge(llm_factory(server.model, client=client, **more))

    def _embeddings(self, server: Server, patience: float, *, waits: bool) -> Any:
        client = self._client(openai.OpenAI if waits else openai.AsyncOpenAI, server, patience)
        return embedding_factory("openai", model=server.model, client=client, interface="modern")

    def _client(self, kind: Any, server: Server, patience: float) -> Any:
        # the relay tries again; whoever tries behind it only multiplies
        client = kind(base_url=server.url, api_key=server.token, max_retries=0, timeout=patience)
        self._clients.append(client)
        return client


def _options(kind: type) -> set[str]:
    """Return what the constructor of a metric takes beside its models."""
    named = inspect.signature(kind).parameters.values()
    return {one.name for one in named if one.kind is not one.VAR_KEYWORD} - {"llm", "embeddings", "name"}


def _rests_on_nothing(name: str, said: list[dict[str, Any]]) -> bool:
    """Return whether ragas made a number of an empty judgement, where others of its metrics would say NaN."""
    match name:
        case "answer_relevancy":
            return not any(answer["question"] for answer in said)
        case "context_entity_recall":
            return not said[0]["entities"]  # those of the reference
        case "factual_correctness":
            return not any(answer.get("claims") for answer in said)
        case _:
            return False


def _reason(error: BaseException) -> str:
    """Return why a metric has no value, in one line."""
    last: BaseException | None = error
    while last is not None:
        if isinstance(last, openai.APIStatusError):
            body = last.body if isinstance(last.body, dict) else {}
            return str(body.get("message") or last)[:_LONGEST]
        last = last.__cause__ or last.__context__
    text = " ".join(str(error).split())
    if type(error).__module__.startswith(("instructor", "pydantic")):
        return f"the judge's answer is not of the form that was asked for: {text}"[:_LONGEST]
    return f"{type(error).__name__}: {text}"[:_LONGEST]


def _source(kind: type) -> str:
    """Return the digest of the module of a metric, or of its package where it has one of its own."""
    file = Path(inspect.getfile(kind))
    files = sorted(file.parent.glob("*.py")) if file.name == "metric.py" else [file]
    digest = hashlib.sha256()
    for one in files:
        digest.update(one.read_bytes())
    return f"sha256:{digest.hexdigest()}"
