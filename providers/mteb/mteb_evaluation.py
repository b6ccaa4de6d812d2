"""One task of MTEB, evaluated with an encoder."""

from __future__ import annotations

import datetime
import shutil
import time
from pathlib import Path
from typing import Any

import mteb  # type: ignore[import-not-found,import-untyped,unused-ignore]
import mteb_results
from mteb.abstasks import AbsTaskClassification  # type: ignore[import-not-found,import-untyped,unused-ignore]
from mteb.results import TaskResult  # type: ignore[import-not-found,import-untyped,unused-ignore]
from mteb.timing import TimingStack  # type: ignore[import-not-found,import-untyped,unused-ignore]
from mteb_embeddings import Embeddings
from mteb_encoder import EndpointEncoder
from mteb_examples import Examples
from mteb_parameters import Parameters

from evalhub_components.errors import EvalHubError

PREDICTIONS = "predictions"


def run(
    examples: Examples,
    embeddings: Embeddings,
    model: str,
    parameters: Parameters,
    raw: Path,
    max_error_rate: float,
) -> tuple[TaskResult, int]:
    """Evaluate the examples; return MTEB's result, and how many examples it is without.

    An example without an embedding is no wrong answer. MTEB knows nothing of that, so it is evaluated a second time
    without those examples; embeddings are remembered, and none is asked for again.

    Raises:
        EvalHubError: more examples than `max_error_rate` allows are lost, or MTEB passed some over.
    """
    requested = examples.count
    task = examples.task
    train_split = task.train_split if isinstance(task, AbsTaskClassification) else None
    most_lost = max_error_rate * requested * examples.width
    encoder = EndpointEncoder(embeddings, model, parameters, train_split, most_lost)
    result = _evaluate(examples, encoder, parameters.batch_size, raw)
    dropped = examples.drop(encoder.lost) if encoder.lost else 0
    if dropped / requested > max_error_rate:
        raise EvalHubError(
            f"{dropped} of {requested} examples got no embedding, more than max_error_rate {max_error_rate:g} allows"
        )
    if dropped:
        examples.check()
        shutil.rmtree(raw)
        encoder = EndpointEncoder(embeddings, model, parameters, train_split)
        result = _evaluate(examples, encoder, parameters.batch_size, raw)
    mteb_results.check(examples, encoder.seen)
    return result, dropped


def _evaluate(examples: Examples, encoder: EndpointEncoder, batch_size: int, raw: Path) -> TaskResult:
    """Do what `mteb.evaluate` does.

    That function itself imports sentence-transformers, to find out that the model is none of its own: half of the
    time and memory of a short benchmark.
    """
    task = examples.task
    encode_kwargs = {"batch_size": batch_size, "show_progress_bar": False}
    timer = TimingStack()
    started = time.monotonic()
    scores: dict[str, Any] = {}
    for split in task.eval_splits:
        scores[split] = task.evaluate(
            encoder,
            split,
            encode_kwargs=encode_kwargs,
            prediction_folder=raw / PREDICTIONS,
            timer=timer,
        )
    result = TaskResult.from_task_results(
        task,
        scores,
        evaluation_time=time.monotonic() - started,
        date=datetime.datetime.now(tz=datetime.UTC),
        evaluation_phases=timer.phases,
    )
    mteb.ResultCache(raw).save_to_cache(result, encoder.mteb_model_meta, encode_kwargs=encode_kwargs)
    return result
