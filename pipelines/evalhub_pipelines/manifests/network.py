"""What pods may reach: network policies by the label of their step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from evalhub_pipelines.manifests.labels import STEP, Step
from evalhub_pipelines.manifests.manifest import Manifest, metadata
from evalhub_pipelines.manifests.tenant import DESTINATIONS, Destination, Peer, Tenant

DNS_NAMESPACES = ("kube-system", "openshift-dns")
NODE_LOCAL_DNS = "169.254.20.10/32"
KFP_PORTS = (8080, 8887, 8888)
"""Of ML Metadata and of the API server's gRPC and HTTP: KFP's launcher begins and ends every task with them."""
STORE_PORTS = (8333, 9000)
"""Of SeaweedFS and MinIO, which come with Kubeflow Pipelines: a policy sees the pod's port, not the service's."""
API_PORTS = (443, 6443)

REACHES: dict[Step, tuple[Destination, ...]] = {
    "benchmark": ("model",),
    "aggregate": ("registry", "mlflow"),
    "test-data": ("data",),
}
"""What each step may reach beyond what every task needs."""


def policies(tenant: Tenant) -> Iterator[Manifest]:
    """Yield the policy of all steps, and one for each step that may reach more; nothing when no peer was named."""
    if not tenant.peers:
        return
    yield Manifest(
        _policy(tenant, "evalhub-steps", {"matchExpressions": [{"key": STEP, "operator": "Exists"}]}, _always(tenant)),
        "Every step may reach DNS, Kubeflow Pipelines, its object store and the API server of Kubernetes, which\n"
        "KFP's launcher and Argo's executor in the pod need; nobody may connect to a step, and what is not named in\n"
        f"a policy stays closed. Pods without the label {STEP}, of other pipelines, go on as before.\n"
        "It needs a network plugin that enforces policies; with Cilium, allow the API server in a\n"
        "CiliumNetworkPolicy as well (toEntities: kube-apiserver).",
    )
    for step, reached in REACHES.items():
        rules = [_to(tenant.peers[name]) for name in reached if name in tenant.peers]
        if rules:
            yield Manifest(
                _policy(
                    tenant, f"evalhub-{step}", {"matchLabels": {STEP: step}}, [rule for each in rules for rule in each]
                ),
                f"In addition, {step}: " + " and ".join(DESTINATIONS[name] for name in reached if name in tenant.peers),
            )


def _always(tenant: Tenant) -> list[dict[str, Any]]:
    dns = [_names(DNS_NAMESPACES), {"ipBlock": {"cidr": NODE_LOCAL_DNS}}]
    # OpenShift's DNS pods listen on 5353
    ports = [{"protocol": protocol, "port": port} for port in (53, 5353) for protocol in ("UDP", "TCP")]
    kfp = [_names([tenant.kfp_namespace])]
    own_store = [{"to": kfp, "ports": _tcp(STORE_PORTS)}]
    return [
        {"to": dns, "ports": ports},
        {"to": kfp, "ports": _tcp(KFP_PORTS)},
        *(_to(tenant.peers["store"]) if "store" in tenant.peers else own_store),
        *_to(tenant.peers["api"], API_PORTS),
    ]


def _to(peers: Sequence[Peer], ports: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Return egress rules for `peers`, whose own port goes before `ports`; without any, all ports are open."""
    found = []
    for peer in peers:
        where = {"ipBlock": {"cidr": peer.cidr}} if peer.cidr else _names([str(peer.namespace)])
        chosen = (peer.port,) if peer.port else ports
        found.append({"to": [where], **({"ports": _tcp(chosen)} if chosen else {})})
    return found


def _names(namespaces: Sequence[str]) -> dict[str, Any]:
    # every namespace has this label
    wanted = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(namespaces)}
    return {"namespaceSelector": {"matchExpressions": [wanted]}}


def _tcp(ports: Sequence[int]) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": port} for port in ports]


def _policy(tenant: Tenant, name: str, selector: dict[str, Any], egress: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(name, tenant.namespace),
        # no ingress rule: nobody connects to a step
        "spec": {"podSelector": selector, "policyTypes": ["Ingress", "Egress"], "egress": list(egress)},
    }
