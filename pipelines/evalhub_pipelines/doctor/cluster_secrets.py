"""Secrets in the namespace: whether they are there with the right type and keys; their values stay where they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_pipelines.client.cluster import Cluster, Forbidden
from evalhub_pipelines.doctor import wanted_secrets
from evalhub_pipelines.doctor.checks import Unseen
from evalhub_pipelines.doctor.finding import Finding
from evalhub_pipelines.doctor.wanted_secrets import Wanted

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


class Kept(NamedTuple):
    """What is known of a secret."""

    type: str
    keys: frozenset[str]


def look(cluster: Cluster, namespace: str, wanted: Wanted, check: str) -> Iterator[Finding]:
    """Yield whether a secret is in the namespace as it must be.

    Raises:
        Unseen: secrets may not be read, as is usual for who submits.
        EvalHubError: it is not, with the cure.
    """
    where = f"{wanted.named_by}: {wanted.name} in {namespace}"
    try:
        kept = _kept(cluster, namespace, wanted.name)
    except Forbidden:
        cure = f"who may: kubectl describe secret {wanted.name} -n {namespace}"
        raise Unseen(f"{where}: you may not look at secrets, as is right for who submits ({cure})") from None
    except NotFound:
        raise EvalHubError(f"{where}: there is no such secret ({_create(namespace, wanted)})") from None
    # kubectl create refuses what is there, and a type cannot be changed
    again = f"make it anew: kubectl delete secret {wanted.name} -n {namespace} && {_create(namespace, wanted)}"
    lacking = wanted_secrets.lacking(kept.keys, wanted.keys)
    if lacking:
        there = ", ".join(sorted(kept.keys)) or "nothing"
        raise EvalHubError(f"{where}: has no {lacking}, but {there} ({again})")
    if wanted.type and kept.type != wanted.type:
        raise EvalHubError(f"{where}: is of type {kept.type}, and must be {wanted.type} ({again})")
    yield Finding(check, "ok", f"{where}, type {kept.type}, keys {', '.join(sorted(kept.keys))}")


def certificates(cluster: Cluster, namespace: str, name: str, check: str) -> Iterator[Finding]:
    """Yield whether the config map with certificates is in the namespace."""
    where = f"{name} in {namespace}"
    create = f"kubectl create configmap {name} -n {namespace} --from-file=ca-bundle.crt"
    try:
        found = cluster.ask("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}")
    except Forbidden:
        cure = f"who may: kubectl describe configmap {name} -n {namespace}"
        raise Unseen(f"{where}: you may not look at config maps ({cure})") from None
    except NotFound:
        raise EvalHubError(f"{where}: there is no such config map ({create})") from None
    keys = {*(found.get("data") or {}), *(found.get("binaryData") or {})}
    if lacking := wanted_secrets.lacking(keys, wanted_secrets.CA):
        again = f"make it anew: kubectl delete configmap {name} -n {namespace} && {create}"
        raise EvalHubError(f"{where}: has no {lacking}, but {', '.join(sorted(keys)) or 'nothing'} ({again})")
    yield Finding(check, "ok", where)


def _kept(cluster: Cluster, namespace: str, name: str) -> Kept:
    path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
    # what `kubectl get` prints, with the names of the fields and without their values
    table = cluster.ask("GET", path, query={"includeObject": "Metadata"}, accept=_TABLE)
    columns = [column["name"] for column in table.get("columnDefinitions", ())]
    row = (table.get("rows") or [{}])[0]
    cells = dict(zip(columns, row.get("cells", ()), strict=False))
    keys = _managed_keys(row.get("object", {}).get("metadata", {}))
    if str(cells.get("Data")) == str(len(keys)):
        return Kept(str(cells.get("Type", "")), keys)
    # who wrote it did not say which fields; the values that come along are dropped at once
    found = cluster.ask("GET", path)
    return Kept(str(found.get("type", "")), frozenset(found.get("data") or {}))


def _managed_keys(metadata: Mapping[str, Any]) -> frozenset[str]:
    """Return the keys that the secret's writers say they keep in `data`."""
    return frozenset(
        name.removeprefix("f:")
        for entry in metadata.get("managedFields") or ()
        for name in (entry.get("fieldsV1") or {}).get("f:data") or {}
        if name.startswith("f:")
    )


def _create(namespace: str, wanted: Wanted) -> str:
    kind = f" --type={wanted.type}" if wanted.type else ""
    files = "".join(f" --from-file={key}" for key in wanted.keys[0])
    return f"kubectl create secret generic {wanted.name} -n {namespace}{kind}{files}"
