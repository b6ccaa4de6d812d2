"""`evalhub-kfp submit` and `submission.submit` against a server that reads and answers as Kubeflow Pipelines does."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kfp_api import KfpApi, Request, kfp_api, refuses
from stub_http import answers, drops, hangs, slow

from evalhub_components.errors import EvalHubError, InvalidDocument
from evalhub_components.evidence.signing import keys
from evalhub_pipelines.client import creation
from evalhub_pipelines.client.connection import Connection
from evalhub_pipelines.client.failures import NotTheApi, Refused, Unavailable
from evalhub_pipelines.client.runs import run_description
from evalhub_pipelines.client.runs.run_description import RunDescription
from evalhub_pipelines.client.secret_reference import SecretReference
from evalhub_pipelines.client.submitting import pipeline_versions
from evalhub_pipelines.client.submitting.submission import Submission, submit

if TYPE_CHECKING:
    from conftest import Cli, Done

TOKEN = "token-of-the-tests-1"
MODEL = {"url": "http://model.team-a.svc:8000/v1", "name": "granite"}
PUSHED = ["--wait", "--push-to", "registry.example/evals"]
IMAGES = {"obedient": "example.org/obedient:1"}
IMAGE = "--image=obedient=example.org/obedient:1"
MODEL_OPTIONS = ["--model-url", MODEL["url"], "--model-name", MODEL["name"]]
EVERYTHING = {
    "name": "release candidate",
    "description": "before the release\nowner: somebody else",
    "tags": ["release", "weekly"],
    "model": {
        **MODEL,
        "auth": {"secret_ref": "model-credentials"},
        "digest": "sha256:" + "a" * 64,
    },
    "judge": {"url": "http://judge/v1", "name": "judge", "auth": {"secret_ref": "judge-credentials"}},
    "benchmarks": [{"id": "a", "provider_id": "obedient", "judge": True}],
    "num_examples": 3,
    "experiment": {"name": "nightly", "tags": {"team": "a"}},
    "exports": {
        "oci": {
            "coordinates": {
                "oci_host": "quay.io",
                "oci_repository": "team/evaluations",
                "oci_tag": "latest",
                "oci_subject": "v1",
                "annotations": {"from": "eval.yaml"},
            },
            "k8s": {"connection": "registry-credentials"},
        },
        "signing": {"secret_ref": "evidence-signing"},
    },
}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked for again is looked for at once, and nobody is in a CI job."""
    monkeypatch.setattr(creation, "PAUSE", 0.0)
    for name in ("GITHUB_ACTOR", "GITHUB_SHA", "GITLAB_USER_LOGIN", "CI_COMMIT_SHA", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def api() -> Iterator[KfpApi]:
    with kfp_api() as api:
        yield api


@pytest.fixture
def trial(collection: Callable[..., Path]) -> Path:
    return collection(("a", {}), ("b", {}))


@pytest.fixture
def submitted(api: KfpApi, trial: Path, catalog: Path) -> Callable[..., Submission]:
    """A function that submits the trial, with changes."""

    def submitted(source: Any = trial, **changes: Any) -> Submission:
        given = {"connection": to(api), "model": MODEL, "images": IMAGES, "catalog": catalog, **changes}
        return submit(source, **given)

    return submitted


@pytest.fixture
def command(api: KfpApi, cli: Cli, trial: Path, catalog: Path) -> Callable[..., Done]:
    """A function that runs `submit` with the trial, a model and the stub."""

    def command(*arguments: object, source: object = trial, **keywords: Any) -> Done:
        always = ["--catalog", catalog, "--endpoint", api.endpoint, IMAGE, *MODEL_OPTIONS]
        return cli("submit", *([source] if source else []), *always, *arguments, **keywords)

    return command


def to(api: KfpApi, **changes: Any) -> Connection:
    return Connection(**{"endpoint": api.endpoint, "origin": "the test", "timeout": 30, **changes})


def uploads(api: KfpApi) -> int:
    return len(api.asked("POST", "upload"))


def only(records: dict[str, Any]) -> dict[str, Any]:
    (record,) = records.values()
    return dict(record)


def parameters(api: KfpApi) -> dict[str, Any]:
    return dict(only(api.runs)["runtime_config"]["parameters"])


def without_an_answer(request: Request) -> None:
    """Do what is asked and break the connection off before anybody hears of it."""
    request.answer = lambda *_: None
    request.serve()
    drops(request)


def after_another(request: Request) -> None:
    """Serve the same request of somebody else first."""
    answer, request.answer = request.answer, lambda *_: None
    request.serve()
    request.answer = answer
    request.serve()


def test_a_collection_is_uploaded_and_run_with_one_command(command: Callable[..., Done], api: KfpApi) -> None:
    done = command("--tag", "nightly", environ={"GITHUB_ACTOR": "octocat", "GITHUB_SHA": "c0ffee"})
    run, version, pipeline = only(api.runs), only(api.versions), only(api.pipelines)
    assert (done.status, done.err) == (0, "")
    assert f"run         {run['run_id']}\n" in done.out
    assert f"dashboard   {api.endpoint}/#/runs/details/{run['run_id']}\n" in done.out
    assert "(uploaded now)" in done.out
    assert pipeline["name"] == "evalhub-trial"
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]
    assert run["service_account"] == "evalhub-runner"
    assert run["runtime_config"]["parameters"] == {"model_url": MODEL["url"], "model_name": "granite"}
    said = run_description.parse(run["description"])
    assert (said.collection, said.owner, said.tags) == ("trial", "octocat", ("nightly",))
    assert (said.git_commit, said.model) == ("c0ffee", "granite")
    plan = version["description"].partition(", plan sha256:")[2].rstrip(".")
    assert version["name"].startswith(f"{plan}-")
    assert {found["display_name"] for found in api.experiments.values()} == {"Default", "trial"}
    assert api.invalid == []


def test_detached_it_prints_one_json_document_and_nothing_else(command: Callable[..., Done], api: KfpApi) -> None:
    done = command("--detach", "--mlflow-uri", "http://mlflow.example/")
    assert (done.status, done.err) == (0, "")
    run = only(api.runs)
    assert done.json["run_id"] == run["run_id"]
    assert done.json["name"] == run["display_name"]
    assert done.json["dashboard"].endswith(run["run_id"])
    assert done.json["mlflow"] == "http://mlflow.example/#/experiments?experimentSearchFilter=trial"
    assert done.json["pipeline_version_id"] == only(api.versions)["pipeline_version_id"]
    assert done.json["uploaded"] is True
    assert len(done.out.splitlines()) == 1


def test_what_is_there_is_neither_uploaded_nor_compiled_again(command: Callable[..., Done], api: KfpApi) -> None:
    assert command("--detach").json["uploaded"] is True
    done = command("--detach", "--num-examples", 2, environ={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.json["uploaded"] is False
    assert uploads(api) == 1
    imported = [line.rpartition("|")[2].strip() for line in done.err.splitlines()]
    assert "kfp_server_api" in imported
    assert [name for name in imported if name.partition(".")[0] == "kfp"] == []
    assert [run["runtime_config"]["parameters"].get("num_examples") for run in api.runs.values()] == [None, 2]


def test_one_version_serves_all_models(submitted: Callable[..., Submission], api: KfpApi) -> None:
    first = submitted()
    second = submitted(model={**MODEL, "name": "llama"}, mlflow_uri="http://mlflow", experiment="others")
    assert first.pipeline_version_id == second.pipeline_version_id
    assert (uploads(api), len(api.runs)) == (1, 2)
    assert api.invalid == []


@pytest.mark.parametrize(
    "changes",
    [
        {"images": {"obedient": "example.org/obedient:2"}},
        {"images": {**IMAGES, "components": "example.org/components:9"}},
        {"image_pull_secrets": ["pull"]},
        {"private_hosts": ["git.svc"]},
        {"changes": {"pass_criteria": {"threshold": 0.9}, "benchmarks": [{"id": "a", "provider_id": "obedient"}]}},
    ],
    ids=["image of a provider", "image of components", "pull secret", "private host", "criteria"],
)
def test_what_decides_the_pipeline_makes_another_version(
    submitted: Callable[..., Submission], api: KfpApi, write: Callable[..., Path], changes: dict[str, Any]
) -> None:
    data = {"git": {"url": "https://git.svc/data", "ref": "c" * 40}}
    entry = {"id": "a", "provider_id": "obedient", "test_data_ref": data}
    config = write("eval.yaml", {"name": "trial", "model": MODEL, "benchmarks": [entry]})
    first, second = submitted(config), submitted(config, **changes)
    assert first.pipeline_id == second.pipeline_id
    assert first.pipeline_version_id != second.pipeline_version_id
    assert uploads(api) == 2
    assert submitted(config, **changes).pipeline_version_id == second.pipeline_version_id
    assert uploads(api) == 2
    texts = [json.dumps(version["pipeline_spec"], sort_keys=True) for version in api.versions.values()]
    assert texts[0] != texts[1]


def test_everything_an_eval_yaml_says_reaches_the_run(
    submitted: Callable[..., Submission], api: KfpApi, write: Callable[..., Path]
) -> None:
    done = submitted(
        write("eval.yaml", EVERYTHING),
        model=None,
        annotations={"org.opencontainers.image.revision": "c0ffee", "pull-request": "12"},
        tags=["late", "release"],
        owner="me",
        mlflow_secret="mlflow-credentials",
        mlflow_uri="https://mlflow.example",
        ca_config_map="ca-certificates",
    )
    assert parameters(api) == {
        "model_url": MODEL["url"],
        "model_name": "granite",
        "model_secret": "model-credentials",
        "model_digest": "sha256:" + "a" * 64,
        "judge_url": "http://judge/v1",
        "judge_name": "judge",
        "judge_secret": "judge-credentials",
        "num_examples": 3,
        "experiment_name": "nightly",
        "experiment_tags": "team=a",
        "oci_host": "quay.io",
        "oci_repository": "team/evaluations",
        "oci_tag": "latest",
        "oci_subject": "v1",
        "oci_annotations": "from=eval.yaml\norg.opencontainers.image.revision=c0ffee\npull-request=12",
        "registry_secret": "registry-credentials",
        "signing_secret": "evidence-signing",
        "mlflow_secret": "mlflow-credentials",
        "mlflow_uri": "https://mlflow.example",
        "ca_config_map": "ca-certificates",
    }
    assert (done.experiment, only(api.runs)["display_name"][:17]) == ("nightly", "release candidate")
    said = run_description.parse(only(api.runs)["description"])
    assert (said.owner, said.tags, said.git_commit) == ("me", ("release", "weekly", "late"), "c0ffee")
    assert said.description == "before the release owner: somebody else"
    kept, images = done.notes
    assert kept == "name, description, tags: kept with the run in Kubeflow, and not in its evidence and MLflow"
    assert "--image-lock" in images
    assert api.invalid == []


def test_what_a_cluster_cannot_do_is_said(
    submitted: Callable[..., Submission], write: Callable[..., Path], api: KfpApi
) -> None:
    model = {"url": "http://localhost:8000/v1", "name": "m", "environment": {"gpu": "A100"}}
    config = {"model": model, "judge": MODEL, "benchmarks": [{"id": "a", "provider_id": "obedient"}]}
    notes = submitted(write("eval.yaml", config), model=None).notes
    assert [note.partition(":")[0].partition(" (")[0] for note in notes] == [
        "model.environment",
        "judge",
        "its verdict will be nowhere that it can be read from",
        "model_url",
        "images without a digest, which may not be there",
    ]
    assert "the pod itself" in notes[3]
    assert "judge_url" not in parameters(api)


def test_benchmarks_of_a_provider_can_be_submitted(command: Callable[..., Done], api: KfpApi) -> None:
    mine = ["--experiment", "mine", "--model-service-account"]
    done = command("--provider", "obedient", "-b", "a", "--detach", *mine, source=None)
    assert done.status == 0, done.err
    assert (done.json["pipeline"], done.json["experiment"]) == ("evalhub-obedient", "mine")
    assert parameters(api)["model_auth"] == "service-account"
    assert api.invalid == []


def test_a_compiled_pipeline_is_submitted_as_it_is(
    command: Callable[..., Done], cli: Cli, api: KfpApi, trial: Path, catalog: Path, tmp_path: Path
) -> None:
    done = cli("compile", trial, "--catalog", catalog, IMAGE, "--output", tmp_path / "compiled")
    assert done.status == 0, done.err
    file = tmp_path / "compiled" / "trial.yaml"
    arguments = ["submit", file, "--endpoint", api.endpoint, "--detach"]
    done = cli(*arguments)
    assert done.status == 2
    assert "model_url: is missing (give --model-url" in done.err
    assert "model_name: is missing" in done.err
    assert api.seen == []
    done = cli(*arguments, *MODEL_OPTIONS, "--push-to", "quay.io/team/x", "--annotation", "pull-request=1")
    assert done.status == 0, done.err
    spec = next(yaml.safe_load_all(file.read_text()))
    assert only(api.versions)["pipeline_spec"]["pipeline_spec"] == spec
    assert done.json["plan_digest"] in spec["pipelineInfo"]["description"]
    assert parameters(api)["oci_annotations"] == "pull-request=1"
    assert cli(*arguments, *MODEL_OPTIONS).json["uploaded"] is False
    file.write_text(file.read_text().replace("OpenAI-compatible", "OpenAI compatible"))
    assert cli(*arguments, *MODEL_OPTIONS).json["uploaded"] is True
    assert cli(*arguments, *MODEL_OPTIONS, IMAGE).status == 2
    assert api.invalid == []


def test_a_pipeline_compiled_from_an_eval_yaml_keeps_its_inputs(
    cli: Cli, api: KfpApi, write: Callable[..., Path], catalog: Path, tmp_path: Path
) -> None:
    config = write("eval.yaml", EVERYTHING)
    done = cli("compile", "--config", config, "--catalog", catalog, IMAGE, "--output", tmp_path / "compiled")
    assert done.status == 0, done.err
    arguments = ["submit", tmp_path / "compiled" / "eval.yaml", "--endpoint", api.endpoint, "--detach"]
    done = cli(*arguments)
    assert done.status == 0, done.err
    assert done.json["experiment"] == "nightly"
    assert parameters(api) == {}
    done = cli(*arguments, "--model-name", "llama", "--annotation", "pull-request=1", "--num-examples", 1)
    assert done.status == 0, done.err
    changed = {"model_name": "llama", "num_examples": 1, "oci_annotations": "from=eval.yaml\npull-request=1"}
    assert list(api.runs.values())[1]["runtime_config"]["parameters"] == changed
    assert api.invalid == []


def test_a_file_that_is_another_pipeline_is_refused(
    submitted: Callable[..., Submission], write: Callable[..., Path], api: KfpApi
) -> None:
    for text in ("# PIPELINE DEFINITION\n# Name: x\npipelineInfo: {name: x}\n", "# PIPELINE DEFINITION\n- [\n"):
        with pytest.raises(EvalHubError, match="is no pipeline of a collection"):
            submitted(write("other.yaml", text), images=None)
    assert api.seen == []


def test_a_part_of_a_pipeline_is_refused(
    cli: Cli,
    submitted: Callable[..., Submission],
    api: KfpApi,
    trial: Path,
    catalog: Path,
    tmp_path: Path,
    write: Callable[..., Path],
) -> None:
    done = cli("compile", trial, "--catalog", catalog, IMAGE, "--output", tmp_path / "compiled")
    assert done.status == 0, done.err
    lines = (tmp_path / "compiled" / "trial.yaml").read_text().splitlines(keepends=True)
    second = lines.index("---\n")
    for end in (second, second + 1, second + 5, len(lines) - 1):
        with pytest.raises(EvalHubError, match="is only a part of a pipeline"):
            submitted(write("part.yaml", "".join(lines[:end])), images=None)
    assert api.seen == []


def test_tenants_have_their_own_pipelines_and_experiments(
    submitted: Callable[..., Submission], monkeypatch: pytest.MonkeyPatch
) -> None:
    users = {"token-a": {"team-a"}, "token-b": {"team-b"}}
    monkeypatch.setenv("T_A", "token-a")
    monkeypatch.setenv("T_B", "token-b")
    with kfp_api(multi_user=True, users=users) as api:
        mine = to(api, namespace="team-a", token=SecretReference("T_A"))
        first = submitted(connection=mine)
        theirs = submitted(connection=to(api, namespace="team-b", token=SecretReference("T_B")))
        assert first.namespace == "team-a"
        assert first.pipeline_id != theirs.pipeline_id
        assert {api.namespaces[first.run_id], api.namespaces[theirs.run_id]} == {"team-a", "team-b"}
        assert submitted(connection=mine).pipeline_id == first.pipeline_id
        before = len(api.seen)
        with pytest.raises(Refused, match="you may not do this in namespace team-x") as raised:
            submitted(connection=to(api, namespace="team-x", token=SecretReference("T_A")))
        assert raised.value.status == 403
        with pytest.raises(Refused, match="wants a namespace"):
            submitted(connection=to(api, token=SecretReference("T_A")))
        assert {seen.method for seen in api.seen[before:]} == {"GET"}
        assert api.invalid == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "experiments"),
        ("GET", "pipelines/names"),
        ("POST", "pipelines$"),
        ("POST", "upload_version"),
        ("POST", "experiments"),
        ("POST", "runs"),
    ],
    ids=["look for the experiment", "look for the pipeline", "pipeline", "upload", "experiment", "run"],
)
@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (refuses(401), Refused, "wants to know who you are"),
        (refuses(403), Refused, "you may not do this"),
        (answers(404, "page not found"), NotTheApi, "is not the API of Kubeflow Pipelines"),
        (refuses(429), Unavailable, "too many requests"),
        (refuses(500, "database is gone"), Unavailable, "database is gone"),
        (refuses(500, "Data too long for column 'Name'"), Refused, "the database does not take this"),
        (answers(200, "ok"), Unavailable, "is not the API of Kubeflow Pipelines"),
        (drops, Unavailable, "broke off"),
    ],
    ids=["401", "403", "404", "429", "500", "too long", "no JSON", "dropped"],
)
def test_a_failure_starts_nothing_and_the_next_submission_works(
    submitted: Callable[..., Submission],
    api: KfpApi,
    method: str,
    path: str,
    behaviour: Any,
    kind: type[EvalHubError],
    words: str,
) -> None:
    # asked for as often as a question is asked, so that patience does not help
    api.fail(method, path, behaviour, times=4 if method == "GET" else 1)
    with pytest.raises(kind, match=words):
        submitted(connection=to(api, timeout=2))
    assert api.runs == {}
    api.faults.clear()
    submitted()
    assert len(api.pipelines) == len(api.versions) == len(api.runs) == 1
    assert [found["display_name"] for found in api.experiments.values()].count("trial") == 1
    assert api.invalid == []


@pytest.mark.parametrize("path", ["pipelines$", "upload_version", "experiments", "runs"])
def test_what_was_made_although_the_answer_was_lost_is_used(
    submitted: Callable[..., Submission], api: KfpApi, path: str
) -> None:
    api.fail("POST", path, without_an_answer)
    done = submitted(name="mine")
    assert only(api.runs)["run_id"] == done.run_id
    assert len(api.asked("POST", "runs")) == 1
    assert len(api.pipelines) == len(api.versions) == 1
    assert api.invalid == []


def test_another_run_of_the_same_name_is_not_taken_for_ours(submitted: Callable[..., Submission], api: KfpApi) -> None:
    first = submitted(name="mine")
    api.fail("POST", "runs", drops)
    with pytest.raises(Unavailable, match=r"whether run 'mine' was started is not known .*evalhub-kfp list"):
        submitted(name="mine")
    assert list(api.runs) == [first.run_id]
    api.fail("POST", "runs", without_an_answer)
    assert submitted(name="mine").run_id not in ("", first.run_id)
    assert len(api.runs) == 2


@pytest.mark.parametrize("path", ["pipelines$", "upload_version", "experiments"])
def test_two_jobs_that_submit_at_once_share_what_they_need(
    submitted: Callable[..., Submission], api: KfpApi, path: str
) -> None:
    api.fail("POST", path, after_another)
    submitted()
    assert len(api.pipelines) == len(api.versions) == len(api.runs) == 1
    assert [found["display_name"] for found in api.experiments.values()].count("trial") == 1
    assert api.invalid == []


def test_a_slow_server_is_waited_for(submitted: Callable[..., Submission], api: KfpApi) -> None:
    for path in ("upload_version", "runs"):
        api.fail("POST", path, slow(0.5))
    submitted()
    assert (uploads(api), len(api.asked("POST", "runs"))) == (1, 1)


def test_what_cannot_be_compiled_leaves_nothing(submitted: Callable[..., Submission], api: KfpApi) -> None:
    with pytest.raises(EvalHubError, match="may change"):
        submitted(images={"obedient": "example.org/obedient:latest"})
    assert {seen.method for seen in api.seen} == {"GET"}


LONG = {"model": MODEL, "benchmarks": [{"id": "a", "provider_id": "obedient"}]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": None}, ["model_url: is missing (give --model-url", "model_name: is missing"]),
        (
            {"model": None, "source": {"benchmarks": [{"id": "a", "provider_id": "obedient", "judge": True}]}},
            ["model_url: is missing", "model_name: is missing", "judge_url: is missing", "judge_name: is missing"],
        ),
        (
            {"source": {**LONG, "experiment": {"required": True}}, "mlflow_uri": "sqlite:///x", "mlflow_secret": "A"},
            ["experiment.required: is not supported", "mlflow_uri: must be an http", "mlflow_secret: must be the name"],
        ),
        ({"mlflow_uri": f"http://me:{TOKEN}@mlflow"}, ["mlflow_uri: must be", "--mlflow-secret"]),
        ({"ca_config_map": "Certs!"}, ["ca_config_map: must be the name of a config map"]),
        ({"num_examples": 0}, ["num_examples"]),
        (
            {"service_account": "", "image_pull_secrets": ["pull", "Bad Name"], "mlflow_secret": ""},
            [
                "service_account: must be the name of a service account",
                "image_pull_secrets[1]: must be the name of a secret",
                "mlflow_secret: must",
            ],
        ),
        ({"service_account": "Bad Name"}, ["service_account: must be the name of a service account"]),
        ({"model": {**MODEL, "name": "{{workflow.name}}"}}, ["model_name: must not contain {{"]),
        (
            {"source": {**LONG, "experiment": {"tags": {"a": "x" * 9000, "b": "y" * 900}}}},
            ["may have 10000 (the largest: experiment_tags 99"],
        ),
        ({"annotations": {"pull-request": "1"}}, ["--annotation: the evidence goes to no registry (give --push-to"]),
        (
            {"source": EVERYTHING, "annotations": {"org.opencontainers.image.created": "x"}},
            ["--annotation: annotations: must not use org.opencontainers.image.created"],
        ),
        ({"experiment": "x" * 129}, ["must have 1 to 128 bytes"]),
        ({"name": "two\nlines"}, ["--name: must be one line"]),
        ({"name": "\U0001f680"}, ["--name: must be one line", "without emoji"]),
        ({"model": {**MODEL, "name": "\U0001f680"}}, ["model_name: must not contain characters such as emoji"]),
        ({"tags": ["x" * 250]}, ["tags and owner"]),
        ({"source": "no-such-collection"}, ["there is no such collection"]),
    ],
    ids=[
        "no model",
        "no model and no judge",
        "three at once",
        "password in an address",
        "config map",
        "no examples",
        "no name of an account",
        "bad name of an account",
        "placeholder",
        "too large",
        "annotation of nothing",
        "reserved annotation",
        "experiment",
        "name",
        "emoji in the name",
        "emoji in a parameter",
        "tags",
        "collection",
    ],
)
def test_bad_input_sends_nothing_and_is_said_all_at_once(
    submitted: Callable[..., Submission],
    api: KfpApi,
    write: Callable[..., Path],
    changes: dict[str, Any],
    words: list[str],
) -> None:
    source = changes.pop("source", None)
    if isinstance(source, dict):
        # without a model it is a collection
        changes = {"source": write("trial.yaml" if "model" not in source else "eval.yaml", source), **changes}
    elif source:
        changes["source"] = source
    with pytest.raises(EvalHubError) as raised:
        submitted(**changes)
    for word in words:
        assert word in str(raised.value)
    assert TOKEN not in str(raised.value)
    assert api.seen == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--annotation", "x", "--annotation", "y=", "--annotation", "a=1", "--annotation", "a=2"], "got a again"),
        (["--wait", "--detach"], "--detach does not wait"),
        (["--timeout", "5m"], "only --wait reads a verdict"),
        (["--image", "nobody=example.org/x:1"], "there is no provider 'nobody'"),
        (["--image", "nobody=example.org/x:1", "--image-lock", "lock.json"], "there is no provider 'nobody'"),
        (["--config", "eval.yaml"], "either SOURCE or --config"),
        (["--provider", "obedient", "-b", "a"], "give either SOURCE, or --provider"),
        (["--wait", "--report", "junit=trial.yaml/x.xml"], "trial.yaml"),
        ([*PUSHED, "--key", "trial.yaml"], "trial.yaml: is no public key in PEM"),
        ([*PUSHED, "--registry-ca", "trial.yaml"], "trial.yaml: holds no certificate"),
        ([*PUSHED, "--pull-secret", "nope"], "--pull-secret: there is no folder"),
        ([*PUSHED, "--evidence", "quay.io/team/evals:nightly"], "--evidence: must be HOST/REPOSITORY"),
        (["--registry-secret", "x"], "--registry-secret: the evidence goes to no registry (give --push-to"),
        (["--service-account", ""], "service_account: must be the name of a service account"),
        (["--image-pull-secret", "Bad Name"], "image_pull_secrets[0]: must be the name of a secret"),
        (["--namespace", "Bad_NS"], "--namespace: must be a namespace"),
    ],
    ids=[
        "annotations",
        "wait and detach",
        "time-out of nothing",
        "image",
        "image beside a lock",
        "two sources",
        "provider",
        "report",
        "key",
        "certificates",
        "pull secret",
        "evidence",
        "registry secret of nothing",
        "service account",
        "image pull secret",
        "namespace",
    ],
)
def test_wrong_usage_sends_nothing(command: Callable[..., Done], api: KfpApi, arguments: list[str], words: str) -> None:
    done = command(*arguments)
    assert done.status == 2
    assert words in done.err
    assert done.out == ""
    assert api.seen == []


def test_a_token_is_sent_as_a_header_and_nowhere_else(command: Callable[..., Done], api: KfpApi) -> None:
    api.users = {TOKEN: set()}
    api.fail("POST", "runs", refuses(400, f"no: {TOKEN}"))
    environ = {"KF_PIPELINES_TOKEN": TOKEN, "KF_PIPELINES_ENDPOINT": api.endpoint}
    done = command("--push-to", "quay.io/team/x", "--registry-secret", "registry-credentials", environ=environ)
    assert done.status == 2
    assert TOKEN not in done.out + done.err
    assert all(seen.headers["authorization"] == f"Bearer {TOKEN}" for seen in api.seen)
    sent = json.dumps([(seen.path, seen.query, seen.body) for seen in api.seen])
    assert TOKEN not in sent
    assert TOKEN not in json.dumps([api.versions, api.pipelines, api.runs])
    assert "registry-credentials" in sent
    assert command("--detach", environ=environ).json["run_id"] in api.runs


@pytest.mark.parametrize("lost", [False, True], ids=["before the answer", "while a lost one is looked for"])
def test_an_interrupted_submission_says_what_is_not_known(
    cli: Cli, api: KfpApi, trial: Path, catalog: Path, eventually: Callable[[Callable[[], Any]], Any], lost: bool
) -> None:
    api.fail("POST", "runs", drops if lost else hangs)
    api.fail("GET", "runs", hangs)
    process = cli.start(
        "submit", trial, "--catalog", catalog, IMAGE, *MODEL_OPTIONS, "--endpoint", api.endpoint, "--detach"
    )
    eventually(lambda: api.asked("GET" if lost else "POST", "runs"))
    process.send_signal(signal.SIGINT)
    done = cli.ended(process)
    assert done.status == 130
    assert "interrupted: whether run" in done.err
    assert done.out == ""


def test_waiting_shows_the_run_at_once_and_ends_with_it(
    cli: Cli, api: KfpApi, trial: Path, catalog: Path, eventually: Callable[[Callable[[], Any]], Any]
) -> None:
    process = cli.start(
        *("submit", trial, "--catalog", catalog, IMAGE, *MODEL_OPTIONS, "--endpoint", api.endpoint),
        *("--wait", "--format", "json", "--push-to", "registry.example/evals"),
    )
    run_id = eventually(lambda: next(iter(api.runs), None))
    api.advance(run_id, "CANCELED")
    done = cli.ended(process)
    assert done.status == 2
    assert f"run         {run_id}\n" in done.err
    assert "cancelled" in done.err
    assert not done.out or json.loads(done.out)
    assert api.invalid == []


def test_a_run_whose_verdict_nobody_could_read_is_not_waited_for(command: Callable[..., Done], api: KfpApi) -> None:
    done = command("--wait")
    assert done.status == 2
    assert "without a verdict that can be read (give --push-to or --mlflow-uri" in done.err
    assert api.seen == []


SIGNED = ["--push-to", "registry.example/evals", "--signing-secret", "evidence-signing"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mlflow-uri", "http://mlflow"], "the run pushes no evidence (give --push-to"),
        (SIGNED[:2], "nobody signs the evidence of the run (give --signing-secret"),
        (SIGNED[2:], "the run pushes no evidence (give --push-to"),
    ],
    ids=["MLflow alone", "unsigned", "not pushed"],
)
def test_a_signature_that_nobody_makes_is_not_waited_for(
    command: Callable[..., Done], api: KfpApi, tmp_path: Path, options: list[str], words: str
) -> None:
    keys.generate(tmp_path / "pair")
    done = command("--wait", "--key", tmp_path / "pair" / "public.key", *options)
    assert done.status == 2
    assert f"--key: {words}" in done.err
    assert api.seen == []


@pytest.mark.parametrize("compiled", [False, True], ids=["an eval.yaml", "a compiled pipeline"])
def test_a_signature_that_is_made_is_waited_for(
    cli: Cli, api: KfpApi, tmp_path: Path, catalog: Path, write: Callable[..., Path], compiled: bool
) -> None:
    keys.generate(tmp_path / "pair")
    source = write("eval.yaml", EVERYTHING)
    options: list[object] = ["--catalog", catalog, IMAGE]
    if compiled:
        assert cli("compile", "--config", source, *options, "--output", tmp_path / "compiled").status == 0
        source, options = tmp_path / "compiled" / "eval.yaml", []
    key = ("--key", tmp_path / "pair" / "public.key")
    done = cli("submit", source, *options, "--endpoint", api.endpoint, "--wait", "--timeout", "1s", *key)
    assert done.status == 124, done.err
    assert len(api.runs) == 1


def test_a_password_in_the_variable_for_mlflow_names_the_variable(command: Callable[..., Done], api: KfpApi) -> None:
    environ = {"MLFLOW_TRACKING_URI": f"http://me:{TOKEN}@mlflow.example"}
    done = command(environ=environ)
    assert done.status == 2
    assert "MLFLOW_TRACKING_URI: must be an http or https address" in done.err
    assert "--mlflow-uri" in done.err
    assert TOKEN not in done.err
    assert api.seen == []
    assert command("--mlflow-uri", "http://mlflow.example", "--detach", environ=environ).status == 0


def test_a_registry_secret_for_a_compiled_pipeline_that_pushes_nothing_is_named(
    cli: Cli, api: KfpApi, trial: Path, catalog: Path, tmp_path: Path
) -> None:
    assert cli("compile", trial, "--catalog", catalog, IMAGE, "--output", tmp_path / "compiled").status == 0
    file = tmp_path / "compiled" / "trial.yaml"
    done = cli("submit", file, *MODEL_OPTIONS, "--endpoint", api.endpoint, "--registry-secret", "x")
    assert done.status == 2
    assert "--registry-secret: the evidence goes to no registry" in done.err
    assert "coordinates" not in done.err
    assert api.seen == []


def test_waiting_too_long_leaves_the_run_alone_and_says_which_it_is(
    command: Callable[..., Done], api: KfpApi, tmp_path: Path
) -> None:
    reports = ("--report", f"tekton={tmp_path / 'results'}")
    done = command("--wait", "--timeout", "1s", "--push-to", "registry.example/evals", *reports)
    assert done.status == 124
    assert (tmp_path / "results" / "RUN_ID").read_text() == only(api.runs)["run_id"]
    assert f"run         {only(api.runs)['run_id']}\n" in done.out
    assert only(api.runs)["state"] == "PENDING"


def test_an_answer_without_an_id_is_no_started_run(submitted: Callable[..., Submission], api: KfpApi) -> None:
    api.fail("POST", "runs", answers(200, '{"status": "ok"}', Content_Type="application/json"))
    with pytest.raises(EvalHubError, match="whether run 'mine' was started is not known"):
        submitted(name="mine")
    assert api.runs == {}


def test_a_server_that_is_away_is_an_error(cli: Cli, trial: Path, catalog: Path) -> None:
    done = cli("submit", trial, "--catalog", catalog, IMAGE, *MODEL_OPTIONS, "--endpoint", "http://127.0.0.1:9")
    assert done.status == 2
    assert "nothing answers there" in done.err
    done = cli("submit", trial, "--catalog", catalog, IMAGE, *MODEL_OPTIONS)
    assert done.status == 2
    assert "nobody says where Kubeflow Pipelines is" in done.err


def test_pipelines_have_names_that_kubernetes_takes_and_collections_share_none() -> None:
    ids = ["leaderboard-v2", "leaderboard_v2", "Leaderboard-V2", "team/leaderboard-v2", "x" * 200, "x" * 201]
    names = [pipeline_versions.pipeline_name(name) for name in ids]
    assert names[0] == "evalhub-leaderboard-v2"
    assert len(set(names)) == len(ids)
    assert all(len(name) <= pipeline_versions.NAME_LIMIT and name.replace("-", "").isalnum() for name in names)
    assert all(name == name.lower() for name in names)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, RunDescription()),
        ("made by hand\nowner:nobody", RunDescription()),
        ("tag: a\ntag: b\ntag: a\nowner: me\nowner: you", RunDescription(owner="me", tags=("a", "b"))),
        ("  model: m\r\nfuture_key: x", RunDescription(model="m")),
    ],
    ids=["none", "by hand", "twice", "other keys"],
)
def test_a_description_of_anybody_is_read_for_what_it_says(text: str | None, expected: RunDescription) -> None:
    assert run_description.parse(text) == expected


def test_a_description_is_read_as_it_was_written() -> None:
    said = RunDescription("me", ("a, b", "x=y: z"), "1", "c", "1.0", "c0ffee", "m", "text")
    assert run_description.parse(said.text()) == said
    assert run_description.parse(RunDescription(owner="me\nmodel: other").text()).model is None


def test_a_description_is_as_long_as_the_server_keeps_and_leaves_out_what_matters_least() -> None:
    said = RunDescription("me", ("a", "b"), "1", "c" * 60, "1.0", "c" * 40, "m" * 40, "long " * 99)
    text = said.text()
    assert len(text) == run_description.LIMIT
    assert text.endswith("...")
    assert run_description.parse(text) == replace(said, description=run_description.parse(text).description)
    assert run_description.parse(replace(said, model="m" * 200).text()).model is None
    with pytest.raises(EvalHubError, match="tags and owner of a run: have more than 255 characters"):
        replace(said, tags=("a" * 150, "b" * 150)).text()


@pytest.mark.parametrize("name", ["release \U0001f680", "b\u00e9ta"], ids=["emoji", "accent"])
def test_a_run_is_kept_by_a_database_that_does_not_take_emoji(
    submitted: Callable[..., Submission], api: KfpApi, write: Callable[..., Path], name: str
) -> None:
    submitted(write("eval.yaml", {**EVERYTHING, "name": name, "tags": [name], "description": name * 99}), model=None)
    kept = name.replace("\U0001f680", "\ufffd")
    assert only(api.runs)["display_name"].startswith(kept)
    assert run_description.parse(only(api.runs)["description"]).tags == (kept,)


def test_without_a_connection_the_environment_says_where_to(
    submitted: Callable[..., Submission], api: KfpApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", api.endpoint)
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kubeflow.example/pipeline")
    done = submitted(connection=None)
    assert done.dashboard == f"https://kubeflow.example/pipeline/#/runs/details/{done.run_id}"


def test_all_problems_are_in_the_error(submitted: Callable[..., Submission]) -> None:
    with pytest.raises(InvalidDocument) as raised:
        submitted(model=None)
    assert [problem.where for problem in raised.value.problems] == ["model_url", "model_name"]
