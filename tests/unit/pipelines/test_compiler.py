"""Compiled pipelines: what is in them, what never is, and what is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import components as kfp_components

from evalhub_components.errors import EvalHubError, InvalidDocument
from evalhub_components.schema.collection import BenchmarkConfig, Collection, Execution
from evalhub_components.schema.evaluation import EvaluationConfig
from evalhub_components.schema.plan import EvaluationPlan
from evalhub_components.schema.provider import Provider
from evalhub_pipelines import chosen_images, compiled_files, compiler, evaluation, resolution
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.compiler import groups
from evalhub_pipelines.compiler.pipeline import GROUP_PORTS
from evalhub_pipelines.manifests.labels import STEP

ROOT = Path(__file__).resolve().parents[3]
COMPILED = sorted((ROOT / "compiled").glob("*.yaml"))
HARDWARE = {
    "cpu": {"request": "1", "limit": "4"},
    "memory": {"request": "2Gi", "limit": "8Gi"},
    "gpu": {"name": "nvidia.com/gpu", "count": 2},
    "queue": {"name": "evals"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "node_selector": {"zone": "a"},
}


def plan(count: int = 3, *, execution: dict[str, Any] | None = None, **entry: Any) -> EvaluationPlan:
    names = [f"b{i}" for i in range(count)]
    provider = Provider.model_validate(
        {
            "id": "p",
            "runtime": {
                "k8s": {"image": "example.org/p:1", "cpu_limit": "500m", "env": [{"name": "MODE", "value": "x"}]}
            },
            "benchmarks": [{"id": name, "primary_score": {"metric": "acc"}} for name in names],
        }
    )
    entries = [BenchmarkConfig.model_validate({"id": name, "provider_id": "p", **entry}) for name in names]
    chosen = Execution.model_validate(execution or {})
    return resolution.resolve(Collection(id="c", version="1", benchmarks=entries, execution=chosen), {"p": provider})


def documents(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    spec, platform = (document for document in yaml.safe_load_all(text) if document)
    return spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def executor(text: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    spec, settings = documents(text)
    (label,) = [label for label in spec["deploymentSpec"]["executors"] if label.startswith(f"exec-{name}")]
    return spec["deploymentSpec"]["executors"][label]["container"], settings[label]


def test_every_committed_file_is_what_the_sources_compile_to() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("evalhub-kfp"), "compile", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_same_plan_compiles_to_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        argv = [Path(sys.executable).with_name("evalhub-kfp"), "compile", "quickstart-v1", "--output", tmp_path / seed]
        environ = os.environ | {"PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo" if seed == "2" else "UTC"}
        subprocess.run(argv, env=environ, check=True, capture_output=True)
    one, two = ((tmp_path / seed / "quickstart-v1.yaml").read_bytes() for seed in ("1", "2"))
    assert one == two


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_the_header_says_which_version_and_plan_a_file_holds(path: Path) -> None:
    collection = Catalog.of().collection(path.stem)
    header = "\n".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    assert f"Collection {collection.id} version {collection.version}, plan sha256:" in header


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_a_benchmark_mounts_the_models_secret_and_no_other(path: Path) -> None:
    spec, settings = documents(path.read_text())
    inputs = {port: name for name, port in GROUP_PORTS.items()}
    for label in spec["deploymentSpec"]["executors"]:
        ports = [
            mount["secretNameParameter"]["componentInputParameter"]
            for mount in settings.get(label, {}).get("secretAsVolume", [])
        ]
        mounted = [inputs.get(port, port) for port in ports]
        allowed = {
            "exec-aggregate": ["mlflow_secret", "registry_secret", "signing_secret"],
            "exec-fingerprint": ["model_secret"],
            "exec-fingerprint-2": ["judge_secret"],
        }
        if label.startswith("exec-benchmark"):
            asks_judge = "--judge-url" in spec["deploymentSpec"]["executors"][label]["container"]["args"]
            assert mounted == (["model_secret", "judge_secret"] if asks_judge else ["model_secret"]), label
        else:
            assert mounted == allowed.get(label, []), label
        assert "secretAsEnv" not in settings.get(label, {})


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_no_file_holds_a_literal_secret_or_a_tag_that_moves(path: Path) -> None:
    text = path.read_text()
    spec, _ = documents(text)
    for executor in spec["deploymentSpec"]["executors"].values():
        assert not re.search(r":latest$|^[^:@]+$", executor["container"]["image"].rpartition("/")[2])
        for variable in executor["container"].get("env", []):
            assert not re.search(r"KEY|TOKEN|PASSWORD", variable["name"]), variable
    assert not re.search(r"sk-[A-Za-z0-9]{8}|Bearer |BEGIN [A-Z ]*PRIVATE KEY", text)


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_every_input_has_a_description_for_the_form(path: Path) -> None:
    spec, _ = documents(path.read_text())
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    assert {name for name, definition in inputs.items() if not definition.get("description")} == set()
    required = {
        name
        for name, definition in inputs.items()
        if "defaultValue" not in definition and not definition.get("isOptional")
    }
    judged = "exec-fingerprint-2" in spec["deploymentSpec"]["executors"]
    assert required == {"model_url", "model_name"} | ({"judge_url", "judge_name"} if judged else set())


def test_the_collection_of_188_benchmarks_fits_a_cluster() -> None:
    text = (ROOT / "compiled" / "lm-eval-catalogue-v1.yaml").read_text()
    argument, workflow = groups.sizes(text)
    assert argument <= groups.ARGUMENT_LIMIT
    assert workflow <= groups.WORKFLOW_LIMIT
    spec, _ = documents(text)
    assert max(len(c["dag"]["tasks"]) for c in spec["components"].values() if "dag" in c) == groups.GROUP + 1


def test_500_benchmarks_are_refused_with_the_remedy() -> None:
    with pytest.raises(EvalHubError, match=r"500 benchmarks .* KiB fit \(set execution.batch: provider, or split it\)"):
        compiler.compile_plan(plan(500))


def test_a_batch_makes_few_tasks_of_500_benchmarks() -> None:
    spec, _ = documents(compiler.compile_plan(plan(500, execution={"batch": "provider"})))
    dags = [spec["root"], *(c for c in spec["components"].values() if "dag" in c)]
    tasks = [task for dag in dags for task in dag["dag"]["tasks"].values()]
    batches = [task for task in tasks if "task" in task.get("inputs", {}).get("parameters", {})]
    constants = [task["inputs"]["parameters"]["task"]["runtimeValue"]["constant"] for task in batches]
    assert sum(len(json.loads(constant)) for constant in constants) == 500
    assert max(len(constant) for constant in constants) < 128 * 1024


def test_hardware_of_an_entry_goes_before_its_providers() -> None:
    container, settings = executor(compiler.compile_plan(plan(1, hardware_config=HARDWARE)), "benchmark-000")
    resources = container["resources"]
    assert (resources["resourceCpuRequest"], resources["resourceCpuLimit"]) == ("1", "4")
    assert (resources["resourceMemoryRequest"], resources["resourceMemoryLimit"]) == ("2Gi", "8Gi")
    assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert resources["accelerator"]["resourceCount"] == "2"
    assert settings["podMetadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "evals"
    assert settings["nodeSelector"]["labels"] == {"zone": "a"}
    assert settings["tolerations"][0]["key"] == "gpu"
    assert {"name": "MODE", "value": "x"} in container["env"]


def test_a_pod_has_ten_minutes_beyond_its_benchmarks_and_retries_with_backoff() -> None:
    text = compiler.compile_plan(plan(1, timeout=1800, execution={"retries": 4}))
    _, settings = executor(text, "benchmark-000")
    assert int(settings["activeDeadlineSeconds"]) == 1800 + 600
    spec, _ = documents(text)
    tasks = spec["root"]["dag"]["tasks"]
    policy = next(task for name, task in tasks.items() if name.startswith("benchmark-"))["retryPolicy"]
    assert (policy["maxRetryCount"], policy["backoffFactor"]) == (4, 2.0)
    # for Argo it counts from the first try's beginning, the benchmarks' own time included
    longest_run = 5 * (1800 + 600)
    assert int(policy["backoffMaxDuration"].removesuffix("s")) > longest_run
    assert "retryPolicy" not in tasks["gate"]


def test_every_pod_runs_as_somebody_without_rights() -> None:
    _, settings = documents(compiler.compile_plan(plan(2)))
    assert all(setting["securityContext"]["runAsNonRoot"] for setting in settings.values())


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_every_pod_is_labelled_with_whom_it_talks_to(path: Path) -> None:
    spec, settings = documents(path.read_text())
    labelled = {
        label.removeprefix("exec-"): settings[label]["podMetadata"]["labels"][STEP]
        for label in spec["deploymentSpec"]["executors"]
    }
    for name, step in labelled.items():
        asks_a_model = name.startswith(("benchmark-", "benchmarks-", "fingerprint"))
        assert step == ("benchmark" if asks_a_model else "aggregate" if name == "aggregate" else "other"), name


def test_the_pod_that_fetches_data_is_labelled_apart() -> None:
    git = {"git": {"url": "https://example.org/d", "ref": "main"}}
    _, settings = executor(compiler.compile_plan(plan(1, test_data_ref=git)), "test-data")
    assert settings["podMetadata"]["labels"] == {STEP: "test-data"}


@pytest.mark.parametrize("count", [3, 26], ids=["flat", "in groups"])
def test_what_the_model_is_asked_with_is_an_input_that_every_benchmark_gets(count: int) -> None:
    spec, _ = documents(compiler.compile_plan(plan(count)))
    assert spec["root"]["inputDefinitions"]["parameters"]["model_auth"]["defaultValue"] == "secret"
    dags = [spec["root"], *(c for c in spec["components"].values() if "dag" in c)]
    tasks = {name: task for dag in dags for name, task in dag["dag"]["tasks"].items()}
    asking = [task for name, task in tasks.items() if name.startswith(("benchmark-", "fingerprint"))]
    assert len(asking) == count + 1
    sources = {task["inputs"]["parameters"]["model_auth"]["componentInputParameter"] for task in asking}
    assert sources == ({"model_auth"} if count == 3 else {"model_auth", "auth"})


def test_pull_secrets_and_defaults_reach_the_pipeline() -> None:
    options = compiler.Options(image_pull_secrets=("pull",), defaults={"model_url": "http://m/v1"})
    text = compiler.compile_plan(plan(1), options)
    spec, settings = documents(text)
    assert all(setting["imagePullSecret"] for setting in settings.values())
    assert spec["root"]["inputDefinitions"]["parameters"]["model_url"]["defaultValue"] == "http://m/v1"


def test_an_eval_yaml_gives_the_inputs_their_defaults() -> None:
    config = EvaluationConfig.model_validate(
        {
            "model": {"url": "http://m/v1", "name": "m", "digest": "sha256:" + "a" * 64},
            "collection": "c",
            "experiment": {"name": "nightly", "tags": {"team": "blue", "tier": "1"}},
            "exports": {
                "oci": {
                    "coordinates": {
                        "oci_host": "http://registry:5000",
                        "oci_repository": "team/evals",
                        "oci_tag": "nightly",
                        "oci_subject": "v3",
                        "annotations": {"org.example.commit": "abc", "org.example.pr": "7"},
                    },
                    "k8s": {"connection": "registry"},
                },
                "signing": {"type": "key-pair", "secret_ref": "signer"},
            },
        }
    )
    text = compiler.compile_plan(plan(1), compiler.Options(defaults=evaluation.pipeline_defaults(config)))
    parameters = documents(text)[0]["root"]["inputDefinitions"]["parameters"]
    assert {name: value["defaultValue"] for name, value in parameters.items() if value.get("defaultValue")} == {
        "model_url": "http://m/v1",
        "model_name": "m",
        "model_auth": "secret",
        "model_digest": "sha256:" + "a" * 64,
        "experiment_name": "nightly",
        "experiment_tags": "team=blue\ntier=1",
        "oci_host": "http://registry:5000",
        "oci_repository": "team/evals",
        "oci_tag": "nightly",
        "oci_subject": "v3",
        "oci_annotations": "org.example.commit=abc\norg.example.pr=7",
        "registry_secret": "registry",
        "signing_secret": "signer",
    }


def test_an_eval_yaml_gives_the_inputs_what_model_and_judge_are_asked_with() -> None:
    config = EvaluationConfig.model_validate(
        {
            "model": {"url": "http://m/v1", "name": "m", "auth": {"service_account": True, "secret_ref": "ca"}},
            "judge": {"url": "http://j/v1", "name": "j", "auth": {"secret_ref": "of-judge"}},
            "collection": "c",
        }
    )
    assert evaluation.pipeline_defaults(config) == {
        **{"model_url": "http://m/v1", "model_name": "m", "model_secret": "ca", "model_auth": "service-account"},
        **{"judge_url": "http://j/v1", "judge_name": "j", "judge_secret": "of-judge"},
    }


def test_max_parallel_chains_tasks_into_lanes() -> None:
    spec, _ = documents(compiler.compile_plan(plan(5, execution={"max_parallel": 2})))
    tasks = spec["root"]["dag"]["tasks"]
    after = {name: task["dependentTasks"] for name, task in tasks.items() if name.startswith("benchmark-")}
    assert after["benchmark-000-b0"] == ["fingerprint"]
    assert after["benchmark-002-b2"] == ["benchmark-000-b0", "fingerprint"]
    assert after["benchmark-004-b4"] == ["benchmark-002-b2", "fingerprint"]


def test_the_cache_is_off_unless_asked_for_with_pinned_images() -> None:
    def cached(text: str) -> set[str]:
        tasks = documents(text)[0]["root"]["dag"]["tasks"]
        return {name for name, task in tasks.items() if task.get("cachingOptions", {}).get("enableCache")}

    assert cached(compiler.compile_plan(plan(1))) == set()
    asked = plan(1, execution={"cache": True})
    with pytest.raises(EvalHubError, match="pinned by digest"):
        compiler.compile_plan(asked)
    pinned = "example.org/x@sha256:" + "a" * 64
    text = compiler.compile_plan(
        chosen_images.with_images(asked, {"p": pinned}), compiler.Options(components_image=pinned)
    )
    assert cached(text) == {"benchmark-000-b0"}


@pytest.mark.parametrize("image", ["example.org/p:latest", "example.org/p", "localhost:5000/p"])
def test_an_image_that_may_change_is_refused(image: str) -> None:
    with pytest.raises(EvalHubError, match="may change"):
        compiler.compile_plan(chosen_images.with_images(plan(1), {"p": image}))


def test_a_changed_collection_needs_a_new_version(tmp_path: Path) -> None:
    before, after = compiler.compile_plan(plan(2)), compiler.compile_plan(plan(3))
    compiled_files.write({"c.yaml": before}, tmp_path)
    with pytest.raises(InvalidDocument, match="give it a new version"):
        compiled_files.write({"c.yaml": after}, tmp_path)
    assert (tmp_path / "c.yaml").read_text() == before
    with pytest.raises(InvalidDocument, match="give it a new version"):
        compiled_files.check({"c.yaml": after}, tmp_path)


def of_an_eval_yaml(count: int) -> str:
    return compiler.compile_plan(plan(count), compiler.Options(defaults={"model_name": "m"}))


def test_an_eval_yaml_has_no_version_and_compiles_anew(tmp_path: Path) -> None:
    for count in (2, 3):
        compiled_files.write({"c.yaml": of_an_eval_yaml(count)}, tmp_path)
    assert (tmp_path / "c.yaml").read_text() == of_an_eval_yaml(3)


@pytest.mark.parametrize(
    ("there", "text", "whose"),
    [
        (compiler.compile_plan(plan(2)), of_an_eval_yaml(2), "the file of a collection"),
        (of_an_eval_yaml(2), compiler.compile_plan(plan(2)), "the file of an eval.yaml"),
        ("model: {}\n", of_an_eval_yaml(2), "the file of something else"),
    ],
    ids=["collection", "eval.yaml", "other"],
)
def test_a_file_that_is_another_pipeline_stays(tmp_path: Path, there: str, text: str, whose: str) -> None:
    (tmp_path / "c.yaml").write_text(there)
    with pytest.raises(InvalidDocument, match=whose):
        compiled_files.write({"c.yaml": text, "d.yaml": text}, tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"c.yaml": there}


def test_drift_missing_and_left_over_files_are_all_named(tmp_path: Path) -> None:
    text = compiler.compile_plan(plan(1))
    (tmp_path / "a.yaml").write_text(text.replace("maxRetryCount: 2", "maxRetryCount: 3"))
    (tmp_path / "gone.yaml").write_text(text)
    with pytest.raises(InvalidDocument) as raised:
        compiled_files.check({"a.yaml": text, "b.yaml": text}, tmp_path)
    assert [Path(p.where).name for p in raised.value.problems] == ["a.yaml", "b.yaml", "gone.yaml"]


def test_another_version_of_kfp_is_no_drift(tmp_path: Path) -> None:
    text = compiler.compile_plan(plan(1))
    (tmp_path / "a.yaml").write_text(re.sub(r"sdkVersion: .*", "sdkVersion: kfp-2.99.0", text))
    compiled_files.check({"a.yaml": text}, tmp_path)


@pytest.mark.parametrize("path", sorted((ROOT / "compiled" / "components").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_providers_component_loads_into_anybodys_pipeline(path: Path) -> None:
    component = kfp_components.load_component_from_file(str(path))
    inputs = component.component_spec.inputs or {}
    judged = any(benchmark.judge for benchmark in Catalog.of().provider(path.stem).benchmarks)
    judging = {"judge_url", "judge_name", "judge_auth", "judge_fingerprint"} if judged else set()
    assert set(inputs) == {"task", "model_url", "model_name", "model_auth", "fingerprint", "num_examples"} | judging
    assert set(component.component_spec.outputs or {}) == {"results", "metrics"}


@pytest.mark.parametrize("hosts", [(), ("gitea.ci.svc", "git.lan")], ids=["none", "two"])
def test_private_hosts_are_allowed_for_test_data_alone(hosts: tuple[str, ...]) -> None:
    git = {"git": {"url": "https://gitea.ci.svc/d", "ref": "main"}}
    text = compiler.compile_plan(plan(1, test_data_ref=git), compiler.Options(private_hosts=hosts))
    executors = documents(text)[0]["deploymentSpec"]["executors"]
    found = {
        label: variable["value"]
        for label, each in executors.items()
        for variable in each["container"].get("env", [])
        if variable["name"] == "EVALHUB_ALLOW_PRIVATE_HOSTS"
    }
    assert found == ({"exec-test-data": "gitea.ci.svc,git.lan"} if hosts else {})


@pytest.mark.parametrize("name", ["", "Bad Name", "{{x}}"])
def test_what_cannot_be_the_name_of_a_secret_is_refused(name: str) -> None:
    with pytest.raises(EvalHubError, match="must be the name of a secret"):
        compiler.compile_plan(plan(1), compiler.Options(image_pull_secrets=("pull", name)))


@pytest.mark.parametrize("image", ["r/p:1", "r/p@sha256:", "@sha256:" + "a" * 64, "r/p@sha256:" + "a" * 63, None])
def test_an_image_lock_must_pin_by_digest(tmp_path: Path, image: str | None) -> None:
    lock = tmp_path / "lock.json"
    lock.write_text(json.dumps({"components": "r/c@sha256:" + "a" * 64, "providers": {"p": image}}))
    with pytest.raises(EvalHubError, match="p: not pinned by digest"):
        chosen_images.read_lock(lock)
