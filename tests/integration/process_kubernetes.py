"""The part of Kubernetes' API that evaluations need, on loopback, with processes in the place of pods.

Objects are read as strictly as a server does that knows their fields, by the models of the official client. Those of a
Deployment are started; tasks of pipelines are started by others, who say so with `add_pod`. Deleting a pod kills it.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from executors import Mount, outside
from kubernetes_api import failure, problems
from stub_http import Refusal, StubApi, StubRequest, served

Record = dict[str, Any]

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v1(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+)(?:/(?P<part>log|status))?)?"
)
_KINDS = {
    "namespaces": "Namespace",
    "secrets": "Secret",
    "configmaps": "ConfigMap",
    "serviceaccounts": "ServiceAccount",
    "services": "Service",
    "pods": "Pod",
    "roles": "Role",
    "rolebindings": "RoleBinding",
    "networkpolicies": "NetworkPolicy",
    "deployments": "Deployment",
}
_PROFILE = "pipelines.kubeflow.org/enabled"
_STORE_SECRET = "mlpipeline-minio-artifact"


@dataclass
class PodProcess:
    """A process that is a pod, and what it writes."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """End it with its children."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass
class Kubernetes(StubApi):
    """What clients made.

    Attributes:
        folder: has the files of secrets and config maps as `NAMESPACE/NAME/KEY`, and of pods.
        token: that clients must send.
        forbidden: kinds of objects, as paths call them, that nobody may make.
        pods: the processes by namespace and name of their pods; those that ended too, until they are deleted.
        dry_runs: names of what was tried without being made.
    """

    folder: Path
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    forbidden: set[str] = field(default_factory=set)
    objects: dict[tuple[str, str, str], Record] = field(default_factory=dict)
    pods: dict[tuple[str, str], PodProcess] = field(default_factory=dict)
    invalid: list[str] = field(default_factory=list)
    dry_runs: set[str] = field(default_factory=set)

    def write_kubeconfig(self, path: Path) -> Path:
        cluster = {"name": "processes", "cluster": {"server": self.address}}
        user = {"name": "tester", "user": {"token": self.token}}
        context = {"name": "processes", "context": {"cluster": "processes", "user": "tester"}}
        config = {"clusters": [cluster], "users": [user], "contexts": [context], "current-context": "processes"}
        path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **config}))
        path.chmod(0o600)
        return path

    def files(self, namespace: str) -> dict[str, Path]:
        """Return the folder of every secret and config map of a namespace, as the kubelet would mount it."""
        place = self.folder / namespace
        return {path.name: path for path in place.iterdir()} if place.exists() else {}

    def add_namespace(self, name: str) -> None:
        """Make a namespace that was there before."""
        self.objects["", "namespaces", name] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}

    def add_pod(self, namespace: str, name: str, labels: Mapping[str, str], pod: PodProcess) -> None:
        """Make known what somebody started."""
        metadata = {"name": name, "namespace": namespace, "labels": dict(labels), "uid": str(uuid.uuid4())}
        record = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "main"}]}}
        with self.lock:
            self.pods[namespace, name] = pod
            self.objects[namespace, "pods", name] = record

    def stop(self) -> None:
        with self.lock:
            for pod in self.pods.values():
                pod.kill()

    # what the handler calls, each with the lock held

    def create(self, namespace: str, plural: str, body: Record, dry_run: bool) -> Record:
        if found := problems(body, f"V1{_KINDS[plural]}"):
            self.invalid += found
            raise Refusal(400, f"{_KINDS[plural]} in version v1 cannot be handled: {'; '.join(found)}")
        if plural in self.forbidden:
            raise Refusal(403, f'{plural} is forbidden: User "tester" cannot create resource "{plural}"')
        metadata = body["metadata"]
        if metadata.get("namespace", namespace) != namespace:
            raise Refusal(400, "the namespace of the object does not match the namespace of the request")
        name = str(metadata["name"])
        if namespace and ("", "namespaces", namespace) not in self.objects:
            raise Refusal(404, f'namespaces "{namespace}" not found')
        if (namespace, plural, name) in self.objects:
            raise Refusal(409, f'{plural} "{name}" already exists')
        metadata = {**metadata, "uid": str(uuid.uuid4()), **({"namespace": namespace} if namespace else {})}
        record: Record = {**body, "metadata": metadata}
        if plural == "services":
            # no packets are rewritten here: what a service chooses must have its address
            record["spec"] = {**record["spec"], "clusterIP": _address(namespace)}
        if dry_run:
            self.dry_runs.add(name)
            return record
        self.objects[namespace, plural, name] = record
        if plural in ("secrets", "configmaps"):
            self._write(namespace, name, record)
        if plural == "deployments":
            self._start(namespace, name, record)
        if plural == "namespaces" and metadata.get("labels", {}).get(_PROFILE) == "true":
            # Kubeflow's controller of profiles
            secret = {"metadata": {"name": _STORE_SECRET}, "data": {"accesskey": "bWluaW8="}}
            self.create(name, "secrets", {"apiVersion": "v1", "kind": "Secret", **secret}, dry_run=False)
        return record

    def delete(self, namespace: str, plural: str, name: str) -> Record:
        record = self.find(namespace, plural, name)
        del self.objects[namespace, plural, name]
        if plural == "namespaces":
            for kind, other in [key[1:] for key in self.objects if key[0] == name]:
                # a deployment takes its pod along
                if (name, kind, other) in self.objects:
                    self.delete(name, kind, other)
        if plural == "pods" and (pod := self.pods.pop((namespace, name), None)):
            pod.kill()
        if plural == "deployments":
            self.delete(namespace, "pods", f"{name}-0")
        if plural in ("secrets", "configmaps"):
            for path in (self.folder / namespace / name).iterdir():
                path.unlink()
            (self.folder / namespace / name).rmdir()
        return {
            "apiVersion": "v1",
            "kind": "Status",
            "status": "Success",
            "details": {"name": record["metadata"]["name"]},
        }

    def find(self, namespace: str, plural: str, name: str) -> Record:
        if (namespace, plural, name) not in self.objects:
            raise Refusal(404, f'{plural} "{name}" not found')
        return self._with_status(self.objects[namespace, plural, name], namespace, plural, name)

    def list(self, namespace: str, plural: str, selector: str) -> Record:
        wanted = dict(part.split("=", 1) for part in selector.split(",") if part)
        found = [
            self._with_status(record, place, kind, name)
            for (place, kind, name), record in self.objects.items()
            if (place, kind) == (namespace, plural) and wanted.items() <= record["metadata"].get("labels", {}).items()
        ]
        return {"apiVersion": "v1", "kind": f"{_KINDS[plural]}List", "metadata": {}, "items": found}

    def _with_status(self, record: Record, namespace: str, plural: str, name: str) -> Record:
        if plural == "pods":
            status = self.pods[namespace, name].process.poll()
            phase = "Running" if status is None else "Succeeded" if status == 0 else "Failed"
            return {**record, "status": {"phase": phase, "podIP": _address(namespace)}}
        if plural == "deployments":
            (container,) = record["spec"]["template"]["spec"]["containers"]
            ready = int(_listens(_address(namespace), container["ports"][0]["containerPort"]))
            return {**record, "status": {"replicas": 1, "readyReplicas": ready, "availableReplicas": ready}}
        return record

    def _write(self, namespace: str, name: str, record: Record) -> None:
        place = self.folder / namespace / name
        place.mkdir(parents=True)
        content = {key: base64.b64decode(value) for key, value in record.get("binaryData", {}).items()}
        plain = record.get("stringData", {}) if record["kind"] == "Secret" else record.get("data", {})
        coded = record.get("data", {}) if record["kind"] == "Secret" else {}
        content |= {key: base64.b64decode(value) for key, value in coded.items()}
        content |= {key: value.encode() for key, value in plain.items()}
        for key, value in content.items():
            (place / key).write_bytes(value)

    def _start(self, namespace: str, name: str, record: Record) -> None:
        """Start the one pod of a deployment, with the Python that knows nothing of this project."""
        template = record["spec"]["template"]
        (container,) = template["spec"]["containers"]
        volumes = {
            volume["name"]: Mount(self.folder / namespace / volume["configMap"]["name"])
            for volume in template["spec"].get("volumes", [])
        }
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container.get("volumeMounts", [])}
        environ = {entry["name"]: self._value(namespace, entry) for entry in container.get("env", [])}
        environ = {key: str(outside(value, mounts)) for key, value in environ.items()}
        words = [*container["command"], *container.get("args", [])]
        for key, value in environ.items():
            words = [word.replace(f"$({key})", value) for word in words]
        place = self.folder.parent / "deployed" / namespace
        place.mkdir(parents=True, exist_ok=True)
        assert words[0] in ("python", "python3")
        pod = start([os.path.realpath(sys.executable), *words[1:]], environ, place, place / f"{name}.log")
        self.add_pod(namespace, f"{name}-0", template["metadata"]["labels"], pod)

    def _value(self, namespace: str, entry: Record) -> str:
        source = entry.get("valueFrom", {})
        if "secretKeyRef" in source:
            name, key = (str(source["secretKeyRef"][part]) for part in ("name", "key"))
            return (self.folder / namespace / name / key).read_text()
        if "fieldRef" in source:
            assert source["fieldRef"]["fieldPath"] == "status.podIP"
            return _address(namespace)
        return str(entry["value"])


def start(argv: list[str], environ: Mapping[str, str], folder: Path | str, log: Path) -> PodProcess:
    """Start a process as a pod: with nothing of the developer's settings, in a group of its own."""
    own = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
    with log.open("wb") as file:
        process = subprocess.Popen(
            argv,
            env=own | dict(environ),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    return PodProcess(process, log)


@contextmanager
def process_kubernetes(folder: Path) -> Iterator[Kubernetes]:
    """A server inside the block; what it started ends with it."""
    kubernetes = Kubernetes(folder / "mounts")
    try:
        with served(kubernetes, _Request):
            yield kubernetes
    finally:
        kubernetes.stop()


class _Request(StubRequest):
    api: Kubernetes

    def serve(self) -> None:
        try:
            if self.headers.get("Authorization") != f"Bearer {self.api.token}":
                raise Refusal(401, "Unauthorized")
            with self.api.lock:
                found = self._found()
        except Refusal as refusal:
            return self.say(refusal.status, failure(refusal))
        if isinstance(found, bytes):
            return self.answer(200, found, {"Content-Type": "text/plain"})
        return self.say(201 if self.command == "POST" else 200, found)

    def _found(self) -> Record | bytes:
        match = _PATH.fullmatch(self.route)
        if match is None or (plural := match["plural"]) not in _KINDS:
            raise Refusal(404, "the server could not find the requested resource")
        namespace, name = match["namespace"] or "", match["name"]
        if match["part"] == "log":
            self.api.find(namespace, "pods", name)
            return self.api.pods[namespace, name].log.read_bytes()
        if self.command == "POST" and not name:
            return self.api.create(namespace, plural, self.body or {}, self.query.get("dryRun") == "All")
        if self.command == "DELETE" and name:
            return self.api.delete(namespace, plural, name)
        if self.command == "GET" and name:
            return self.api.find(namespace, plural, name)
        if self.command == "GET":
            return self.api.list(namespace, plural, self.query.get("labelSelector", ""))
        raise Refusal(405, "the server does not allow this method on the requested resource")


def _address(namespace: str) -> str:
    """Return the address on loopback of all pods and services of a namespace."""
    digest = sum(byte * 31**place for place, byte in enumerate(namespace.encode())) % (1 << 16)
    return f"127.77.{digest >> 8}.{digest & 255 or 1}"


def _listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0
