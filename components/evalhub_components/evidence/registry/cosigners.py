"""Layers under a tag that several put theirs under: signatures and attestations, as `cosign` adds them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from evalhub_components import canonical
from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.signing import signatures


class Merged(NamedTuple):
    """A manifest with everybody's layers, and the config that it names."""

    manifest: bytes
    config: bytes


def with_layers(present: bytes, own: bytes, where: str) -> Merged | None:
    """Return `present` with those layers of `own` after its own that it lacks; None when it lacks none.

    Args:
        present: the manifest that a tag names.
        own: another of the same kind.
        where: names the tag.

    Raises:
        EvalHubError: `present` is no manifest with layers.
    """
    cure = "delete this tag, and push again"
    try:
        document: dict[str, Any] = json.loads(present)
        theirs, ours = document["layers"], json.loads(own)
        # the digest alone does not tell: two who sign the same payload have their signatures in the annotations
        lacking = [layer for layer in ours["layers"] if layer not in theirs]
        digests = [layer["digest"] for layer in [*theirs, *lacking]]
        if not lacking:
            return None
        config = signatures.config(digests)
        content = canonical.dumps(config)
        described = {**ours["config"], "digest": canonical.digest(config), "size": len(content)}
        manifest = canonical.dumps({**document, "config": described, "layers": [*theirs, *lacking]})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise EvalHubError(f"{where}: is no manifest of signatures that more could be added to ({cure})") from None
    return Merged(manifest, content)
