"""guidellm's report: what was asked and answered, the metrics, and the requests one by one."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from evalhub_components.adapter import EvaluationResult
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.results import Sample

PER_REQUEST = {
    "ttft_ms": "time_to_first_token_ms",
    "itl_ms": "inter_token_latency_ms",
    "tpot_ms": "time_per_output_token_ms",
    "request_latency_seconds": "request_latency",
}
"""Our names, behind `mean_` and the like -> guidellm's: one value a request."""

_RATES = ("requests_per_second", "prompt_tokens_per_second", "output_tokens_per_second", "tokens_per_second")
"""Rates of the whole strategy; only successful requests count."""

_ADVERTISEMENT = re.compile(r"(?:\\n|\s)*For more information check: [^\s'\"]*")
"""What the HTTP client adds to every error."""

_STATISTICS = {"mean": "mean", "median": "median", "p95": "p95", "p99": "p99"}

METRICS = (*_RATES, *(f"{statistic}_{name}" for name in PER_REQUEST for statistic in _STATISTICS))
"""Every metric of successful requests that a report may hold; check_catalogue.py compares them with provider.yaml."""


class Counts(NamedTuple):
    """Requests of all strategies.

    Attributes:
        evaluated: that went into the metrics.
        errored: that failed.
        incomplete: that were cut off before their answer was whole.
        missing: that were never sent although they should have been.
        outside: that were answered before or after the time that was measured.
    """

    evaluated: int
    errored: int
    incomplete: int
    missing: int
    outside: int


class Report:
    """The report of one run."""

    def __init__(self, document: Mapping[str, Any], num_strategies: int, requests: int | None) -> None:
        """Take a report apart.

        Args:
            document: guidellm's JSON report.
            num_strategies: how many there should be.
            requests: how many each should have asked, None when time ended them.
        """
        self._document = document
        self.strategies: list[dict[str, Any]] = list(document["benchmarks"])
        self._requests = requests
        self._expected = num_strategies

    @classmethod
    def read(cls, path: Path, num_strategies: int, requests: int | None) -> Report:
        """Read the report at `path`.

        Raises:
            EvalHubError: there is none, or it is no report.
        """
        try:
            document = json.loads(path.read_text("utf-8"))
            return cls(document, num_strategies, requests)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvalHubError(f"guidellm left no report: {type(error).__name__}: {error}") from None

    @property
    def counts(self) -> Counts:
        """What became of the requests."""
        made = [strategy["scheduler_metrics"]["requests_made"] for strategy in self.strategies]
        evaluated = sum(int(strategy["metrics"]["request_totals"]["successful"]) for strategy in self.strategies)
        total = sum(int(one["total"]) for one in made)
        wanted = total if self._requests is None else self._requests * self._expected
        return Counts(
            evaluated=evaluated,
            errored=sum(int(one["errored"]) for one in made),
            incomplete=sum(int(one["incomplete"]) for one in made),
            missing=max(0, wanted - total),
            outside=sum(int(one["successful"]) for one in made) - evaluated,
        )

    def explain(self) -> str:
        """Return why requests failed, empty when none did."""
        failed = [one for strategy in self.strategies for one in strategy["requests"].get("errored") or []]
        said = (_ADVERTISEMENT.sub("", str(one["info"].get("error") or "no reason given")) for one in failed)
        kinds = Counter(" ".join(text.split()) for text in said)
        return ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common(3))

    def peak(self) -> int:
        """Return the strategy that produced most tokens a second: the one whose metrics stand for the benchmark."""

        def speed(number: int) -> float:
            found = _successful(self.strategies[number], "output_tokens_per_second")
            return float(found["mean"]) if found else 0.0

        # of equals the first, which is the lightest load
        return max(range(len(self.strategies)), key=lambda number: (speed(number), -number))

    def metrics(self, number: int) -> list[EvaluationResult]:
        """Return the metrics of a strategy; what nothing was measured for is left out, not 0."""
        strategy, found = self.strategies[number], []
        for name in _RATES:
            values = _successful(strategy, name)
            # tokens nobody counted are no tokens a second of none
            if values and values["mean"] > 0:
                found.append(EvaluationResult(name, values["mean"]))
        for name, theirs in PER_REQUEST.items():
            values = _successful(strategy, theirs)
            if not values:
                continue
            for statistic, key in _STATISTICS.items():
                value = values[key] if key in values else values["percentiles"][key]
                # of what is measured token by token the values of one answer are not independent
                whole = values["count"] == strategy["metrics"]["request_totals"]["successful"]
                stderr = _stderr(values) if statistic == "mean" and whole else None
                found.append(EvaluationResult(f"{statistic}_{name}", value, stderr=stderr))
        return found

    def samples(self, number: int, metric: str) -> list[Sample] | None:
        """Return the metric of every measured request of a strategy; None for one that a request does not have.

        Of a rate it is the request's own: its tokens, or itself, by its latency. An id is the digest of what was asked,
        numbered where the same was asked several times.
        """
        strategy, asked = self.strategies[number], Counter[str]()
        found = []
        for request in sorted(_measured(strategy), key=lambda one: float(one["request_start_time"])):
            digest = hashlib.sha256(_question(request).encode()).hexdigest()
            asked[digest] += 1
            value = _own_value(request, metric)
            if value is None:
                continue
            again = f"-{asked[digest]}" if asked[digest] > 1 else ""
            details = {
                "prompt_sha256": digest,
                "output_sha256": hashlib.sha256((request.get("output") or "").encode()).hexdigest(),
                **{
                    key: request.get(key)
                    for key in (
                        *("prompt_tokens", "output_tokens", "request_latency"),
                        *("time_to_first_token_ms", "inter_token_latency_ms"),
                    )
                },
            }
            found.append(Sample(id=f"{digest[:16]}{again}", score=value, cluster=digest[:16], details=details))
        return sorted(found, key=lambda sample: sample.id) or None

    def usage(self) -> dict[str, float]:
        """Return the requests made and the tokens of those that were answered."""
        requests = [one for strategy in self.strategies for one in strategy["requests"].get("successful") or []]
        return {
            "requests": sum(int(one["scheduler_metrics"]["requests_made"]["total"]) for one in self.strategies),
            "prompt_tokens": sum(one.get("prompt_tokens") or 0 for one in requests),
            "completion_tokens": sum(one.get("output_tokens") or 0 for one in requests),
        }

    @property
    def seconds(self) -> float:
        """Seconds that the loads took, without what lies between them."""
        return round(sum(float(strategy["duration"]) for strategy in self.strategies), 3)

    def facts(self, peak: int) -> dict[str, Any]:
        """Return what `environment.json` keeps of the run."""
        metadata, spec = self._document["metadata"], self._document["config"]["spec"]
        # where the prompts lie differs between machines, and what they are is in the data's digests
        data = [{**one, "path": Path(one["path"]).name} if "path" in one else one for one in spec["data"]]
        kept = {key: spec[key] for key in ("backend", "profile", "constraints", "metrics", "seed")}
        return {
            "framework": {"name": "guidellm", "version": metadata["guidellm_version"]},
            "settings": {**kept, "data": data},
            "strategies": [
                {
                    "strategy": strategy["config"]["strategy"],
                    "requests_made": strategy["scheduler_metrics"]["requests_made"],
                    "measured": strategy["metrics"]["request_totals"],
                }
                for strategy in self.strategies
            ],
            "measurements": [
                {
                    "seconds": strategy["duration"],
                    "metrics": {one.metric_name: one.metric_value for one in self.metrics(number)},
                    "warnings": [warning["message"] for warning in strategy.get("warnings") or []],
                }
                for number, strategy in enumerate(self.strategies)
            ],
            "scored_strategy": peak,
        }


def _successful(strategy: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return the statistics of a metric over successful requests, None when there were no values."""
    values = (strategy["metrics"].get(name) or {}).get("successful")
    # guidellm says 0 where it had nothing to average, and 0 ms would be the best latency there is
    if not values or not values["count"] or not strategy["metrics"]["request_totals"]["successful"]:
        return None
    return dict(values) if math.isfinite(values["mean"]) else None


def _stderr(values: Mapping[str, Any]) -> float | None:
    """Return the standard error of the mean, from which guidellm makes its confidence interval too."""
    count = int(values["count"])
    return math.sqrt(values["variance"] / (count - 1)) if count > 1 else None


def _measured(strategy: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    begin, end = strategy["start_time"], strategy["end_time"]
    for request in strategy["requests"].get("successful") or []:
        if begin <= request["request_end_time"] <= end:
            yield request


def _question(request: Mapping[str, Any]) -> str:
    """Return the part of the request's body that asks."""
    arguments = request.get("request_args")
    body = json.loads(arguments).get("body") if arguments else None
    asked = (body or {}).get("messages") or (body or {}).get("prompt")
    return json.dumps(asked, sort_keys=True, ensure_ascii=False)


def _own_value(request: Mapping[str, Any], metric: str) -> float | None:
    _, _, name = metric.partition("_")
    if metric in _RATES:
        units = {"requests_per_second": 1, "tokens_per_second": request.get("total_tokens")}.get(
            metric, request.get(metric.removesuffix("_per_second"))
        )
        seconds = request.get("request_latency")
        value = units / seconds if units is not None and seconds else None
    elif name in PER_REQUEST:
        value = request.get(PER_REQUEST[name])
    else:
        value = None
    return float(value) if value is not None and math.isfinite(value) else None
