"""The model, as LightEval sees it: its own client for endpoints, and log-likelihoods, which that client lacks."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import litellm
import openai
from lighteval.models.endpoints.litellm_model import LiteLLMClient, LiteLLMModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.prompt_manager import PromptManager
from lighteval.tasks.requests import Doc
from lighteval_loglikelihood import Scored, of_continuation

_NO_SAMPLING = re.compile(r"(^|/)o1(-|$)")
_complete = litellm.completion

# answers are kept in the working directory by model and question: those of another endpoint would be scored
litellm.cache = None
litellm.suppress_debug_info = True
litellm.telemetry = False


class EndpointModel(LiteLLMClient):  # type: ignore[misc]
    """A model behind `/v1/chat/completions` and, for log-likelihoods, `/v1/completions`.

    Attributes:
        lost: why a prompt got no answer.
    """

    def __init__(self, config: LiteLLMModelConfig, name: str) -> None:
        super().__init__(config)
        self.lost: dict[str, str] = {}
        self._name = name
        self._plain = PromptManager(use_chat_template=False, system_prompt=config.system_prompt)
        self._server = openai.OpenAI(
            base_url=config.base_url, api_key=config.api_key, max_retries=0, timeout=config.timeout
        )
        # LightEval takes a request that failed for an empty answer, which is a wrong one
        litellm.completion = self._completion

    @property
    def disable_tqdm(self) -> bool:
        """Draw nothing: the log has no use for it."""
        return True

    def why_lost(self, response: ModelResponse) -> str | None:
        """Return why a response holds no answer, None when it does."""
        return None if any(response.text) or response.logprobs else self.lost.get(_key(response.input))

    def greedy_until(self, docs: Sequence[Doc]) -> list[ModelResponse]:
        """Return the model's answers to documents, in their order.

        Of documents that differ in length or end of an answer LightEval's client asks all again for every kind of them,
        and keeps what it got with the first kind's settings: so each kind is asked by itself.
        """
        kinds: dict[str, list[int]] = {}
        for place, doc in enumerate(docs):
            kind = _key([doc.num_samples, doc.use_logits, list(doc.stop_sequences or []), doc.generation_size])
            kinds.setdefault(kind, []).append(place)
        found: dict[int, ModelResponse] = {}
        for places in kinds.values():
            found |= zip(places, super().greedy_until([docs[place] for place in places]), strict=True)
        return [found[place] for place in range(len(docs))]

    def _completion(self, **request: Any) -> Any:
        if request.get("base_url") != self.base_url:
            return _complete(**request)  # a metric asks a judge of its own
        # metrics that do so switch the cache on again
        request["caching"] = False
        if not _NO_SAMPLING.search(self._name):
            # LightEval leaves them out for every model with "o1" somewhere in its name
            request |= self.generation_parameters.to_litellm_dict()
        try:
            return _complete(**request)
        except Exception as error:
            self.lost[_key(request["messages"])] = f"{type(error).__name__}: {error}"
            raise

    def loglikelihood(self, docs: Sequence[Doc]) -> list[ModelResponse]:
        """Return how likely the model finds each choice of each document."""
        with ThreadPoolExecutor(self.concurrent_requests) as pool:
            waiting = []
            for doc in docs:
                prompt = self._plain.prepare_prompt(doc)
                # as in LightEval's own models: a space before the choice belongs to the choice
                context = prompt.rstrip()
                choices = [prompt[len(context) :] + choice for choice in doc.choices]
                waiting.append((context, [pool.submit(self._score, context, choice) for choice in choices]))
        found = []
        for context, scores in waiting:
            try:
                scored = [score.result() for score in scores]
            except (openai.OpenAIError, ValueError) as error:
                self.lost[_key(context)] = f"{type(error).__name__}: {error}"
                scored = []
            found.append(
                ModelResponse(
                    input=context,
                    logprobs=[each.logprob for each in scored],
                    argmax_logits_eq_gold=[each.is_greedy for each in scored],
                    # which tokens is the server's secret; how many is what metrics ask
                    output_tokens=[[0] * each.tokens for each in scored],
                )
            )
        return found

    def _score(self, context: str, continuation: str) -> Scored:
        answer = self._server.completions.create(
            model=self._name, prompt=context + continuation, max_tokens=1, temperature=0, echo=True, logprobs=1
        )
        if not answer.choices:
            raise ValueError("the server's answer has no choices")
        return of_continuation(
            answer.choices[0].to_dict(), answer.usage.completion_tokens if answer.usage else 1, continuation
        )


def _key(prompt: Any) -> str:
    return json.dumps(prompt, sort_keys=True)
