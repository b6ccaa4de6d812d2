"""A tenant from the texts of a command line, with every problem at once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from evalhub_components.errors import InvalidDocument, Problem
from evalhub_pipelines.manifests import names
from evalhub_pipelines.manifests.tenant import (
    DESTINATIONS,
    KFP_NAMESPACE,
    RUNNER,
    STORE_SECRET,
    Destination,
    Kind,
    Peer,
    Served,
    Subject,
    Tenant,
)

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN = rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*"
_KINDS: dict[str, Kind] = {"user": "User", "group": "Group", "serviceaccount": "ServiceAccount"}
_EVERYBODY = {
    *("system:authenticated", "system:unauthenticated", "system:anonymous", "system:serviceaccounts"),
    "system:masters",
}
_SHARED = {"default", "default-editor", "default-viewer", "pipeline-runner"}
_Parsed = TypeVar("_Parsed")


def tenant_of(
    namespace: str,
    subjects: Sequence[str] = (),
    *,
    runner: str = RUNNER,
    store_secret: str | None = STORE_SECRET,
    kfp_namespace: str = KFP_NAMESPACE,
    cidrs: Mapping[Destination, Sequence[str]] | None = None,
    namespaces: Mapping[Destination, Sequence[str]] | None = None,
    kserve: Sequence[str] = (),
) -> Tenant:
    """Return the tenant that texts describe: `KIND:NAME`, `CIDR[:PORT]`, `NAMESPACE[:PORT]`, `NAMESPACE/NAME`.

    Raises:
        InvalidDocument: with every problem there is.
    """
    problems = [
        *_namespace("--namespace", namespace),
        *_namespace("--kfp-namespace", kfp_namespace),
        *_account("--service-account", runner),
        *(_store_secret(store_secret) if store_secret is not None else ()),
    ]

    def all_of(where: str, texts: Iterable[str], parse: Callable[[str], _Parsed]) -> list[_Parsed]:
        found: dict[_Parsed, None] = {}  # as a set that keeps the order
        for text in texts:
            try:
                found[parse(text)] = None
            except ValueError as error:
                problems.append(Problem(f"{where} {text!r}", str(error)))
        return list(found)

    people = all_of("--subject", subjects, lambda text: _subject(text, namespace))
    models = all_of("--kserve", kserve, _served)
    peers: dict[Destination, tuple[Peer, ...]] = {}
    for name in DESTINATIONS:
        listed = [
            *all_of(f"--{name}-cidr", (cidrs or {}).get(name, ()), _network),
            *all_of(f"--{name}-namespace", (namespaces or {}).get(name, ()), _place),
        ]
        if listed:
            peers[name] = tuple(listed)
    if any((*(cidrs or {}).values(), *(namespaces or {}).values())):
        problems += _unreachable(cidrs or {}, namespaces or {})
    if problems:
        raise InvalidDocument(problems)
    return Tenant(namespace, tuple(people), runner, store_secret, kfp_namespace, peers, tuple(models))


def _unreachable(
    cidrs: Mapping[Destination, Sequence[str]], namespaces: Mapping[Destination, Sequence[str]]
) -> Iterable[Problem]:
    if not cidrs.get("model") and not namespaces.get("model"):
        yield Problem("--model-cidr", "is missing (network policies without it, or --model-namespace, allow no model)")
    if not cidrs.get("api"):
        how = "kubectl get endpoints kubernetes --namespace default"
        yield Problem("--api-cidr", f"is missing (every pod of a run reports to the API server; {how} shows where)")


def _namespace(where: str, text: str) -> Iterable[Problem]:
    if not re.fullmatch(_LABEL, text):
        yield Problem(f"{where} {text!r}", f"is no namespace ({names.LABEL_RULE})")
    elif text.startswith("kube-"):
        yield Problem(f"{where} {text!r}", "belongs to Kubernetes itself (take a namespace of the tenant's own)")


def _account(where: str, text: str) -> Iterable[Problem]:
    if not re.fullmatch(_SUBDOMAIN, text):
        yield Problem(f"{where} {text!r}", f"is no service account ({names.SUBDOMAIN_RULE})")
    elif text in _SHARED:
        why = "other pods use it, and it may have rights of its own"
        yield Problem(f"{where} {text!r}", f"is shared: {why} (take an account for runs alone, such as {RUNNER})")


def _store_secret(text: str) -> Iterable[Problem]:
    where = f"--store-secret {text!r}"
    if not re.fullmatch(_SUBDOMAIN, text):
        yield Problem(where, f"is no secret ({names.SUBDOMAIN_RULE})")
    elif text in names.SECRETS.values():
        yield Problem(where, "is a secret that no run may read through the API (name the object store's own)")


def _subject(text: str, namespace: str) -> Subject:
    kind, colon, name = text.partition(":")
    known = _KINDS.get(kind.lower())
    if not colon or known is None:
        raise ValueError("must be User:NAME, Group:NAME or ServiceAccount:[NAMESPACE/]NAME")
    if not name or name != name.strip() or not name.isprintable():
        raise ValueError("must have a name of printable characters, without spaces around it")
    if name in _EVERYBODY:
        raise ValueError("is not one tenant (name the people or groups that submit here)")
    if known != "ServiceAccount":
        if known == "User" and name.startswith("system:serviceaccount:"):
            raise ValueError("is a service account (write ServiceAccount:NAMESPACE/NAME)")
        return Subject(known, name)
    place, slash, account = name.rpartition("/")
    place = place if slash else namespace
    if slash and not re.fullmatch(_LABEL, place):
        raise ValueError(f"is in no namespace ({names.LABEL_RULE})")
    if not re.fullmatch(_SUBDOMAIN, account):
        raise ValueError(f"names no service account ({names.SUBDOMAIN_RULE})")
    return Subject(known, account, place)


def _served(text: str) -> Served:
    match = re.fullmatch(rf"(?P<namespace>{_LABEL})/(?P<name>{_LABEL})", text)
    if not match:
        raise ValueError(f"must be NAMESPACE/NAME of an InferenceService ({names.LABEL_RULE})")
    return Served(match["namespace"], match["name"])


def _network(text: str) -> Peer:
    match = re.fullmatch(r"([0-9A-Fa-f.:]+/[0-9]{1,3})(?::([0-9]{1,5}))?", text)
    if not match:
        raise ValueError("must be CIDR or CIDR:PORT, such as 10.0.0.0/16 or 192.0.2.7/32:8000")
    try:
        network = ipaddress.ip_network(match[1])
    except ValueError as error:
        raise ValueError(f"is no network: {error}") from None
    port = _port(match[2])
    if network.prefixlen == 0 and port is None:
        raise ValueError("is every address there is (add a port, such as :443, or name a narrower network)")
    return Peer(cidr=str(network), port=port)


def _place(text: str) -> Peer:
    name, _, port = text.partition(":")
    if not re.fullmatch(_LABEL, name) or (":" in text and not re.fullmatch(r"[0-9]{1,5}", port)):
        raise ValueError(f"must be NAMESPACE or NAMESPACE:PORT ({names.LABEL_RULE})")
    return Peer(namespace=name, port=_port(port))


def _port(text: str | None) -> int | None:
    if not text:
        return None
    if not 1 <= int(text) <= 65535:
        raise ValueError(f"has no port (1 to 65535, got {text})")
    return int(text)
