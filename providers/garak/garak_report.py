"""From garak's report to metrics and samples."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from garak_plan import Plan

from evalhub_components.adapter import EvaluationResult
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.results import Sample

METRIC = "attack_success_rate"
_EVALUATED = 2  # garak writes every attempt twice: 1 when it is answered, 2 when it is judged


@dataclass(frozen=True)
class Report:
    """The entries of `garak.report.jsonl`."""

    entries: Sequence[Mapping[str, Any]]
    threshold: float
    generations: int

    @classmethod
    def read(cls, path: Path, threshold: float, generations: int) -> Report:
        """Return the report in a file.

        Raises:
            EvalHubError: there is none, or garak did not come to its end.
        """
        if not path.is_file():
            raise EvalHubError("garak made no report")
        entries = []
        for line in path.read_text(encoding="utf-8").split("\n"):
            try:
                entries.append(json.loads(line))
            except ValueError:
                break  # whatever ends in the middle of a line has no digest either
        if not {"completion", "digest"} <= {entry["entry_type"] for entry in entries}:
            raise EvalHubError("garak ended before its report was complete")
        return cls(entries, threshold, generations)

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        """Return the entries of one kind."""
        return [entry for entry in self.entries if entry["entry_type"] == kind]

    @cached_property
    def attempts(self) -> list[Mapping[str, Any]]:
        """The judged attempts, in an order that does not depend on which was answered first."""
        judged = [entry for entry in self.of("attempt") if entry["status"] == _EVALUATED]
        return sorted(judged, key=lambda a: (a["probe_classname"], prompt_hash(a), json.dumps(a["outputs"])))

    @cached_property
    def samples(self) -> list[Sample]:
        """A sample for every verdict of a detector on an answer: 1 when the attack succeeded."""
        found = []
        asked: Counter[str] = Counter()
        for attempt in self.attempts:
            digest = prompt_hash(attempt)
            name = f"{attempt['probe_classname']}/{digest[:16]}"
            asked[name] += 1
            if asked[name] > 1:
                name = f"{name}-{asked[name]}"
            for detector, scores in sorted(attempt["detector_results"].items()):
                for number, score in enumerate(scores):
                    if score is None:
                        continue
                    each = f"/{number}" if self.generations > 1 else ""
                    details = {"prompt_sha256": digest, "detector_score": score}
                    success = float(float(score) >= self.threshold)
                    found.append(Sample(id=f"{name}{each}/{detector}", score=success, cluster=name, details=details))
        return found

    @property
    def answers_without_text(self) -> int:
        """How often the model answered and said nothing, as one does that reasons for longer than it may answer."""
        outputs = [output for attempt in self.attempts for output in attempt["outputs"]]
        return sum(output is not None and output.get("text") is None for output in outputs)

    def requested(self, plan: Plan) -> int:
        """Return how many verdicts there should be: of every detector on every answer to every prompt."""
        judged = Counter(attempt["probe_classname"] for attempt in self.attempts)
        total = 0
        for attempt in self.attempts:
            detectors = plan.detectors.get(attempt["probe_classname"]) or attempt["detector_results"]
            total += max(1, len(detectors)) * self.generations
        for probe, planned in plan.planned.items():
            total += max(0, planned - judged[probe]) * max(1, len(plan.detectors.get(probe, []))) * self.generations
        return total

    def metrics(self) -> list[EvaluationResult]:
        """Return the rate of attacks that succeeded: over everything, as the mean of the probes, and for each probe."""
        by_probe: dict[str, list[float]] = defaultdict(list)
        for sample in self.samples:
            by_probe[sample.id.partition("/")[0]].append(sample.score)
        rates = {probe: sum(scores) / len(scores) for probe, scores in sorted(by_probe.items())}
        everything = [sample.score for sample in self.samples]
        return [
            EvaluationResult(METRIC, sum(everything) / len(everything), num_samples=len(everything)),
            EvaluationResult("probe_mean", sum(rates.values()) / len(rates), num_samples=len(rates)),
            *(
                EvaluationResult(f"{METRIC},{probe}", rate, num_samples=len(by_probe[probe]))
                for probe, rate in rates.items()
            ),
        ]

    def check(self, plan: Plan) -> None:
        """Raise when a part of the benchmark has no score, or garak counts otherwise.

        Raises:
            EvalHubError: with the probe and the detector.
        """
        if plan.unloaded and not plan.detectors:
            raise EvalHubError(f"the detectors {', '.join(sorted(plan.unloaded))} cannot be loaded")
        if plan.queue is None or not plan.detectors:
            raise EvalHubError("garak ran no probe")
        if missing := plan.queue - len(plan.detectors):
            raise EvalHubError(f"{missing} of {plan.queue} probes could not be loaded (see garak.log in raw/)")
        counted: Counter[tuple[str, str]] = Counter()
        hits: Counter[tuple[str, str]] = Counter()
        for sample in self.samples:
            parts = sample.id.split("/")
            counted[parts[0], parts[-1]] += 1
            hits[parts[0], parts[-1]] += int(sample.score)
        for probe, detectors in plan.detectors.items():
            if probe in plan.unread:
                continue
            for detector in detectors or [d for p, d in counted if p == probe] or ["any detector"]:
                if not counted[probe, detector]:
                    silent = self.answers_without_text
                    hint = f" ({silent} of all answers have no text: see parameters.max_tokens)" if silent else ""
                    raise EvalHubError(f"{probe}: none of its answers was judged by {detector}{hint}")
        for entry in self.of("eval"):
            key = entry["probe"], entry["detector"]
            ours, theirs = (hits[key], counted[key]), (entry["fails"], entry["total_evaluated"])
            if ours != theirs:
                raise EvalHubError(
                    f"{key[0]}: {key[1]}: garak counts {theirs[0]} of {theirs[1]} attacks as successful, its attempts "
                    f"say {ours[0]} of {ours[1]}"
                )

    def facts(self, plan: Plan) -> dict[str, Any]:
        """Return what `environment.json` keeps of the run."""
        init = self.of("init")[0]
        prompts: dict[str, Any] = defaultdict(hashlib.sha256)
        for attempt in self.attempts:
            prompts[attempt["probe_classname"]].update(prompt_hash(attempt).encode())
        return {
            "framework": {"name": "garak", "version": init["garak_version"]},
            "probes": {probe: plan.detectors[probe] for probe in sorted(plan.detectors)},
            "probe_hashes": {probe: digest.hexdigest() for probe, digest in sorted(prompts.items())},
            "answers_without_text": self.answers_without_text,
            "skipped_probes": sorted(plan.unread),
            "unloaded_detectors": sorted(plan.unloaded),
            "evaluations": [
                {key: entry[key] for key in ("probe", "detector", "passed", "fails", "nones", "total_evaluated")}
                for entry in self.of("eval")
            ],
        }


def prompt_hash(attempt: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what the model was asked."""
    turns = (attempt.get("prompt") or {}).get("turns", [])
    asked = [[turn["role"], (turn.get("content") or {}).get("text")] for turn in turns]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()
