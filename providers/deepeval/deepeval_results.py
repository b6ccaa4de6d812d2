"""What a benchmark comes to: metrics, samples, and what is recorded of the run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import metadata, resources
from statistics import fmean
from typing import TYPE_CHECKING, Any

import deepeval_answers
from deepeval_benchmarks import Benchmark
from deepeval_cases import Case
from deepeval_parameters import Parameters

from evalhub_components.adapter import EvaluationResult, JobSpec
from evalhub_components.schema.results import Sample

if TYPE_CHECKING:
    from deepeval_judging import Judged


def metrics(benchmark: Benchmark, judged: Sequence[Judged]) -> list[EvaluationResult]:
    """Return the metrics over the test cases that have a score; deepeval gives no standard errors."""
    readings = [each.reading for each in judged if each.reading]
    found = {benchmark.metric: fmean(reading.score for reading in readings)}
    for name, how in benchmark.counts.items():
        values = [reading.counts[name] for reading in readings]
        found[name] = sum(values) if how == "sum" else fmean(values)
    return [EvaluationResult(name, value, num_samples=len(readings)) for name, value in found.items()]


def samples(judged: Sequence[Judged]) -> list[Sample]:
    """Return the test cases' scores, by id."""
    found = []
    for each in judged:
        assert each.reading is not None
        digest = hashlib.sha256((each.case.output or "").encode("utf-8", "surrogatepass")).hexdigest()
        details = {"output_sha256": digest, **each.reading.counts, **({"reason": each.reason} if each.reason else {})}
        found.append(Sample(id=each.case.id, score=float(each.reading.score), details=details))
    return sorted(found, key=lambda sample: sample.id)


def facts(config: JobSpec, benchmark: Benchmark, parameters: Parameters, cases: Sequence[Case]) -> dict[str, Any]:
    """Return what environment.json says of a run."""
    own = parameters.prompt or benchmark.prompt
    prompts = {own or (deepeval_answers.IN_CONTEXT if case.context else deepeval_answers.PLAIN) for case in cases}
    recorded = sum(case.recorded for case in cases)
    found: dict[str, Any] = {
        "framework": {"name": "deepeval", "version": metadata.version("deepeval")},
        "seed": config.seed,
        "settings": parameters.as_json(),
        "prompts": sorted(prompts) if recorded < len(cases) else [],
        "recorded_outputs": recorded,
        "generated_outputs": len(cases) - recorded,
    }
    if benchmark.judge and config.judge:
        templates = resources.files("deepeval").joinpath("templates", "metrics", "templates.json").read_bytes()
        found["judge"] = {"name": config.judge.endpoint.name, "temperature": 0}
        found["judge_prompts"] = f"sha256:{hashlib.sha256(templates).hexdigest()}"
    return found
