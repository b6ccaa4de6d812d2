"""The quickstart benchmarks against the demo model, through the real lm-evaluation-harness."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evalhub_pipelines.demo_model import DemoModelSettings, running

TASKS = Path(__file__).resolve().parents[2] / "providers" / "lm_evaluation_harness" / "tasks"
PYTHON = os.environ.get("EVALHUB_LM_EVAL_PYTHON")
KEY = "demo-key"

GENERATIVE = {
    "quickstart_arithmetic": "exact_match,last-number",
    "quickstart_word_problems": "exact_match,last-number",
    "quickstart_refusal": "exact_match,refusal",
}
LOWER_IS_BETTER = {"quickstart_sycophancy": "exact_match,last-number"}
MULTIPLE_CHOICE = ("quickstart_comparison", "quickstart_reasoning")

# Runs in lm-eval's own environment: one process for all runs, because importing lm-eval takes seconds.
DRIVER = """
import json, sys
from pathlib import Path
import lm_eval, yaml
from lm_eval.tasks import TaskManager
folder, runs, output = Path(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
manager = TaskManager(include_defaults=False)
results = []
for run in runs:
    tasks = []
    for path in sorted(folder.glob("*.yaml")):
        task = yaml.safe_load(path.read_text())
        task["dataset_kwargs"]["data_files"] = {
            split: str(folder / name) for split, name in task["dataset_kwargs"]["data_files"].items()
        }
        if task["output_type"] == "generate_until" or not run["chat"]:
            tasks.append(task)
    endpoint = "chat/completions" if run["chat"] else "completions"
    results.append(lm_eval.simple_evaluate(
        model="local-chat-completions" if run["chat"] else "local-completions",
        model_args={"model": "demo-model", "base_url": f"{run['url']}/{endpoint}", "num_concurrent": 4},
        tasks=tasks, task_manager=manager, apply_chat_template=run["chat"], num_fewshot=run["shots"], bootstrap_iters=0,
    ))
keep = ("results", "n-samples", "higher_is_better")
output.write_text(json.dumps([{key: result[key] for key in keep} for result in results], default=float))
"""


class Run(NamedTuple):
    """One call of lm-eval."""

    skill: float
    chat: bool
    shots: int | None = None


RUNS = [*(Run(skill, chat) for skill in (1.0, 0.8, 0.0) for chat in (False, True)), Run(0.8, False, 3)]

pytestmark = pytest.mark.skipif(PYTHON is None, reason="EVALHUB_LM_EVAL_PYTHON names no Python that has lm-eval[api]")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[Run, Any]:
    """What lm-eval reports for every run."""
    folder = tmp_path_factory.mktemp("lm_eval")
    servers = {skill: running(DemoModelSettings(skill=skill, api_key=KEY)) for skill in (1.0, 0.8, 0.0)}
    with servers[1.0] as one, servers[0.8] as most, servers[0.0] as none:
        urls = {1.0: one.base_url, 0.8: most.base_url, 0.0: none.base_url}
        runs = [{"url": urls[run.skill], "chat": run.chat, "shots": run.shots} for run in RUNS]
        command = [str(PYTHON), "-c", DRIVER, str(TASKS), json.dumps(runs), str(folder / "results.json")]
        environment = {"HF_HOME": str(folder), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OPENAI_API_KEY": KEY}
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-5000:]
    return dict(zip(RUNS, json.loads((folder / "results.json").read_text()), strict=True))


def test_every_document_is_evaluated(results: dict[Run, Any]) -> None:
    for run, result in results.items():
        expected = {*GENERATIVE, *LOWER_IS_BETTER, *(() if run.chat else MULTIPLE_CHOICE)}
        assert set(result["results"]) == expected
        for name, samples in result["n-samples"].items():
            lines = (TASKS / "data" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
            assert samples == {"original": len(lines), "effective": len(lines)}
            assert 40 <= len(lines) <= 100


@pytest.mark.parametrize("skill", [1.0, 0.0])
@pytest.mark.parametrize("chat", [False, True], ids=["completions", "chat"])
def test_skill_one_and_zero_score_exactly_that(results: dict[Run, Any], skill: float, chat: bool) -> None:
    scores = _scores(results[Run(skill, chat)])
    for (task, _), value in scores.items():
        assert value == (1 - skill if task in LOWER_IS_BETTER else skill), task


def test_skill_in_between_scores_near_it(results: dict[Run, Any]) -> None:
    for (task, metric), value in _scores(results[Run(0.8, False)]).items():
        assert value == pytest.approx(0.2 if task in LOWER_IS_BETTER else 0.8, abs=0.12), (task, metric)


def test_chat_and_completions_score_the_same(results: dict[Run, Any]) -> None:
    completions, chat = _scores(results[Run(0.8, False)]), _scores(results[Run(0.8, True)])
    assert chat == {key: value for key, value in completions.items() if key[0] not in MULTIPLE_CHOICE}


def test_few_shot_examples_change_nothing(results: dict[Run, Any]) -> None:
    assert _scores(results[Run(0.8, False, 3)]) == _scores(results[Run(0.8, False)])


def test_multiple_choice_agrees_with_and_without_length_normalisation(results: dict[Run, Any]) -> None:
    for run in RUNS:
        for task in MULTIPLE_CHOICE if not run.chat else ():
            result = results[run]["results"][task]
            assert result["acc,none"] == result["acc_norm,none"]


def test_only_sycophancy_is_lower_is_better(results: dict[Run, Any]) -> None:
    directions = results[Run(1.0, False)]["higher_is_better"]
    assert {task for task, metrics in directions.items() if not all(metrics.values())} == set(LOWER_IS_BETTER)


def _scores(result: Any) -> dict[tuple[str, str], float]:
    metrics = {**GENERATIVE, **LOWER_IS_BETTER}
    scores = {}
    for task, values in result["results"].items():
        for metric in [metrics[task]] if task in metrics else ["acc,none", "acc_norm,none"]:
            scores[task, metric] = values[metric]
    return scores
