"""The layers of a manifest that anybody may have attached: read in bounds, and believed in nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from evalhub_components.errors import NotFound, Tampered
from evalhub_components.evidence.reading.untrusted_json import NotEvidence, loads
from evalhub_components.evidence.store import Store, is_digest

_MAX_LAYERS = 100
_MAX_BYTES = 64 * 2**20

Read = TypeVar("Read")


def each_layer(
    store: Store, tag: str, media_type: str, most: int, read: Callable[[bytes, Mapping[str, Any]], Read]
) -> tuple[tuple[Read, ...], tuple[str, ...]]:
    """Return what `read` makes of the content and annotations of each layer, and what is wrong with the others.

    Args:
        store: holds the manifest.
        tag: of the manifest.
        media_type: of the layers that are wanted.
        most: bytes that such a layer has at most.
        read: raises NotEvidence for a layer that is not what it should be.

    Raises:
        NotFound: there is no manifest.
        EvalHubError: the store cannot be read.
    """
    found: list[Read] = []
    problems: list[str] = []
    try:
        layers = at(loads(store.manifest(store.resolve(tag).digest), "the manifest"), "layers")
        if not isinstance(layers, list):
            raise NotEvidence("the manifest: lists no layers")
    except (NotEvidence, Tampered) as error:
        return (), (str(error),)
    left = _MAX_BYTES
    for number, layer in enumerate(layers[:_MAX_LAYERS], 1):
        try:
            content = _content(store, layer, media_type, most, left)
            left -= len(content)
            annotations = at(layer, "annotations")
            found.append(read(content, annotations if isinstance(annotations, dict) else {}))
        except (NotEvidence, NotFound, Tampered) as error:
            problems.append(f"layer {number}: {error}")
    if len(layers) > _MAX_LAYERS:
        problems.append(f"{len(layers) - _MAX_LAYERS} more layers were not read")
    return tuple(found), tuple(problems)


def _content(store: Store, layer: object, media_type: str, most: int, left: int) -> bytes:
    digest, size, kind = at(layer, "digest"), at(layer, "size"), at(layer, "mediaType")
    if not isinstance(digest, str) or not is_digest(digest) or type(size) is not int or size < 0:
        raise NotEvidence("is no descriptor of a blob")
    if kind != media_type:
        raise NotEvidence(f"is {quoted(kind)} instead of {media_type}")
    if size > most:
        raise NotEvidence(f"is larger than any should be ({most >> 10} KiB)")
    if size > left:
        raise NotEvidence("was not read, because the layers before it are too large")
    return b"".join(store.blob(digest, size))


def at(value: object, *keys: str) -> Any:
    """Return what is in nested objects under `keys`, None when there is nothing or something is no object."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def decoded(text: object, what: str) -> bytes:
    """Return the bytes of base64 text, in the standard alphabet or the one for URLs.

    Raises:
        NotEvidence: it is none; `what` names it.
    """
    try:
        if isinstance(text, str):
            return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        pass
    raise NotEvidence(f"{what} is no base64")


def quoted(value: object) -> str:
    """Return a stranger's text so that it can be shown."""
    return repr(value[:100]) if isinstance(value, str) else "no text"
