"""The verdict of a run on Kubeflow Pipelines is that of its own record: evidence in a real registry, a real MLflow."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from evidence_runs import finished_run, set_score
from kfp_api import KfpApi, kfp_api
from mlflow_servers import database, free_port, mlflow_server, proxied
from recorded_runs import benchmarks, end, record, start
from registries import LOGIN, RunningRegistry, plain_registry, tls_registry

from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.signing import keys
from evalhub_pipelines.client.connection import Connection
from evalhub_pipelines.client.runs import recorded_tracking, run_record, run_state
from evalhub_pipelines.client.runs.run_record import RunRecord

__all__ = ["finished_run", "plain_registry", "tls_registry"]

pytestmark = pytest.mark.filterwarnings("ignore")  # of mlflow and olot
REPOSITORY = "team/evals"
FIRST = benchmarks()[0]


@pytest.fixture
def api() -> Iterator[KfpApi]:
    with kfp_api() as api:
        yield api
        assert api.invalid == []


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlflow")
    with mlflow_server(folder / "server", database(folder)) as address:
        yield address


@pytest.fixture(autouse=True)
def nothing_of_mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in list(os.environ):
        if name.startswith(("MLFLOW_TRACKING", "EVALHUB_")):
            monkeypatch.delenv(name)


class Started(NamedTuple):
    """A run on Kubeflow Pipelines that is to push evidence into a registry."""

    api: KfpApi
    run_id: str

    def find(self, **options: Any) -> RunRecord:
        connection = Connection(endpoint=self.api.endpoint, origin="the test", timeout=30)
        return run_record.find(connection, run_state.read(connection, self.run_id), **options)

    def refused(self, **options: Any) -> str:
        with pytest.raises(EvalHubError) as caught:
            self.find(**options)
        assert caught.value.exit_status == 2
        return str(caught.value)


def oci(registry: RunningRegistry) -> dict[str, str]:
    return {"oci_host": registry.address, "oci_repository": REPOSITORY}


def options_of(parameters: dict[str, str]) -> list[str]:
    return [word for name, value in parameters.items() for word in (f"--{name.replace('_', '-')}", value)]


def run_with(finished: Path, folder: Path, verdict: str) -> tuple[Path, str]:
    """A run directory whose aggregate step comes to this verdict, and the gate's mode."""
    if verdict == "pass":
        return finished, "point"
    shutil.copytree(finished, folder)
    if verdict == "fail":
        set_score(folder, "000-a", 0.0)
        set_score(folder, "001-b", 0.0)
    elif verdict == "error":
        (folder / "benchmarks" / "000-a" / "results.json").unlink()
    else:
        set_score(folder, "000-a", 0.5)
        set_score(folder, "001-b", 0.5)
    return folder, "assured" if verdict == "inconclusive" else "point"


VERDICTS = [("pass", 0), ("fail", 1), ("error", 2), ("inconclusive", 3)]


@pytest.mark.parametrize(("verdict", "status"), VERDICTS)
def test_the_verdict_in_the_evidence_is_the_exit_status(
    api: KfpApi,
    cli: Any,
    tmp_path: Path,
    plain_registry: RunningRegistry,
    finished_run: Path,
    verdict: str,
    status: int,
) -> None:
    run_id = start(api, **oci(plain_registry))
    run, mode = run_with(finished_run, tmp_path / "changed", verdict)
    record(run, run_id, tmp_path / "work", *options_of(oci(plain_registry)), mode=mode)
    end(
        api, run_id, "SUCCEEDED" if verdict == "pass" else "FAILED", gate="SUCCEEDED" if verdict == "pass" else "FAILED"
    )
    report = tmp_path / "junit.xml"
    arguments = ["--endpoint", api.endpoint, "--report", f"junit={report}"]
    done = cli("status", run_id, "--watch", *arguments)
    assert done.status == status, done.err
    assert f"{verdict.upper()}\n" in done.out
    assert f"evidence  {plain_registry.host}/{REPOSITORY}:run-{run_id}@sha256:" in done.out
    assert f"verify http://{plain_registry.host}/{REPOSITORY}@sha256:" in done.out
    assert f'<property name="verdict" value="{verdict}" />' in report.read_text()
    assert "warning" not in done.err
    told = cli("status", run_id, "--endpoint", api.endpoint, "--format", "json")
    assert (told.status, told.json["verdict"], told.json["record"]["source"]) == (0, verdict, "evidence")
    assert told.json["record"]["verdict"]["verdict"] == verdict
    assert f"@{told.json['record']['evidence'].rpartition('@')[2]}" in done.out


@pytest.mark.parametrize(("verdict", "status"), VERDICTS)
def test_the_verdict_in_mlflow_counts_where_there_is_no_evidence(
    api: KfpApi, cli: Any, tmp_path: Path, mlflow: str, finished_run: Path, verdict: str, status: int
) -> None:
    run_id = start(api, mlflow_uri=mlflow)
    run, mode = run_with(finished_run, tmp_path / "changed", verdict)
    record(run, run_id, tmp_path / "work", "--mlflow-uri", mlflow, mode=mode)
    end(
        api, run_id, "SUCCEEDED" if verdict == "pass" else "FAILED", gate="SUCCEEDED" if verdict == "pass" else "FAILED"
    )
    done = cli("status", run_id, "--watch", "--endpoint", api.endpoint)
    assert done.status == status, done.err
    assert f"{verdict.upper()}\n" in done.out
    found = Started(api, run_id).find()
    assert (found.verdict, found.source, found.evidence) == (verdict, "mlflow", None)
    assert f"mlflow    run {found.mlflow_run_id} of {mlflow}" in done.out
    assert found.reason in done.out


@pytest.mark.parametrize(
    ("verdict", "kfp_state", "status", "said"),
    [
        ("fail", "SUCCEEDED", 1, "the run is green although the verdict it recorded is fail"),
        ("pass", "FAILED", 0, "the run is red although the verdict it recorded is pass (gate failed"),
    ],
    ids=["green and failing", "red and passing"],
)
def test_the_colour_of_a_run_decides_nothing(
    api: KfpApi,
    cli: Any,
    tmp_path: Path,
    plain_registry: RunningRegistry,
    finished_run: Path,
    verdict: str,
    kfp_state: str,
    status: int,
    said: str,
) -> None:
    run_id = start(api, **oci(plain_registry))
    run, mode = run_with(finished_run, tmp_path / "changed", verdict)
    record(run, run_id, tmp_path / "work", *options_of(oci(plain_registry)), mode=mode)
    end(api, run_id, kfp_state, gate=kfp_state)
    done = cli("status", run_id, "--watch", "--endpoint", api.endpoint)
    assert done.status == status
    assert said in done.err


def test_evidence_is_read_where_it_is_seen_from_here_with_the_users_own_login(
    api: KfpApi, cli: Any, tmp_path: Path, tls_registry: RunningRegistry, finished_run: Path, monkeypatch: Any
) -> None:
    run_id = start(api, oci_host="registry.cluster.local:5000", oci_repository="somewhere")
    assert tls_registry.secret
    monkeypatch.setenv("EVALHUB_REGISTRY_SECRET", str(tls_registry.secret))
    (tmp_path / "ca").mkdir()
    shutil.copy(str(tls_registry.ca), tmp_path / "ca" / "ca-bundle.crt")
    monkeypatch.setenv("EVALHUB_CA", str(tmp_path / "ca"))
    record(finished_run, run_id, tmp_path / "work", *options_of(oci(tls_registry)))
    end(api, run_id)
    cli.environ["EVALHUB_SECRETS"] = str(tls_registry.folder)
    seen = ["--evidence", f"{tls_registry.host}/{REPOSITORY}", "--registry-ca", tls_registry.ca]
    done = cli("status", run_id, "--watch", "--endpoint", api.endpoint, *seen, "--pull-secret", "secret")
    assert done.status == 0, done.err
    refused = cli("status", run_id, "--watch", "--endpoint", api.endpoint, *seen)
    assert refused.status == 2
    assert "docker login" in refused.err
    for said in (done, refused):
        assert LOGIN[1] not in said.out + said.err


def test_a_key_wants_a_signature_by_it(
    api: KfpApi, tmp_path: Path, plain_registry: RunningRegistry, finished_run: Path, mlflow: str, monkeypatch: Any
) -> None:
    for name in ("mine", "theirs"):
        keys.generate(tmp_path / name)
    monkeypatch.setenv("EVALHUB_SIGNING_SECRET", str(tmp_path / "mine"))
    signed = Started(api, start(api, **oci(plain_registry)))
    record(finished_run, signed.run_id, tmp_path / "signed", *options_of(oci(plain_registry)))
    monkeypatch.delenv("EVALHUB_SIGNING_SECRET")
    unsigned = Started(api, start(api, **oci(plain_registry), mlflow_uri=mlflow))
    record(finished_run, unsigned.run_id, tmp_path / "unsigned", *options_of(oci(plain_registry)))
    absent = Started(api, start(api, mlflow_uri=mlflow))
    record(finished_run, absent.run_id, tmp_path / "absent", "--mlflow-uri", mlflow)
    for run in (signed, unsigned, absent):
        end(api, run.run_id)
    mine = tmp_path / "mine" / "public.key"
    assert signed.find(key=mine).is_signed
    assert not signed.find().is_signed
    assert "not signed by key" in signed.refused(key=tmp_path / "theirs" / "public.key")
    assert "the evidence is unsigned" in unsigned.refused(key=mine)
    assert "what it holds is not signed" in absent.refused(key=mine)


def test_evidence_of_another_run_is_refused_also_where_mlflow_says_pass(
    api: KfpApi, cli: Any, tmp_path: Path, plain_registry: RunningRegistry, finished_run: Path, mlflow: str
) -> None:
    run_id = start(api, **oci(plain_registry), mlflow_uri=mlflow)
    record(finished_run, "another", tmp_path / "work", *options_of(oci(plain_registry)))
    record(finished_run, run_id, tmp_path / "tracked", "--mlflow-uri", mlflow)
    end(api, run_id)
    tags = plain_registry.repository(REPOSITORY) / "_manifests" / "tags"
    shutil.copytree(tags / "run-another", tags / f"run-{run_id}")
    done = cli("status", run_id, "--watch", "--endpoint", api.endpoint, "--report", f"junit={tmp_path / 'junit.xml'}")
    assert done.status == 2
    assert "cannot be relied on: it is that of another run, 'another'" in done.err
    assert "PASS" not in done.out
    assert "another run" in (tmp_path / "junit.xml").read_text()


def test_evidence_whose_bytes_were_changed_is_no_verdict(
    api: KfpApi, tmp_path: Path, plain_registry: RunningRegistry, finished_run: Path, mlflow: str
) -> None:
    run = Started(api, start(api, **oci(plain_registry), mlflow_uri=mlflow))
    record(finished_run, run.run_id, tmp_path / "work", *options_of(oci(plain_registry)), "--mlflow-uri", mlflow)
    end(api, run.run_id)
    found = run.find()
    top = plain_registry.blob(str(found.evidence).rpartition("@")[2])
    whole = top.read_bytes()
    top.write_bytes(whole.replace(b'"manifests"', b' "manifests"'))
    assert "cannot be relied on" in run.refused()
    top.write_bytes(whole)
    assert run.find().source == "evidence"
    index = json.loads(whole)
    manifest = json.loads(plain_registry.blob(index["manifests"][0]["digest"]).read_bytes())
    blob = plain_registry.blob(manifest["layers"][0]["digest"])
    blob.write_bytes(blob.read_bytes()[::-1])
    assert "cannot be relied on" in run.refused()


@pytest.mark.parametrize("fault", ["two", "running", "no verdict", "another word"])
def test_an_mlflow_run_that_does_not_tell_one_verdict_is_no_record(
    api: KfpApi, tmp_path: Path, mlflow: str, finished_run: Path, monkeypatch: Any, fault: str
) -> None:
    from mlflow import MlflowClient

    run = Started(api, start(api, mlflow_uri=mlflow))
    record(finished_run, run.run_id, tmp_path / "work", "--mlflow-uri", mlflow)
    end(api, run.run_id)
    client, found = MlflowClient(mlflow), run.find()
    monkeypatch.setattr(recorded_tracking, "_PAUSES", (0.0,))
    if fault == "two":
        client.create_run(found.mlflow_experiment_id, tags={"evalhub.run_id": run.run_id})
    elif fault == "running":
        client.update_run(found.mlflow_run_id, "RUNNING")
    elif fault == "no verdict":
        client.delete_tag(found.mlflow_run_id, "evalhub.verdict")
    else:
        client.set_tag(found.mlflow_run_id, "evalhub.verdict", "passed")
    said = run.refused()
    assert {
        "two": "has 2 runs with the tag",
        "running": "is still RUNNING",
        "no verdict": "has no tag evalhub.verdict",
        "another word": "evalhub.verdict = 'passed'",
    }[fault] in said
    assert "it is completed on the dashboard, which is no verdict" in said


@pytest.mark.parametrize("is_gone", [False, True], ids=["", "the pipeline is gone"])
def test_a_pass_in_mlflow_does_not_stand_for_evidence_that_could_not_be_pushed(
    api: KfpApi,
    cli: Any,
    tmp_path: Path,
    plain_registry: RunningRegistry,
    mlflow: str,
    finished_run: Path,
    is_gone: bool,
) -> None:
    run_id = start(api, **oci(plain_registry), mlflow_uri=mlflow)
    # the aggregate step logs to MLflow all the same, and fails then
    record(finished_run, run_id, tmp_path / "work", "--mlflow-uri", mlflow)
    end(api, run_id, "FAILED", aggregate="FAILED", gate="OMITTED")
    if is_gone:
        api.versions.clear()
    done = cli("status", run_id, "--watch", "--endpoint", api.endpoint)
    assert done.status == 2
    assert "PASS" not in done.out
    assert (
        f"MLflow: was not asked, because the step failed that records the verdict: evalhub-kfp logs {run_id}"
        in done.err
    )
    assert f"evidence {plain_registry.host}/{REPOSITORY}:run-{run_id}: is not there" in done.err or is_gone


@pytest.mark.parametrize("verdict", ["pass", "fail"])
def test_a_pass_in_mlflow_does_not_stand_for_evidence_that_is_gone(
    api: KfpApi, tmp_path: Path, plain_registry: RunningRegistry, mlflow: str, finished_run: Path, verdict: str
) -> None:
    run = Started(api, start(api, **oci(plain_registry), mlflow_uri=mlflow))
    judged, mode = run_with(finished_run, tmp_path / "changed", verdict)
    record(judged, run.run_id, tmp_path / "work", *options_of(oci(plain_registry)), "--mlflow-uri", mlflow, mode=mode)
    end(api, run.run_id)
    assert run.find().source == "evidence"
    shutil.rmtree(plain_registry.repository(REPOSITORY) / "_manifests" / "tags" / f"run-{run.run_id}")
    if verdict == "fail":
        assert (run.find().verdict, run.find().source) == ("fail", "mlflow")
    else:
        assert "says pass, which does not count without the evidence that was pushed" in run.refused()


def test_everything_that_was_looked_at_is_said(api: KfpApi, plain_registry: RunningRegistry, mlflow: str) -> None:
    run = Started(api, start(api, **oci(plain_registry), mlflow_uri=mlflow))
    end(api, run.run_id)
    said = run.refused()
    assert f"evidence {plain_registry.host}/{REPOSITORY}:run-{run.run_id}: is not there" in said
    assert f"MLflow at {mlflow}: has no run with the tag evalhub.run_id = {run.run_id}" in said
    nowhere = Started(api, start(api))
    end(api, nowhere.run_id)
    said = nowhere.refused()
    assert "oci_host and oci_repository are empty" in said
    assert "--tracking-uri, MLFLOW_TRACKING_URI" in said


def test_mlflow_is_asked_where_the_user_says_first(
    api: KfpApi, tmp_path: Path, mlflow: str, finished_run: Path, monkeypatch: Any
) -> None:
    run = Started(api, start(api, mlflow_uri="http://mlflow.cluster.local:5000"))
    record(finished_run, run.run_id, tmp_path / "work", "--mlflow-uri", mlflow)
    end(api, run.run_id)
    assert run.find(mlflow_uri=mlflow).verdict == "pass"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow)
    assert run.find().verdict == "pass"


CREDENTIALS = [
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_AUTH",
    "EVALHUB_MLFLOW_SECRET",
    "~/.mlflow/credentials",
]


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_credentials_for_mlflow_go_to_no_server_that_only_a_run_names(
    api: KfpApi, tmp_path: Path, mlflow: str, finished_run: Path, monkeypatch: Any, kind: str
) -> None:
    with proxied(mlflow) as proxy:
        run = Started(api, start(api, mlflow_uri=proxy.address))
        record(finished_run, run.run_id, tmp_path / "work", "--mlflow-uri", mlflow)
        end(api, run.run_id)
        if kind.startswith("~"):
            file = tmp_path / "home" / ".mlflow" / "credentials"
            file.parent.mkdir(parents=True)
            file.write_text("[mlflow]\nmlflow_tracking_username = alice\nmlflow_tracking_password = for-another\n")
        else:
            monkeypatch.setenv(kind, "for-another")
        said = run.refused()
        assert f"MLflow at {proxy.address}: was not asked, for your credentials ({kind}) are for another" in said
        assert "for-another" not in said
        assert proxy.seen == []
        if kind not in ("MLFLOW_TRACKING_AUTH", "EVALHUB_MLFLOW_SECRET"):  # which need a plugin, and a folder
            assert run.find(mlflow_uri=proxy.address).verdict == "pass"
            assert proxy.seen


@pytest.mark.parametrize(
    "form", ["{evil}\\@{own}", "{evil}/\\@{own}", "http://[/{own}", "http://\uff0f/"], ids=["user", "path", "[", "wide"]
)
def test_an_address_that_is_read_as_two_servers_gets_no_credentials(
    api: KfpApi, mlflow: str, monkeypatch: Any, form: str
) -> None:
    own = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{own}")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "for-another")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with proxied(mlflow) as proxy:
        run = Started(api, start(api, mlflow_uri=form.format(evil=proxy.address, own=own)))
        end(api, run.run_id)
        assert "MLflow: the run logs to no server" in run.refused()
        assert proxy.seen == []


def test_a_run_whose_benchmark_lost_its_pod_names_the_task(
    api: KfpApi, cli: Any, plain_registry: RunningRegistry
) -> None:
    run_id = start(api, **oci(plain_registry))
    end(api, run_id, "FAILED", **{FIRST.task: "FAILED", "aggregate": "OMITTED", "gate": "OMITTED"})
    done = cli("status", run_id, "--watch", "--endpoint", api.endpoint)
    assert done.status == 2
    assert f"ended before its verdict (failed: {FIRST.titles[0]}, task {FIRST.task}" in done.err
    assert f"evalhub-kfp logs {run_id} {FIRST.task}" in done.err


def test_a_cancelled_run_has_no_verdict(api: KfpApi) -> None:
    run = Started(api, start(api))
    api.advance(run.run_id, "CANCELED")
    assert f"run {run.run_id}: was cancelled, so there is no verdict" in run.refused()


def test_a_run_that_goes_on_has_no_verdict_yet(api: KfpApi) -> None:
    run = Started(api, start(api))
    assert "is not over" in run.refused()


def test_reports_without_evidence_cannot_be_made(
    api: KfpApi, cli: Any, tmp_path: Path, mlflow: str, finished_run: Path
) -> None:
    run_id = start(api, mlflow_uri=mlflow)
    record(finished_run, run_id, tmp_path / "work", "--mlflow-uri", mlflow)
    end(api, run_id)
    report = tmp_path / "junit.xml"
    done = cli("status", run_id, "--watch", "--endpoint", api.endpoint, "--report", f"junit={report}")
    assert done.status == 2
    assert "the verdict is pass, but reports are made of the evidence" in done.err
    assert "the verdict is pass" in report.read_text()


def test_a_secret_that_is_not_there_is_said_as_what_it_is(
    api: KfpApi, cli: Any, plain_registry: RunningRegistry, tmp_path: Path
) -> None:
    run_id = start(api, **oci(plain_registry))
    end(api, run_id)
    cli.environ["EVALHUB_SECRETS"] = str(tmp_path)
    place = ("--endpoint", api.endpoint)
    told = cli("status", run_id, *place, "--pull-secret", "nope")
    watched = cli("status", run_id, *place, "--pull-secret", "nope", "--watch")
    assert "--registry-secret" not in told.out + watched.err
    for said in (told.out, watched.err, cli("results", run_id, *place, "--registry-secret", "nope").err):
        assert f"there is no folder {tmp_path / 'nope'}" in said
        assert "docker login" not in said


def test_what_a_record_is_read_with_is_checked_before_there_is_one(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("EVALHUB_SECRETS", str(tmp_path))
    (tmp_path / "empty").mkdir()
    (tmp_path / "notpem").write_text("no")
    keys.generate(tmp_path / "pair")
    run_record.check(repository="quay.io/team/evals", key=tmp_path / "pair" / "public.key", mlflow_uri="http://mlflow")
    for given, words in [
        ({"repository": "quay.io/team/evals:nightly"}, "--evidence: must be HOST/REPOSITORY"),
        ({"key": tmp_path / "notpem"}, f"{tmp_path}/notpem: is no public key in PEM"),
        ({"key": tmp_path / "pair" / "private.key"}, "is a private key"),
        ({"ca": tmp_path / "notpem"}, f"{tmp_path}/notpem: holds no certificate"),
        ({"registry_secret": "nope"}, f"--pull-secret: there is no folder {tmp_path}/nope"),
        ({"registry_secret": "empty"}, f"--pull-secret: {tmp_path}/empty: has no .dockerconfigjson"),
    ]:
        with pytest.raises(EvalHubError) as caught:
            run_record.check(**given)
        assert words in str(caught.value)


def test_the_place_of_evidence_is_a_repository(api: KfpApi) -> None:
    run = Started(api, start(api))
    end(api, run.run_id)
    assert "--evidence: must be HOST/REPOSITORY" in run.refused(repository="quay.io/team/evals:nightly")
