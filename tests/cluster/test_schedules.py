"""A schedule on the cluster that is there: it starts runs by itself, and stops when it is told to."""

from __future__ import annotations

import json
from typing import Any

from cluster_evaluations import entry


def test_a_schedule_fires_twice_and_each_run_has_its_time_and_its_evidence(cluster: Any) -> None:
    name = f"{cluster.prefix}-nightly"
    evaluation = cluster.evaluation("scheduled", entry("answers"))
    wanted = {
        **{"name": name, "cron": "* * * * *", "time_zone": "UTC", "evaluation": str(evaluation)},
        "experiment": cluster.prefix,
        **({"ca_config_map": cluster.ca_config_map} if cluster.ca_config_map else {}),
    }
    file = cluster.folder / "schedule.yaml"
    file.write_text(json.dumps(wanted))
    applied = cluster("schedule", "apply", file, *cluster.options)
    assert applied.status == 0, applied.err

    def described() -> Any:
        done = cluster("schedule", "describe", name, "--format", "json")
        assert done.status == 0, done.err
        return done.json

    def is_over() -> Any:
        runs = described()["runs"]
        return runs if len([run for run in runs if run["finished_at"]]) >= 2 else None

    try:
        cluster.until(is_over, "two runs of the schedule are over")
    finally:
        paused = cluster("schedule", "pause", name)
    assert paused.status == 0, paused.err
    assert described()["state"] == "paused"
    runs = cluster.until(
        lambda: (found := described()["runs"]) and all(run["finished_at"] for run in found) and found,
        "the last run of the schedule is over",
    )
    assert {run["state"] for run in runs} == {"completed"}
    assert len({run["scheduled_time"] for run in runs}) == len(runs) >= 2, runs
    evidence = {cluster.status(run["run_id"])["record"]["evidence"] for run in runs}
    assert len(evidence) == len(runs)
    for reference in evidence:
        verified = cluster.verify(reference)
        assert verified.status == 0, verified.out
    deleted = cluster("schedule", "delete", name)
    assert deleted.status == 0, deleted.err
    assert name not in [each["name"] for each in cluster("schedule", "list", "--format", "json").json]
