"""What is said of a run under signature, as in-toto statements that other tools know how to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalhub_components.evidence.store import is_digest
from evalhub_components.run_directory import LoadedRun, instant
from evalhub_components.schema.plan import BenchmarkTask, is_limited
from evalhub_components.schema.verdict import BenchmarkTest, Verdict

TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
PROVENANCE = "https://slsa.dev/provenance/v1"

_NAMESPACE = "https://eval-hub.github.io/evalhub-kfp"
_MAX_FILES = 10_000
_ALL_FILES = "SHA256SUMS"
_RESULTS = {"pass": "PASSED", "inconclusive": "WARNED", "fail": "FAILED", "error": "FAILED"}


@dataclass(frozen=True)
class Facts:
    """What there is to say something about.

    Attributes:
        verdict: of the run.
        index: digest of the evidence's index.
        files: hex SHA-256 of each file in the evidence, by its path in the run directory.
    """

    run: LoadedRun
    verdict: Verdict
    index: str
    files: Mapping[str, str]


def test_result(facts: Facts) -> dict[str, Any]:
    """Return the verdict as an in-toto test-result (in-toto/attestation, spec/predicates/test-result.md).

    A run with fewer examples than the collection asks for warns at best, and so does each benchmark that was cut short.
    A benchmark's test is called `provider/benchmark`, with `#` and its index when the collection has it several times.
    """
    run, verdict = facts.run, facts.verdict
    plan = run.plan.header
    repeated = Counter((test.provider_id, test.benchmark_id) for test in verdict.benchmarks)
    tests: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    for test in verdict.benchmarks:
        name = f"{test.provider_id}/{test.benchmark_id}"
        if repeated[test.provider_id, test.benchmark_id] > 1:
            name += f"#{test.benchmark_index}"
        tests[_list_of(test, run.plan.tasks[test.benchmark_index], run.record.num_examples)].append(name)
    result = _RESULTS[verdict.verdict]
    predicate = {
        "result": "WARNED" if result == "PASSED" and verdict.limited else result,
        "configuration": [
            {
                "name": plan.collection_id,
                "digest": _digest_set(plan.digest()),
                "annotations": {"version": plan.collection_version},
            }
        ],
        **tests,
    }
    model = run.record.model_digest
    tested = [{"name": f"model/{run.record.model_name}", "digest": _digest_set(model)}] if model else []
    return _statement(facts, TEST_RESULT, predicate, tested)


def provenance(facts: Facts) -> dict[str, Any]:
    """Return how the evidence came to be, as SLSA provenance (slsa-framework/slsa, provenance v1).

    The model is no subject here but a dependency: the run did not make it.
    """
    run, record, plan = facts.run, facts.run.record, facts.run.plan.header
    predicate = {
        "buildDefinition": {
            "buildType": f"{_NAMESPACE}/run/v1",
            "externalParameters": {
                "model": {"url": record.model_url, "name": record.model_name},
                "collection": {"id": plan.collection_id, "version": plan.collection_version},
                "num_examples": record.num_examples,
            },
            "internalParameters": {"package_version": record.package_version, "engine": record.engine},
            "resolvedDependencies": [
                {"name": "plan", "digest": _digest_set(plan.digest())},
                _model(run),
                *_images(run),
                *_data(run),
            ],
        },
        "runDetails": {
            # who trusts a run in a cluster need not trust one on somebody's machine
            "builder": {
                "id": f"{_NAMESPACE}/builder/{record.engine}",
                "version": {"evalhub-kfp": record.package_version},
            },
            "metadata": {
                "invocationId": record.run_id,
                **_moment("startedOn", record.started_at),
                **_moment("finishedOn", run.completed_at()),
            },
        },
    }
    return _statement(facts, PROVENANCE, predicate, [])


def _statement(
    facts: Facts, predicate_type: str, predicate: dict[str, Any], further_subjects: list[dict[str, Any]]
) -> dict[str, Any]:
    files = facts.files
    if len(files) > _MAX_FILES:
        # a statement is read whole; the sums name every file
        files = {_ALL_FILES: files[_ALL_FILES]}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": f"run-{facts.run.record.run_id}", "digest": _digest_set(facts.index)},
            *({"name": title, "digest": {"sha256": files[title]}} for title in sorted(files, key=str.encode)),
            *further_subjects,
        ],
        "predicateType": predicate_type,
        "predicate": predicate,
    }


def _list_of(test: BenchmarkTest, task: BenchmarkTask, run_limit: int | None) -> str:
    if test.score is None or test.passed is False:
        return "failedTests"
    # without a threshold there was nothing to pass
    return "warnedTests" if test.passed is None or is_limited(task, run_limit) else "passedTests"


def _model(run: LoadedRun) -> dict[str, Any]:
    record = run.record
    return {
        "name": record.model_name,
        "uri": record.model_url,
        **({"digest": _digest_set(record.model_digest)} if record.model_digest else {}),
        **({"annotations": {"fingerprint": run.fingerprint.digest()}} if run.fingerprint else {}),
    }


def _images(run: LoadedRun) -> list[dict[str, Any]]:
    """Return the providers' images; a run of processes has used none, whatever its plan says of clusters."""
    if run.record.engine == "process":
        return []
    found = []
    for provider_id, runtime in sorted(run.plan.header.runtimes.items()):
        if runtime.image:
            digest = runtime.image.partition("@")[2]
            pinned = {"digest": _digest_set(digest)} if is_digest(digest) else {}
            found.append({"name": f"image/{provider_id}", "uri": f"oci://{runtime.image}", **pinned})
    return found


def _data(run: LoadedRun) -> list[dict[str, Any]]:
    """Return the data that the benchmarks read, as far as their results give digests of it."""
    return [
        {"name": f"data/{run.plan.tasks[index].slug}/{name}", "digest": _digest_set(digest)}
        for index, outcome in sorted(run.outcomes.items())
        for name, digest in sorted(outcome.results.data_digests.items())
        if is_digest(digest)
    ]


def _digest_set(digest: str) -> dict[str, str]:
    algorithm, _, hex_digits = digest.partition(":")
    return {algorithm: hex_digits}


def _moment(name: str, timestamp: str | None) -> dict[str, str]:
    moment = instant(timestamp) if timestamp else None
    return {name: moment.strftime("%Y-%m-%dT%H:%M:%SZ")} if moment else {}
