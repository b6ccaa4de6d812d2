"""Runs benchmarks with EleutherAI's lm-evaluation-harness against an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lm_eval_process
from lm_eval_ledger import Ledger, Tally, follow
from lm_eval_parameters import ModelType, Parameters, parse

from evalhub_components.adapter import FrameworkAdapter, JobCallbacks, JobResults, JobSpec
from evalhub_components.errors import EvalHubError

if TYPE_CHECKING:
    from lm_eval_tasks import LoadedTasks, TaskLibrary

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Benchmark:
    """A benchmark whose tasks are loaded."""

    config: JobSpec
    parameters: Parameters
    loaded: LoadedTasks
    model_type: ModelType
    tally: Tally

    @property
    def settings(self) -> str:
        """What must be equal for benchmarks to share one call of lm-eval."""
        own = {"task", "include_path", "metadata", "repeats", "num_fewshot"}
        config = self.config
        return json.dumps(
            [
                [config.model.url, config.model.name, config.seed, config.num_examples, self.num_fewshot],
                [self.model_type, self.apply_chat_template],
                self.parameters.model_dump(exclude=own | {"model_type", "apply_chat_template"}),
            ],
            sort_keys=True,
            default=str,
        )

    @property
    def num_fewshot(self) -> int | None:
        """Examples in the prompt; None for the task's own number."""
        own = self.parameters.num_fewshot
        return self.config.num_few_shot if own is None else own

    @property
    def apply_chat_template(self) -> bool | str:
        """Whether prompts are conversations."""
        own = self.parameters.apply_chat_template
        return self.model_type == "local-chat-completions" if own is None else own


class LMEvaluationHarnessAdapter(FrameworkAdapter):
    """One start of lm-eval for all benchmarks of a batch; those with equal settings share one queue of requests."""

    def __init__(self) -> None:
        self._library: TaskLibrary | None = None

    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        """Run one benchmark.

        Raises:
            EvalHubError: it cannot be run or scored, with the reason.
        """
        lm_eval_process.prepare(config.work_dir, config.credentials)
        ledger = Ledger(callbacks)
        [(_, outcome)] = self._evaluate([self._load(config, ledger)], ledger)
        if isinstance(outcome, JobResults):
            return outcome
        raise outcome

    def run_batch(self, configs: Sequence[JobSpec], callbacks: JobCallbacks) -> Iterator[JobResults]:
        """Run several benchmarks and yield the results of those that went well, group by group."""
        lm_eval_process.prepare(configs[0].work_dir, configs[0].credentials)
        ledger = Ledger(callbacks)
        benchmarks = []
        for config in configs:
            try:
                benchmarks.append(self._load(config, ledger))
            except Exception:
                logger.exception("benchmark=%s cannot be loaded", config.benchmark_id)
        for group in _groups(benchmarks):
            try:
                outcomes = self._evaluate(group, ledger)
            except Exception:
                logger.exception("benchmarks=%s failed together", ",".join(b.config.benchmark_id for b in group))
                continue
            for benchmark, outcome in outcomes:
                if isinstance(outcome, JobResults):
                    yield outcome
                else:
                    logger.error("benchmark=%s %s", benchmark.config.benchmark_id, outcome)

    def _load(self, config: JobSpec, ledger: Ledger) -> _Benchmark:
        ledger.enter(config.benchmark_index, "initializing")
        parameters = parse(config.benchmark_id, config.parameters)
        from lm_eval_tasks import TaskLibrary  # imports lm-eval, which takes a second

        self._library = self._library or TaskLibrary()
        ledger.enter(config.benchmark_index, "loading_data")
        # tasks that shuffle their documents do so while they are loaded
        _seed(config.seed % 2**32)
        loaded = self._library.load(config.benchmark_id, parameters, config.test_data)
        model_type = parameters.model_type or (
            "local-chat-completions" if loaded.only_generates else "local-completions"
        )
        benchmark = _Benchmark(
            config, parameters, loaded, model_type, Tally(config.benchmark_index, config.max_error_rate)
        )
        if model_type == "local-chat-completions":
            if not loaded.only_generates:
                raise EvalHubError(
                    f"{config.benchmark_id}: parameters.model_type: it compares log-likelihoods, which chat "
                    "completions do not give (use local-completions)"
                )
            if benchmark.apply_chat_template is False:
                raise EvalHubError(
                    f"{config.benchmark_id}: parameters.apply_chat_template: chat completions take conversations only "
                    "(leave it out, or set model_type: local-completions)"
                )
        return benchmark

    @staticmethod
    def _evaluate(group: Sequence[_Benchmark], ledger: Ledger) -> list[tuple[_Benchmark, JobResults | EvalHubError]]:
        """Run benchmarks with equal settings in one call of lm-eval."""
        from lm_eval.evaluator import simple_evaluate
        from lm_eval.tasks import TaskManager
        from lm_eval_connection import connect
        from lm_eval_endpoint import Endpoint

        first = group[0]
        seed = first.config.seed % 2**32  # numpy takes no more
        needs_tokenizer = any(not b.loaded.only_generates or b.apply_chat_template for b in group)
        model, model_args = connect(
            Endpoint.of(first.config), first.parameters, first.model_type, needs_tokenizer, seed, ledger
        )
        for benchmark in group:
            ledger.open(benchmark.tally, benchmark.loaded.tasks)
            for task in benchmark.loaded.tasks.values():
                follow(task, benchmark.tally, ledger, lambda: _seed(seed))
        evaluation = simple_evaluate(
            model=model,
            model_args=model_args,
            tasks=[benchmark.loaded.root for benchmark in group],
            task_manager=TaskManager(include_defaults=False),  # without one lm-eval reads thousands of files
            num_fewshot=first.num_fewshot,
            limit=first.config.num_examples,
            system_instruction=first.parameters.system_instruction,
            apply_chat_template=first.apply_chat_template,
            fewshot_as_multiturn=first.parameters.fewshot_as_multiturn,
            gen_kwargs=first.parameters.gen_kwargs or None,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
            confirm_run_unsafe_code=first.parameters.confirm_run_unsafe_code,
        )
        return [(benchmark, _outcome(benchmark, evaluation, model_args, ledger)) for benchmark in group]


def _outcome(
    benchmark: _Benchmark, evaluation: dict[str, Any], model_args: dict[str, Any], ledger: Ledger
) -> JobResults | EvalHubError:
    import lm_eval_results

    config, loaded, tally = benchmark.config, benchmark.loaded, benchmark.tally
    if tally.lost:
        return EvalHubError(f"{config.benchmark_id}: {tally.explain()}")
    part = lm_eval_results.extract(evaluation, loaded)
    ledger.enter(config.benchmark_index, "persisting_artifacts")
    lm_eval_results.write_raw(part, config.raw_dir)
    results = JobResults(
        id=config.id,
        benchmark_id=config.benchmark_id,
        benchmark_index=config.benchmark_index,
        model_name=config.model.name,
        results=lm_eval_results.metrics(part["results"][loaded.name]),
        num_examples_evaluated=tally.total - len(tally.failed),
        num_examples_requested=tally.total,
        num_errors=len(tally.failed),
        duration_seconds=tally.seconds,
        samples=lm_eval_results.samples(part, loaded, config.primary_score.metric),
        data_digests=loaded.data_digests,
        usage={**tally.usage, "seconds": round(tally.seconds, 3)},
        environment={
            **lm_eval_results.facts(part, loaded, model_args),
            "apply_chat_template": benchmark.apply_chat_template,
            "fewshot_as_multiturn": benchmark.parameters.fewshot_as_multiturn,
        },
    )
    ledger.enter(config.benchmark_index, "completed")
    return results


def _groups(benchmarks: Sequence[_Benchmark]) -> list[list[_Benchmark]]:
    """Return benchmarks that can share one call: equal settings, and no task twice."""
    groups: list[list[_Benchmark]] = []
    for benchmark in benchmarks:
        for group in groups:
            names = {name for member in group for name in member.loaded.names}
            if group[0].settings == benchmark.settings and names.isdisjoint(benchmark.loaded.names):
                group.append(benchmark)
                break
        else:
            groups.append([benchmark])
    return groups


def _seed(seed: int) -> None:
    import numpy

    random.seed(seed)
    numpy.random.seed(seed)
