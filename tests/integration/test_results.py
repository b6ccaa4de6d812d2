"""`evalhub-kfp results`: what a run came to, under the keys that scripts for EvalHub read."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.reference import Reference
from evalhub_components.evidence.registry import push
from evalhub_components.evidence.registry.registry import Registry
from evalhub_components.run_directory import load
from evalhub_components.schema.plan import ResolvedScore, ResolvedThreshold
from evalhub_pipelines import api, result_rows
from evalhub_pipelines.cli import results as commands
from evalhub_pipelines.client.connection import Connection
from evalhub_pipelines.demo_model import DemoModelServer

sys.path.insert(0, str(Path(__file__).parent))
from evidence_runs import Done, SignedRun, build, edit, finished_run, invoke, key, signed
from kfp_api import KfpApi, kfp_api
from kfp_runs import end, start
from registries import RunningRegistry, plain_registry
from report_runs import HOSTILE, RUNS, Entry, published, write_run
from test_bridge_sdk import sdk_python

__all__ = ["finished_run", "key", "plain_registry", "sdk_python", "signed"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:olot")

KEYS = {
    *("id", "benchmark_id", "provider_id", "benchmark_index", "model_name", "job_id", "run_id", "status", "reason"),
    *("results", "metrics", "overall_score", "test", "oci_artifact", "artifacts", "mlflow_run_id"),
    "mlflow_experiment_url",
}


def nowhere() -> Connection:
    raise AssertionError("no connection is needed")


def finished(path: Path, *entries: Entry, **keywords: Any) -> Path:
    """A run directory with a verdict."""
    run = write_run(path, entries, **keywords)
    atomic.write_json(path / "verdict.json", run.judge().as_json())
    return path


def publish(path: Path) -> None:
    atomic.write_json(path / "publication.json", published(load(path)).as_json())


def results(*arguments: object) -> Done:
    return invoke(commands.results, *arguments)


def as_json(*arguments: object) -> Any:
    done = results(*arguments, "--format", "json")
    assert (done.status, done.error) == (0, "")
    return done.json


def test_every_benchmark_has_an_entry_with_evalhubs_keys(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", Entry("gsm8k", 81), Entry("arc_challenge", 50))
    publish(run)
    first, second = as_json(run)
    assert set(first) == set(second) == KEYS
    assert first["results"] == [
        {"metric_name": "acc", "metric_value": 0.81},
        {"metric_name": "acc_norm", "metric_value": pytest.approx(0.7938)},
    ]
    assert first["metrics"] == {"acc": 0.81, "acc_norm": pytest.approx(0.7938)}
    named = ("id", "benchmark_id", "provider_id", "benchmark_index", "model_name", "overall_score", "status")
    assert [first[name] for name in named] == [
        *("gsm8k", "gsm8k", "lm_evaluation_harness", 0, "granite-8b", 0.81, "completed")
    ]
    assert first["test"] == {"primary_score": 0.81, "threshold": 0.6, "pass": True}
    assert second["test"] == {"primary_score": 0.5, "threshold": 0.6, "pass": False}
    digest = "sha256:" + "e5" * 32
    reference = f"registry.example/evals/granite:run-20260102-030000-5bf551@{digest}"
    assert first["oci_artifact"] == {"digest": digest, "oci_ref": reference}
    assert first["artifacts"] == {"oci_digest": digest, "oci_reference": reference}
    assert first["mlflow_run_id"] == "f00dfeed"
    assert first["mlflow_experiment_url"] == "https://mlflow.example/#/experiments/4"


def test_evalhubs_own_client_reads_them(tmp_path: Path, sdk_python: Path) -> None:
    run = finished(tmp_path / "run", Entry("gsm8k", 81), Entry("arc_challenge", 50))
    publish(run)
    done = results(run, "--format", "json")
    program = (
        "import json, sys\n"
        "from evalhub.models.api import EvaluationJobResults, EvaluationResult\n"
        "rows = json.load(sys.stdin)\n"
        "job = EvaluationJobResults(benchmarks=rows, mlflow_experiment_url=rows[0]['mlflow_experiment_url'])\n"
        "[EvaluationResult(**result) for row in rows for result in row['results']]\n"
        "found = [[b.id, b.provider_id, b.metrics['acc'], b.artifacts['oci_digest'][:9]] for b in job.benchmarks]\n"
        "print(json.dumps(found))\n"
    )
    read = subprocess.run([sdk_python, "-c", program], input=done.out, text=True, capture_output=True, check=True)
    assert json.loads(read.stdout) == [
        ["gsm8k", "lm_evaluation_harness", 0.81, "sha256:e5"],
        ["arc_challenge", "lm_evaluation_harness", 0.5, "sha256:e5"],
    ]


def test_yaml_says_what_json_says(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", Entry("gsm8k", 81), Entry("arc_challenge", reason="the server closed"))
    assert yaml.safe_load(results(run, "--format", "yaml").out) == as_json(run)


def test_csv_has_a_row_a_metric_and_evalhubs_columns_first(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", Entry("gsm8k", 81), Entry("arc_challenge", reason="the server, closed"))
    done = results(run, "--format", "csv")
    assert done.status == 0
    rows = list(csv.reader(io.StringIO(done.out)))
    assert rows == [
        ["benchmark", "provider", "metric", "value", "benchmark_index", "primary_score", "threshold", "pass"],
        ["gsm8k", "lm_evaluation_harness", "acc", "0.81", "0", "0.81", "0.6", "true"],
        ["gsm8k", "lm_evaluation_harness", "acc_norm", str(0.81 * 0.98), "0", "", "", ""],
        ["arc_challenge", "lm_evaluation_harness", "acc", "", "1", "", "0.6", "false"],
    ]


def test_a_benchmark_without_a_score_is_there_and_does_not_pass(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", Entry("gsm8k", 81), Entry("arc_challenge", reason="the server closed"))
    _, failed = as_json(run)
    assert set(failed) == KEYS
    assert failed["results"] == [{"metric_name": "acc", "metric_value": None}]
    assert failed["metrics"] == {"acc": None}
    assert failed["overall_score"] is None
    assert failed["test"] == {"primary_score": None, "threshold": 0.6, "pass": False}
    assert failed["status"] == "failed"
    assert "the server closed" in failed["reason"]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have_are_null(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run"
    run = write_run(path, [Entry("gsm8k", 81), Entry("arc_challenge", 50)])
    file = run.folders[0] / "results.json"
    file.write_text(file.read_text().replace('"value": 0.81,', f'"value": {text},'))
    atomic.write_json(path / "verdict.json", load(path).judge().as_json())
    done = results(path, "--format", "json")
    entry = json.loads(done.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))[0]
    assert entry["metrics"]["acc"] is None
    assert entry["test"] == {"primary_score": None, "threshold": 0.6, "pass": False}


def test_scores_and_thresholds_are_in_the_units_of_the_metric(tmp_path: Path) -> None:
    latency = {
        "primary_score": ResolvedScore(metric="acc", lower_is_better=True, range=(0, 1000)),
        "threshold": ResolvedThreshold(value=0.75, source="collection"),
    }
    run = finished(tmp_path / "run", Entry("latency", 24000, task=latency))
    assert as_json(run)[0]["test"] == {"primary_score": 240, "threshold": 250, "pass": True}


def test_a_benchmark_that_nothing_is_asked_of_neither_passes_nor_fails(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", Entry("humaneval", 60, task={"threshold": None}))
    assert as_json(run)[0]["test"] == {"primary_score": 0.6, "threshold": None, "pass": None}


def test_the_same_benchmark_twice_is_two_entries(tmp_path: Path) -> None:
    entries = [Entry("gsm8k", 81), Entry("gsm8k", 20, task={"slug": "001-gsm8k"})]
    run = finished(tmp_path / "run", *entries)
    found = [(entry["id"], entry["benchmark_index"], entry["overall_score"]) for entry in as_json(run)]
    assert found == [("gsm8k", 0, 0.81), ("gsm8k", 1, 0.2)]


@pytest.mark.parametrize("form", ["table", "json", "yaml", "csv"])
def test_a_failed_gate_is_printed_with_status_0(tmp_path: Path, form: str) -> None:
    run = finished(tmp_path / "run", Entry("gsm8k", 1))
    done = results(run, "--format", form)
    assert (done.status, done.error) == (0, "")


def test_the_table_is_for_people(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", Entry("gsm8k", 81), Entry("arc_challenge", reason="the server closed"))
    publish(run)
    lines = results(run).out.splitlines()
    assert lines[0].split() == ["benchmark", "provider", "metric", "value", "threshold", "result"]
    assert lines[1].split() == ["gsm8k", "lm_evaluation_harness", "acc", "0.81", "0.6", "pass"]
    assert lines[3].split() == ["arc_challenge", "lm_evaluation_harness", "acc", "-", "0.6", "fail"]
    assert lines[-2:] == [
        "ERROR (no score, threshold 0.7)",
        "MLflow experiment: https://mlflow.example/#/experiments/4",
    ]


@pytest.mark.parametrize("form", ["table", "csv"])
def test_names_of_strangers_do_not_reach_the_terminal(tmp_path: Path, form: str) -> None:
    run = RUNS["hostile"](tmp_path / "run")
    atomic.write_json(tmp_path / "run" / "verdict.json", run.judge().as_json())
    done = results(tmp_path / "run", "--format", form)
    assert done.status == 0
    assert not [each for each in "\x1b\x00\u202e\u2066" if each in done.out]
    assert "\x1b" in HOSTILE


@pytest.mark.parametrize(
    ("uri", "experiment", "url"),
    [
        ("https://user:secret@mlflow.example/base/", "7", "https://mlflow.example/base/#/experiments/7"),
        ("sqlite:////somewhere/mlflow.db", "7", None),
        ("databricks", "7", None),
        ("https://mlflow.example", None, None),
    ],
    ids=["a server behind a password", "a file", "databricks", "no experiment"],
)
def test_the_page_of_the_experiment_is_named_where_there_is_one(
    tmp_path: Path, uri: str, experiment: str | None, url: str | None
) -> None:
    run = finished(tmp_path / "run", Entry("gsm8k", 81))
    changes = {"mlflow_tracking_uri": uri, "mlflow_experiment_id": experiment}
    atomic.write_json(run / "publication.json", published(load(run)).model_copy(update=changes).as_json())
    done = results(run, "--format", "json")
    assert done.json[0]["mlflow_experiment_url"] == url
    assert "secret" not in done.out


def test_a_run_that_was_published_nowhere_says_so(tmp_path: Path) -> None:
    (entry,) = as_json(finished(tmp_path / "run", Entry("gsm8k", 81)))
    found = [entry[name] for name in ("oci_artifact", "artifacts", "mlflow_run_id", "mlflow_experiment_url")]
    assert found == [None, {}, None, None]


def test_evidence_says_what_the_run_directory_says(signed: SignedRun) -> None:
    of_directory, of_evidence = as_json(signed.path), as_json(signed.pinned)
    assert of_evidence[0]["oci_artifact"] == {"digest": signed.digest, "oci_ref": signed.pinned}
    for entry in (*of_directory, *of_evidence):
        entry.pop("oci_artifact")
        entry.pop("artifacts")
    assert of_directory == of_evidence


def test_a_tampered_verdict_is_no_result(signed: SignedRun) -> None:
    edit(signed.path / "verdict.json", lambda verdict: verdict.update(verdict="fail"))
    done = results(signed.path, "--format", "json")
    assert done.status == 2
    assert "verdict.json says fail" in done.error
    assert done.out == ""


def test_a_run_without_a_verdict_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [Entry("gsm8k", 81)])
    done = results(tmp_path / "run")
    assert done.status == 2
    assert "has no verdict.json" in done.error


def test_python_gets_the_same_entries(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", Entry("gsm8k", 81))
    found = result_rows.read(run, nowhere)
    assert found.benchmarks == as_json(run)
    assert found.verdict.verdict == "pass"
    assert [metric.metric for metric in found.metrics()] == ["acc", "acc_norm"]


@dataclass
class Evaluated:
    """A run on Kubeflow Pipelines whose evidence is in a registry."""

    api: KfpApi
    run_id: str
    repository: str
    digest: str

    def results(self, *arguments: object) -> Done:
        return results(self.run_id, "--endpoint", self.api.endpoint, *arguments)


@pytest.fixture
def evaluated(finished_run: Path, tmp_path: Path, plain_registry: RunningRegistry) -> Iterator[Evaluated]:
    """The finished run, as a run on Kubeflow Pipelines would have left it."""
    shutil.copytree(finished_run, tmp_path / "run")
    with kfp_api() as kubeflow:
        parameters = {"oci_host": plain_registry.address, "oci_repository": "team/evals"}
        run_id = start(kubeflow, parameters=parameters)
        edit(tmp_path / "run" / "run.json", lambda record: record.update(run_id=run_id, engine="kfp"))
        made = build(tmp_path / "run", None)
        push.push(made.layout, Registry(Reference.parse(f"{plain_registry.address}/team/evals")))
        end(kubeflow, run_id)
        yield Evaluated(kubeflow, run_id, f"{plain_registry.address}/team/evals", made.digest)
        assert kubeflow.invalid == []


def test_the_results_of_a_run_on_kubeflow_are_those_of_its_evidence(evaluated: Evaluated, tmp_path: Path) -> None:
    done = evaluated.results("--format", "json")
    assert (done.status, done.error) == (0, "")
    first, second = done.json
    assert set(first) == KEYS
    assert [first["id"], second["id"], first["run_id"]] == ["a", "b", evaluated.run_id]
    assert first["test"] == {"primary_score": 0.75, "threshold": 0.5, "pass": True}
    assert first["oci_artifact"]["digest"] == evaluated.digest
    assert first["oci_artifact"]["oci_ref"].endswith(f"/team/evals:run-{evaluated.run_id}@{evaluated.digest}")


def test_evidence_may_have_another_address_here(evaluated: Evaluated) -> None:
    evaluated.api.runs[evaluated.run_id]["runtime_config"]["parameters"]["oci_host"] = "registry.in.the.cluster"
    assert evaluated.results("--evidence", evaluated.repository).status == 0


def test_a_run_that_goes_on_has_no_results(evaluated: Evaluated) -> None:
    evaluated.api.advance(evaluated.run_id, "RUNNING")
    done = evaluated.results()
    assert done.status == 2
    assert f"run {evaluated.run_id}: is not over" in done.error


def test_a_run_without_evidence_has_no_results(evaluated: Evaluated) -> None:
    evaluated.api.runs[evaluated.run_id]["runtime_config"]["parameters"]["oci_repository"] = "team/other"
    done = evaluated.results()
    assert done.status == 2
    assert "team/other" in done.error


@pytest.mark.filterwarnings("ignore")  # of MLflow and what it brings
def test_mlflow_tells_which_run_of_it_records_evidence(
    model: DemoModelServer, catalog: Path, collection: Any, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    endpoint = {"url": model.base_url, "name": "demo-model"}
    run = api.run(collection(("a", {})), model=endpoint, catalog=catalog, output=tmp_path / "runs", mlflow_uri=uri)
    (of_directory,) = as_json(run.directory)
    assert of_directory["mlflow_run_id"]
    (silent,) = as_json(run.directory / "evidence")
    assert silent["mlflow_run_id"] is None
    (told,) = as_json(run.directory / "evidence", "--tracking-uri", uri)
    assert told["mlflow_run_id"] == of_directory["mlflow_run_id"]


def test_an_mlflow_that_is_away_does_not_keep_results_back(signed: SignedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    done = results(signed.pinned)
    assert done.status == 0
    assert "warning: MLflow at http://127.0.0.1:9" in done.out
    done = results(signed.pinned, "--tracking-uri", "http://127.0.0.1:9")
    assert done.status == 0
    assert "warning: MLflow at http://127.0.0.1:9" in done.out


def test_only_an_id_asks_kubeflow_pipelines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    done = results("0b71a3f4-6a5c-4a53-b0a4-5b8f0f3f5d0e")
    assert done.status == 2
    assert "nobody says where Kubeflow Pipelines is" in done.error
    with pytest.raises(EvalHubError, match="nothing-here"):
        result_rows.read(tmp_path / "nothing-here", nowhere)
