"""What the suite makes in a namespace through the Kubernetes API, and takes away again."""

from __future__ import annotations

import base64
import io
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.utils import FailToCreateError, create_from_dict

import evalhub_pipelines
from evalhub_pipelines.demo_model import API_KEY_VARIABLE

ENABLED = "pipelines.kubeflow.org/enabled"
"""Label that makes Kubeflow's controller prepare a namespace for pipelines."""

STORE_SECRET = "mlpipeline-minio-artifact"
"""What that controller puts into it, and a run's pods need."""

PORT = 8000


@dataclass
class Namespace:
    """A namespace, and what was made in it.

    Attributes:
        patience: seconds until what must happen counts as not happening.
        is_own: whether all of it goes in the end.
        made: what was not there before, the oldest first.
    """

    api: client.ApiClient
    name: str
    patience: int
    is_own: bool = False
    made: list[dict[str, Any]] = field(default_factory=list, repr=False)

    @property
    def core(self) -> client.CoreV1Api:
        return client.CoreV1Api(self.api)

    def create(self) -> None:
        """Make the namespace itself, and wait until Kubeflow has prepared it."""
        metadata = {"name": self.name, "labels": {ENABLED: "true"}}
        self.is_own = self._create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

        def prepared() -> bool:
            with suppress(ApiException):
                return bool(self.core.read_namespaced_secret(STORE_SECRET, self.name))
            return False

        cure = "name a namespace that Kubeflow made for a Profile: EVALHUB_CLUSTER_NAMESPACE"
        until(prepared, self.patience, f"the secret {STORE_SECRET} appears in {self.name} ({cure})")

    def apply(self, text: str) -> list[str]:
        """Make the objects of a YAML file, once all of them have passed the server's dry run; return what was new.

        What is there already stays as it is, and stays there in the end.
        """
        __tracebackhide__ = True  # pytest shows what functions were called with
        documents = [document for document in yaml.safe_load_all(text) if document]
        for document in documents:
            self._create(document, dry_run="All")
        new = [document for document in documents if self._create(document)]
        self.made += new
        return [f"{document['kind']}/{document['metadata']['name']}" for document in new]

    def secret(self, name: str, files: Mapping[str, str | bytes], kind: str = "Opaque") -> str:
        """Make a secret, and return its name."""
        __tracebackhide__ = True
        data = {
            key: base64.b64encode(value if isinstance(value, bytes) else value.encode()) for key, value in files.items()
        }
        self._make("v1", "Secret", name, type=kind, data={key: value.decode() for key, value in data.items()})
        return name

    def config_map(self, name: str, **content: Mapping[str, str]) -> str:
        """Make a config map with `data` or `binaryData`, and return its name."""
        self._make("v1", "ConfigMap", name, **content)
        return name

    def demo_model(self, name: str, image: str, key_secret: str, pull_secret: str | None) -> str:
        """Start the demo model in the components' image, and return its address as pods see it.

        That image does not have it, so it comes as an archive in a config map.
        """
        self.config_map(name, binaryData={"demo.zip": base64.b64encode(_archive()).decode()})
        labels = {"app.kubernetes.io/name": name}
        key = {"secretKeyRef": {"name": key_secret, "key": "api-key"}}
        container = {
            "name": "model",
            "image": image,
            "command": ["python", "-m", "evalhub_pipelines.demo_model"],
            "args": ["--host", "$(POD_IP)", "--port", str(PORT), "--skill", "1"],
            "env": [
                {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "PYTHONPATH", "value": "/demo/demo.zip"},
                {"name": API_KEY_VARIABLE, "valueFrom": key},
            ],
            "ports": [{"containerPort": PORT}],
            "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 2},
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": "demo", "mountPath": "/demo"}],
        }
        pod = {
            "containers": [container],
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "demo", "configMap": {"name": name}}],
            **({"imagePullSecrets": [{"name": pull_secret}]} if pull_secret else {}),
        }
        # in a mesh its pods would talk TLS to strangers
        outside = {"sidecar.istio.io/inject": "false"}
        template = {"metadata": {"labels": {**labels, **outside}, "annotations": outside}, "spec": pod}
        self._make("v1", "Service", name, spec={"selector": labels, "ports": [{"port": PORT, "targetPort": PORT}]})
        self._make("apps/v1", "Deployment", name, spec={"selector": {"matchLabels": labels}, "template": template})
        apps = client.AppsV1Api(self.api)

        def is_up() -> bool:
            return bool(apps.read_namespaced_deployment_status(name, self.name).status.available_replicas)

        until(is_up, self.patience, f"the demo model runs: kubectl -n {self.name} describe deployment {name}")
        address = self.core.read_namespaced_service(name, self.name).spec.cluster_ip
        return f"http://{f'[{address}]' if ':' in address else address}:{PORT}/v1"

    def pod_uid(self, name: str) -> str | None:
        """Return which pod has this name, None when there is none."""
        try:
            return str(self.core.read_namespaced_pod(name, self.name).metadata.uid)
        except ApiException as error:
            if error.status != 404:
                raise
            return None

    def is_running(self, pod: str) -> bool:
        try:
            return bool(self.core.read_namespaced_pod(pod, self.name).status.phase == "Running")
        except ApiException as error:
            if error.status != 404:
                raise
            return False

    def remove(self) -> None:
        """Take away everything that was made."""
        for document in reversed(self.made):
            with suppress(ApiException):
                self._delete(document)
        if self.is_own:
            with suppress(ApiException):
                self.core.delete_namespace(self.name)

            def is_gone() -> bool:
                try:
                    self.core.read_namespace(self.name)
                except ApiException as error:
                    return bool(error.status == 404)
                return False

            until(is_gone, self.patience, f"the namespace {self.name} goes")

    def _make(self, version: str, kind: str, name: str, **content: Any) -> None:
        __tracebackhide__ = True
        metadata = {"name": name, "namespace": self.name}
        new = self.apply(yaml.safe_dump({"apiVersion": version, "kind": kind, "metadata": metadata, **content}))
        assert new, f"there is a {kind} {name} already"

    def _create(self, document: dict[str, Any], **options: str) -> bool:
        """Create an object, and return whether it was not there."""
        __tracebackhide__ = True
        try:
            create_from_dict(self.api, document, namespace=self.name, **options)
        except FailToCreateError as error:
            refused = error.api_exceptions
            if all(each.status == 409 for each in refused):
                return False
            why = "; ".join(f"{each.status} {each.reason}: {each.body}" for each in refused)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        else:
            return True
        # not from the error: its frames were called with what a secret holds
        raise AssertionError(f"{document['kind']} {document['metadata']['name']} cannot be made: {why}") from None

    def _delete(self, document: Mapping[str, Any]) -> None:
        core, rbac = self.core, client.RbacAuthorizationV1Api(self.api)
        delete: dict[str, Callable[..., Any]] = {
            "Secret": core.delete_namespaced_secret,
            "ConfigMap": core.delete_namespaced_config_map,
            "ServiceAccount": core.delete_namespaced_service_account,
            "Service": core.delete_namespaced_service,
            "Role": rbac.delete_namespaced_role,
            "RoleBinding": rbac.delete_namespaced_role_binding,
            "NetworkPolicy": client.NetworkingV1Api(self.api).delete_namespaced_network_policy,
            "Deployment": client.AppsV1Api(self.api).delete_namespaced_deployment,
        }
        delete[document["kind"]](document["metadata"]["name"], self.name)


def until(condition: Callable[[], Any], patience: float, what: str) -> Any:
    """Wait until `condition` returns something true, and return that."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not happen in {patience:g} s that {what}"
        time.sleep(0.5)
    return found


def _archive() -> bytes:
    """Return the demo model as a zip archive that Python imports from: it needs the standard library alone."""
    package = Path(evalhub_pipelines.__file__).parent
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in [package / "__init__.py", *sorted(package.glob("demo_model/**/*.py"))]:
            archive.write(path, path.relative_to(package.parent))
    return content.getvalue()
