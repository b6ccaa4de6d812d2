"""Fetches what a reference names into a folder, with a manifest of what arrived."""

from __future__ import annotations

from pathlib import Path

from evalhub_components import atomic
from evalhub_components.schema.collection import TestDataRef
from evalhub_components.test_data import folder
from evalhub_components.test_data.arrival import Arrival
from evalhub_components.test_data.folder import Stage
from evalhub_components.test_data.limits import Limits
from evalhub_components.test_data.manifest import Manifest
from evalhub_components.test_data.names import MANIFEST
from evalhub_components.test_data.secret import Secret


def fetch(ref: TestDataRef, output: Path, secret: Secret, limits: Limits) -> Manifest:
    """Replace the content of `output` by what `ref` names, and return its manifest, which lies there too.

    Raises:
        EvalHubError: it cannot be had as a whole; `output` is then as it was.
    """
    with folder.replaced(output) as stage:
        arrival = _arrived(ref, stage, secret, limits)
        manifest = Manifest.of(_source(ref), arrival.resolved, arrival.files)
        atomic.write_json(stage.content / MANIFEST, manifest.as_json())
    return manifest


def _arrived(ref: TestDataRef, stage: Stage, secret: Secret, limits: Limits) -> Arrival:
    # each imports what only its own source needs
    if ref.s3:
        from evalhub_components.test_data import s3

        return s3.fetch(ref.s3, stage, secret, limits)
    if ref.git:
        from evalhub_components.test_data import git

        return git.fetch(ref.git, stage, secret, limits)
    if ref.hf:
        from evalhub_components.test_data import huggingface

        return huggingface.fetch(ref.hf, stage, secret, limits)
    assert ref.pvc is not None
    from evalhub_components.test_data import pvc

    return pvc.fetch(ref.pvc, limits)


def _source(ref: TestDataRef) -> dict[str, str]:
    """Return the reference as a flat map, without what says where its secret is."""
    (kind, found), *_ = ref.model_dump(mode="json", exclude={"type"}, exclude_none=True).items()
    return {"type": kind, **{key: value for key, value in found.items() if key != "secret_ref"}}
