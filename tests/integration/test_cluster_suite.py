"""The suite that needs a cluster is run against processes, so that it is known to work before there is a cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from junitparser import JUnitXml
from process_cluster import ProcessCluster, process_cluster
from registries import RunningRegistry, tls_registry

from evalhub_pipelines import environments

__all__ = ["tls_registry"]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 600  # seconds until a suite that should end does not
COMPONENTS = f"registry.example/evalhub/components@sha256:{'c' * 64}"
LM_EVAL = f"registry.example/evalhub/lm-evaluation-harness@sha256:{'1' * 64}"

VERDICT = "test_a_namespace_from_nothing_comes_to_a_verified_verdict"
TESTS = {
    VERDICT,
    "test_a_red_gate_is_exit_status_1_and_its_evidence_says_so",
    "test_a_cancelled_run_ends_whoever_waits_with_exit_status_2",
    "test_after_a_killed_pod_a_retry_runs_only_what_failed",
    "test_a_schedule_fires_twice_and_each_run_has_its_time_and_its_evidence",
}


def images(folder: Path) -> tuple[Path, dict[str, tuple[str, dict[str, str]]]]:
    """A lock of images, and the processes that stand for them; with a real provider where `make test` made one."""
    providers = {}
    started: dict[str, tuple[str, dict[str, str]]] = {COMPONENTS: (sys.executable, {})}
    if os.environ.get("EVALHUB_LM_EVAL_PYTHON"):
        provider = ROOT / "providers" / "lm_evaluation_harness"
        in_image = {"EVALHUB_PROVIDER_DIR": str(provider), "PYTHONPATH": str(environments.components_path())}
        providers["lm_evaluation_harness"] = LM_EVAL
        started[LM_EVAL] = (os.environ["EVALHUB_LM_EVAL_PYTHON"], in_image)
    lock = folder / "images.lock.json"
    lock.write_text(json.dumps({"components": COMPONENTS, "providers": providers}))
    return lock, started


def suite(
    folder: Path, cluster: ProcessCluster, lock: Path, registry: RunningRegistry, *arguments: str, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the suite in a process of its own, as somebody does who has a cluster."""
    assert registry.secret is not None
    settings = {
        "IMAGES": str(lock),
        "REGISTRY": f"{registry.host}/evaluations",
        "REGISTRY_AUTH": str(registry.secret / ".dockerconfigjson"),
        "CA": str(registry.ca),
        "TIMEOUT": "120",
        "HOLD": "20",
        **more,
    }
    environ = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    environ |= {f"EVALHUB_CLUSTER_{name}": value for name, value in settings.items()}
    environ |= {"HOME": str(folder / "home"), "PYTHONWARNINGS": "ignore", "KF_PIPELINES_ENDPOINT": cluster.endpoint}
    environ["KUBECONFIG"] = str(cluster.kubernetes.write_kubeconfig(folder / "kubeconfig"))
    done = pytest_of([f"--junitxml={folder / 'report.xml'}", "tests/cluster", *arguments], environ)
    assert cluster.crashes == [], done.stdout[-20000:]
    assert (cluster.invalid, cluster.kubernetes.invalid) == ([], [])
    assert "left behind" not in done.stdout, done.stdout
    return done


def pytest_of(arguments: list[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def outcomes(folder: Path) -> dict[str, str]:
    """What became of each test: `passed`, or what the report has for it."""
    return {
        case.name: " ".join(type(result).__name__ for result in case.result) or "passed"
        for part in JUnitXml.fromfile(str(folder / "report.xml"))
        for case in part
    }


def nothing_is_left(cluster: ProcessCluster, registry: RunningRegistry) -> None:
    assert [cluster.runs, cluster.recurring_runs, cluster.pipelines, cluster.versions] == [{}, {}, {}, {}]
    assert {record["display_name"] for record in cluster.experiments.values()} <= {"Default"}
    # the pods of a run belong to its workflow, which Kubeflow Pipelines takes away
    assert {kind for _, kind, _ in cluster.kubernetes.objects} <= {"namespaces", "pods"}
    tags = registry.repository("evaluations") / "_manifests" / "tags"
    assert not tags.exists() or list(tags.iterdir()) == []


def test_the_suite_passes_in_a_namespace_that_it_makes(tmp_path: Path, tls_registry: RunningRegistry) -> None:
    lock, started = images(tmp_path)
    policies = "--api-cidr 127.0.0.1/32:6443 --registry-cidr 127.0.0.1/32:5000"
    with process_cluster(tmp_path / "cluster", started, multi_user=True, minute=3) as cluster:
        done = suite(tmp_path, cluster, lock, tls_registry, MANIFESTS=policies, SUBJECT="User:tester@example.com")
        assert done.returncode == 0, done.stdout[-20000:]
        nothing_is_left(cluster, tls_registry)
        assert not cluster.kubernetes.objects
        assert {"evalhub-runner", "evalhub-submitter", "evalhub-steps"} <= cluster.kubernetes.dry_runs
    assert outcomes(tmp_path) == dict.fromkeys(TESTS, "passed")


def test_where_there_is_one_user_it_comes_to_a_verdict_in_the_namespace_of_the_installation(
    tmp_path: Path, tls_registry: RunningRegistry
) -> None:
    lock, started = images(tmp_path)
    with process_cluster(tmp_path / "cluster", started) as cluster:
        done = suite(tmp_path, cluster, lock, tls_registry, "-k", VERDICT)
        assert done.returncode == 0, done.stdout[-20000:]
        nothing_is_left(cluster, tls_registry)
        assert ("", "namespaces", "kubeflow") in cluster.kubernetes.objects
    assert outcomes(tmp_path) == {VERDICT: "passed"}


def test_what_cannot_be_made_is_named_without_its_secrets_and_what_was_made_goes(
    tmp_path: Path, tls_registry: RunningRegistry
) -> None:
    lock, started = images(tmp_path)
    assert tls_registry.secret is not None
    login = json.loads((tls_registry.secret / ".dockerconfigjson").read_text())["auths"][tls_registry.host]["auth"]
    with process_cluster(tmp_path / "cluster", started, multi_user=True) as cluster:
        cluster.kubernetes.forbidden.add("secrets")
        cluster.kubernetes.add_namespace("team-a")
        done = suite(tmp_path, cluster, lock, tls_registry, "-k", VERDICT, NAMESPACE="team-a")
        assert list(cluster.kubernetes.objects) == [("", "namespaces", "team-a")]
    assert done.returncode == 1
    assert "cannot be made: 403 Forbidden" in done.stdout
    assert login not in done.stdout
    assert not re.search("sk-[0-9a-f]{32}", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tests/cluster"], "KF_PIPELINES_ENDPOINT is not set: there is no cluster to run on"),
        (["tests/cluster/test_schedules.py", "tests/unit/test_layers.py"], "1 skipped"),
    ],
    ids=["alone", "with another"],
)
def test_without_an_endpoint_it_is_skipped(arguments: list[str], said: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "KF_PIPELINES_ENDPOINT"}
    done = pytest_of(arguments, environ)
    assert done.returncode == 0, done.stdout
    assert said in done.stdout


def test_it_is_not_among_all_tests_whatever_the_environment_says() -> None:
    others = [f"--ignore=tests/{name}" for name in ("integration", "unit/components", "unit/pipelines")]
    environ = os.environ | {"KF_PIPELINES_ENDPOINT": "http://127.0.0.1:9"}
    done = pytest_of(["--collect-only", "-q", "tests", *others], environ)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "tests/unit/test_layers.py" in done.stdout
    assert "tests/cluster" not in done.stdout


def test_what_it_is_not_told_is_named_at_once(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("EVALHUB_CLUSTER_")}
    environ |= {"KF_PIPELINES_ENDPOINT": "http://127.0.0.1:9", "EVALHUB_CLUSTER_HOLD": "long"}
    environ["EVALHUB_CLUSTER_CA"] = str(tmp_path / "ca.crt")
    done = pytest_of(["tests/cluster"], environ)
    assert done.returncode == 1
    for said in (
        "EVALHUB_CLUSTER_IMAGES: is missing",
        "EVALHUB_CLUSTER_REGISTRY: is missing",
        "EVALHUB_CLUSTER_HOLD: must be a number of seconds, got 'long'",
        f"EVALHUB_CLUSTER_CA: there is no file {tmp_path / 'ca.crt'}",
    ):
        assert said in done.stdout
