"""Adapters written with EvalHub's own SDK, in an environment of their own, run unmodified through the bridge."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evalhub_components import bridge, run_directory
from evalhub_components.schema.plan import BenchmarkTask, EvaluationPlan, PlanExecution, PlanHeader, TaskRequest
from evalhub_components.schema.results import BenchmarkResults
from evalhub_components.scoring import judgement
from evalhub_components.scoring.judgement import TaskOutcome
from evalhub_pipelines import directories

SDK = "eval-hub-sdk[adapter]==1.0.6"
PATIENCE = 300  # seconds; far beyond what anything here takes, for machines with better things to do
KEY = "sk-THE-KEY-0123456789"

# what the SDK's README shows, around the lines that a test's parameters choose
ADAPTER = """\
import sys
import time

from evalhub.adapter import (
    DefaultCallbacks,
    EvaluationResult,
    FrameworkAdapter,
    JobCallbacks,
    JobPhase,
    JobResults,
    JobSpec,
    JobStatus,
    JobStatusUpdate,
    MessageInfo,
    OCIArtifactSpec,
)
from evalhub.adapter.auth import resolve_model_credentials
from evalhub.adapter.mlflow import MlflowArtifact, MlflowFileArtifact


class MyFrameworkAdapter(FrameworkAdapter):
    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        say = config.parameters.get
        started = MessageInfo(message="Loading", message_code="initializing")
        for phase in (JobPhase.INITIALIZING, JobPhase.RUNNING_EVALUATION, JobPhase.POST_PROCESSING):
            callbacks.report_status(
                JobStatusUpdate(status=JobStatus.RUNNING, phase=phase, progress=0.3, message=started)
            )
        if say("credentials"):
            found = resolve_model_credentials()
            print(found.api_key, found.hf_token, found.ca_cert_path.read_text())
        if say("raise"):
            raise RuntimeError(say("raise"))
        if say("hang"):
            print("waiting", flush=True)
            time.sleep(600)
        if say("fail"):
            problem = MessageInfo(message=say("fail"), message_code="benchmark_error")
            callbacks.report_status(JobStatusUpdate(status=JobStatus.FAILED, error_message=problem))
            sys.exit(1)
        results_dir = self.local_jobs_base_path / "results"
        (results_dir / "samples").mkdir(parents=True)
        (results_dir / "results.json").write_text('{"accuracy": 0.75}')
        (results_dir / "samples" / "0.json").write_text("{}")
        artifact = None
        if say("export"):
            coordinates = config.exports.oci.coordinates.model_copy(deep=True)
            coordinates.annotations["org.example.benchmark"] = config.benchmark_id
            artifact = callbacks.create_oci_artifact(OCIArtifactSpec(files_path=results_dir, coordinates=coordinates))
            print(artifact.reference)
        results = JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=[
                EvaluationResult(metric_name=name, metric_value=float(value), metric_type="float")
                for name, value in say("metrics", {"acc": 0.75, "acc_stderr": 0.0625, "f1": 0.5}).items()
            ],
            num_examples_evaluated=config.num_examples,
            duration_seconds=1.5,
            oci_artifact=artifact,
        )
        if say("log"):
            files = [
                MlflowArtifact("summary.json", b'{"status": "complete"}', "application/json"),
                MlflowFileArtifact(path="reports/0.json", local_path=results_dir / "samples" / "0.json"),
            ]
            results.mlflow_run_id = callbacks.mlflow.save(results, config, artifacts=files)
        return results


def main() -> None:
    adapter = MyFrameworkAdapter()
    callbacks = DefaultCallbacks.from_adapter(adapter)
    results = adapter.run_benchmark_job(adapter.job_spec, callbacks)
    callbacks.report_results(results)


if __name__ == "__main__":
    main()
"""

ENDINGS: dict[str, dict[str, Any]] = {
    "well": {},
    "everything": {"export": True, "log": True},
    "raised": {"raise": "the dataset is gone"},
    "told": {"fail": "no GPU"},
    "hung": {"hang": True},
    "nan": {"metrics": {"acc": "nan"}},
    "missing": {"metrics": {"f1": 1}},
    "credentials": {"credentials": True},
}
INDEX = {name: index for index, name in enumerate(ENDINGS)}


@pytest.fixture(scope="session")
def sdk_python() -> Path:
    """The Python of an environment that holds the SDK and nothing of ours, made once."""
    folder = directories.cache() / "tests" / f"eval-hub-sdk-1.0.6-python-{sys.version_info[0]}.{sys.version_info[1]}"
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.is_file():
        uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
        problem = "there is no uv" if uv is None else _install(uv, folder, python)
        if problem and os.environ.get("CI") == "true":
            pytest.fail(f"{SDK} cannot be installed: {problem}")
        if problem:
            pytest.skip(f"{SDK} cannot be installed: {problem}")
        ready.touch()
    return python


def _install(uv: str, folder: Path, python: Path) -> str:
    """Make the environment in `folder` and return what went wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    for command in (
        ["venv", "--python", sys.executable, str(folder)],
        ["pip", "install", "--python", str(python), SDK],
    ):
        done = subprocess.run([uv, "--quiet", *command], capture_output=True, check=False, text=True)
        if done.returncode:
            return done.stderr
    return ""


@pytest.fixture(scope="module")
def plan() -> EvaluationPlan:
    tasks = [
        BenchmarkTask.model_validate(
            {
                **{"index": INDEX[name], "slug": f"{INDEX[name]:03d}-{name}", "provider_id": "a-provider"},
                **{"benchmark_id": name, "primary_score": {"metric": "acc"}, "parameters": parameters},
                **{"threshold": {"value": 0.5, "source": "provider"}, "num_examples": 4},
                "timeout": 2 if name == "hung" else PATIENCE,
            }
        )
        for name, parameters in ENDINGS.items()
    ]
    header = PlanHeader(
        collection_id="trial",
        collection_version="1",
        threshold=0.5,
        threshold_source="collection",
        gate_mode="point",
        confidence=0.95,
        execution=PlanExecution(batch=None, max_parallel=None, retries=0, cache=False),
        runtimes={},
        task_digests=[task.digest() for task in tasks],
    )
    return EvaluationPlan(header=header, tasks=tasks)


@pytest.fixture(scope="module")
def results(sdk_python: Path, plan: EvaluationPlan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the bridge left of all the endings; it was started as a provider's `runtime.local.command` is."""
    provider, secret = tmp_path_factory.mktemp("provider"), tmp_path_factory.mktemp("secret")
    target = tmp_path_factory.mktemp("results")
    (provider / "main.py").write_text(ADAPTER)
    for name, content in (("api-key", KEY + "\n"), ("hf-token", "hf_0123456789\n"), ("ca_cert", "PEM")):
        (secret / name).write_text(content)
    tasks = json.dumps([task.as_argument() for task in plan.tasks])
    done = subprocess.run(
        [
            *(sys.executable, "-I", bridge.__file__, "--task", tasks, "--model-url", "http://127.0.0.1:9/v1"),
            *("--model-name", "a-model", "--results", str(target), "--", "sh", "-c", "python main.py"),
        ],
        cwd=provider,
        env={
            "PATH": f"{sdk_python.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(provider),
            "EVALHUB_MODEL_SECRET": str(secret),
            # neither may come between the adapter and the bridge
            "HTTP_PROXY": "http://127.0.0.1:9",
            "EVALHUB_MODE": "k8s",
        },
        capture_output=True,
        timeout=PATIENCE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (target / "stdout").write_text(done.stdout)
    return target


def folder_of(results: Path, name: str) -> Path:
    return results / f"{INDEX[name]:03d}-{name}"


def results_of(results: Path, name: str) -> BenchmarkResults:
    return BenchmarkResults.model_validate_json((folder_of(results, name) / "results.json").read_bytes())


@pytest.mark.parametrize("name", ["well", "everything", "credentials"])
def test_a_report_becomes_results(results: Path, plan: EvaluationPlan, name: str) -> None:
    found = results_of(results, name)
    assert (found.status, found.reason) == ("completed", None)
    assert (found.metrics["acc"].value, found.metrics["acc"].stderr, found.metrics["f1"].value) == (0.75, 0.0625, 0.5)
    request = TaskRequest.model_validate_json((folder_of(results, name) / "task.json").read_bytes())
    assert request.task == plan.tasks[INDEX[name]]
    assert found.task_digest == request.task_digest == request.task.digest()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "raised",
            "the adapter's process exited with status 1 before it reported results "
            "(last words: RuntimeError: the dataset is gone)",
        ),
        ("told", "no GPU"),
        ("hung", "timed out after 2 s (raise its timeout, or lower num_examples)"),
        ("missing", "primary metric 'acc' is missing (the framework reported: f1)"),
    ],
)
def test_what_is_no_evidence_is_failed_with_the_reason(results: Path, name: str, reason: str) -> None:
    found = results_of(results, name)
    assert (found.status, found.reason) == ("failed", reason)


def test_results_that_the_sdk_could_not_send_are_named(results: Path) -> None:
    reason = str(results_of(results, "nan").reason)
    assert reason.startswith("the adapter reported no results (last words: Failed to send results to evalhub: ")
    assert "Out of range float values are not JSON compliant" in reason


def test_phases_are_told_while_it_runs(results: Path) -> None:
    events = [json.loads(line) for line in (results / "stdout").read_text().splitlines()]
    own = [event.get("phase") or event["status"] for event in events if event["slug"] == "000-well"]
    assert own == ["initializing", "initializing", "running_evaluation", "post_processing", "completed"]


def test_the_results_folder_the_artifact_and_mlflows_files_are_kept(results: Path) -> None:
    raw = folder_of(results, "everything") / "raw"
    files = {path.relative_to(raw).as_posix() for path in raw.rglob("*") if path.is_file()}
    assert files == {
        *("results/results.json", "results/samples/0.json", "artifact-1/results.json", "artifact-1/samples/0.json"),
        *("mlflow/summary.json", "mlflow/reports/0.json", "events.jsonl", "meta/job.json"),
    }
    assert (raw / "artifact-1" / "results.json").read_bytes() == (raw / "results" / "results.json").read_bytes()
    assert "evalhub/001-everything:evalhub-" in (folder_of(results, "everything") / "log.txt").read_text()


def test_how_many_examples_there_were_is_known_when_the_sdk_logged_it(results: Path) -> None:
    assert results_of(results, "everything").num_evaluated == 4
    assert results_of(results, "well").num_evaluated is None


def test_the_environment_is_the_adapters_own(results: Path) -> None:
    facts = json.loads((folder_of(results, "well") / "environment.json").read_bytes())
    assert facts["packages"]["eval-hub-sdk"] == "1.0.6"
    assert "evalhub-kfp" not in facts["packages"]
    assert facts["env_card"]["python_version"] == facts["python"]["version"]
    assert facts["bridge"] == {"entrypoint": ["sh", "-c", "python main.py"], "exit_status": 0, "notes": []}


def test_the_adapter_gets_its_credentials_and_nobody_else_does(results: Path) -> None:
    assert (folder_of(results, "credentials") / "log.txt").read_text() == "*** *** PEM\n"
    assert results_of(results, "credentials").redactions == 2
    assert not [path for path in results.rglob("*") if path.is_file() and KEY in path.read_text()]


def test_the_verdict_is_drawn_from_what_the_bridge_left(results: Path, plan: EvaluationPlan) -> None:
    found, notes = run_directory.find_tasks([results], plan)
    assert notes == []
    assert sorted(found) == list(range(len(plan.tasks)))
    outcomes = {index: TaskOutcome(folder.results) for index, folder in found.items() if folder.results}
    tests = judgement.judge(plan, outcomes).benchmarks
    scores = {test.benchmark_id: test.score for test in tests}
    failed = dict.fromkeys(("raised", "told", "hung", "nan", "missing"))
    assert scores == {"well": 0.75, "everything": 0.75, "credentials": 0.75, **failed}
    assert (tests[0].se, tests[0].passed) == (0.0625, True)
    assert tests[INDEX["told"]].reason == "no score: failed: no GPU"
