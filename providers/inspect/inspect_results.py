"""inspect's log, read: whether it holds a score, of how many examples, and which."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from inspect_ai.log import EvalLog, EvalSample

from evalhub_components.adapter import EvaluationResult
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.results import Sample

HEADLINE = "accuracy/accuracy"
"""What EvalHub calls the figure that a task is known by, whatever its scorer and metric are called."""

_MEANS = ("accuracy", "mean")


class Results:
    """What a log says.

    Raises:
        EvalHubError: the task did not run to its end, or has no score.
    """

    def __init__(self, where: str, log: EvalLog, lost: str) -> None:
        self._where = where
        self._log = log
        self.lost = lost
        if log.status != "success" or log.results is None:
            said = log.error.message if log.error else f"its status is {log.status}"
            raise EvalHubError(f"{where}: inspect did not finish: {lost or ' '.join(said.split())}")
        self.samples: list[EvalSample] = list(log.samples or [])

    @property
    def requested(self) -> int:
        """Examples, each as often as there are epochs."""
        assert self._log.results is not None
        return self._log.results.total_samples

    def failures(self) -> dict[str, str]:
        """Return the examples without a score, by id and epoch, with the reason."""
        found = {}
        for sample in self.samples:
            name = f"{identity(sample)}#{sample.epoch}"
            if sample.error:
                said = " ".join(sample.error.message.split())[:300]
                found[name] = self.lost if self.lost and _has_lost(sample) else said
            elif not sample.scores:
                found[name] = f"it has no score{f': {sample.limit.type} limit' if sample.limit else ''}"
        missing = self.requested - len(self.samples)
        return found | {f"missing {number}": "inspect's log does not have it" for number in range(missing)}

    def swallowed(self) -> list[str]:
        """Return the examples that were scored although a request for them was lost.

        A scorer or an agent may take a lost answer for a wrong one.
        """
        return [identity(sample) for sample in self.samples if sample.scores and not sample.error and _has_lost(sample)]

    def metrics(self, primary: str) -> list[EvaluationResult]:
        """Return all metrics as `<score>/<metric>`, and the headline by EvalHub's name when that is what decides.

        Raises:
            EvalHubError: there is none called `primary`, or it is no number, or one of nothing.
        """
        assert self._log.results is not None
        found: dict[str, EvaluationResult] = {}
        for score in self._log.results.scores:
            values = {name: metric.value for name, metric in score.metrics.items()}
            stderr = values.get("stderr")
            usable = stderr if isinstance(stderr, int | float) and math.isfinite(stderr) else None
            for name, value in values.items():
                if isinstance(value, int | float) and math.isfinite(value) and score.scored_samples != 0:
                    label = f"{score.name}/{name}"
                    # with epochs there may be several ways to make one score of them
                    label = f"{label},{score.reducer}" if label in found else label
                    error = usable if name in _MEANS else None
                    found[label] = EvaluationResult(label, value, stderr=error, num_samples=score.scored_samples)
        headline = self.headline()
        if primary == HEADLINE and HEADLINE not in found and headline in found:
            real = found[headline]
            found[HEADLINE] = EvaluationResult(HEADLINE, real.metric_value, stderr=real.stderr)
        if primary not in found:
            raise EvalHubError(
                f"{self._where}: {primary} was not measured (measured: {', '.join(found) or 'nothing'}; "
                "an entry chooses with primary_score: {metric: ...})"
            )
        return list(found.values())

    def headline(self) -> str:
        """Return the metric that stands for the task: the one inspect says, or the first."""
        results = self._log.results
        assert results is not None
        if results.headline is not None:
            return f"{results.headline.score}/{results.headline.metric}"
        return next((f"{score.name}/{name}" for score in results.scores for name in score.metrics), "")

    def unscored(self, primary: str) -> int:
        """Return the examples that the primary metric leaves out though they ended well."""
        score, _, _ = (self.headline() if primary == HEADLINE else primary).rpartition("/")
        assert self._log.results is not None
        return sum(each.unscored_samples or 0 for each in self._log.results.scores if each.name == score)

    def scores(self, primary: str) -> list[Sample] | None:
        """Return the examples' scores, by id; None where the primary metric is not their mean."""
        score, _, metric = (self.headline() if primary == HEADLINE else primary).rpartition("/")
        reductions = [each for each in self._log.reductions or [] if each.scorer == score]
        if metric not in _MEANS or len(reductions) != 1:
            return None
        names = {sample.id: sample for sample in self.samples}
        found: list[Sample] = []
        seen: Counter[str] = Counter()
        for reduced in reductions[0].samples:
            sample = names.get(reduced.sample_id) if reduced.sample_id is not None else None
            if sample is None or not isinstance(reduced.value, int | float) or not math.isfinite(reduced.value):
                return None
            name = identity(sample)
            seen[name] += 1
            details = {"output_sha256": _digest(sample.output.completion)}
            if sample.scores and score in sample.scores and sample.scores[score].answer is not None:
                details["answer"] = str(sample.scores[score].answer)[:200]
            name = f"{name}-{seen[name]}" if seen[name] > 1 else name
            found.append(Sample(id=name, score=float(reduced.value), details=details))
        return sorted(found, key=lambda one: one.id)

    def facts(self) -> dict[str, Any]:
        """Return what environment.json says of the task."""
        spec, plan = self._log.eval, self._log.plan
        asked = sorted({identity(sample): _digest(_asked(sample)) for sample in self.samples}.items())
        steps = [step.model_dump(mode="json") for step in plan.steps]
        config = plan.config.model_dump(mode="json", exclude_none=True)
        return {
            "framework": {"name": "inspect_ai", "version": spec.packages.get("inspect_ai")},
            "task_version": spec.task_version,
            "solver": {
                "steps": [step.solver for step in plan.steps],
                "digest": _digest(json.dumps(steps, sort_keys=True)),
            },
            "generation": config,
            "dataset": {"name": spec.dataset.name, "examples": len(asked), "digest": _digest(json.dumps(asked))},
            "headline": self.headline(),
        }


def identity(sample: EvalSample) -> str:
    """Return what an example is called in every run of the same data: a number says only where it stood."""
    return str(sample.id) if isinstance(sample.id, str) else _digest(_asked(sample))[:16]


def _has_lost(sample: EvalSample) -> bool:
    return any(event.event == "model" and event.error for event in sample.events)


def _asked(sample: EvalSample) -> str:
    return json.dumps(list(_texts(sample)))


def _texts(sample: EvalSample) -> Iterator[str]:
    if isinstance(sample.input, str):
        yield sample.input
    else:
        yield from (message.text for message in sample.input)
    yield from map(str, sample.choices or [])
    yield from [sample.target] if isinstance(sample.target, str) else sample.target


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
