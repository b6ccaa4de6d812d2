"""Test cases, scored by one of deepeval's metrics in deepeval's own evaluation run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepeval import evaluate
from deepeval.evaluate.configs import AsyncConfig, CacheConfig, DisplayConfig, ErrorConfig
from deepeval.metrics import BaseMetric
from deepeval.models import LocalModel
from deepeval.test_case import LLMTestCase
from deepeval_cases import Case
from deepeval_metrics import Reading


@dataclass(frozen=True)
class Judged:
    """A test case with its score, or with the reason why it has none.

    Attributes:
        reason: what the judge says of the score, where it was asked.
    """

    case: Case
    reading: Reading | None = None
    failure: str | None = None
    reason: str | None = None


class Judge(LocalModel):  # type: ignore[misc,unused-ignore]
    """A model behind an OpenAI-compatible endpoint, over one client: making one costs more than a request."""

    def __init__(self, name: str, url: str, key: str) -> None:
        self._clients: dict[bool, Any] = {}
        super().__init__(name, key, url, temperature=0, timeout=None)

    def load_model(self, async_mode: bool = False) -> Any:
        """Return the client."""
        if async_mode not in self._clients:
            self._clients[async_mode] = super().load_model(async_mode)
        return self._clients[async_mode]


def judged(
    cases: Sequence[Case],
    metric: BaseMetric,
    read: Callable[[Any, Case], Reading],
    concurrency: int,
    raw_dir: Path,
    done: Callable[[], None],
) -> list[Judged]:
    """Return the test cases in their order with their scores.

    Args:
        cases: with outputs.
        read: says what a judged one comes to.
        raw_dir: gets deepeval's file of the run.
        done: called after each.
    """
    finished: dict[str, Any] = {}
    _watch(metric, finished, done)
    tests = [
        LLMTestCase(
            name=case.id,
            input=case.input,
            actual_output=case.output,
            expected_output=case.expected,
            context=list(case.context) or None,
            retrieval_context=list(case.context) or None,
        )
        for case in cases
    ]
    with warnings.catch_warnings():
        # it says that the score of hallucinations has changed its direction, which is taken care of
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        evaluate(
            tests,
            [metric],
            async_config=AsyncConfig(max_concurrent=concurrency),
            display_config=DisplayConfig(
                show_indicator=False, print_results=False, results_folder=str(raw_dir), inspect_after_run=False
            ),
            cache_config=CacheConfig(write_cache=False),
            error_config=ErrorConfig(ignore_errors=True),
        )
    # what it locks its file with; the file is what is kept
    (raw_dir / ".test_run.lock").unlink(missing_ok=True)
    return [_judged(case, read, finished.get(case.id)) for case in cases]


def _watch(metric: BaseMetric, finished: dict[str, Any], done: Callable[[], None]) -> None:
    """Have copies of the metric, of which deepeval makes one a test case, kept when they have ended.

    deepeval's results hold a score and nothing of the verdicts it is made of.
    """
    original = type(metric)

    async def a_measure(self: Any, test_case: LLMTestCase, *arguments: Any, **keys: Any) -> float:
        finished[str(test_case.name)] = self
        try:
            score: float = await original.a_measure(self, test_case, *arguments, **keys)
            return score
        finally:
            done()

    # deepeval finds a metric's prompts by the name of its class
    metric.__class__ = type(original.__name__, (original,), {"a_measure": a_measure})


def _judged(case: Case, read: Callable[[Any, Case], Reading], metric: Any) -> Judged:
    if metric is None:
        return Judged(case, failure="deepeval did not judge it")
    if metric.error:
        return Judged(case, failure=" ".join(str(metric.error).split()))
    if not isinstance(metric.score, int | float) or not math.isfinite(metric.score):
        return Judged(case, failure=f"deepeval's score is {metric.score}")
    reading = read(metric, case)
    return Judged(case, reading, reading.empty, metric.reason)
