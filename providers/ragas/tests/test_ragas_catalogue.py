"""provider.yaml against EvalHub's catalogue and the installed ragas."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import environments

FOLDER = Path(__file__).resolve().parents[1]


BOTH = "import check_catalogue, sys; print(check_catalogue.main([])); print(check_catalogue.main(sys.argv[1:]))"


def check(doctored: Path) -> list[str]:
    """Return what check_catalogue prints of provider.yaml, its exit status, and both for a doctored one."""
    command = [str(environments.python_of(FOLDER)), "-B", "-c", BOTH, str(doctored)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(environments.components_path()), str(FOLDER)])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_only_a_file_that_differs_from_the_installed_package_is_found_wrong(tmp_path: Path) -> None:
    original = yaml.safe_load((FOLDER / "provider.yaml").read_text("utf-8"))
    default, full, overlap = original["benchmarks"]
    default["id"] = "ragas_rag_defalt"
    default["judge"] = False
    default["primary_score"]["lower_is_better"] = True
    del full["agent"]
    overlap["metrics"].append("chrf_score")
    overlap["primary_score"]["metric"] = "bleu"
    doctored = tmp_path / "provider.yaml"
    doctored.write_text(yaml.safe_dump(original), "utf-8")
    of_ours, *lines, of_doctored = check(doctored)
    assert (of_ours, of_doctored) == ("0", "1")
    assert sorted({line.rsplit(": ", 1)[0] for line in lines}) == [
        "ragas_rag_defalt: direction",
        "ragas_rag_defalt: id",
        "ragas_rag_defalt: judge",
        "ragas_rag_default: id",
        "ragas_rag_full: name",
        "ragas_text_overlap: metric",
    ]


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("ragas_rag_default", {"answer_relevancy", "context_precision", "faithfulness", "context_recall"}),
        (
            "ragas_rag_full",
            {
                *("answer_relevancy", "answer_similarity", "context_precision", "faithfulness", "context_recall"),
                *("context_entity_recall", "factual_correctness", "noise_sensitivity"),
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_benchmarks_of_evalhub_keep_their_metrics_and_threshold(name: str, metrics: set[str]) -> None:
    provider = Provider.model_validate(yaml.safe_load((FOLDER / "provider.yaml").read_text("utf-8")))
    benchmark = provider.benchmark(name)
    assert benchmark is not None
    assert benchmark.judge
    assert (benchmark.category, set(benchmark.metrics)) == ("rag_evaluation", metrics)
    score, criteria = benchmark.primary_score, benchmark.pass_criteria
    assert score is not None
    assert criteria is not None
    assert (score.metric, score.lower_is_better, score.range, criteria.threshold) == (
        "faithfulness",
        False,
        (0, 1),
        0.5,
    )
