"""A run that is asked for once: where the answer is lost, the run is looked for."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from evalhub_components.errors import Cancelled
from evalhub_pipelines.client import creation
from evalhub_pipelines.client.connection import Connection
from evalhub_pipelines.client.failures import Unavailable
from evalhub_pipelines.client.runs import run_description


def token() -> str:
    """Return the `submission` of a description that a run is told by."""
    return uuid.uuid4().hex[:12]


def start(connection: Connection, body: Mapping[str, Any]) -> str:
    """Return the id of a new run. None is started twice, and none is lost.

    Args:
        body: of the request, in an experiment; its description has a `token`.

    Raises:
        Unavailable: whether it was started is not known.
        Cancelled: interrupted, and it is not known either.
        EvalHubError: the server refuses.
    """
    what = f"whether run {body['display_name']!r} was started is not known"
    unknown = f"{what} (look before you start it again: evalhub-kfp list)"
    try:
        try:
            run_id = connection.runs.run_service_create_run(run=body).run_id
            reason = f"{connection.endpoint}: answers without the id of the run"
        except Unavailable as error:
            run_id, reason = creation.look(lambda: _find(connection, body)), str(error)
    except KeyboardInterrupt:
        raise Cancelled(f"interrupted: {unknown}") from None
    if not run_id:
        raise Unavailable(f"{reason}; {unknown}")
    return str(run_id)


def _find(connection: Connection, body: Mapping[str, Any]) -> str | None:
    page = connection.runs.run_service_list_runs(
        experiment_id=body["experiment_id"],
        filter=creation.equals("display_name", body["display_name"]),
        sort_by="created_at desc",
        page_size=50,
    )
    wanted = run_description.parse(body["description"]).submission
    runs = [run for run in page.runs or [] if run_description.parse(run.description).submission == wanted]
    return str(runs[0].run_id) if runs else None
