"""The suite that needs a cluster: a namespace, and the command line in it. README.md says what it is told, and how.

It runs when somebody asks for this folder by name, never with all tests: it makes things on whatever
KF_PIPELINES_ENDPOINT names.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

# with --import-mode=importlib modules beside a test are not found otherwise
sys.path.insert(0, str(Path(__file__).parent))

import cluster_settings

if TYPE_CHECKING:
    from cluster_namespace import Namespace

    from evalhub_pipelines.client.connection import Connection

HERE = Path(__file__).resolve().parent
COMMAND = Path(sys.executable).with_name("evalhub-kfp")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    asked = [(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(HERE) for path in asked) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ.get(cluster_settings.ENDPOINT):
        skip = pytest.mark.skip(reason=f"{cluster_settings.ENDPOINT} is not set: there is no cluster to run on")
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(skip)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    removal = sys.modules.get("cluster_removal")
    for text in removal.left if removal else []:
        terminalreporter.write_line(f"left behind: {text}")


class Done(NamedTuple):
    """A command that ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Cluster:
    """A namespace that is ready for evaluations, and the command line for it.

    Attributes:
        prefix: what the names of all that the suite makes begin with.
        folder: for files.
        catalog: with the suite's provider.
        model: keys of `model` in an eval.yaml.
        exports: keys of `exports`.
        options: that `submit` and `schedule apply` need for this catalogue and these images.
        reading: that commands need which read evidence on Kubeflow Pipelines.
        checking: that `verify` needs to get at it.
        key: public key of the evidence's signer.
        confidential: what no command may show.
    """

    settings: cluster_settings.Settings
    namespace: Namespace
    connection: Connection
    prefix: str
    folder: Path
    environ: dict[str, str] = field(repr=False)
    catalog: Path = Path()
    model: dict[str, Any] = field(default_factory=dict)
    exports: dict[str, Any] = field(default_factory=dict)
    ca_config_map: str | None = None
    options: list[str] = field(default_factory=list)
    reading: list[str] = field(default_factory=list)
    checking: list[str] = field(default_factory=list)
    key: Path = Path()
    confidential: list[str] = field(default_factory=list, repr=False)
    applied: list[str] = field(default_factory=list)
    started: list[subprocess.Popen[str]] = field(default_factory=list, repr=False)

    def __call__(self, *arguments: object) -> Done:
        """Run a command to its end."""
        return self.ended(self.start(*arguments))

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(COMMAND), *map(str, arguments)],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def ended(self, process: subprocess.Popen[str]) -> Done:
        out, err = process.communicate(timeout=self.settings.timeout)
        if any(secret in out + err for secret in self.confidential):
            # an assertion would show it too
            pytest.fail(f"a command shows a secret: {process.args}", pytrace=False)
        assert "Traceback" not in err, err
        return Done(process.returncode, out, err)

    def evaluation(self, name: str, *benchmarks: dict[str, Any], **more: Any) -> Path:
        """Write a collection and an eval.yaml of it, and return the latter's path."""
        from cluster_evaluations import write_evaluation

        keys = {"name": f"{self.prefix}-{name}", "model": self.model, "exports": self.exports}
        keys["experiment"] = {"name": self.prefix}
        return write_evaluation(self.catalog, f"{self.prefix}-{name}", list(benchmarks), keys, **more)

    def submit(self, evaluation: Path, *more: object) -> tuple[object, ...]:
        """Return the arguments that submit an evaluation."""
        ca = ["--ca-config-map", self.ca_config_map] if self.ca_config_map else []
        return ("submit", "--config", evaluation, *ca, *self.options, *more)

    def status(self, run_id: str) -> Any:
        done = self("status", run_id, "--format", "json", *self.reading)
        assert done.status == 0, done.err
        return done.json

    def verify(self, evidence: str) -> Done:
        """Verify evidence as a stranger who has the public key does."""
        return self("verify", evidence, "--key", self.key, "--require-pass", "--format", "json", *self.checking)

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        from cluster_namespace import until

        return until(condition, self.settings.timeout, what)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Everything that evaluations need, made from nothing; whatever was made is gone in the end."""
    import cluster_removal
    from cluster_namespace import Namespace

    from evalhub_pipelines.client import cluster as kubernetes
    from evalhub_pipelines.client.connection import resolve
    from evalhub_pipelines.manifests.tenant import KFP_NAMESPACE

    try:
        settings = cluster_settings.read()
    except cluster_settings.Wrong as error:
        pytest.fail(str(error), pytrace=False)
    prefix = f"evalhub-test-{secrets.token_hex(3)}"
    multi_user = resolve().version().multi_user
    # where there is one user, runs happen in the namespace of the installation
    name = settings.namespace or (prefix if multi_user else KFP_NAMESPACE)
    namespace = Namespace(kubernetes.Cluster().api, name, settings.timeout)
    folder = tmp_path_factory.mktemp("cluster")
    environ = {**os.environ, "EVALHUB_SECRETS": str(folder / "secrets")}
    environ["KF_PIPELINES_NAMESPACE"] = namespace.name if multi_user else ""
    connection = resolve(environ=environ)
    found = Cluster(settings, namespace, connection, prefix, folder, environ)
    try:
        _prepare(found, multi_user)
        yield found
    finally:
        for process in found.started:
            process.kill()
            with suppress(ValueError):  # its output was read
                process.communicate()
        cluster_removal.remove(found)


def _prepare(cluster: Cluster, multi_user: bool) -> None:
    from cluster_evaluations import write_catalog

    from evalhub_pipelines import chosen_images

    settings, namespace, prefix = cluster.settings, cluster.namespace, cluster.prefix
    if multi_user and settings.namespace is None:
        namespace.create()
    _apply_manifests(cluster)
    cluster.catalog = write_catalog(cluster.folder / "catalog", settings.images)
    cluster.options = ["--catalog", str(cluster.catalog), "--image-lock", str(settings.images)]

    model_key = settings.model_key.read_text().strip() if settings.model_key else f"sk-{secrets.token_hex(16)}"
    model_files = {"api-key": model_key}
    if settings.ca:
        cluster.ca_config_map = namespace.config_map(f"{prefix}-ca", data={"ca-bundle.crt": settings.ca.read_text()})
        model_files["ca_cert"] = settings.ca.read_text()
    model_secret = namespace.secret(f"{prefix}-model", model_files)

    pull_secret = None
    if settings.registry_auth:
        login = settings.registry_auth.read_text()
        pull_secret = namespace.secret(
            f"{prefix}-registry", {".dockerconfigjson": login}, "kubernetes.io/dockerconfigjson"
        )
        (cluster.folder / "secrets" / "registry").mkdir(parents=True)
        (cluster.folder / "secrets" / "registry" / ".dockerconfigjson").write_text(login)
        for each in json.loads(login)["auths"].values():
            coded = each.get("auth", "")
            password = base64.b64decode(coded).decode().partition(":")[2]
            cluster.confidential += filter(None, [coded, password, each.get("password")])
        cluster.options += ["--image-pull-secret", pull_secret]
        cluster.reading += ["--pull-secret", "registry"]
        cluster.checking += ["--registry-secret", "registry"]
    cluster.reading += ["--evidence", settings.registry_here]
    if settings.ca:
        cluster.reading += ["--registry-ca", str(settings.ca)]
        cluster.checking += ["--ca", str(settings.ca)]

    made = cluster("keys", "generate", cluster.folder / "keys")
    assert made.status == 0, made.err
    cluster.key = cluster.folder / "keys" / "public.key"
    private = (cluster.folder / "keys" / "private.key").read_text()
    signing_secret = namespace.secret(
        f"{prefix}-signing", {"private.key": private, "public.key": cluster.key.read_text()}
    )
    cluster.confidential += [model_key, private]

    url = settings.model_url
    if url is None:
        image = chosen_images.read_lock(settings.images)["components"]
        url = namespace.demo_model(f"{prefix}-demo-model", image, model_secret, pull_secret)
    cluster.model = {"url": url, "name": settings.model_name, "auth": {"secret_ref": model_secret}}
    host, _, repository = settings.registry.rpartition("://")[2].partition("/")
    scheme = "http://" if settings.registry.startswith("http://") else ""
    oci: dict[str, Any] = {"coordinates": {"oci_host": scheme + host, "oci_repository": repository}}
    if pull_secret:
        oci["k8s"] = {"connection": pull_secret}
    cluster.exports = {"oci": oci, "signing": {"secret_ref": signing_secret}}


def _apply_manifests(cluster: Cluster) -> None:
    settings = cluster.settings
    subject = ["--subject", settings.subject] if settings.subject else []
    own_model = [] if settings.model_url else ["--model-namespace", f"{cluster.namespace.name}:8000"]
    further = [*own_model, *settings.manifests] if settings.manifests else []
    printed = cluster("manifests", "--namespace", cluster.namespace.name, *subject, *further)
    assert printed.status == 0, printed.err
    cluster.applied = cluster.namespace.apply(printed.out)
