"""Takes away what the suite made: schedules, runs, experiments and pipelines, what is in the namespace, evidence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.reference import Reference
from evalhub_components.evidence.registry.remote_store import RemoteStore

if TYPE_CHECKING:
    from conftest import Cluster

    from evalhub_pipelines.client.connection import Connection

left: list[str] = []
"""What could not be taken away, for people."""


def remove(cluster: Cluster) -> None:
    """Take away everything; what cannot be taken away is in `left`, and the rest goes all the same."""
    runs: list[str] = []
    try:
        _remove_from_pipelines(cluster.connection, cluster.prefix, runs)
    except EvalHubError as error:
        left.append(f"Kubeflow Pipelines keeps what is called {cluster.prefix}: {error}")
    try:
        cluster.namespace.remove()
    finally:
        for run_id in runs:
            try:
                _remove_evidence(cluster, f"run-{run_id}")
            except EvalHubError as error:
                left.append(f"the evidence run-{run_id} stays in {cluster.settings.registry_here}: {error}")


def _remove_from_pipelines(connection: Connection, prefix: str, removed: list[str]) -> None:
    """Remove what has the prefix in its name; the ids of runs are added to `removed`."""
    namespace = {"namespace": connection.namespace} if connection.namespace else {}
    has_prefix = {"key": "display_name", "operation": "IS_SUBSTRING", "string_value": prefix}
    ours = {"filter": json.dumps({"predicates": [has_prefix]}), **namespace}
    experiments, runs = connection.experiments, connection.runs
    schedules, pipelines = connection.recurring_runs, connection.pipelines
    for experiment in _listed(experiments.experiment_service_list_experiments, "experiments", **ours):
        of_it = {"experiment_id": experiment.experiment_id, **namespace}
        for schedule in _listed(schedules.recurring_run_service_list_recurring_runs, "recurring_runs", **of_it):
            schedules.recurring_run_service_delete_recurring_run(schedule.recurring_run_id)
        for run in _listed(runs.run_service_list_runs, "runs", **of_it):
            runs.run_service_delete_run(run.run_id)
            removed.append(run.run_id)
        experiments.experiment_service_delete_experiment(experiment.experiment_id)
    for pipeline in _listed(pipelines.pipeline_service_list_pipelines, "pipelines", **ours):
        # the client would write True as Python does
        pipelines.pipeline_service_delete_pipeline(pipeline.pipeline_id, cascade="true")


def _listed(ask: Callable[..., Any], what: str, **asked: Any) -> list[Any]:
    """Return all of a list, which is read to its end before anything of it goes."""

    def pages() -> Iterator[Any]:
        token = ""
        while True:
            page = ask(page_token=token, page_size=100, **asked)
            yield from getattr(page, what) or []
            token = page.next_page_token
            if not token:
                return

    return list(pages())


def _remove_evidence(cluster: Cluster, tag: str) -> None:
    """Delete the evidence of a run with its signatures, where the registry lets us."""
    settings = cluster.settings
    reference = Reference.parse(f"{settings.registry_here}:{tag}")
    login = cluster.folder / "secrets" / "registry"
    store = RemoteStore(reference, secret=login if login.is_dir() else None, ca=settings.ca)
    evidence = store.named_by(tag)
    if evidence is None:
        return  # it ended before its evidence
    parts = [each["digest"] for each in json.loads(store.manifest(evidence))["manifests"]]
    found = [evidence, *parts]
    # the tags behind which registries without the referrers API keep signatures begin with the digest
    behind = tuple(digest.replace(":", "-") for digest in found)
    attached = [store.named_by(name) for name in store.tags() if name.startswith(behind)]
    attached += [each.descriptor.digest for digest in found for each in store.referrers(digest)]
    for digest in filter(None, [*attached, *found]):
        answer = store.client.exchange("DELETE", store.client.manifest_url(digest))
        if answer.status not in (200, 202, 404):
            raise store.client.refusal(answer, f"delete {digest}")
