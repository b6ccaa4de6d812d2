"""One object of Kubernetes with the words that explain it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Manifest(NamedTuple):
    """An object, and a comment for whoever applies it; lines of the comment are at most 110 characters."""

    content: dict[str, Any]
    comment: str


def metadata(name: str, namespace: str) -> dict[str, Any]:
    """Return the metadata of an object of ours."""
    return {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "evalhub-kfp"}}
