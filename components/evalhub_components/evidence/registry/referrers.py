"""Lists of what refers to a manifest, as in the OCI distribution specification 1.1."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evalhub_components import canonical
from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.store import Descriptor, is_digest
from evalhub_components.evidence.vocabulary import INDEX_TYPE

_MOST = 10_000


@dataclass(frozen=True)
class Referrer:
    """A manifest that names another as its subject."""

    descriptor: Descriptor
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return its entry in a list."""
        return {
            "mediaType": self.descriptor.media_type,
            "digest": self.descriptor.digest,
            "size": self.descriptor.size,
            **({"artifactType": self.artifact_type} if self.artifact_type else {}),
            **({"annotations": dict(self.annotations)} if self.annotations else {}),
        }


def fallback_tag(digest: str) -> str:
    """Return the tag that lists the referrers of a manifest where the registry has no API for them."""
    return digest.replace(":", "-")


def listed(content: bytes, where: str) -> list[Referrer]:
    """Return the referrers in a list.

    Raises:
        EvalHubError: it is none.
    """
    try:
        return [_referrer(entry) for entry in _entries(content)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise EvalHubError(f"{where}: is no list of referrers (it would be an OCI image index)") from None


def with_referrer(content: bytes | None, referrer: Referrer, where: str) -> bytes:
    """Return a list with `referrer` in it: one that has it as it is, any other in canonical form.

    What others have entered stays as they wrote it.

    Raises:
        EvalHubError: `content` is no list of referrers.
    """
    own = referrer.as_json()
    if content is None:
        index: dict[str, Any] = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}
    else:
        listed(content, where)
        index = json.loads(content)
        if own in index["manifests"]:
            return content
    others = [entry for entry in index["manifests"] if entry["digest"] != own["digest"]]
    index["manifests"] = sorted([*others, own], key=lambda entry: str(entry["digest"]))
    try:
        return canonical.dumps(index)
    except ValueError as error:
        raise EvalHubError(f"{where}: is no list of referrers that can be kept ({error})") from None


def _entries(content: bytes) -> list[dict[str, Any]]:
    entries: Any = json.loads(content)["manifests"]
    if not isinstance(entries, list) or len(entries) > _MOST:
        raise ValueError
    return entries


def _referrer(entry: Mapping[str, Any]) -> Referrer:
    digest, size = entry["digest"], entry["size"]
    if not (isinstance(digest, str) and is_digest(digest) and isinstance(size, int)):
        raise ValueError
    annotations = {str(key): str(value) for key, value in (entry.get("annotations") or {}).items()}
    descriptor = Descriptor(str(entry.get("mediaType", "")), digest, size)
    return Referrer(descriptor, str(entry.get("artifactType") or ""), annotations)
