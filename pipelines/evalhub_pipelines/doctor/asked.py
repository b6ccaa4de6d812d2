"""What somebody asked to be looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from evalhub_components.errors import EvalHubError
from evalhub_pipelines.doctor.checks import Unseen
from evalhub_pipelines.manifests.tenant import KFP_NAMESPACE, Tenant

if TYPE_CHECKING:
    from evalhub_components.schema.evaluation import EvaluationConfig
    from evalhub_pipelines.catalog import Catalog
    from evalhub_pipelines.client.connection import Connection
    from evalhub_pipelines.evaluation import Evaluation

Scope = Literal["laptop", "cluster"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_SPARE = 0.9
"""The part of a check's time that its requests have, so that it can still say what was wrong with them."""


@dataclass(frozen=True)
class Asked:
    """What was asked for, as `check` takes it.

    Attributes:
        kfp: the connection that is meant, or why there is none.
        time: seconds that a check has.
    """

    scopes: frozenset[Scope]
    catalog: Catalog
    found: Evaluation | None
    kfp: Connection | EvalHubError
    namespace: str | None
    mlflow_uri: str | None
    mlflow_secret: str | None
    ca_config_map: str | None
    service_account: str
    store_secret: str | None
    engine: str | None
    time: float

    @property
    def timeout(self) -> float:
        """Return the seconds that an answer may take."""
        return self.time * _SPARE

    @property
    def config(self) -> EvaluationConfig | None:
        """Return the eval.yaml, None where only a collection was named, or nothing."""
        return self.found.config if self.found else None

    @property
    def connection(self) -> Connection:
        """Return the connection to Kubeflow Pipelines.

        Raises:
            EvalHubError: nobody says where it is, or what is said is wrong.
        """
        if isinstance(self.kfp, EvalHubError):
            raise self.kfp
        return self.kfp

    @cached_property
    def has_several_users(self) -> bool:
        """Whether Kubeflow Pipelines asks Kubernetes what a user may do; yes where it cannot be asked itself."""
        try:
            return self.connection.version().multi_user
        except EvalHubError:
            return True

    def tenant(self) -> Tenant:
        """Return the namespace that runs happen in, and their account.

        Raises:
            Unseen: nobody names the namespace.
        """
        namespace = self.namespace or getattr(self.kfp, "namespace", None)
        if namespace is None and self.has_several_users:
            raise Unseen("no namespace is named, so that nothing can be looked for in it (name yours: --namespace)")
        # with one user runs happen where Kubeflow Pipelines itself does
        return Tenant(namespace or KFP_NAMESPACE, runner=self.service_account, store_secret=self.store_secret)

    def needed_extras(self) -> set[str]:
        """Return the optional parts that something needs."""
        config, needed = self.config, {"cli"} | ({"kfp"} if "cluster" in self.scopes else set())
        if config and config.exports and (config.exports.oci or config.exports.signing):
            needed.add("oci")
        if self.mlflow_uri or (config and config.experiment and config.experiment.required):
            needed.add("mlflow")
        refs = [task.test_data_ref for task in self.found.plan.tasks] if self.found else []
        if any(ref and (ref.s3 or ref.hf) for ref in refs):
            needed.add("data")
        return needed


def configured(endpoint: str | None, profile: str | None) -> frozenset[Scope]:
    """Return the laptop, and the cluster where somebody says where it is."""
    from evalhub_pipelines.client import connection, profiles

    try:
        is_named = bool(endpoint or profile or os.environ.get(connection.ENDPOINT) or profiles.read().current)
    except EvalHubError:
        # something is there; what is wrong with it is a finding
        is_named = True
    return frozenset(SCOPES) if is_named else frozenset(["laptop"])


def connection_of(
    endpoint: str | None, namespace: str | None, profile: str | None, time: float
) -> Connection | EvalHubError:
    """Return the connection that is meant with an answer's time in that of a check, or why there is none."""
    from evalhub_pipelines.client import connection

    try:
        found = connection.resolve(endpoint=endpoint, namespace=namespace, profile=profile)
    except EvalHubError as error:
        return error
    # a question is asked twice at most, and both times are to fit
    return replace(found, timeout=max(1, int(min(found.timeout, time / 3))))


def evaluation_of(source: str | Path | EvaluationConfig, catalog: Catalog) -> Evaluation:
    """Return the evaluation of `source`.

    Raises:
        EvalHubError: with every problem of its documents.
    """
    from evalhub_components.schema.evaluation import EvaluationConfig
    from evalhub_pipelines import evaluation

    if isinstance(source, EvaluationConfig):
        return evaluation.of_config(source, catalog)
    return evaluation.of(source, catalog)
