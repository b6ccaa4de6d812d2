"""Who may do what in the namespace: whoever submits, and the account that runs use; Kubernetes itself is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_pipelines.client.cluster import Cluster, Forbidden
from evalhub_pipelines.doctor.checks import Unseen
from evalhub_pipelines.doctor.finding import Finding
from evalhub_pipelines.manifests import access
from evalhub_pipelines.manifests.manifest import Manifest
from evalhub_pipelines.manifests.tenant import RUNNER as USUAL_ACCOUNT
from evalhub_pipelines.manifests.tenant import STORE_SECRET, Tenant

KUBERNETES, SUBMITTER = ("kubernetes", "rights to submit")
ACCOUNT, RUNNER = ("service account", "rights of runs")

_REVIEWS = "/apis/authorization.k8s.io/v1"
_KFP = "pipelines.kubeflow.org"


class Right(NamedTuple):
    """One verb on one kind of things; without a name on all of them."""

    group: str
    resource: str
    verb: str
    name: str | None = None

    @property
    def goal(self) -> str:
        """What the verb is done to, for people."""
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{kind} {self.name}" if self.name else kind


def of_submitter(cluster: Cluster, tenant: Tenant, who: str | None, kfp_asks: bool) -> Iterator[Finding]:
    """Yield whether we may submit.

    Args:
        who: our name for Kubernetes.
        kfp_asks: Kubeflow Pipelines has several users, and asks Kubernetes what each may do.
    """
    wanted = [
        right
        for right in _rights(access.of_submitters(tenant))
        # with one user it asks nobody, and only logs are read from Kubernetes
        if kfp_asks or right.resource.startswith("pods")
    ]
    lacking = [right for right in wanted if not _allowed(cluster, tenant.namespace, right)]
    if lacking:
        command = f"{_manifests(tenant)} --subject {_subject(who) if who else 'KIND:NAME'}"
        # applied with one subject alone it would take the others away
        cure = f"apply what this prints, with every --subject that it has: {command}"
        raise EvalHubError(f"in {tenant.namespace} you may not {_listed(lacking)} ({cure})")
    yield Finding(SUBMITTER, "ok", f"{who or 'you'} may do in {tenant.namespace} what submitting needs")


def account(cluster: Cluster, tenant: Tenant) -> Iterator[Finding]:
    """Yield whether the account that runs use is there."""
    place = f"{tenant.runner} of namespace {tenant.namespace}"
    try:
        cluster.ask("GET", f"/api/v1/namespaces/{tenant.namespace}/serviceaccounts/{tenant.runner}")
    except Forbidden:
        cure = f"who administers the namespace sees it: kubectl get serviceaccount -n {tenant.namespace}"
        raise Unseen(f"you may not look whether there is {place} ({cure})") from None
    except NotFound:
        raise EvalHubError(f"there is no {place} ({_apply(tenant)}, or name another: --service-account)") from None
    yield Finding(ACCOUNT, "ok", place)


def of_runs(cluster: Cluster, tenant: Tenant, secrets: Collection[str]) -> Iterator[Finding]:
    """Yield whether the account of runs may do what it must, and can read none of `secrets` through the API."""
    user = f"system:serviceaccount:{tenant.namespace}:{tenant.runner}"

    def allowed(right: Right) -> bool:
        try:
            return _allowed(cluster, tenant.namespace, right, user)
        except Forbidden:
            cure = "somebody who administers the namespace runs this command"
            raise Unseen(f"you may not ask what {tenant.runner} may do ({cure})") from None

    lacking = [right for right in _rights(access.of_runs(tenant)) if not allowed(right)]
    every = [right for verb in ("get", "list", "watch") if allowed(right := Right("", "secrets", verb))]
    kept = sorted(set(secrets) - {tenant.store_secret})
    named = [] if every else [right for name in kept if allowed(right := Right("", "secrets", "get", name))]
    problems = []
    if lacking:
        problems.append(f"{tenant.runner} may not {_listed(lacking)}, which every run needs ({_apply(tenant)})")
    if every or named:
        problems.append(
            f"{tenant.runner} may {_listed(every or named)} through the API, and so may every benchmark "
            f"(take the binding away that allows it, or use an account for runs alone: {_apply(tenant)})"
        )
    if problems:
        raise EvalHubError("; ".join(problems))
    yield Finding(RUNNER, "ok", f"{tenant.runner} may do what runs need, and reads none of {', '.join(kept)}")


def whoami(cluster: Cluster) -> str | None:
    """Return the name that Kubernetes knows us by, None where it does not tell."""
    try:
        found = cluster.ask(
            "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", cluster.models.V1SelfSubjectReview()
        )
    except (Forbidden, NotFound):
        # older than 1.28
        return None
    return str(found.get("status", {}).get("userInfo", {}).get("username") or "") or None


def _allowed(cluster: Cluster, namespace: str, right: Right, user: str | None = None) -> bool:
    """Return whether we, or `user`, a service account of the namespace, have a right."""
    resource, _, subresource = right.resource.partition("/")
    attributes = cluster.models.V1ResourceAttributes(
        group=right.group,
        resource=resource,
        subresource=subresource or None,
        verb=right.verb,
        name=right.name,
        namespace=namespace,
    )
    if user is None:
        path = f"{_REVIEWS}/selfsubjectaccessreviews"
        spec = cluster.models.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        body = cluster.models.V1SelfSubjectAccessReview(spec=spec)
    else:
        path = f"{_REVIEWS}/namespaces/{namespace}/localsubjectaccessreviews"
        # a review looks at what it is told alone, and rights are given to groups as well
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
        spec = cluster.models.V1SubjectAccessReviewSpec(user=user, groups=groups, resource_attributes=attributes)
        body = cluster.models.V1LocalSubjectAccessReview(
            metadata=cluster.models.V1ObjectMeta(namespace=namespace), spec=spec
        )
    try:
        return cluster.ask("POST", path, body).get("status", {}).get("allowed") is True
    except NotFound:
        # every version has reviews
        raise EvalHubError(f"{cluster.address}: is not the API of Kubernetes (is it the right context?)") from None


def _rights(manifests: Iterable[Manifest]) -> list[Right]:
    """Return what the roles among `manifests` give, one by one."""
    return [
        Right(group, resource, verb, name)
        for manifest in manifests
        if manifest.content["kind"] == "Role"
        for rule in manifest.content["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [None])
    ]


def _listed(rights: Sequence[Right]) -> str:
    """Return rights in words, the verbs of one goal together."""
    verbs: dict[str, list[str]] = {}
    for right in rights:
        verbs.setdefault(right.goal, []).append(right.verb)
    return ", ".join(f"{' and '.join(done)} {goal}" for goal, done in verbs.items())


def _subject(who: str) -> str:
    parts = who.split(":")
    is_account = parts[:2] == ["system", "serviceaccount"] and len(parts) == 4
    return f"ServiceAccount:{parts[2]}/{parts[3]}" if is_account else f"User:{who}"


def _apply(tenant: Tenant) -> str:
    return f"apply what this prints: {_manifests(tenant)}"


def _manifests(tenant: Tenant) -> str:
    """Return the command that prints what is meant here."""
    words = ["evalhub-kfp manifests --namespace", tenant.namespace]
    words += ["--service-account", tenant.runner] if tenant.runner != USUAL_ACCOUNT else []
    if tenant.store_secret is None:
        words.append("--no-store-secret")
    elif tenant.store_secret != STORE_SECRET:
        words += ["--store-secret", tenant.store_secret]
    return " ".join(words)
