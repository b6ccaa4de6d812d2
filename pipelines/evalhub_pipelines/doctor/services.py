"""Model, judge, registry and MLflow, each by a real call with the credentials it will get."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from evalhub_components import credentials
from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.reference import Reference
from evalhub_components.fingerprint import SECRETS
from evalhub_components.schema.evaluation import JudgeConfig, ModelConfig
from evalhub_components.schema.exports import OCIExport
from evalhub_pipelines import directories
from evalhub_pipelines.commands import holds_a_password
from evalhub_pipelines.doctor import step
from evalhub_pipelines.doctor.checks import Unseen
from evalhub_pipelines.doctor.finding import Finding

_ANY_TAG = "evalhub-doctor"
"""A tag to ask for: whether it is there does not matter."""


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        for_pods: it is about the pods of a pipeline, which have the credentials that are named and no others, and
            which may reach what this machine does not.
        timeout: seconds that an answer may take.
    """

    for_pods: bool
    timeout: float

    @property
    def _remark(self) -> str:
        return " (asked from here, not from a pod)" if self.for_pods else ""

    def model(self, config: ModelConfig | JudgeConfig, check: str) -> Iterator[Finding]:
        """Yield whether a model answers, by the very step that a pipeline begins with."""
        folder = self._credentials(config.auth.secret_ref if config.auth else None, f"{check}.auth.secret_ref")
        self._check_reach(config.url)
        asked_with: credentials.Auth = "service-account" if config.auth and config.auth.service_account else "secret"
        if asked_with == "service-account" and self.for_pods:
            _check_token(check)
        with tempfile.TemporaryDirectory() as output:
            step.run(
                "evalhub_components.fingerprint",
                *("--model-url", config.url, "--model-name", config.name, "--model-auth", asked_with),
                *("--role", check, "--output", str(Path(output) / "fingerprint.json")),
                environ={SECRETS[check]: str(folder) if folder else None},
                timeout=self.timeout,
            )
        yield Finding(check, "ok", f"{config.name} answers at {config.url}{self._remark}")

    def registry(self, export: OCIExport, check: str) -> Iterator[Finding]:
        """Yield whether the repository of the evidence can be pushed to and read; nothing is left there."""
        named = export.k8s.connection if export.k8s else None
        folder = self._credentials(named, "exports.oci.k8s.connection")
        reference = Reference.parse(f"{export.coordinates.oci_host}/{export.coordinates.oci_repository}")
        self._check_reach(f"//{reference.host}")
        from evalhub_components.evidence.registry.registry import Registry

        with tempfile.TemporaryDirectory() as nobody:
            if folder is None and self.for_pods:
                # pods have no login of this user's
                folder = Path(nobody)
                (folder / ".dockerconfigjson").write_text(json.dumps({"auths": {}}), encoding="utf-8")
            registry = Registry(reference, secret=folder, ca=credentials.ca_bundle(), deadline=self.timeout)
            registry.check_push()
            registry.named_by(_ANY_TAG)
        yield Finding(check, "ok", f"{registry.place} can be pushed to and read{self._remark}")

    def mlflow(self, uri: str, secret: str | None, check: str) -> Iterator[Finding]:
        """Yield whether MLflow answers a question about experiments."""
        from evalhub_components.records.tracking import connection

        shown = connection.address(uri)
        if holds_a_password(uri):
            cure = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            raise EvalHubError(f"{shown}: the address must hold no password ({cure})")
        if not uri.startswith(("http://", "https://")):
            yield Finding(check, "skipped", f"{shown} is no server: a run here makes the file, and no pod sees it")
            return
        folder = self._credentials(secret, "--mlflow-secret")
        self._check_reach(uri)
        environ: dict[str, str | None] = {
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": str(max(1, int(self.timeout * 0.8))),
        }
        if folder:
            environ[credentials.MLFLOW_SECRET] = str(folder)
        elif self.for_pods:
            names = ("TOKEN", "USERNAME", "PASSWORD")
            environ |= dict.fromkeys([credentials.MLFLOW_SECRET, *(f"MLFLOW_TRACKING_{name}" for name in names)])
        step.run("evalhub_pipelines.doctor.mlflow_call", uri, environ=environ, timeout=self.timeout)
        yield Finding(check, "ok", f"{shown} answers{self._remark}")

    def _credentials(self, name: str | None, named_by: str) -> Path | None:
        """Return the folder of a secret on this machine, None when none was named.

        Raises:
            Unseen: it is not here, and need not be, because pods get it from the cluster.
            EvalHubError: it is not here.
        """
        if name is None:
            return None
        if self.for_pods and not (directories.secrets() / name).is_dir():
            cure = f"to ask from here, put its keys into {directories.secrets() / name}, one file a key"
            raise Unseen(f"{named_by}: the credentials {name} are not on this machine ({cure})")
        return directories.secret(name, named_by)

    def _check_reach(self, url: str) -> None:
        """Raise Unseen for a name that only pods know."""
        host = urlsplit(url).hostname or ""
        is_inside = "." not in host or host.endswith((".svc", ".cluster.local"))
        if not (self.for_pods and is_inside) or ":" in host:
            return
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            cure = "only a pod can ask it; the first step of a run does"
            raise Unseen(f"{host}: is a name inside the cluster, unknown here ({cure})") from None


def _check_token(check: str) -> None:
    """Raise Unseen where the token that a model is asked with is none of this machine's."""
    try:
        credentials.token_file()
    except EvalHubError as error:
        raise Unseen(f"{check}.auth.service_account: only the pods of a run have the token; here {error}") from None


def mlflow_uri(given: str | None) -> str | None:
    """Return the tracking server that is meant, None when nobody named one."""
    return given or os.environ.get("MLFLOW_TRACKING_URI") or None
