"""Compiled pipelines are executed, not only looked at."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
from kfp import compiler as kfp_compiler
from pipeline_interpreter import Interpreter

from evalhub_components.errors import EvalHubError
from evalhub_components.schema.verdict import Verdict
from evalhub_pipelines import compiler, environments
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.chosen_images import with_images
from evalhub_pipelines.compiler.pipeline import pipeline
from evalhub_pipelines.demo_model import DemoModelSettings, running
from evalhub_pipelines.evaluation import of

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-very-secret-key-1234"

ADAPTER = """\
import os
import signal

from evalhub_components.adapter import EvaluationResult, FrameworkAdapter, JobResults, Sample


class Trivial(FrameworkAdapter):
    def run_benchmark_job(self, config, callbacks):
        if "kill_once" in config.parameters and not os.path.exists(config.parameters["kill_once"]):
            open(config.parameters["kill_once"], "w").close()
            os.kill(os.getppid(), signal.SIGKILL)
        if "raise" in config.parameters:
            raise ValueError(config.parameters["raise"])
        score = config.parameters.get("score", 0.75)
        (config.raw_dir / "answers.txt").write_text(f"{config.benchmark_id} {config.credentials.api_key}")
        return JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=[EvaluationResult("acc", score), EvaluationResult("note", "text")],
            num_examples_evaluated=4,
        )
"""


def trivial_catalog(root: Path, collection: str, count: int = 40) -> Path:
    folder = root / "catalog"
    provider = folder / "providers" / "trivial"
    provider.mkdir(parents=True)
    (folder / "collections").mkdir()
    listed = "".join(f"  - {{id: b{i}, primary_score: {{metric: acc}}}}\n" for i in range(count))
    image = "runtime: {k8s: {image: 'example.org/trivial:1'}}\n"
    (provider / "provider.yaml").write_text(f"id: trivial\n{image}benchmarks:\n{listed}")
    (provider / "adapter.py").write_text(ADAPTER)
    (folder / "collections" / "c.yaml").write_text(collection)
    return folder


def interpreter(tmp_path: Path, folder: Path, **settings: object) -> Interpreter:
    text = compiler.compile_plan(of("c", Catalog.of(folder)).plan)
    path = tmp_path / "c.yaml"
    path.write_text(text)
    images = {
        compiler.COMPONENTS_IMAGE: (sys.executable, {}),
        "example.org/trivial:1": (sys.executable, {"EVALHUB_PROVIDER_DIR": str(folder / "providers" / "trivial")}),
    }
    return Interpreter(path, tmp_path / "work", images, **settings)  # type: ignore[arg-type]


def collection(entries: str, **keys: str) -> str:
    more = "".join(f"{key}: {value}\n" for key, value in keys.items())
    return f"id: c\nversion: '1'\n{more}benchmarks:\n{entries}"


def verdict_of(run: Interpreter) -> Verdict:
    return Verdict.model_validate_json(run["aggregate"].outputs["verdict"].read_bytes())


def test_the_committed_quickstart_pipeline_runs_and_passes(tmp_path: Path) -> None:
    if not os.environ.get("EVALHUB_LM_EVAL_PYTHON"):
        pytest.skip("the environment of lm_evaluation_harness is made by `make test`")
    provider = ROOT / "providers" / "lm_evaluation_harness"
    in_image = {"EVALHUB_PROVIDER_DIR": str(provider), "PYTHONPATH": str(environments.components_path())}
    image = Catalog.of().provider("lm_evaluation_harness").runtime.k8s
    assert image is not None
    images = {
        compiler.COMPONENTS_IMAGE: (sys.executable, {}),
        str(image.image): (os.environ["EVALHUB_LM_EVAL_PYTHON"], in_image),
    }
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "api-key").write_text(KEY)
    with running(DemoModelSettings(skill=0.9, api_key=KEY)) as server:
        run = Interpreter(ROOT / "compiled" / "quickstart-v1.yaml", tmp_path / "work", images, {"model": secret})
        succeeded = run.run(model_url=server.base_url, model_name="demo-model", model_secret="model")
    assert succeeded, run.finished[-1].stderr
    assert [task.name for task in run.finished] == [
        "fingerprint",
        *(f"lm_evaluation_harness / {task.benchmark_id}" for task in of("quickstart-v1", Catalog.of()).plan.tasks),
        "aggregate",
        "gate",
    ]
    verdict = verdict_of(run)
    assert (verdict.verdict, len(verdict.benchmarks)) == ("pass", 6)
    assert verdict.score == pytest.approx(0.9148, abs=1e-4)
    assert (run["aggregate"].outputs["evidence"] / "index.json").is_file()
    metadata = run["aggregate"].metadata["metrics"]["metadata"]
    assert metadata["gate/pass"] == 1.0
    assert metadata["gate/score"] == verdict.score
    arithmetic = run["lm_evaluation_harness / quickstart_arithmetic"].metadata["metrics"]["metadata"]
    assert arithmetic["exact_match,last-number"] == pytest.approx(0.9)
    work = tmp_path / "work"
    # but for the secret itself, where the pods have it mounted
    files = [path for path in work.rglob("*") if path.is_file() and "/secrets/model/" not in path.as_posix()]
    assert [path for path in files if KEY in path.read_text("utf-8", "replace")] == []


def test_a_failed_benchmark_is_judged_and_turns_the_gate_red(tmp_path: Path) -> None:
    folder = trivial_catalog(
        tmp_path,
        collection(
            "  - {id: b0, provider_id: trivial}\n  - {id: b1, provider_id: trivial, parameters: {raise: boom}}\n"
        ),
    )
    run = interpreter(tmp_path, folder)
    with running(DemoModelSettings()) as server:
        assert not run.run(model_url=server.base_url, model_name="demo-model")
    assert run.finished[-1].name == "gate"
    assert run.finished[-1].returncode == 2
    verdict = verdict_of(run)
    assert verdict.verdict == "error"
    assert "ValueError: boom" in verdict.benchmarks[1].reason


def test_a_score_below_the_threshold_makes_the_gate_fail_after_the_report_is_kept(tmp_path: Path) -> None:
    folder = trivial_catalog(
        tmp_path, collection("  - {id: b0, provider_id: trivial}\n", pass_criteria="{threshold: 0.8}")
    )
    run = interpreter(tmp_path, folder)
    with running(DemoModelSettings()) as server:
        assert not run.run(model_url=server.base_url, model_name="demo-model")
    assert (run["aggregate"].returncode, run["gate"].returncode) == (0, 1)
    assert "Failed" in run["aggregate"].outputs["report_text"].read_text()


def test_an_unreachable_model_stops_the_pipeline_before_any_benchmark(tmp_path: Path) -> None:
    folder = trivial_catalog(tmp_path, collection("  - {id: b0, provider_id: trivial}\n"))
    run = interpreter(tmp_path, folder)
    assert not run.run(model_url="http://127.0.0.1:9/v1", model_name="demo-model")
    assert [task.name for task in run.finished] == ["fingerprint"]
    assert "nothing listens there" in run.finished[0].stderr


@pytest.mark.parametrize("execution", ["{max_parallel: 3}", "{batch: provider}"], ids=["lanes", "batch"])
def test_more_than_25_benchmarks_give_the_same_verdict_in_groups_with_lanes_and_in_a_batch(
    tmp_path: Path, execution: str
) -> None:
    entries = "".join(
        f"  - {{id: b{i}, provider_id: trivial, weight: {i % 3 + 1}, parameters: {{score: {0.5 + i / 100}}}}}\n"
        for i in range(26)
    )
    folder = trivial_catalog(tmp_path, collection(entries, execution=execution))
    run = interpreter(tmp_path, folder)
    with running(DemoModelSettings()) as server:
        assert run.run(model_url=server.base_url, model_name="demo-model", num_examples=2), run.finished[-1].stderr
    verdict = verdict_of(run)
    weights = [i % 3 + 1 for i in range(26)]
    expected = sum(w * (0.5 + i / 100) for i, w in enumerate(weights)) / sum(weights)
    assert verdict.score == pytest.approx(expected)
    assert verdict.limited
    started = [task.name for task in run.finished if task.name.startswith("trivial / ")]
    assert len(started) == (1 if "batch" in execution else 26)


def test_templates_in_parameters_reach_the_adapter_unchanged(tmp_path: Path) -> None:
    text = '{{question}} and {{$.inputs.x}} \\" {a: {b: {}}}'
    entry = {"id": "b0", "provider_id": "trivial", "parameters": {"raise": text}}
    folder = trivial_catalog(tmp_path, collection("  - " + json.dumps(entry) + "\n"))
    run = interpreter(tmp_path, folder)
    with running(DemoModelSettings()) as server:
        run.run(model_url=server.base_url, model_name="demo-model")
    assert text in verdict_of(run).benchmarks[0].reason


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_experiment_tags_and_the_scheduled_time_reach_mlflow(tmp_path: Path) -> None:
    import mlflow

    folder = trivial_catalog(tmp_path, collection("  - {id: b0, provider_id: trivial}\n"))
    run = interpreter(tmp_path, folder)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with running(DemoModelSettings()) as server:
        assert run.run(
            model_url=server.base_url,
            model_name="demo-model",
            mlflow_uri=uri,
            experiment_name="nightly",
            experiment_tags="team=search\nrelease=7",
            scheduled_time="2026-01-02T03:04:05Z",
        ), run.finished[-1].stderr
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("nightly")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`evalhub.verdict` = 'pass'")
    assert parent.data.tags["team"] == "search"
    assert parent.data.tags["evalhub.scheduled_time"] == "2026-01-02T03:04:05Z"


def test_a_pod_that_dies_is_started_again(tmp_path: Path) -> None:
    entry = {"id": "b0", "provider_id": "trivial", "parameters": {"kill_once": str(tmp_path / "killed")}}
    run = interpreter(tmp_path, trivial_catalog(tmp_path, collection("  - " + json.dumps(entry) + "\n")))
    with running(DemoModelSettings()) as server:
        assert run.run(model_url=server.base_url, model_name="demo-model"), run.finished[-1].stderr
    assert run["trivial / b0"].attempts == 2
    assert verdict_of(run).verdict == "pass"


def test_a_compiled_file_is_what_kfp_itself_writes(tmp_path: Path) -> None:
    folder = trivial_catalog(
        tmp_path, collection("".join(f"  - {{id: b{i}, provider_id: trivial}}\n" for i in range(30)))
    )
    plan = of("c", Catalog.of(folder)).plan
    kfp_compiler.Compiler().compile(pipeline(plan, compiler.Options()), str(tmp_path / "theirs.yaml"))
    assert compiler.compile_plan(plan) == (tmp_path / "theirs.yaml").read_text()


@pytest.mark.parametrize(
    ("hardware", "said"),
    [
        ({"cpu": {"limit": "two"}}, "trivial / b0: cpu limit 'two': is no quantity (write 500m, 2 or 4Gi)"),
        ({"memory": {"request": "4GiB"}}, "trivial / b0: memory request '4GiB': is no quantity"),
    ],
    ids=["cpu", "memory"],
)
def test_what_is_no_quantity_is_refused_by_its_place(tmp_path: Path, hardware: object, said: str) -> None:
    entry = {"id": "b0", "provider_id": "trivial", "hardware_config": hardware}
    folder = trivial_catalog(tmp_path, collection("  - " + json.dumps(entry) + "\n"))
    with pytest.raises(EvalHubError, match=re.escape(said)):
        compiler.compile_plan(of("c", Catalog.of(folder)).plan)


def test_an_image_given_at_compile_time_is_part_of_the_plan(tmp_path: Path) -> None:
    folder = trivial_catalog(tmp_path, collection("  - {id: b0, provider_id: trivial}\n"))
    plan = of("c", Catalog.of(folder)).plan
    pinned = with_images(plan, {"trivial": "example.org/trivial@sha256:" + "0" * 64})
    assert pinned.header.digest() != plan.header.digest()
    assert "example.org/trivial@sha256:" + "0" * 64 in compiler.compile_plan(pinned)
