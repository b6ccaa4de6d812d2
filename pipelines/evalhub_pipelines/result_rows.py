"""Results of a run under the keys that EvalHub gives them, so that scripts written for it read ours.

EvalHub prints a benchmark's results under two sets of keys: `evalhub eval results` and its REST API those of
`BenchmarkResult` (`id` is the benchmark's), its adapters those of `JobResults`. Each entry here has both.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evalhub_components.errors import EvalHubError
from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import BenchmarkTest, Verdict
from evalhub_pipelines import run_source
from evalhub_pipelines.run_source import RunSource

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection

_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

Scalar = bool | int | float | str | None


class Metric(NamedTuple):
    """One metric of one benchmark: a row of a table.

    Attributes:
        test: how the primary metric did, as in `Results.benchmarks`; None for other metrics. A benchmark without its
            primary metric has such a row all the same, without a value.
    """

    benchmark: str
    provider: str
    metric: str
    value: Scalar
    benchmark_index: int
    test: Mapping[str, Any] | None


@dataclass(frozen=True)
class Results:
    """What a run came to.

    Attributes:
        benchmarks: one plain dictionary a benchmark, in the order of the plan; see `of`.
        mlflow_experiment_url: None where nothing was tracked on a server.
        notes: what was looked for in vain.
    """

    verdict: Verdict
    benchmarks: list[dict[str, Any]]
    mlflow_experiment_url: str | None
    notes: tuple[str, ...] = ()

    def metrics(self) -> list[Metric]:
        """Return every metric of every benchmark, the primary one first."""
        return [
            Metric(
                entry["benchmark_id"],
                entry["provider_id"],
                result["metric_name"],
                result["metric_value"],
                entry["benchmark_index"],
                None if number else entry["test"],
            )
            for entry in self.benchmarks
            for number, result in enumerate(entry["results"])
        ]


def read(
    run: str | Path,
    connection: Callable[[], Connection],
    *,
    evidence: str | None = None,
    tracking_uri: str | None = None,
    registry_secret: str | None = None,
    ca: Path | None = None,
) -> Results:
    """Return the results of a run.

    Args:
        run: a run directory, a folder of pulled files, an OCI layout, a reference to a registry, or the id of a run of
            Kubeflow Pipelines, whose results are read from its evidence.
        connection: asked only for such an id.
        evidence: `host/repository` of that evidence as seen from here; by default where the run was told to push it.
        tracking_uri: MLflow as seen from here, asked which run of it records evidence, which does not say so itself; by
            default MLFLOW_TRACKING_URI where that is a server, which need not have it.
        registry_secret: name of the secret with `.dockerconfigjson`; by default Docker's own configuration is used.
        ca: file with the certificates that a registry's is checked with.

    Raises:
        Tampered: something in the evidence is not what its digest says.
        EvalHubError: there is no such run, it is not over, or its results cannot be read.
        MissingExtra: libraries that this needs are not installed.
    """
    name = str(run)
    if not name.strip():
        raise EvalHubError("the id of the run is empty (it should be a run directory, evidence, or the id of a run)")
    with ExitStack() as stack:
        if _RUN_ID.fullmatch(name) and not Path(name).exists():
            source = stack.enter_context(_of_kubeflow(connection(), name, evidence, registry_secret, ca))
        else:
            source = stack.enter_context(run_source.opened(name, registry_secret=registry_secret, ca=ca))
        publication = source.publication or Publication()
        notes: list[str] = []
        if source.directory is None:
            publication, notes = _tracked(publication, source.run.record.run_id, tracking_uri)
        return of(source, publication, tuple(notes))


@contextmanager
def _of_kubeflow(
    connection: Connection, run_id: str, evidence: str | None, registry_secret: str | None, ca: Path | None
) -> Iterator[RunSource]:
    """Yield the run in the evidence of a run of Kubeflow Pipelines."""
    from evalhub_pipelines.client.runs import run_record, run_state

    state = run_state.read(connection, run_id)
    with run_record.opened(connection, state, repository=evidence, registry_secret=registry_secret, ca=ca) as (
        record,
        source,
    ):
        if source is None:
            notes = "".join(f"\n  {note}" for note in record.notes)
            raise EvalHubError(f"run {run_id}: its results are in its evidence, which cannot be read{notes}")
        yield source


def _tracked(publication: Publication, run_id: str, uri: str | None) -> tuple[Publication, list[str]]:
    """Return `publication` with the MLflow run that records the run, and what was looked for in vain."""
    own = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    asked = uri or (own if own.startswith(("http://", "https://")) else None)
    if asked is None:
        return publication, []
    from evalhub_components.records.tracking import finding

    try:
        found = finding.find(asked, run_id)
    except EvalHubError as error:
        return publication, [str(error)]
    keys = ("mlflow_tracking_uri", "mlflow_experiment_id", "mlflow_run_id")
    values = (found.uri, found.experiment_id, found.run_id)
    return publication.model_copy(update=dict(zip(keys, values, strict=True))), []


def of(source: RunSource, publication: Publication, notes: tuple[str, ...] = ()) -> Results:
    """Return the results of a run that was read.

    Every entry has all keys. `id` is the benchmark's, as it is in EvalHub; `benchmark_index` tells two of the same id
    apart. Of the results the primary metric comes first, and is there without a value when the benchmark left none.
    `overall_score` and `test.primary_score` are that value in the metric's units, `test.threshold` is in the same units
    however it was given. `test.pass` is false without a score, None for a score that nothing is asked of. Numbers that
    JSON does not have are None.

    Args:
        publication: where the records of the run are.
    """
    url = experiment_url(publication)
    entries = [_entry(source.run, test, publication, url) for test in source.verdict.benchmarks]
    return Results(source.verdict, entries, url, notes)


def experiment_url(publication: Publication) -> str | None:
    """Return the page of the experiment; None where no server has one."""
    from evalhub_components.records.tracking.connection import address

    uri, experiment = publication.mlflow_tracking_uri or "", publication.mlflow_experiment_id
    if experiment is None or not uri.startswith(("http://", "https://")):
        return None
    return f"{address(uri).rstrip('/')}/#/experiments/{experiment}"


def _entry(run: LoadedRun, test: BenchmarkTest, publication: Publication, url: str | None) -> dict[str, Any]:
    outcome = run.outcomes.get(test.benchmark_index)
    reported = outcome.results.metrics if outcome else {}
    metrics: dict[str, Scalar] = {test.metric: None} | {name: _finite(each.value) for name, each in reported.items()}
    digest, reference = publication.evidence_digest, _reference(publication)
    return {
        "id": test.benchmark_id,
        "benchmark_id": test.benchmark_id,
        "provider_id": test.provider_id,
        "benchmark_index": test.benchmark_index,
        "model_name": run.record.model_name,
        "job_id": run.record.job_id,
        "run_id": run.record.run_id,
        "status": test.status,
        "reason": test.reason,
        "results": [{"metric_name": name, "metric_value": value} for name, value in metrics.items()],
        "metrics": metrics,
        "overall_score": test.score,
        "test": {
            "primary_score": test.score,
            "threshold": _threshold(test),
            "pass": False if test.score is None else test.passed,
        },
        "oci_artifact": {"digest": digest, "oci_ref": reference} if digest else None,
        "artifacts": {"oci_digest": digest, "oci_reference": reference} if digest else {},
        "mlflow_run_id": publication.mlflow_run_id,
        "mlflow_experiment_url": url,
    }


def _finite(value: Scalar) -> Scalar:
    """Return a metric's value, None for what stands for a number that JSON does not have: results keep it as text."""
    try:
        return value if math.isfinite(float(value or 0)) else None
    except ValueError:
        return value  # a text
    except OverflowError:
        return None


def _threshold(test: BenchmarkTest) -> float | None:
    """Return a benchmark's own threshold in the metric's units."""
    if test.threshold is None or test.threshold_source != "collection":
        return test.threshold
    worst, best = reversed(test.range) if test.lower_is_better else test.range
    return worst + (best - worst) * test.threshold


def _reference(publication: Publication) -> str | None:
    """Return what other tools take in a registry, and commands of ours in a layout: pinned both."""
    return publication.evidence_reference if publication.evidence_pushed else publication.evidence_address
