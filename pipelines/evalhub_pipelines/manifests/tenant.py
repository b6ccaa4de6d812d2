"""Whose namespace it is, who submits there, and what runs may reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["User", "Group", "ServiceAccount"]
Destination = Literal["model", "store", "registry", "mlflow", "data", "api"]

DESTINATIONS: dict[Destination, str] = {
    "model": "models that are evaluated or that judge, and mirrors of data that benchmarks load",
    "store": "the object store of Kubeflow Pipelines",
    "registry": "the registry that gets the evidence",
    "mlflow": "MLflow",
    "data": "where test data is fetched from",
    "api": "the API server of Kubernetes",
}
"""What pods may have to reach, for people."""

RUNNER = "evalhub-runner"
STORE_SECRET = "mlpipeline-minio-artifact"
KFP_NAMESPACE = "kubeflow"


@dataclass(frozen=True)
class Subject:
    """Somebody who submits runs; `namespace` is a service account's."""

    kind: Kind
    name: str
    namespace: str | None = None


@dataclass(frozen=True)
class Peer:
    """Where something answers: a network or a namespace, and perhaps the port of its pods."""

    cidr: str | None = None
    namespace: str | None = None
    port: int | None = None


@dataclass(frozen=True)
class Served:
    """A model on KServe: the InferenceService, or LLMInferenceService, of that name."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Tenant:
    """A namespace for one tenant.

    Attributes:
        namespace: where runs happen and secrets are.
        subjects: who submits.
        runner: name of the service account that runs use.
        store_secret: the object store's credentials that KFP's launcher reads, None where it finds them elsewhere.
        kfp_namespace: of Kubeflow Pipelines itself.
        peers: what pods may reach; empty for no network policies.
        kserve: models that ask with which right the account of runs calls them.
    """

    namespace: str
    subjects: tuple[Subject, ...] = ()
    runner: str = RUNNER
    store_secret: str | None = STORE_SECRET
    kfp_namespace: str = KFP_NAMESPACE
    peers: Mapping[Destination, tuple[Peer, ...]] = field(default_factory=dict)
    kserve: tuple[Served, ...] = ()
