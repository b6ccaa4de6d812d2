"""`make smoke`: every framework runs, and there is one verdict over all of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from evalhub_pipelines.catalog import Catalog

ROOT = Path(__file__).resolve().parents[2]


def test_every_framework_runs_and_there_is_one_verdict(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "tests" / "demo.sh", "smoke-v1", "--output", tmp_path / "runs", "--no-mlflow", "--quiet"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [run] = (tmp_path / "runs").iterdir()
    verdict = json.loads((run / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["limited"]) == ("pass", False)
    assert sorted(test["provider_id"] for test in verdict["benchmarks"]) == Catalog.of().provider_ids()
    for test in verdict["benchmarks"]:
        assert (test["status"], test["pass"]) == ("completed", True), test["reason"]
    judged = [test["provider_id"] for test in verdict["benchmarks"] if _was_judged(run / "benchmarks" / test["slug"])]
    assert judged == ["ragas", "deepeval", "ibm-clear"]


def _was_judged(folder: Path) -> bool:
    asked = json.loads((folder / "task.json").read_text())["judge"]
    usage = json.loads((folder / "results.json").read_text())["usage"]
    assert bool(asked) == ("judge_requests" in usage)
    return bool(asked)
