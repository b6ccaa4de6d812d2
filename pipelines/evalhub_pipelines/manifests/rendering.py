"""Manifests as YAML documents with comments; templates as comments, which `kubectl apply` passes over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from evalhub_pipelines.manifests.manifest import Manifest
from evalhub_pipelines.manifests.tenant import Tenant

TEMPLATE = "#: "
"""What every line of a template begins with, so that `sed -n 's/^#: //p'` takes the templates out."""


def render(tenant: Tenant, objects: Iterable[Manifest], templates: Iterable[Manifest]) -> str:
    """Return `objects` as documents and `templates` as comments behind them."""
    parts = [
        _comment(
            f"Evaluations in the namespace {tenant.namespace}, which belongs to one tenant.\n"
            "  kubectl apply -f FILE --dry-run=server   # checks it against the cluster\n"
            "  kubectl apply -f FILE\n"
            f"The namespace must be there; Kubeflow makes it with a Profile. Runs use the account {tenant.runner}."
        )
    ]
    if not tenant.subjects:
        parts.append(_comment("Nobody may submit yet: --subject names users, groups and service accounts."))
    if not tenant.peers:
        parts.append(_comment("No network policies: --model-namespace or --model-cidr, and --api-cidr, add them."))
    for manifest in objects:
        parts.append("---\n" + _comment(manifest.comment) + _yaml(manifest))
    parts.append(
        "\n"
        + _comment(
            "Credentials. The templates below are comments, so that applying this file never replaces a secret that\n"
            "is there. kubectl create refuses what exists already:\n"
            f"  sed -n 's/^{TEMPLATE}//p' FILE > credentials.yaml   # keep what is needed, replace every REPLACE-ME\n"
            "  kubectl create -f credentials.yaml && rm credentials.yaml\n"
            "or, better, from files, as each says. Give the names in the pipeline's form, or in eval.yaml."
        )
    )
    for manifest in templates:
        lines = ["---", *_yaml(manifest).splitlines()]
        parts.append("#\n" + _comment(manifest.comment) + "".join(f"{TEMPLATE}{line}\n" for line in lines))
    return "".join(parts)


def _comment(text: str) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in text.splitlines())


def _yaml(manifest: Manifest) -> str:
    return yaml.dump(manifest.content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Lists of words in one line, and no anchors, which people do not expect in a manifest."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _list(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    words = all(isinstance(entry, str) for entry in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=words)


_Dumper.add_representer(list, _list)
