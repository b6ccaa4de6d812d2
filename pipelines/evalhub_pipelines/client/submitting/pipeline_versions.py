"""Pipelines on the server and their versions: one version for each content, uploaded when it is not there yet."""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_pipelines.client import creation
from evalhub_pipelines.client.connection import Connection

NAME_LIMIT = 128
"""Bytes of a pipeline's name (backend/src/apiserver/validation/length.go of kubeflow/pipelines)."""


class Version(NamedTuple):
    """A version of a pipeline on the server.

    Attributes:
        name: digests of what is in it; equal for equal content.
        is_new: it was uploaded just now.
    """

    pipeline_id: str
    pipeline_version_id: str
    name: str
    is_new: bool

    @property
    def reference(self) -> dict[str, str]:
        """Return what runs and schedules name it by."""
        return {"pipeline_id": self.pipeline_id, "pipeline_version_id": self.pipeline_version_id}


def pipeline_name(collection_id: str) -> str:
    """Return what the pipeline of a collection is called: a name that Kubernetes takes, because KFP may keep it there.

    Ids that differ in more than that takes get a digest, so that no two collections share a pipeline.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", collection_id.lower()).strip("-")
    plain = slug == collection_id and len(slug) <= 100
    return f"evalhub-{slug}" if plain else f"evalhub-{slug[:100]}-{_digest(collection_id)[:8]}"


def version_name(plan_digest: str, key: str) -> str:
    """Return what a version is called: its plan, and whatever else decides what is in it."""
    return f"{plan_digest.removeprefix('sha256:')}-{_digest(key)[:12]}"


def find(connection: Connection, name: str, version: str) -> Version | None:
    """Return a version by its name and its pipeline's, None when there is none."""
    pipeline_id = _pipeline(connection, name)
    return _version(connection, pipeline_id, version) if pipeline_id else None


def upload(
    connection: Connection,
    name: str,
    version: str,
    text: str,
    title: str | None = None,
    description: str = "",
) -> Version:
    """Return a new version of a pipeline, which is made too when it is not there.

    In an installation with several users the pipeline belongs to the connection's namespace.

    The pipeline is made by a request of its own: one that made both would name the version after the pipeline.
    Without a version it is in nobody's way, and the next upload goes into it.
    """
    pipeline_id = _pipeline(connection, name) or _make_pipeline(connection, name)
    with tempfile.TemporaryDirectory(prefix="evalhub-") as folder:
        file = Path(folder) / "pipeline.yaml"
        file.write_text(text, encoding="utf-8")

        def made() -> Version:
            answer = connection.uploads.upload_pipeline_version(
                str(file),
                name=version,
                display_name=title or version,
                pipelineid=pipeline_id,
                description=description,
            )
            return Version(pipeline_id, str(answer.pipeline_version_id), version, is_new=True)

        return creation.once(lambda: _version(connection, pipeline_id, version), made)


def _pipeline(connection: Connection, name: str) -> str | None:
    try:
        found = connection.pipelines.pipeline_service_get_pipeline_by_name(name=name, **connection.place)
    except NotFound:
        return None
    return str(found.pipeline_id)


def _make_pipeline(connection: Connection, name: str) -> str:
    if len(name.encode()) > NAME_LIMIT:
        raise EvalHubError(f"pipeline {name[:40]!r}: must have at most {NAME_LIMIT} bytes")
    body: dict[str, Any] = {"name": name, "display_name": name, **connection.place}

    def made() -> str:
        return str(connection.pipelines.pipeline_service_create_pipeline(pipeline=body).pipeline_id)

    return creation.once(lambda: _pipeline(connection, name), made)


def _version(connection: Connection, pipeline_id: str, name: str) -> Version | None:
    answer = connection.pipelines.pipeline_service_list_pipeline_versions(
        pipeline_id=pipeline_id, filter=creation.equals("name", name), page_size=1
    )
    if not answer.pipeline_versions:
        return None
    return Version(pipeline_id, str(answer.pipeline_versions[0].pipeline_version_id), name, is_new=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
