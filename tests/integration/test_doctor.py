"""`doctor` against real servers: each check holds, fails with its cure, or says that it could not look."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from click.testing import CliRunner
from conftest import Done
from container_engine import Engine, engine
from kfp_api import KfpApi, kfp_api, refuses
from kubernetes_api import EVERYTHING, KubernetesApi, kubernetes_api
from mlflow_servers import free_port, mlflow_server, proxied, silent_server
from registries import (
    LOGIN,
    READER,
    RunningRegistry,
    plain_registry,
    tls_registry,
    token_registry,
    write_certificates,
)
from stub_http import StubApi, StubRequest, answers, hangs, served

from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.signing import keys
from evalhub_pipelines import doctor, manifests
from evalhub_pipelines.cli.doctor import doctor as command
from evalhub_pipelines.demo_model import DemoModelServer, DemoModelSettings, running
from evalhub_pipelines.doctor import Finding

__all__ = ["engine", "plain_registry", "tls_registry", "token_registry"]  # fixtures

COMPLAINT = "Cannot connect to the Docker daemon"
NO_DAEMON = f"echo '{COMPLAINT}' >&2; exit 1"

NAMESPACE = "team-a"
API_KEY = "sk-doctor-of-the-tests-1"
KFP_TOKEN = "kfp-token-of-the-tests-2"
ADMIN_TOKEN = "admin-token-of-the-tests-3"
ALICE_TOKEN = "alice-token-of-the-tests-4"
MLFLOW_TOKEN = "mlflow-token-of-the-tests-5"
SECRETS = (API_KEY, KFP_TOKEN, ADMIN_TOKEN, ALICE_TOKEN, MLFLOW_TOKEN, LOGIN[1], READER[1])
RUNNER = f"system:serviceaccount:{NAMESPACE}:evalhub-runner"


@dataclass
class World:
    """A laptop with an empty PATH, Kubeflow with the namespace that `manifests` describes, and an eval.yaml."""

    cli: Any
    kfp: KfpApi
    kubernetes: KubernetesApi
    document: dict[str, Any] = field(default_factory=dict)
    options: list[object] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.cli.folder

    def __call__(self, *options: object, config: bool = False, alone: bool = False, **environ: str) -> Seen:
        """Run `doctor --format json`; the names of variables come as they are.

        Args:
            alone: as a process of its own, as people do.
        """
        given = [*self.options, *options]
        if config:
            (self.folder / "eval.yaml").write_text(yaml.safe_dump(self.document))
            given += ["--config", "eval.yaml", "--catalog", self.cli.catalog]
        given += ["--format", "json"]
        environ = {**self.environ, **environ}
        done = self.cli("doctor", *given, environ=environ) if alone else self._here(given, environ)
        for secret in SECRETS:
            assert secret not in done.out + done.err
        assert self.kfp.invalid == []
        assert self.kubernetes.invalid == []
        return Seen(done)

    def _here(self, arguments: list[object], environ: Mapping[str, str]) -> Done:
        """Run the command in this process, which spares half a second, with nothing of its own environment."""
        surroundings = mock.patch.dict(os.environ, {**self.cli.environ, **environ}, clear=True)
        with surroundings, contextlib.chdir(self.folder):
            ended = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
        return Done(ended.exit_code, ended.stdout, ended.stderr)

    def secret(self, name: str, **values: str) -> Path:
        """Put a secret's keys where runs on this machine find them; `_` in names of keys stands for `-`."""
        folder = self.folder / "secrets" / name
        folder.mkdir(parents=True, exist_ok=True)
        for key, value in values.items():
            (folder / key.replace("_", "-")).write_text(value)
        return folder

    def as_user(self, token: str) -> None:
        """Ask Kubernetes as somebody."""
        self.environ["KUBECONFIG"] = str(self.kubernetes.kubeconfig(self.folder, token))


class Seen:
    """What the command said."""

    def __init__(self, done: Any) -> None:
        assert done.out, done.err
        self.status = done.status
        self.findings = {finding["check"]: finding for finding in done.json["findings"]}
        self.ok = done.json["ok"]

    def marks(self) -> dict[str, str]:
        return {name: finding["mark"] for name, finding in self.findings.items()}

    def says(self, check: str, mark: str, *words: str) -> None:
        """Assert that a check has a mark, and all of these words."""
        finding = self.findings[check]
        assert finding["mark"] == mark, finding
        for word in words:
            assert word in finding["found"], finding


def surroundings(cli: Any) -> dict[str, str]:
    """Variables of a laptop with an empty PATH."""
    nothing = cli.folder / "empty"
    nothing.mkdir()
    environ = {"PATH": str(nothing), "EVALHUB_SECRETS": str(cli.folder / "secrets")}
    return environ | {"KF_PIPELINES_TOKEN": KFP_TOKEN, "XDG_CONFIG_HOME": str(cli.folder / "config")}


@pytest.fixture
def world(cli: Any) -> Iterator[World]:
    """Everything is there, and nothing named yet but Kubeflow and the namespace."""
    environ = surroundings(cli)
    with (
        kfp_api(multi_user=True, dashboard=True, users={KFP_TOKEN: {NAMESPACE}}) as kfp,
        kubernetes_api({ADMIN_TOKEN: "admin", ALICE_TOKEN: "alice"}) as kubernetes,
    ):
        kubernetes.apply(manifests.render(manifests.tenant_of(NAMESPACE, ["User:alice"])))
        kubernetes.allow("admin", NAMESPACE, EVERYTHING)
        environ["KF_PIPELINES_ENDPOINT"] = kfp.endpoint
        made = World(cli, kfp, kubernetes, environ=environ, options=["-n", NAMESPACE])
        made.as_user(ADMIN_TOKEN)
        yield made


@pytest.fixture(scope="module")
def keyed() -> Iterator[DemoModelServer]:
    """A model that wants a key."""
    with running(DemoModelSettings(skill=1, api_key=API_KEY)) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def starting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[str] | None]:
    """An MLflow that takes its seconds to start while the first tests run, where one is to use it."""
    here = [item for item in request.session.items if item.path == request.path]
    if not any("tracking" in item.fixturenames for item in here if isinstance(item, pytest.Function)):
        yield None
        return
    server = mlflow_server(tmp_path_factory.mktemp("mlflow"), None, "--allowed-hosts", "localhost:*")
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        yield pool.submit(stack.enter_context, server)


@pytest.fixture(scope="module")
def tracking(starting: Future[str]) -> str:
    """The address of an MLflow that may be called localhost, and by no other name."""
    return starting.result().replace("127.0.0.1", "localhost")


def of_model(url: str, **keys: Any) -> dict[str, Any]:
    return {
        "model": {"url": url, "name": "demo-model", **keys},
        "benchmarks": [{"id": "a", "provider_id": "obedient"}],
    }


def of_registry(registry: RunningRegistry, repository: str = "team/evidence", **keys: Any) -> dict[str, Any]:
    coordinates = {"oci_host": registry.address, "oci_repository": repository}
    return {"oci": {"coordinates": coordinates, **keys}}


def test_without_arguments_it_is_about_this_machine_alone(world: World) -> None:
    del world.environ["KF_PIPELINES_ENDPOINT"]
    world.options = []
    seen = world(alone=True)
    assert (seen.status, seen.ok) == (0, True)
    seen.says("python", "ok", "3.")
    seen.says("uv", "ok", "uv ")
    seen.says("environments", "ok", "of 9 are ready", "lm_evaluation_harness", "evalhub-kfp providers install")
    seen.says("cluster", "skipped", "--endpoint")
    for name in ("model", "registry"):
        seen.says(name, "skipped", "--config")
    seen.says("mlflow", "skipped", "--mlflow-uri")
    assert world.kubernetes.seen == []


def test_people_get_a_line_a_check_and_a_sum(world: World) -> None:
    del world.environ["KF_PIPELINES_ENDPOINT"]
    done = world.cli("doctor", "--engine-command", "no-such-engine", environ=world.environ)
    assert done.status == 2
    lines = [line.split() for line in done.out.splitlines()]
    assert ["failed", "engine"] in [line[:2] for line in lines]
    assert ["skipped", "cluster"] in [line[:2] for line in lines]
    assert lines[-1] == ["1", "failed,", "0", "unknown"]
    assert world.cli("doctor", environ=world.environ).out.splitlines()[-1] == "all that was asked for holds"


def test_who_submits_with_the_rights_of_manifests_is_told_what_only_administrators_see(world: World) -> None:
    world.as_user(ALICE_TOKEN)
    world.document = of_model("http://model.serving.svc:8000/v1", auth={"secret_ref": "m"})
    seen = world("--only", "cluster", "--ca-config-map", "ca", config=True)
    assert (seen.status, seen.ok) == (2, False)
    seen.says("rights to submit", "ok", "alice")
    seen.says("secret m", "unknown", "model.auth.secret_ref", "kubectl describe secret m -n team-a")
    seen.says("config map ca", "unknown", "kubectl describe configmap ca")
    seen.says("service account", "unknown", "kubectl get serviceaccount -n team-a")
    seen.says("rights of runs", "unknown", "administers the namespace")
    seen.says("model", "unknown", "m are not on this machine", str(world.folder / "secrets" / "m"))
    world.secret("m", api_key=API_KEY)
    seen = world("--only", "cluster", "--allow-unknown", config=True)
    seen.says("model", "unknown", "model.serving.svc", "only a pod can ask it")
    assert (seen.status, seen.ok) == (0, True)


def test_one_user_needs_no_rights_that_kubeflow_pipelines_would_ask_for(world: World) -> None:
    world.kubernetes.objects.pop(("RoleBinding", NAMESPACE, "evalhub-submitter"))
    rules = [{"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}]
    world.kubernetes.allow("alice", NAMESPACE, {"rules": rules})
    world.as_user(ALICE_TOKEN)
    world("--only", "cluster").says("rights to submit", "failed", "runs.pipelines.kubeflow.org")
    with kfp_api(dashboard=True) as alone:
        seen = world("--only", "cluster", KF_PIPELINES_ENDPOINT=alone.endpoint)
    seen.says("kfp endpoint", "ok", "one user")
    seen.says("kfp runs", "ok")
    seen.says("rights to submit", "ok")


def binding_is_missing(world: World) -> None:
    world.kubernetes.objects.pop(("RoleBinding", NAMESPACE, "evalhub-submitter"))
    world.as_user(ALICE_TOKEN)


def rule_is_missing(world: World) -> None:
    role = world.kubernetes.objects["Role", NAMESPACE, "evalhub-submitter"]
    role["rules"] = [rule for rule in role["rules"] if rule["resources"] != ["jobs"]]
    world.as_user(ALICE_TOKEN)


def account_is_missing(world: World) -> None:
    world.kubernetes.objects.pop(("ServiceAccount", NAMESPACE, "evalhub-runner"))


def runs_lack_rights(world: World) -> None:
    world.kubernetes.objects.pop(("RoleBinding", NAMESPACE, "evalhub-runner"))


def runs_may(*verbs: str, names: tuple[str, ...] = ()) -> Callable[[World], None]:
    def given(world: World) -> None:
        rule: dict[str, Any] = {"apiGroups": [""], "resources": ["secrets"], "verbs": list(verbs)}
        world.kubernetes.allow(RUNNER, NAMESPACE, {"rules": [rule | ({"resourceNames": list(names)} if names else {})]})

    return given


def everybody_may(world: World) -> None:
    world.kubernetes.add(
        {
            "kind": "RoleBinding",
            "metadata": {"namespace": NAMESPACE, "name": "everybody"},
            "roleRef": {"kind": "Role", "name": "admin"},
            "subjects": [{"kind": "Group", "name": "system:serviceaccounts:team-a"}],
        }
    )


def kept(name: str, kind: str = "Opaque", **values: str) -> Callable[[World], None]:
    return lambda world: world.kubernetes.secret(NAMESPACE, name, kind, **values)


def unnamed_fields(world: World) -> None:
    world.kubernetes.written_by = False
    world.kubernetes.secret(NAMESPACE, "push", "kubernetes.io/dockerconfigjson", dockerconfigjson="secret-of-the-tests")


def config_map(**data: str) -> Callable[[World], None]:
    metadata = {"namespace": NAMESPACE, "name": "ca"}
    return lambda world: world.kubernetes.add({"kind": "ConfigMap", "data": data, "metadata": metadata})


def as_nobody(world: World) -> None:
    world.as_user("token-of-nobody")


def without_configuration(world: World) -> None:
    del world.environ["KUBECONFIG"]


def with_nonsense(world: World) -> None:
    path = world.folder / "nonsense"
    path.write_text("- no configuration\n")
    world.environ["KUBECONFIG"] = str(path)


def with_nowhere(world: World) -> None:
    port = world.kubernetes.port
    world.kubernetes.port = free_port()
    world.as_user(ADMIN_TOKEN)
    world.kubernetes.port = port


def with_another_server(world: World) -> None:
    world.kubernetes.fail("POST", "", answers(200, "<html>Log in</html>", Content_Type="text/html"))


def with_another_api(world: World) -> None:
    world.kubernetes.fail("POST", "", refuses(404))


def with_old_kubernetes(world: World) -> None:
    world.kubernetes.named = False


@pytest.mark.parametrize(
    ("arrange", "check", "mark", "words"),
    [
        pytest.param(with_old_kubernetes, "kubernetes", "ok", ["somebody it does not name"], id="no-selfsubjectreview"),
        pytest.param(with_old_kubernetes, "rights to submit", "ok", ["you may"], id="rights-without-a-name"),
        pytest.param(with_another_server, "kubernetes", "failed", ["is not the API of Kubernetes"], id="a-page"),
        pytest.param(
            with_another_api, "rights to submit", "failed", ["is not the API of Kubernetes"], id="another-api"
        ),
        pytest.param(as_nobody, "kubernetes", "failed", ["does not know who you are", "log in again"], id="401"),
        pytest.param(without_configuration, "kubernetes", "unknown", ["set KUBECONFIG"], id="no-kubeconfig"),
        pytest.param(without_configuration, "service account", "unknown", ["see kubernetes"], id="nothing-without-it"),
        pytest.param(
            with_nonsense, "kubernetes", "failed", ["nonsense", "kubectl config view"], id="no-kubeconfig-at-all"
        ),
        pytest.param(
            with_nowhere, "kubernetes", "failed", ["nothing answers there", "right context"], id="unreachable"
        ),
        pytest.param(
            lambda world: world.kubernetes.fail("POST", "reviews", refuses(500)),
            "kubernetes",
            "failed",
            ["answered 500", "ordered by the test"],
            id="500",
        ),
        pytest.param(
            binding_is_missing,
            "rights to submit",
            "failed",
            [
                *("create", "runs.pipelines.kubeflow.org", "every --subject that it has"),
                "evalhub-kfp manifests --namespace team-a --subject User:alice",
            ],
            id="not-bound",
        ),
        pytest.param(
            rule_is_missing,
            "rights to submit",
            "failed",
            ["may not get and list and create and enable and disable and delete jobs.pipelines.kubeflow.org (apply"],
            id="one-rule-missing",
        ),
        pytest.param(
            account_is_missing,
            "service account",
            "failed",
            ["there is no evalhub-runner", "evalhub-kfp manifests --namespace team-a", "--service-account"],
            id="no-account",
        ),
        pytest.param(
            runs_lack_rights,
            "rights of runs",
            "failed",
            ["get configmaps kfp-launcher", "workflowtaskresults.argoproj.io", "manifests --namespace team-a"],
            id="account-without-rights",
        ),
        pytest.param(
            runs_may("get"), "rights of runs", "failed", ["may get secrets through the API", "binding"], id="get-all"
        ),
        pytest.param(runs_may("list", "watch"), "rights of runs", "failed", ["list and watch secrets"], id="list-all"),
        pytest.param(
            runs_may("get", names=("evidence-signing", "push")),
            "rights of runs",
            "failed",
            ["get secrets evidence-signing", "get secrets push", "every benchmark"],
            id="get-by-name",
        ),
        pytest.param(
            everybody_may,
            "rights of runs",
            "failed",
            ["list"],
            id="by-a-group",
        ),
        pytest.param(
            runs_may("get", names=("mlpipeline-minio-artifact",)), "rights of runs", "ok", [], id="the-store-is-allowed"
        ),
        pytest.param(
            lambda world: None,
            "secret push",
            "failed",
            [
                "exports.oci.k8s.connection: push in team-a: there is no such secret",
                "kubectl create secret generic push -n team-a --type=kubernetes.io/dockerconfigjson "
                "--from-file=.dockerconfigjson",
            ],
            id="no-secret",
        ),
        pytest.param(
            kept("push", "kubernetes.io/dockerconfigjson", token="t"),
            "secret push",
            "failed",
            ["has no .dockerconfigjson, but token", "kubectl delete secret push -n team-a && kubectl create secret"],
            id="wrong-key",
        ),
        pytest.param(
            kept("push", dockerconfigjson="{}"),
            "secret push",
            "failed",
            ["is of type Opaque, and must be kubernetes.io/dockerconfigjson", "kubectl delete secret push", "--type="],
            id="wrong-type",
        ),
        pytest.param(
            kept("push", "kubernetes.io/dockerconfigjson", dockerconfigjson="{}"),
            "secret push",
            "ok",
            ["keys .dockerconfigjson"],
            id="right-secret",
        ),
        pytest.param(unnamed_fields, "secret push", "ok", ["keys .dockerconfigjson"], id="writers-left-no-fields"),
        pytest.param(kept("m", hf_token="t"), "secret m", "failed", ["has no api-key or ca_cert"], id="model-key"),
        pytest.param(
            kept("ml", username="u"),
            "secret ml",
            "failed",
            ["has no token or username and password"],
            id="half-a-login",
        ),
        pytest.param(kept("sign", api_key="k"), "secret sign", "failed", ["has no private.key"], id="signing-key"),
        pytest.param(
            kept("data", AWS_ACCESS_KEY_ID="a"),
            "secret data",
            "failed",
            ["test_data_ref.s3.secret_ref", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"],
            id="test-data",
        ),
        pytest.param(
            lambda world: None, "config map ca", "failed", ["kubectl create configmap ca -n team-a"], id="no-config-map"
        ),
        pytest.param(
            config_map(other="x"),
            "config map ca",
            "failed",
            ["has no ca-bundle.crt, but other", "kubectl delete configmap ca -n team-a && kubectl create configmap ca"],
            id="config-map-key",
        ),
    ],
)
def test_the_namespace(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    arrange: Callable[[World], object],
    check: str,
    mark: str,
    words: list[str],
) -> None:
    arrange(world)
    world.document = of_model("http://model.serving.svc/v1", auth={"secret_ref": "m"})
    coordinates = {"oci_host": "registry.team.svc", "oci_repository": "e"}
    world.document["exports"] = {"oci": {"coordinates": coordinates, "k8s": {"connection": "push"}}}
    world.document["exports"]["signing"] = {"secret_ref": "sign"}
    s3 = {"bucket": "b", "key": "k", "secret_ref": "data"}
    world.document["benchmarks"][0]["test_data_ref"] = {"s3": s3}
    found = findings(world, monkeypatch, mlflow_secret="ml", ca_config_map="ca")
    assert found[check].mark == mark, found[check]
    for word in words:
        assert word in found[check].found
    assert "secret-of-the-tests" not in str(found)
    assert found["kfp endpoint"].mark == "ok"


def findings(world: World, monkeypatch: pytest.MonkeyPatch, **options: Any) -> dict[str, Finding]:
    """What the Python function finds of the cluster; nothing of this machine's own settings is seen."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "MLFLOW_TRACKING_URI", "EVALHUB_CA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**world.environ, "HOME": str(world.folder / "home")}.items():
        monkeypatch.setenv(name, value)
    path = world.folder / "eval.yaml"
    path.write_text(yaml.safe_dump(world.document))
    source = path if world.document else None
    found = doctor.check(
        source, only=["cluster"], **{"namespace": NAMESPACE, "catalog": world.cli.catalog, "timeout": 60, **options}
    )
    assert world.kfp.invalid == []
    assert world.kubernetes.invalid == []
    assert len({finding.check for finding in found}) == len(found)
    assert all(isinstance(finding, Finding) for finding in found)
    return {finding.check: finding for finding in found}


def of_version(tag: str | None) -> Callable[[World], None]:
    content = json.dumps({"multi_user": True, **({"apiServerTagName": tag} if tag else {})})
    return lambda world: world.kfp.fail("GET", "healthz", answers(200, content, Content_Type="application/json"), 1000)


def refuses_runs(status: int) -> Callable[[World], None]:
    return lambda world: world.kfp.fail("GET", "/runs$", refuses(status), 1000)


def with_another_token(world: World) -> None:
    world.kfp.users.clear()
    world.kfp.users["another"] = {NAMESPACE}


def with_another_namespace(world: World) -> None:
    world.kfp.users[KFP_TOKEN] = {"team-b"}


def at(endpoint: str) -> Callable[[World], None]:
    return lambda world: world.environ.update(KF_PIPELINES_ENDPOINT=endpoint)


@pytest.mark.parametrize(
    ("arrange", "check", "mark", "words"),
    [
        pytest.param(with_another_token, "kfp endpoint", "failed", ["$KF_PIPELINES_TOKEN holds", "renew"], id="401"),
        pytest.param(refuses_runs(401), "kfp runs", "failed", ["$KF_PIPELINES_TOKEN holds", "renew"], id="401-later"),
        pytest.param(
            with_another_namespace,
            "kfp runs",
            "failed",
            ["may not do this in namespace team-a", "ask for the rights"],
            id="403",
        ),
        pytest.param(refuses_runs(404), "kfp runs", "failed", ["no such thing"], id="404"),
        pytest.param(
            lambda world: setattr(world.kfp, "prefix", "/elsewhere"),
            "kfp endpoint",
            "failed",
            ["is not the API of Kubeflow Pipelines"],
            id="not-the-api",
        ),
        pytest.param(
            lambda world: setattr(world.kfp, "prefix", "/pipeline"),
            "kfp endpoint",
            "failed",
            ["the API is at", "/pipeline: use that"],
            id="the-api-is-elsewhere",
        ),
        pytest.param(
            at(f"http://127.0.0.1:{free_port()}"),
            "kfp endpoint",
            "failed",
            ["nothing answers", "port-forward"],
            id="nobody",
        ),
        pytest.param(
            at(f"http://127.0.0.1:{free_port()}"), "kfp runs", "unknown", ["see kfp endpoint"], id="nothing-without-it"
        ),
        pytest.param(at("ftp://kubeflow"), "kfp endpoint", "failed", ["http or https"], id="no-address"),
        pytest.param(of_version("2.17.1"), "kfp version", "ok", ["2.17.1"], id="2.17"),
        pytest.param(of_version("2.20.0"), "kfp version", "ok", ["2.20.0"], id="later"),
        pytest.param(of_version("2.5.0"), "kfp version", "failed", ["too old", "2.17"], id="older"),
        pytest.param(of_version("3.0.0"), "kfp version", "failed", ["another generation", "2.17"], id="3"),
        pytest.param(of_version("1.8.22"), "kfp version", "failed", ["another generation"], id="1"),
        pytest.param(of_version("dev_local"), "kfp version", "unknown", ["is no number"], id="no-number"),
        pytest.param(of_version(None), "kfp version", "unknown", ["that of the dashboard does"], id="not-told"),
        pytest.param(of_version(None), "kfp runs", "ok", [NAMESPACE], id="the-rest-is-looked-at"),
    ],
)
def test_kubeflow_pipelines(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    arrange: Callable[[World], object],
    check: str,
    mark: str,
    words: list[str],
) -> None:
    arrange(world)
    found = findings(world, monkeypatch)
    assert found[check].mark == mark, found[check]
    for word in words:
        assert word in found[check].found
    # whatever Kubeflow Pipelines says, Kubernetes was asked
    assert found["rights of runs"].mark == "ok"


def test_a_namespace_must_be_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(world, monkeypatch, namespace=None)
    assert found["kfp runs"].mark == "failed"
    assert "KF_PIPELINES_NAMESPACE" in found["kfp runs"].found
    for name in ("rights to submit", "service account", "rights of runs"):
        assert (found[name].mark, "--namespace" in found[name].found) == ("unknown", True)


def test_with_one_user_runs_happen_where_kubeflow_pipelines_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.kubernetes.allow("admin", "kubeflow", EVERYTHING)
    with kfp_api(dashboard=True) as alone:
        world.environ["KF_PIPELINES_ENDPOINT"] = alone.endpoint
        found = findings(world, monkeypatch, namespace=None)
        assert "there is no evalhub-runner of namespace kubeflow" in found["service account"].found
        assert found["rights to submit"].mark == "ok"
        assert alone.invalid == []


def test_a_secret_with_several_users_is_looked_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    auth = {"auth": {"secret_ref": "m"}}
    world.document = of_model("http://model.serving.svc/v1", **auth)
    world.document["judge"] = {"url": "http://judge.serving.svc/v1", "name": "j", **auth}
    found = findings(world, monkeypatch)
    assert found["secret m"].found.startswith("model.auth.secret_ref and judge.auth.secret_ref: m in team-a")
    assert len(world.kubernetes.asked("GET", "/secrets/m$")) == 1


@pytest.mark.parametrize("module", ["kfp_server_api", "kubernetes"])
def test_without_the_optional_part_nothing_of_the_cluster_is_seen(world: World, module: str) -> None:
    (world.folder / "sitecustomize.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n")
    seen = world("--only", "cluster", alone=True, PYTHONPATH=str(world.folder))
    seen.says("extra kfp", "failed", "pip install 'evalhub-kfp[kfp]'")
    seen.says("kfp endpoint" if module == "kfp_server_api" else "kubernetes", "failed", "pip install")
    assert (seen.status, world.kfp.seen == [] or world.kubernetes.seen == []) == (2, True)


def test_a_token_that_only_pods_have_is_no_failure(world: World, keyed: DemoModelServer) -> None:
    world.document = of_model(keyed.base_url, auth={"service_account": True})
    world("--only", "cluster", config=True).says("model", "unknown", "only the pods", "EVALHUB_SERVICE_ACCOUNT_TOKEN")
    world("--only", "laptop", config=True).says("model", "failed", "EVALHUB_SERVICE_ACCOUNT_TOKEN")
    token = world.folder / "token"
    token.write_text(API_KEY)
    seen = world("--only", "cluster", config=True, EVALHUB_SERVICE_ACCOUNT_TOKEN=str(token))
    seen.says("model", "ok", "asked from here, not from a pod")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"only": ["cloud"]}, "only: must be laptop or cluster, got 'cloud'"), ({"timeout": 0}, "timeout: must be more")],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(EvalHubError, match=message):
        doctor.check(**options)


def test_the_certificate_of_kubernetes_is_checked(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = write_certificates(tmp_path / "tls")
    with kubernetes_api({ADMIN_TOKEN: "admin"}, certificates) as api:
        api.allow("admin", NAMESPACE, EVERYTHING)
        world.environ["KUBECONFIG"] = str(api.kubeconfig(tmp_path, ADMIN_TOKEN))
        found = findings(world, monkeypatch)["kubernetes"]
        assert (found.mark, "certificate-authority" in found.found) == ("failed", True), found
        assert api.seen == []
        world.environ["KUBECONFIG"] = str(api.kubeconfig(tmp_path, ADMIN_TOKEN, tmp_path / "tls" / "ca.crt"))
        assert findings(world, monkeypatch)["kubernetes"].mark == "ok"


def test_other_accounts_and_store_secrets_can_be_meant(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.kubernetes.apply(manifests.render(manifests.tenant_of(NAMESPACE, runner="mine", store_secret=None)))
    found = findings(world, monkeypatch, service_account="mine", store_secret=None)
    assert (found["service account"].mark, found["rights of runs"].mark) == ("ok", "ok")
    found = findings(world, monkeypatch, service_account="mine", store_secret="store")
    assert (found["rights of runs"].mark, "get secrets store" in found["rights of runs"].found) == ("failed", True)
    # what would mend it is about the account and the secret that were meant
    cure = "evalhub-kfp manifests --namespace team-a --service-account mine --store-secret store"
    assert cure in found["rights of runs"].found
    found = findings(world, monkeypatch, service_account="none", store_secret=None)
    cure = "evalhub-kfp manifests --namespace team-a --service-account none --no-store-secret"
    assert cure in found["service account"].found


def test_servers_that_hang_hide_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.kfp.fail("GET", "", hangs, 1000)
    world.kubernetes.fail("POST", "reviews", hangs)
    world.kubernetes.fail("GET", "", hangs)
    stuck = program(world.folder / "bin" / "docker", "exec sleep 600")
    with silent_server() as silent:
        world.document = of_model(f"{silent}/v1")
        coordinates = {"oci_host": silent, "oci_repository": "e"}
        world.document["exports"] = {"oci": {"coordinates": coordinates}}
        options = ["--mlflow-uri", silent, "--engine-command", stuck, "--timeout", "6", "--ca-config-map", "ca"]
        seen = world(*options, config=True, alone=True, PATH=f"{world.folder / 'bin'}:{os.environ['PATH']}")
        world.kfp.stopping.set()
        world.kubernetes.stopping.set()
    late = {
        *("engine", "kfp endpoint", "kubernetes", "service account", "rights of runs", "config map ca"),
        *("model", "registry", "mlflow"),
    }
    assert {name for name, mark in seen.marks().items() if mark == "failed"} == late
    assert {name for name, mark in seen.marks().items() if mark == "unknown"} <= {
        *("kfp version", "kfp runs", "rights to submit")
    }
    assert seen.status == 2


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def left_in(registry: RunningRegistry, repository: str) -> list[Path]:
    """What somebody left in a repository."""
    found = [path for path in registry.repository(repository).rglob("*") if path.is_file()]
    # of a cancelled upload this registry keeps the state of its checksum, which nothing refers to
    return [path for path in found if "hashstates" not in path.parts]


class TestLaptop:
    """What runs on this machine need."""

    @pytest.fixture
    def world(self, cli: Any) -> World:
        """A laptop without anything; nobody needs Kubeflow or Kubernetes, so they do not run."""
        return World(cli, KfpApi(), KubernetesApi(), environ=surroundings(cli), options=["--only", "laptop"])

    @pytest.mark.parametrize(
        ("script", "command", "mark", "words"),
        [
            pytest.param("echo 27", None, "ok", ["docker answers"], id="answers"),
            pytest.param(NO_DAEMON, None, "skipped", [COMPLAINT, "start it", "--engine container"], id="no-daemon"),
            pytest.param(NO_DAEMON, "docker", "failed", [COMPLAINT, "start it"], id="no-daemon-and-named"),
            pytest.param(None, None, "skipped", ["--engine container"], id="none"),
            pytest.param(None, "podman", "failed", ["podman: is not there", "install it"], id="named-and-missing"),
        ],
    )
    def test_the_container_engine(
        self, world: World, script: str | None, command: str | None, mark: str, words: list[str]
    ) -> None:
        if script:
            program(world.folder / "empty" / "docker", script)
        seen = world(*(["--engine-command", command] if command else []))
        seen.says("engine", mark, *words)
        assert seen.status == (2 if mark == "failed" else 0)

    def test_a_container_engine_that_runs(self, world: World, engine: Engine) -> None:
        seen = world("--engine-command", engine.command, **engine.environ)
        seen.says("engine", "ok", f"{engine.command} answers")
        seen.says("cluster", "skipped", "--only cluster")

    @pytest.mark.parametrize(
        ("module", "extra"),
        [("kfp_server_api", "kfp"), ("mlflow", "mlflow"), ("oras", "oci"), ("boto3", "data")],
    )
    def test_an_optional_part_that_nothing_needs_is_not_missed(self, world: World, module: str, extra: str) -> None:
        (world.folder / "sitecustomize.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n")
        seen = world(alone=True, PYTHONPATH=str(world.folder))
        seen.says(f"extra {extra}", "skipped", f"pip install 'evalhub-kfp[{extra}]'")
        assert seen.status == 0

    def test_an_optional_part_that_an_eval_yaml_needs_is(
        self, world: World, model: DemoModelServer, plain_registry: RunningRegistry
    ) -> None:
        (world.folder / "sitecustomize.py").write_text("import sys\nsys.modules['oras'] = None\n")
        world.document = of_model(model.base_url) | {"exports": of_registry(plain_registry)}
        seen = world(config=True, alone=True, PYTHONPATH=str(world.folder))
        seen.says("extra oci", "failed", "pip install 'evalhub-kfp[oci]'")
        seen.says("registry", "failed", "pip install 'evalhub-kfp[oci]'")
        assert seen.status == 2

    @pytest.mark.parametrize(
        ("content", "mark", "words"),
        [
            pytest.param(None, "failed", ["no folder", "ca-bundle.crt"], id="no-folder"),
            pytest.param({}, "failed", ["has no ca-bundle.crt"], id="no-file"),
            pytest.param({"ca-bundle.crt": "no PEM"}, "failed", ["holds no certificates"], id="no-certificates"),
        ],
    )
    def test_certificates(self, world: World, content: Mapping[str, str] | None, mark: str, words: list[str]) -> None:
        folder = world.folder / "ca"
        if content is not None:
            folder.mkdir()
            for name, text in content.items():
                (folder / name).write_text(text)
        world(EVALHUB_CA=str(folder)).says("ca", mark, *words)

    @pytest.mark.parametrize(
        ("keys_of", "words"),
        [
            pytest.param(None, ["there is no folder", "one file a key"], id="no-folder"),
            pytest.param({}, ["has no file private.key"], id="no-key"),
            pytest.param({"private.key": ""}, ["private.key is empty"], id="empty"),
            pytest.param({"private.key": "no PEM"}, ["is no private key in PEM", "keys generate"], id="no-pem"),
        ],
    )
    def test_a_signing_key_that_cannot_sign(
        self, world: World, model: DemoModelServer, keys_of: Mapping[str, str] | None, words: list[str]
    ) -> None:
        if keys_of is not None:
            world.secret("sign", **keys_of)
        world.document = of_model(model.base_url) | {"exports": {"signing": {"secret_ref": "sign"}}}
        seen = world(config=True)
        seen.says("secret sign here", "failed", *words)
        seen.says("model", "ok", "demo-model answers")
        assert seen.status == 2

    def test_a_document_with_mistakes_hides_nothing_else(self, world: World) -> None:
        world.document = of_model("http://m/v1") | {"colection": "x"}
        seen = world(config=True)
        seen.says("evaluation", "failed", "colection")
        seen.says("python", "ok")
        assert seen.status == 2

    def test_a_collection_names_providers_and_no_model(self, world: World) -> None:
        seen = world("--config", "smoke-v1")
        seen.says("evaluation", "ok", "smoke-v1")
        seen.says("model", "skipped")
        assert seen.status == 0

    def test_a_judge_that_is_needed_and_not_named_is_missed(self, world: World, model: DemoModelServer) -> None:
        entry = {"id": "ragas_rag_full", "provider_id": "ragas"}
        world.document = of_model(model.base_url) | {"benchmarks": [entry]}
        world(config=True).says("judge", "failed", "ragas_rag_full", "judge: {url, name}")

    def test_a_model_that_answers(self, world: World, keyed: DemoModelServer) -> None:
        world.secret("m", api_key=API_KEY)
        world.document = of_model(keyed.base_url, auth={"secret_ref": "m"})
        seen = world(config=True)
        seen.says("model", "ok", f"demo-model answers at {keyed.base_url}")
        assert seen.status == 0

    @pytest.mark.parametrize(
        ("key", "changes", "words"),
        [
            pytest.param(None, {}, ["refuses access, HTTP 401", "set model.auth.secret_ref"], id="no-key"),
            pytest.param("wrong-key-1", {}, ["refuses access", "the key in model.auth.secret_ref"], id="wrong-key"),
            pytest.param(API_KEY, {"name": "other"}, ["named 'other'", "it serves: demo-model"], id="other-name"),
            pytest.param(
                API_KEY, {"url": f"http://127.0.0.1:{free_port()}/v1"}, ["nothing listens there"], id="nobody"
            ),
            pytest.param(API_KEY, {"url": "https://model.invalid/v1"}, ["host name is unknown"], id="no-such-host"),
        ],
    )
    def test_a_model_that_does_not_answer(
        self, world: World, keyed: DemoModelServer, key: str | None, changes: dict[str, str], words: list[str]
    ) -> None:
        if key:
            world.secret("m", api_key=key)
        auth = {"auth": {"secret_ref": "m"}} if key else {}
        world.document = of_model(keyed.base_url, **auth)
        world.document["model"] |= changes
        seen = world(config=True)
        seen.says("model", "failed", *words)
        assert seen.status == 2

    def test_a_registry_that_takes_evidence_is_left_as_it_was(
        self, world: World, model: DemoModelServer, plain_registry: RunningRegistry
    ) -> None:
        world.document = of_model(model.base_url) | {"exports": of_registry(plain_registry)}
        seen = world(config=True)
        seen.says("registry", "ok", "team/evidence can be pushed to and read")
        assert left_in(plain_registry, "team/evidence") == []
        assert seen.status == 0

    @pytest.mark.parametrize(
        ("login", "trusts", "words"),
        [
            pytest.param(None, True, ["only who is logged in may push to it"], id="nobody"),
            pytest.param(READER, True, ["'reader' may not push to it"], id="reader"),
            pytest.param((LOGIN[0], "wrong-password-9"), True, ["user name or password is wrong"], id="wrong-password"),
            pytest.param(LOGIN, False, ["certificate is not trusted", "EVALHUB_CA"], id="unknown-ca"),
        ],
    )
    def test_a_registry_that_refuses(
        self,
        world: World,
        model: DemoModelServer,
        token_registry: RunningRegistry,
        login: tuple[str, str] | None,
        trusts: bool,
        words: list[str],
    ) -> None:
        if login:
            token_registry.secret_of(*login, name=str(world.folder / "secrets" / "push"))
        k8s = {"k8s": {"connection": "push"}} if login else {}
        world.document = of_model(model.base_url) | {"exports": of_registry(token_registry, **k8s)}
        if trusts:
            bundle = world.folder / "ca"
            bundle.mkdir()
            assert token_registry.ca
            (bundle / "ca-bundle.crt").write_bytes(token_registry.ca.read_bytes())
            world.environ["EVALHUB_CA"] = str(bundle)
        seen = world(config=True)
        seen.says("registry", "failed", *words)
        seen.says("model", "ok")
        assert "wrong-password-9" not in str(seen.findings)

    def test_something_that_is_no_registry(self, world: World, model: DemoModelServer) -> None:
        coordinates = {"oci_host": model.base_url.removesuffix("/v1"), "oci_repository": "e"}
        world.document = of_model(model.base_url) | {"exports": {"oci": {"coordinates": coordinates}}}
        world(config=True).says("registry", "failed", "no OCI registry")

    def test_mlflow_that_refuses_its_name_is_told_how_to_allow_it(self, world: World, tracking: str) -> None:
        address = tracking.replace("localhost", "127.0.0.1")
        seen = world("--mlflow-uri", address)
        seen.says("mlflow", "failed", f"--allowed-hosts {address.removeprefix('http://')}")
        assert seen.status == 2

    def test_mlflow_of_the_environment_that_is_away(self, world: World) -> None:
        seen = world(MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}")
        seen.says("mlflow", "failed", "nothing listens there", "start the server")

    def test_mlflow_that_refuses_credentials(self, world: World) -> None:
        with refusing(401) as address:
            world(MLFLOW_TRACKING_URI=address, MLFLOW_TRACKING_TOKEN=MLFLOW_TOKEN).says(
                "mlflow", "failed", "refuses these credentials", "mlflow_secret"
            )

    def test_a_password_in_an_address_is_refused_and_not_shown(self, world: World) -> None:
        seen = world("--mlflow-uri", f"http://user:{MLFLOW_TOKEN}@127.0.0.1:{free_port()}")
        seen.says("mlflow", "failed", "must hold no password", "MLFLOW_TRACKING_PASSWORD")

    def test_a_file_is_no_server_and_is_not_made(self, world: World) -> None:
        seen = world("--mlflow-uri", "sqlite:///mlflow.db")
        seen.says("mlflow", "skipped", "is no server")
        assert not (world.folder / "mlflow.db").exists()


def test_pods_have_no_login_of_this_user(
    world: World, model: DemoModelServer, tls_registry: RunningRegistry, tmp_path: Path
) -> None:
    folder = tls_registry.secret_of(*LOGIN, name=str(tmp_path / "docker"))
    (folder / ".dockerconfigjson").rename(folder / "config.json")
    bundle = tmp_path / "ca"
    bundle.mkdir()
    assert tls_registry.ca
    (bundle / "ca-bundle.crt").write_bytes(tls_registry.ca.read_bytes())
    world.environ |= {"EVALHUB_CA": str(bundle), "DOCKER_CONFIG": str(folder)}
    world.document = of_model(model.base_url) | {"exports": of_registry(tls_registry)}
    world("--only", "laptop", config=True).says("registry", "ok")
    world("--only", "cluster", config=True).says("registry", "failed", "only who is logged in may push to it")


def test_all_that_an_eval_yaml_names_holds_here_and_on_the_cluster(
    world: World, keyed: DemoModelServer, tls_registry: RunningRegistry, tmp_path: Path, tracking: str
) -> None:
    world.secret("m", api_key=API_KEY)
    world.secret("ml", token=MLFLOW_TOKEN)
    tls_registry.secret_of(*LOGIN, name=str(tmp_path / "secrets" / "push"))
    keys.generate(tmp_path / "secrets" / "sign")
    for name, kind, key in (
        ("m", "Opaque", "api_key"),
        ("ml", "Opaque", "token"),
        ("push", "kubernetes.io/dockerconfigjson", "dockerconfigjson"),
        ("sign", "Opaque", "private_key"),
    ):
        world.kubernetes.secret(NAMESPACE, name, kind, **{key: "a value that nobody reads"})
    authorities = {"namespace": NAMESPACE, "name": "authorities"}
    world.kubernetes.add({"kind": "ConfigMap", "data": {"ca-bundle.crt": "PEM"}, "metadata": authorities})
    auth = {"auth": {"secret_ref": "m"}}
    world.document = of_model(keyed.base_url, **auth) | {
        "judge": {"url": keyed.base_url, "name": "demo-model", **auth},
        "exports": of_registry(tls_registry, k8s={"connection": "push"}) | {"signing": {"secret_ref": "sign"}},
    }
    assert tls_registry.ca
    bundle = tmp_path / "ca"
    bundle.mkdir()
    (bundle / "ca-bundle.crt").write_bytes(tls_registry.ca.read_bytes())
    with proxied(tracking) as proxy:
        seen = world(
            *("--mlflow-uri", proxy.address, "--mlflow-secret", "ml", "--ca-config-map", "authorities"),
            config=True,
            alone=True,
            EVALHUB_CA=str(bundle),
        )
        # the client greets a server before it asks
        assert proxy.seen[-1].headers["Authorization"] == f"Bearer {MLFLOW_TOKEN}"
    assert {name: mark for name, mark in seen.marks().items() if mark != "ok"} == {"engine": "skipped"}
    assert (seen.status, seen.ok) == (0, True)
    assert list(seen.findings) == [
        *("evaluation", "python", *(f"extra {name}" for name in ("cli", "kfp", "mlflow", "oci", "data", "report"))),
        *("uv", "environments", "engine", "ca"),
        *(f"secret {name} here" for name in ("m", "push", "sign", "ml")),
        *("kfp endpoint", "kfp version", "kfp runs", "kubernetes", "rights to submit"),
        *("service account", "rights of runs", *(f"secret {name}" for name in ("m", "push", "sign", "ml"))),
        *("config map authorities", "model", "judge", "registry", "mlflow"),
    ]
    # of secrets only names of keys were asked for, and the registry has nothing of it
    assert {request.query.get("includeObject") for request in world.kubernetes.asked("GET", "/secrets/")} == {
        "Metadata"
    }
    assert left_in(tls_registry, "team/evidence") == []


@contextlib.contextmanager
def refusing(status: int) -> Iterator[str]:
    """A server that answers every request with one status; the block gets its address."""

    class Refusing(StubRequest):
        def serve(self) -> None:
            self.answer(status)

    with served(StubApi(), Refusing) as api:
        yield api.address
