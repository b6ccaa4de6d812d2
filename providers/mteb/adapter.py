"""Evaluates an embedding model behind an OpenAI-compatible endpoint with the tasks of MTEB."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mteb_parameters import own_data, parse

from evalhub_components.adapter import FrameworkAdapter, JobCallbacks, JobPhase, JobResults, JobSpec, JobStatusUpdate
from evalhub_components.errors import EvalHubError
from evalhub_components.framework import surroundings
from evalhub_components.framework.ledger import Ledger, usage_of
from evalhub_components.framework.relay import Relay


class MTEBAdapter(FrameworkAdapter):
    """Runs MTEB as a library: benchmarks of one task of the pipeline share one import of it, which is what costs."""

    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        """Run one benchmark.

        Raises:
            EvalHubError: it cannot be run or scored, with the reason.
        """

        def enter(phase: JobPhase, done: int | None = None, total: int | None = None) -> None:
            update = JobStatusUpdate(phase=phase, completed_steps=done, total_steps=total)
            callbacks.report_status(update, benchmark_index=config.benchmark_index)

        enter(JobPhase.INITIALIZING)
        parameters = parse(config.benchmark_id, config.parameters)
        own = own_data(config, parameters)
        from mteb_embeddings import Embeddings

        texts = [0, 0]  # asked for before MTEB began, and in all

        def progress(_: Ledger) -> None:
            if texts[1]:
                done = min(embeddings.done - texts[0], texts[1])
                enter(JobPhase.RUNNING_EVALUATION, done, texts[1])

        relay = Relay.of(
            config, tries=parameters.max_retries, request_timeout=float(parameters.request_timeout), listen=progress
        )
        with relay, ThreadPoolExecutor(parameters.num_concurrent) as pool:
            embeddings = Embeddings(relay, pool, config.model.name, parameters, keep=config.max_error_rate > 0)
            try:
                embeddings.try_one()
                _prepare(config)
                # they import MTEB, which takes seconds
                import mteb_evaluation
                import mteb_results
                import mteb_tasks
                from mteb_examples import examples_of

                enter(JobPhase.LOADING_DATA)
                task = mteb_tasks.load(config.benchmark_id, parameters, own, config.seed)
                examples = examples_of(task, config.num_examples)
                examples.check()
                requested = examples.count
                texts[:] = embeddings.done, examples.width * requested + examples.shared
                enter(JobPhase.RUNNING_EVALUATION, 0, texts[1])
                started = time.monotonic()
                result, lost = mteb_evaluation.run(
                    examples, embeddings, config.model.name, parameters, config.raw_dir, config.max_error_rate
                )
                seconds = time.monotonic() - started
                enter(JobPhase.POST_PROCESSING)
                predictions = config.raw_dir / mteb_evaluation.PREDICTIONS / task.prediction_file_name
                metrics = mteb_results.metrics(result, config.primary_score.metric)
                samples = mteb_results.samples(examples, predictions, config.primary_score.metric)
            except EvalHubError as error:
                said = str(error).removeprefix(f"{config.benchmark_id}: ")
                because = relay.ledger.explain()
                because = f": {because}" if because and because not in said else ""
                raise EvalHubError(f"{config.benchmark_id}: {said}{because}") from error
            results = JobResults(
                id=config.id,
                benchmark_id=config.benchmark_id,
                benchmark_index=config.benchmark_index,
                model_name=config.model.name,
                results=metrics,
                num_examples_evaluated=examples.count,
                num_examples_requested=requested,
                num_errors=lost,
                duration_seconds=seconds,
                samples=samples,
                data_digests=mteb_tasks.digests(own) if own else {},
                usage=usage_of(model=relay.ledger),
                environment={
                    **mteb_results.facts(task, result),
                    "embeddings": embeddings.facts,
                    "settings": parameters.model_dump(mode="json"),
                    "seeds": {"mteb": config.seed},
                    "lost_requests": relay.ledger.explain() or None,
                },
            )
        enter(JobPhase.COMPLETED)
        return results


def _prepare(config: JobSpec) -> None:
    """Set the environment of the libraries, which read it when they are imported."""
    # the hub is asked for a task's data and for nothing else
    own = {"MTEB_CACHE": str(config.work_dir / "mteb")}
    if config.credentials.hf_token:
        own["HF_TOKEN"] = config.credentials.hf_token
    os.environ.update(surroundings.variables(config.work_dir, own=own, hub=True))
    # where several benchmarks are run one after the other the folder of the first may be gone
    Path(os.environ["HF_HOME"]).mkdir(parents=True, exist_ok=True)
