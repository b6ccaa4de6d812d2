"""What evidence says of itself: annotations, tags, and the configs from which a gate reads the verdict."""

from __future__ import annotations

import hashlib
from datetime import UTC
from typing import Any

from evalhub_components.errors import EvalHubError
from evalhub_components.run_directory import LoadedRun, instant
from evalhub_components.schema.exports import OCICoordinates
from evalhub_components.schema.plan import BenchmarkTask
from evalhub_components.schema.verdict import BenchmarkTest, Verdict

_EVALHUB = "io.github.eval-hub."
_CREATED = "org.opencontainers.image.created"


class Description:
    """What the evidence of one run says of itself.

    Attributes:
        created: when the results were complete, as RFC 3339 asks: never the time of publishing.
    """

    def __init__(self, run: LoadedRun, verdict: Verdict) -> None:
        """Describe a judged run.

        Raises:
            EvalHubError: nothing says when it was.
        """
        oci = run.record.exports.oci if run.record.exports else None
        self._coordinates: OCICoordinates | None = oci.coordinates if oci else None
        self._run = run
        self._verdict = verdict
        self.created = _created(run)

    def annotations(self) -> dict[str, str]:
        """Return the annotations of the index and of the run's manifest."""
        run, verdict = self._run, self._verdict
        return {
            **(self._coordinates.annotations if self._coordinates else {}),
            f"{_EVALHUB}job_id": run.record.job_id,
            f"{_EVALHUB}job": run.record.job_id,
            f"{_EVALHUB}run_id": run.record.run_id,
            f"{_EVALHUB}collection_id": verdict.collection_id,
            f"{_EVALHUB}collection_version": verdict.collection_version,
            f"{_EVALHUB}model": run.record.model_name,
            **({f"{_EVALHUB}model_digest": run.record.model_digest} if run.record.model_digest else {}),
            f"{_EVALHUB}verdict": verdict.verdict,
            **({f"{_EVALHUB}limited": "true"} if verdict.limited else {}),
            _CREATED: self.created,
        }

    def benchmark_annotations(self, task: BenchmarkTask) -> dict[str, str]:
        """Return the annotations of a benchmark's manifest, in both of EvalHub's spellings."""
        return {
            **self.annotations(),
            f"{_EVALHUB}benchmark_id": task.benchmark_id,
            f"{_EVALHUB}benchmark": task.benchmark_id,
            f"{_EVALHUB}benchmark_index": str(task.index),
            f"{_EVALHUB}provider_id": task.provider_id,
            f"{_EVALHUB}provider": task.provider_id,
        }

    def tags(self) -> list[str]:
        """Return the tags of the index that say which run it is."""
        custom = self._coordinates.oci_tag if self._coordinates else None
        return [f"run-{self._run.record.run_id}", *([custom] if custom else [])]

    def benchmark_tags(self, task: BenchmarkTask) -> list[str]:
        """Return the tags of a benchmark's manifest: EvalHub's, the same for the same configuration, and the user's."""
        custom = self._coordinates.oci_tag if self._coordinates else None
        key = f"{self._run.record.job_id}:{task.provider_id}:{task.benchmark_id}:{task.index}"
        deterministic = f"evalhub-{hashlib.sha256(key.encode()).hexdigest()}"
        return [deterministic, *([f"{custom}-{task.slug}"] if custom else [])]

    def config(self) -> dict[str, Any]:
        """Return the `evidence.json` of the run's manifest."""
        record, fingerprint = self._run.record, self._run.fingerprint
        return {
            "schema_version": 1,
            "kind": "run",
            "run_id": record.run_id,
            "job_id": record.job_id,
            "model": {"url": record.model_url, "name": record.model_name, "digest": record.model_digest},
            "fingerprint": fingerprint.digest() if fingerprint else None,
            **({"judge": record.judge.asked().as_json()} if record.judge else {}),
            "verdict": self._verdict.model_copy(update={"benchmarks": []}).as_json(),
            "created": self.created,
        }

    def benchmark_config(self, task: BenchmarkTask, test: BenchmarkTest) -> dict[str, Any]:
        """Return the `evidence.json` of a benchmark's manifest."""
        return {
            "schema_version": 1,
            "kind": "benchmark",
            "run_id": self._run.record.run_id,
            "job_id": self._run.record.job_id,
            "task_digest": self._run.plan.header.task_digests[task.index],
            "test": test.as_json(),
        }


def _created(run: LoadedRun) -> str:
    for timestamp in (run.completed_at(), run.record.started_at):
        moment = instant(timestamp) if timestamp else None
        if moment:
            return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    raise EvalHubError(f"{run.path / 'run.json'}: started_at: must be an ISO 8601 time, got {run.record.started_at!r}")
