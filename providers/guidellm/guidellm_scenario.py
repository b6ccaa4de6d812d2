"""The scenario file of a run: everything guidellm is told but the API key."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guidellm_parameters import Parameters

from evalhub_components.adapter import JobSpec
from evalhub_components.errors import EvalHubError

BUNDLED = Path(__file__).resolve().parent / "data" / "prompts.jsonl"


@dataclass(frozen=True)
class Scenario:
    """What guidellm is to do.

    Attributes:
        file: the scenario file.
        report: where guidellm writes its report.
        requests: requests of each strategy, None when only time ends it.
        data: the file with the prompts, None when they are made up.
    """

    file: Path
    report: Path
    requests: int | None
    data: Path | None

    @property
    def data_digests(self) -> dict[str, str]:
        """The digest of the prompts, by file name."""
        if self.data is None:
            return {}
        return {self.data.name: f"sha256:{hashlib.sha256(self.data.read_bytes()).hexdigest()}"}


def write(config: JobSpec, parameters: Parameters) -> Scenario:
    """Write the scenario of a job.

    Raises:
        EvalHubError: there is no such file with prompts.
    """
    requests = parameters.num_requests
    if config.num_examples is not None:
        requests = config.num_examples if requests is None else min(requests, config.num_examples)
    data = _data_file(config, parameters)
    if data is not None and requests is not None:
        # guidellm asks no prompt twice
        requests = min(requests, sum(1 for line in data.read_text("utf-8").split("\n") if line.strip()))
    report = config.raw_dir / "benchmarks.json"
    specification = {
        "backend": _backend(config, parameters),
        "profile": _profile(parameters),
        "constraints": _constraints(parameters, requests, config.max_error_rate),
        "data": [_data(parameters, data)],
        "seed": {"kind": "static", "value": config.seed % 2**32},
        "outputs": [{"kind": "json", "path": str(report)}],
    }
    if parameters.tokenizer is not None:
        specification["tokenizer"] = {"kind": "huggingface_auto", "model": parameters.tokenizer}
    if parameters.prompt_column is not None:
        mapping = {"text_column": parameters.prompt_column}
        specification["data_column_mapper"] = {"kind": "generative_column_mapper", "column_mappings": mapping}
    file = config.work_dir / "scenario.json"
    file.write_text(json.dumps({"spec": specification}), "utf-8")
    return Scenario(file, report, requests, data)


def _backend(config: JobSpec, parameters: Parameters) -> dict[str, Any]:
    backend: dict[str, Any] = {
        "kind": "openai_http",
        "target": config.model.url.rstrip("/").removesuffix("/v1"),
        "model": config.model.name,
        "request_format": "/v1/chat/completions" if parameters.request_format == "chat" else "/v1/completions",
        # guidellm's own default trusts any certificate
        "verify": True,
        # it asks for /health, which gateways and hosted models do not have; the probe has asked the model itself
        "validate_backend": False,
        "stream": parameters.stream,
        "timeout": float(parameters.request_timeout),
        "timeout_connect": 30.0,
    }
    if parameters.max_tokens is not None and parameters.output_tokens is None:
        backend["max_tokens"] = parameters.max_tokens
    if parameters.body:
        backend["extras"] = {"body": parameters.body}
    return backend


def _profile(parameters: Parameters) -> dict[str, Any]:
    kind = parameters.profile
    profile: dict[str, Any] = {"kind": kind, "rampup_duration": parameters.rampup}
    if kind == "concurrent":
        profile["streams"] = parameters.levels
    elif kind in ("constant", "poisson"):
        profile |= {"rate": parameters.levels, "max_concurrency": parameters.max_concurrency}
    elif kind == "sweep":
        profile |= {"sweep_size": parameters.sweep_size, "max_concurrency": parameters.max_concurrency}
    elif kind == "throughput":
        profile["max_concurrency"] = parameters.max_concurrency
    return profile


def _constraints(parameters: Parameters, requests: int | None, max_error_rate: float) -> list[dict[str, Any]]:
    constraints: list[dict[str, Any]] = []
    if requests is not None:
        constraints.append({"kind": "max_requests", "count": requests})
        # one more than may fail: the benchmark is lost then, and the rest need not be asked, at this load or the next
        allowed = math.floor(max_error_rate * requests * parameters.num_strategies)
        if allowed < requests:
            constraints.append({"kind": "max_errors", "count": allowed + 1, "stopping_scope": "all"})
    if parameters.max_seconds is not None:
        constraints.append({"kind": "max_duration", "seconds": parameters.max_seconds})
    return constraints


def _data_file(config: JobSpec, parameters: Parameters) -> Path | None:
    if parameters.prompt_tokens is not None:
        return None
    if parameters.data is None:
        return BUNDLED
    path = Path(parameters.data)
    if not path.is_absolute():
        if config.test_data is None:
            raise EvalHubError(
                f"{config.benchmark_id}: parameters.data: {parameters.data} is relative, and there is no data that it "
                "could be in (name an absolute path, or give the entry a test_data_ref)"
            )
        path = config.test_data / path
    if not path.is_file():
        raise EvalHubError(f"{config.benchmark_id}: parameters.data: {path}: there is no such file")
    return path


def _data(parameters: Parameters, file: Path | None) -> dict[str, Any]:
    if file is not None:
        return {"kind": "json_file", "path": str(file)}
    return {
        "kind": "synthetic_text",
        "prompt_tokens": parameters.prompt_tokens,
        "output_tokens": parameters.output_tokens,
    }
