"""One run of LightEval's pipeline, without the examples whose requests got no answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lighteval_launch
from lighteval.logging.evaluation_tracker import EvaluationTracker
from lighteval.models.endpoints.litellm_model import LiteLLMModelConfig
from lighteval.models.model_input import GenerationParameters
from lighteval.pipeline import ParallelismManager, Pipeline, PipelineParameters
from lighteval_client import EndpointModel
from lighteval_parameters import Parameters
from lighteval_tasks import Tasks

from evalhub_components.errors import EvalHubError

_AT_COMMIT = re.compile(r"hf://datasets/([^/]+/[^/]+@[0-9a-f]{40})/")


class Run(Pipeline):  # type: ignore[misc]
    """A pipeline from the loaded data to the files it leaves.

    Attributes:
        num_requested: examples it set out with.
        num_lost: of these, the ones without an answer.
        why_lost: how often which reason.

    Raises:
        EvalHubError: data cannot be loaded, or the tasks need what an endpoint does not offer.
    """

    def __init__(
        self, tasks: Tasks, parameters: Parameters, model: EndpointModel, folder: Path, limit: int | None
    ) -> None:
        lighteval_launch.allow_hub(tasks.need_hub)
        try:
            super().__init__(
                tasks=tasks.spec,
                pipeline_parameters=PipelineParameters(
                    launcher_type=ParallelismManager.NONE,
                    custom_tasks_directory=tasks.module,
                    load_tasks_multilingual=tasks.multilingual,
                    max_samples=limit,
                    reasoning_tags=parameters.reasoning_tags,
                    bootstrap_iters=parameters.bootstrap_iters,
                ),
                evaluation_tracker=EvaluationTracker(output_dir=str(folder), save_details=True),
                model=model,
            )
        except Exception as error:
            raise EvalHubError(f"the data cannot be loaded: {type(error).__name__}: {error}") from error
        # its answers of earlier runs are looked up by an example's number, which is not unique in a task of two splits
        self.model._cache = None
        methods = {method.name for method in self.sampling_docs}
        if unknown := methods - {"GENERATIVE", "LOGPROBS"}:
            raise EvalHubError(f"needs {', '.join(unknown).lower()} of whole texts, which is not measured over an API")
        self.num_requested = sum(map(len, self.documents_dict.values()))
        self.num_requests = sum(
            len(doc.choices) if method.name == "LOGPROBS" else 1
            for method, docs in self.sampling_docs.items()
            for doc in docs
        )
        self.num_lost = 0
        self.why_lost: Counter[str] = Counter()

    def commits(self) -> dict[str, list[str]]:
        """Return the data sets of each task that came from the hub, with the commits they are at."""
        found = {}
        for name, task in self.tasks_dict.items():
            urls = {url for split in task.dataset.values() for url in split.info.download_checksums or {}}
            found[name] = sorted({match[1] for url in urls if (match := _AT_COMMIT.match(url))})
        return found

    def _run_model(self) -> Mapping[Any, list[Any]]:
        outputs = super()._run_model()
        lost: set[int] = set()
        for method, responses in outputs.items():
            for doc, response in zip(self.sampling_docs[method], responses, strict=True):
                if (reason := self.model.why_lost(response)) is not None:
                    lost.add(id(doc))
                    self.why_lost[reason] += 1
        self.num_lost = len(lost)
        kept = {}
        for method, responses in outputs.items():
            pairs = [p for p in zip(self.sampling_docs[method], responses, strict=True) if id(p[0]) not in lost]
            self.sampling_docs[method] = [doc for doc, _ in pairs]
            kept[method] = [response for _, response in pairs]
        return kept

    def finish(self, check: Callable[[], None]) -> EvaluationTracker:
        """Evaluate, and return what came of it, which is also in files.

        Args:
            check: called when all answers are there, before anything is computed of them.
        """
        compute = self._compute_metrics

        def checked(responses: Any) -> None:
            check()
            compute(responses)

        self._compute_metrics = checked
        self.evaluate()
        self.save_and_push_results()
        return self.evaluation_tracker


def model_config(
    name: str, url: str, token: str, parameters: Parameters, seed: int, temperature: float, work_dir: Path
) -> LiteLLMModelConfig:
    """Return LightEval's settings of the model behind the relay at `url`."""
    longest = parameters.max_retries * (parameters.request_timeout + 60.0) + 60.0  # the relay gives up before that
    return LiteLLMModelConfig(
        model_name=f"openai/{name}",
        provider="openai",
        base_url=url,
        api_key=token,
        concurrent_requests=parameters.num_concurrent,
        max_model_length=parameters.max_model_length,
        api_max_retry=1,
        api_retry_sleep=0.0,
        timeout=longest,
        system_prompt=parameters.system_prompt,
        cache_dir=str(work_dir / "answers"),
        generation_parameters=GenerationParameters(
            seed=seed,
            temperature=temperature,
            top_p=parameters.top_p,
            frequency_penalty=parameters.frequency_penalty,
            max_new_tokens=parameters.max_new_tokens,
            stop_tokens=parameters.stop,
        ),
    )
