"""Who may do what: the account that runs use, and the people and programs that submit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evalhub_pipelines.manifests.manifest import Manifest, metadata
from evalhub_pipelines.manifests.tenant import Subject, Tenant

SUBMITTER = "evalhub-submitter"
"""Name of the role of those who submit, and of its binding."""

LAUNCHER_CONFIG = "kfp-launcher"
"""Config map in which KFP's driver looks for the pipeline root and the object store."""

_RBAC = "rbac.authorization.k8s.io"
_PIPELINES = "pipelines.kubeflow.org"
_KSERVE = "serving.kserve.io"


def of_runs(tenant: Tenant) -> Iterator[Manifest]:
    """Yield the service account of runs, its role and the binding of both."""
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(tenant.runner, tenant.namespace),
    }
    yield Manifest(
        account,
        "The account that runs use, and nothing else should. A run must be started with it: Kubeflow's own\n"
        "default-editor reads every secret of the namespace. Newer Kubeflow Pipelines accept it only when\n"
        "ALLOWEDSERVICEACCOUNTS of their API server lists it.",
    )
    rules = [
        _rule("", ["configmaps"], ["get"], [LAUNCHER_CONFIG]),
        _rule("argoproj.io", ["workflowtaskresults"], ["create", "patch"]),
    ]
    why = (
        "What a run's pods do through the API: the driver reads the launcher's configuration, and Argo's executor\n"
        "reports results. Secrets of a task are mounted by the kubelet, which needs no right of this account."
    )
    if tenant.store_secret:
        rules.append(_rule("", ["secrets"], ["get"], [tenant.store_secret]))
        why += (
            "\nThe one secret it reads is the object store's, by name: KFP's launcher, in every task's container,\n"
            "gets it from the API; so a benchmark could read it too. Where the launcher finds it elsewhere\n"
            f"(fromEnv in the config map {LAUNCHER_CONFIG}), --no-store-secret takes this rule away."
        )
    yield Manifest(_role(tenant.runner, tenant.namespace, rules), why)
    yield Manifest(_binding(tenant.runner, tenant.namespace, [_itself(tenant)]), "")


def of_models(tenant: Tenant) -> Iterator[Manifest]:
    """Yield the role and the binding of runs in every namespace with models on KServe that ask who calls them."""
    # many tenants may have theirs in one namespace; no namespace has a dot in its name
    name = f"{tenant.namespace}.{tenant.runner}"
    for place in dict.fromkeys(served.namespace for served in tenant.kserve):
        models = [served.name for served in tenant.kserve if served.namespace == place]
        rule = _rule(_KSERVE, ["inferenceservices", "llminferenceservices"], ["get"], models)
        yield Manifest(
            _role(name, place, [rule]),
            "What the proxy before a model on KServe asks the cluster of whoever calls it (auth.service_account in\n"
            f"eval.yaml). This is for the namespace {place}: whoever administers that applies it.",
        )
        yield Manifest(_binding(name, place, [_itself(tenant)]), "")


def of_submitters(tenant: Tenant) -> Iterator[Manifest]:
    """Yield the role of those who submit, and its binding when there is anybody."""
    rules = [
        _rule(_PIPELINES, ["pipelines", "pipelines/versions"], ["get", "list", "create"]),
        _rule(_PIPELINES, ["experiments"], ["get", "list", "create"]),
        _rule(
            _PIPELINES,
            ["runs"],
            ["get", "list", "create", "retry", "terminate", "delete", "readArtifact", "readLog"],
        ),
        _rule(_PIPELINES, ["jobs"], ["get", "list", "create", "enable", "disable", "delete"]),
        _rule("", ["serviceaccounts"], ["use"], [tenant.runner]),
        _rule("", ["pods/log"], ["get"]),
    ]
    why = (
        "What submitting, watching, cancelling, retrying and scheduling need. Kubeflow Pipelines asks Kubernetes for\n"
        "these rights in multi-user mode; the resources exist for that question alone. jobs are recurring runs; use\n"
        "is asked by newer versions; logs are read from Kubernetes where Kubeflow Pipelines gives none. No secret can\n"
        "be read with it, but a pipeline that somebody starts here can mount any secret of the namespace: so one\n"
        "tenant a namespace."
    )
    yield Manifest(_role(SUBMITTER, tenant.namespace, rules), why)
    if tenant.subjects:
        yield Manifest(
            _binding(SUBMITTER, tenant.namespace, tenant.subjects),
            "A user is named as Kubeflow's login names them. Groups count only where Kubeflow Pipelines hands groups\n"
            "on. A service account sends a token for the audience pipelines.kubeflow.org.",
        )


def _rule(group: str, resources: list[str], verbs: list[str], only: list[str] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"apiGroups": [group], "resources": resources, "verbs": verbs}
    return found | ({"resourceNames": only} if only else {})


def _role(name: str, namespace: str, rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": metadata(name, namespace),
        "rules": list(rules),
    }


def _binding(name: str, namespace: str, subjects: Sequence[Subject]) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": metadata(name, namespace),
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
        "subjects": [_subject(subject) for subject in subjects],
    }


def _itself(tenant: Tenant) -> Subject:
    return Subject("ServiceAccount", tenant.runner, tenant.namespace)


def _subject(subject: Subject) -> dict[str, Any]:
    if subject.kind == "ServiceAccount":
        return {"kind": subject.kind, "name": subject.name, "namespace": subject.namespace}
    return {"apiGroup": _RBAC, "kind": subject.kind, "name": subject.name}
