"""What the README shows of CI, schedules and Python on Kubeflow does what it says, on a cluster of processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from junitparser import JUnitXml
from process_cluster import ProcessCluster, process_cluster
from registries import RunningRegistry, plain_registry

from evalhub_pipelines import environments
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.demo_model import DemoModelSettings, running
from evalhub_pipelines.images import COMPONENTS_IMAGE

__all__ = ["plain_registry"]

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
NAMESPACE = "team-a"
PROVIDER = "lm_evaluation_harness"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def example(language: str, words: str) -> str:
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if words in text]
    return str(found)


KUBECTL = """#!{python}
import argparse, base64, pathlib, kubernetes
parser = argparse.ArgumentParser()
parser.add_argument("-n", "--namespace")
parser.add_argument("words", nargs="+")
parser.add_argument("-f", dest="file")
parser.add_argument("--type", default="Opaque")
parser.add_argument("--from-file")
given = parser.parse_args()
kubernetes.config.load_kube_config()
api = kubernetes.client.ApiClient()
if given.words == ["apply"]:
    kubernetes.utils.create_from_yaml(api, given.file)
else:
    key, _, file = given.from_file.rpartition("=")
    path = pathlib.Path(file)
    files = {{each.name: each for each in path.iterdir()}} if path.is_dir() else {{key or path.name: path}}
    data = {{name: base64.b64encode(each.read_bytes()).decode() for name, each in files.items()}}
    named = {{"api_version": "v1", "kind": "Secret", "metadata": {{"name": given.words[-1]}}}}
    secret = kubernetes.client.V1Secret(**named, type=given.type, data=data)
    kubernetes.client.CoreV1Api(api).create_namespaced_secret(given.namespace, secret)
"""
"""As much of kubectl as the README uses."""


@dataclass
class Reader:
    """Somebody who follows the README, in a folder with an eval.yaml."""

    folder: Path
    cluster: ProcessCluster
    environ: dict[str, str]

    def bash(self, script: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environ | more,
            capture_output=True,
            text=True,
        )


@pytest.fixture
def reader(tmp_path: Path, plain_registry: RunningRegistry) -> Iterator[Reader]:
    python = os.environ.get("EVALHUB_LM_EVAL_PYTHON")
    if not python:
        pytest.skip("the environment of lm_evaluation_harness is made by `make test`")
    folder = tmp_path
    bin_folder = Path(sys.executable).parent
    subprocess.run([bin_folder / "evalhub-kfp", "keys", "generate", folder / "keys"], check=True, capture_output=True)
    (folder / "cosign.pub").write_bytes((folder / "keys" / "public.key").read_bytes())
    runtime = Catalog.of().provider(PROVIDER).runtime.k8s
    assert runtime
    assert runtime.image
    in_image = {"EVALHUB_PROVIDER_DIR": str(ROOT / "providers" / PROVIDER)}
    in_image["PYTHONPATH"] = str(environments.components_path())
    pinned = {name: f"registry.example/evalhub/{name}@sha256:{'c' * 64}" for name in ("components", PROVIDER)}
    images = dict.fromkeys((COMPONENTS_IMAGE, pinned["components"]), (sys.executable, {}))
    images |= dict.fromkeys((runtime.image, pinned[PROVIDER]), (python, in_image))
    lock = {"components": pinned["components"], "providers": {PROVIDER: pinned[PROVIDER]}}
    (folder / "images.lock.json").write_text(json.dumps(lock))
    kept = ("PATH", "LANG", "LC_ALL", "TMPDIR")
    environ = {name: os.environ[name] for name in kept if name in os.environ}
    environ |= {"PATH": f"{bin_folder}:{environ['PATH']}", "HOME": str(folder)}
    with (
        running(DemoModelSettings(skill=1.0)) as model,
        process_cluster(folder / "cluster", images, multi_user=True) as cluster,
    ):
        cluster.kubernetes.add_namespace(NAMESPACE)
        key = b64encode((folder / "keys" / "private.key").read_bytes()).decode()
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "evidence-signing"},
            "data": {"private.key": key},
        }
        cluster.kubernetes.create(NAMESPACE, "secrets", secret, False)
        host, _, repository = f"{plain_registry.address}/evaluations".rpartition("/")
        evaluation = {
            "model": {"url": model.base_url, "name": "demo-model"},
            "benchmarks": [{"id": "quickstart_arithmetic", "provider_id": PROVIDER, "num_examples": 5}],
            "exports": {
                "oci": {"coordinates": {"oci_host": host, "oci_repository": repository}},
                "signing": {"secret_ref": "evidence-signing"},
            },
        }
        (folder / "eval.yaml").write_text(yaml.safe_dump(evaluation))
        environ |= {"KF_PIPELINES_ENDPOINT": cluster.endpoint, "KF_PIPELINES_NAMESPACE": NAMESPACE}
        yield Reader(folder, cluster, environ)
        assert cluster.crashes == []
        assert cluster.invalid == []


def annotations(evidence: str) -> dict[str, str]:
    host, _, rest = evidence.partition("/")
    url = f"http://{host}/v2/{rest.partition(':')[0]}/manifests/{rest.partition('@')[2]}"
    accepted = {"Accept": "application/vnd.oci.image.index.v1+json"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=accepted)) as answer:
        found: dict[str, str] = json.load(answer)["annotations"]
    return found


def test_the_github_workflow_submits_waits_and_leaves_junit_and_the_reference(reader: Reader) -> None:
    workflow = yaml.safe_load(example("yaml", "runs-on"))
    job = workflow["jobs"]["evaluate"]
    evaluate, record = (step for step in job["steps"] if "run" in step and "pip" not in step["run"])
    output, summary = reader.folder / "output", reader.folder / "summary"
    github = {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
    done = reader.bash(evaluate["run"], **github, GITHUB_SHA=COMMIT, PULL_REQUEST="7")
    assert done.returncode == 0, done.stderr
    outputs = {
        name: value for name, _, value in re.findall(r"^(\w+)<<(\S+)\n(.*)\n\2$", output.read_text(), re.MULTILINE)
    }
    assert outputs["verdict"] == "pass"
    assert "pass" in summary.read_text()
    assert [case.result for part in JUnitXml.fromfile(str(reader.folder / "junit.xml")) for case in part] == [[], []]
    names = re.findall(r"steps\.evaluate\.outputs\.(\w+)", str(record["env"]))
    recorded = reader.bash(record["run"], **dict(zip(record["env"], map(outputs.get, names), strict=True)))
    assert recorded.returncode == 0, recorded.stderr
    run_id, evidence = (reader.folder / "evidence.txt").read_text().split()
    assert run_id in reader.cluster.runs
    assert f"git_commit: {COMMIT}" in reader.cluster.runs[run_id]["description"]
    shown = annotations(evidence)
    assert shown["org.opencontainers.image.revision"] == COMMIT
    assert shown["example.com/pull-request"] == "7"


def test_a_signing_secret_that_is_misspelt_makes_no_verdict(reader: Reader) -> None:
    done = reader.bash("evalhub-kfp submit eval.yaml --wait --signing-secret evidence-singing")
    assert done.returncode == 2
    assert "aggregate" in done.stderr
    (run,) = reader.cluster.runs.values()
    assert run["state"] == "FAILED"


def test_the_tekton_task_leaves_its_results(reader: Reader) -> None:
    task = yaml.safe_load(example("yaml", "tekton.dev"))
    (step,) = task["spec"]["steps"]
    results = reader.folder / "results"
    token = reader.folder / "token"
    token.write_text("token-of-a-service-account")
    environ = {"COMMIT": COMMIT, "PULL_REQUEST": "", "KF_PIPELINES_SA_TOKEN_PATH": str(token)}
    done = reader.bash(step["script"].replace("/tekton/results", str(results)), **environ)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in results.iterdir()} >= {result["name"] for result in task["spec"]["results"]}
    assert (results / "VERDICT").read_text() == "pass"
    assert reader.cluster.seen[-1].headers["authorization"] == "Bearer token-of-a-service-account"


def test_the_python_example_comes_to_a_verdict(reader: Reader) -> None:
    done = subprocess.run(
        [sys.executable, "-c", example("python", "kubeflow.connect")],
        cwd=reader.folder,
        env=reader.environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    verdict, passed = done.stdout.splitlines()
    assert verdict.startswith("pass http")
    assert passed == "[True]"


def test_the_schedule_is_applied_described_run_and_deleted(reader: Reader) -> None:
    (reader.folder / "nightly.yaml").write_text(example("yaml", "cron:"))
    commands = example("sh", "schedule apply nightly.yaml --dry-run").replace(".venv/bin/", "")
    done = reader.bash(commands.replace("evalhub-kfp schedule delete nightly", ""))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^nightly ", done.stdout, re.MULTILINE)
    deleted = reader.bash("evalhub-kfp schedule delete nightly --force")
    assert deleted.returncode == 0, deleted.stderr
    assert reader.cluster.recurring_runs == {}


def test_the_walk_ends_with_a_verdict_and_a_schedule(reader: Reader, tmp_path: Path) -> None:
    reader.cluster.kubernetes.delete(NAMESPACE, "secrets", "evidence-signing")
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL.format(python=sys.executable))
    kubectl.chmod(0o755)
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": {}}))
    (tmp_path / "api-key").write_text("key-of-the-model")
    (tmp_path / "nightly.yaml").write_text(example("yaml", "cron:"))
    config = yaml.safe_load((tmp_path / "eval.yaml").read_text())
    shown = yaml.safe_load(example("yaml", "model: # eval.yaml"))
    assert shown["exports"]["oci"].keys() == {"coordinates", "k8s"}
    shown["model"] |= config["model"]
    shown["exports"]["oci"]["coordinates"] = config["exports"]["oci"]["coordinates"]
    shown.pop("collection")
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump(shown | {"benchmarks": config["benchmarks"]}))
    walk = example("sh", "kubectl apply -f team-a.yaml\nevalhub-kfp keys")
    # doctor asks for rights, which nobody here keeps; it has tests of its own
    lines = [line for line in walk.splitlines() if not line.startswith(("pip ", "evalhub-kfp doctor"))]
    script = "\n".join(lines).replace("https://kubeflow.example/pipeline", reader.cluster.endpoint)
    token = tmp_path / ".config" / "kubeflow" / "token"
    token.parent.mkdir(parents=True)
    token.write_text("a-token")
    done = reader.bash(
        script,
        PATH=f"{tmp_path}:{reader.environ['PATH']}",
        KF_PIPELINES_ENDPOINT="",
        KF_PIPELINES_NAMESPACE="",
        KUBECONFIG=str(reader.cluster.kubernetes.write_kubeconfig(tmp_path / "kubeconfig")),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (schedule,) = reader.cluster.recurring_runs.values()
    assert (schedule["status"], schedule["service_account"]) == ("ENABLED", "evalhub-runner")
    assert {name for _, kind, name in reader.cluster.kubernetes.objects if kind == "serviceaccounts"} == {
        "evalhub-runner"
    }
    assert "key-of-the-model" not in done.stdout + done.stderr
