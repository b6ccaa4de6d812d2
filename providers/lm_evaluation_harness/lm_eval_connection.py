"""Makes lm-eval's model for an endpoint, with the tokenizer it needs."""

from __future__ import annotations

from typing import Any

import lm_eval_probe
from lm_eval_endpoint import Endpoint
from lm_eval_ledger import Ledger
from lm_eval_model import ChatCompletions, Completions
from lm_eval_parameters import ModelType, Parameters
from lm_eval_tokenizer import ServerTokenizer

from evalhub_components.errors import EvalHubError


def connect(
    endpoint: Endpoint, parameters: Parameters, model_type: ModelType, needs_tokenizer: bool, seed: int, ledger: Ledger
) -> tuple[Completions | ChatCompletions, dict[str, Any]]:
    """Return a model of lm-eval, and its arguments without secrets.

    Raises:
        EvalHubError: the tokenizer it needs cannot be had, or the server not be asked.
    """
    arguments: dict[str, Any] = {
        "model": endpoint.model,
        "seed": seed,
        "num_concurrent": parameters.num_concurrent,
        "max_retries": parameters.max_retries,
        "timeout": parameters.request_timeout,
        "max_gen_toks": parameters.max_gen_toks,
    }
    model: Completions | ChatCompletions
    if model_type == "local-chat-completions":
        arguments |= {"base_url": f"{endpoint.url}/chat/completions", "think_end_token": parameters.think_end_token}
        model = ChatCompletions(**_for_lm_eval(arguments))
        sends_token_ids = False
    else:
        backend = choose_backend(endpoint, parameters) if needs_tokenizer else None
        sends_token_ids = parameters.tokenized_requests
        arguments |= {
            "base_url": f"{endpoint.url}/completions",
            "batch_size": parameters.batch_size,
            "max_length": parameters.max_length or lm_eval_probe.max_length(endpoint) or 2048,
            "tokenizer_backend": backend,
            "tokenizer": parameters.tokenizer if backend == "huggingface" else None,
            "tokenized_requests": sends_token_ids,
            "add_bos_token": parameters.add_bos_token,
        }
        model = _completions(arguments)
        if backend == "remote":
            model.tokenizer_backend = backend
            model.tokenizer = ServerTokenizer(endpoint, parameters.request_timeout, parameters.add_bos_token)
    model.endpoint, model.ledger = endpoint, ledger
    model.tries, model.concurrency = parameters.max_retries, parameters.num_concurrent
    model.sends_token_ids = sends_token_ids
    return model, arguments


def choose_backend(endpoint: Endpoint, parameters: Parameters) -> str:
    """Return which tokenizer counts the tokens of prompts."""
    backend = parameters.tokenizer_backend
    if backend is None:
        backend = "huggingface" if parameters.tokenizer else "remote"
        if backend == "remote" and not lm_eval_probe.tokenizes(endpoint):
            raise EvalHubError(
                f"log-likelihoods need the model's tokenizer, and {endpoint.server}/tokenize does not offer it "
                "(set parameters.tokenizer to the tokenizer's folder or hub name, or serve the model with vLLM)"
            )
    return backend


def _completions(arguments: dict[str, Any]) -> Completions:
    backend = arguments["tokenizer_backend"]
    try:
        # the server's tokenizer is put in afterwards: lm-eval's own wants more of the server
        return Completions(**_for_lm_eval(arguments | {"tokenizer_backend": None if backend == "remote" else backend}))
    except ImportError as error:
        raise EvalHubError(f"parameters.tokenizer: needs a package this environment lacks: {error}") from error
    except (OSError, KeyError) as error:
        name = arguments["tokenizer"] or arguments["model"]
        raise EvalHubError(f"parameters.tokenizer: {backend} has no tokenizer {name!r}: {error}") from error


def _for_lm_eval(arguments: dict[str, Any]) -> dict[str, Any]:
    # lm-eval takes one request at a time through other code, where single failures cannot be told apart
    return arguments | {"num_concurrent": max(2, arguments["num_concurrent"]), "tokenized_requests": False}
