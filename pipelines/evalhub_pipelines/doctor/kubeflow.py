"""Kubeflow Pipelines: where it is, which version, and whether runs may be listed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from evalhub_components.errors import EvalHubError
from evalhub_pipelines.doctor.finding import Finding

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection

ENDPOINT, VERSION, RUNS = NAMES = ("kfp endpoint", "kfp version", "kfp runs")
OLDEST = (2, 17)


def look(connection: Connection) -> Iterator[Finding]:
    """Yield what Kubeflow Pipelines answers.

    Raises:
        EvalHubError: it cannot be reached, or refuses; with the cure.
        Unseen: nothing can be said of what is due.
    """
    server = connection.version()
    users = "several users" if server.multi_user else "one user"
    yield Finding(ENDPOINT, "ok", f"{connection.endpoint}, of {users} (from {connection.origin})")
    yield of_version(server.version)
    if server.multi_user and not connection.namespace:
        cure = "--namespace, KF_PIPELINES_NAMESPACE, or namespace in a profile"
        raise EvalHubError(f"the installation has several users, and no namespace is named (name yours: {cure})")
    # an installation with one user refuses to hear of namespaces
    place = {"namespace": connection.namespace} if server.multi_user else {}
    connection.runs.run_service_list_runs(page_size=1, **place)
    where = f" of namespace {connection.namespace}" if place else ""
    yield Finding(RUNS, "ok", f"the runs{where} can be listed")


def of_version(version: str | None) -> Finding:
    """Return whether this is made for that version of Kubeflow Pipelines."""
    if version is None:
        told = "this address does not tell it (that of the dashboard does; it is to be 2.17 or a later 2.x)"
        return Finding(VERSION, "unknown", told)
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    if not numbers:
        return Finding(VERSION, "unknown", f"{version!r} is no number (it is to be 2.17 or a later 2.x)")
    found = (int(numbers[1]), int(numbers[2]))
    if found[0] != OLDEST[0]:
        return Finding(
            VERSION, "failed", f"{version} is another generation (compiled pipelines need 2.17 or a later 2.x)"
        )
    if found < OLDEST:
        return Finding(VERSION, "failed", f"{version} is too old (upgrade Kubeflow Pipelines to 2.17 or a later 2.x)")
    return Finding(VERSION, "ok", version)
