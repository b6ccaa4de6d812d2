"""provider.yaml against EvalHub's catalogue, the adapter and the installed packages."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import environments

FOLDER = Path(__file__).resolve().parents[1]
PROVIDER_YAML = FOLDER / "provider.yaml"

CATALOGUE = [
    "petri-sycophancy",
    "petri-deception",
    "petri-alignment-faking",
    "petri-jailbreak",
    "petri-harmful-cooperation",
    "petri-self-preservation",
    "petri-power-seeking",
    "petri-full",
    "bloom-sycophancy",
    "bloom-custom",
    "petri-lie-detector",
    "petri-harm",
    "petri-tool-abuse",
    "petri-blackmail",
    "petri-manipulation",
    "petri-escalation",
    "petri-leaking",
    "petri-privacy-violation",
    "petri-censorship",
    "petri-delusional-user",
    "petri-bias",
    "petri-self-bias",
    "petri-blame",
    "petri-praise",
    "petri-criticism",
    "petri-oversight-subversion",
    "petri-shutdown-avoidance",
    "petri-self-exfiltration",
    "petri-goal-preservation",
    "petri-initiative",
    "petri-whistleblowing",
    "petri-goal-conflict",
    "petri-debate",
    "petri-reward-hacking",
    "petri-monitoring",
    "petri-multi-agent",
    "petri-openended",
    "petri-weird-ood",
    "agentharm",
    "agentic-misalignment",
    "gdm-self-proliferation",
    "gdm-stealth",
    "gdm-self-reasoning",
    "strong-reject",
    "wmdp",
    "mask",
    "makemesay",
    "make-me-pay",
    "sycophancy-evals",
    "instrumental-eval",
    "sad",
    "cybench",
    "cyberseceval-2",
    "cybergym",
    "humaneval",
    "swe-bench",
    "bigcodebench",
    "mbpp",
    "gsm8k",
    "math",
    "aime2024",
    "aime2025",
    "telemath",
    "teleqna",
    "telelogs",
    "3gpp-tsg",
    "mmlu",
    "mmlu-pro",
    "gpqa",
    "bbh",
    "arc",
    "hellaswag",
    "winogrande",
    "truthfulqa",
    "simpleqa",
    "gaia",
    "agentdojo",
    "theagentcompany",
    "custom",
]

TELECOM = {
    "inspect/telemath": ("telemath_scorer/accuracy", 0.5),
    "inspect/teleqna": ("choice/accuracy", 0.7),
    "inspect/telelogs": ("telelogs_scorer/accuracy", 0.25),
    "inspect/3gpp-tsg": ("pattern/accuracy", 0.45),
}


def check(*arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run check_catalogue.py with the Python that has inspect."""
    command = [environments.python_of(FOLDER), "-B", str(FOLDER / "check_catalogue.py"), *map(str, arguments)]
    environ = {**os.environ, "PYTHONPATH": str(FOLDER.parents[1] / "components")}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600, check=False)


def test_provider_yaml_agrees_with_the_installed_packages() -> None:
    done = check()
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]


def test_every_kind_of_difference_is_reported(tmp_path: Path) -> None:
    original = yaml.safe_load(PROVIDER_YAML.read_text(encoding="utf-8"))
    benchmarks = {each["id"]: each for each in original["benchmarks"]}
    benchmarks["inspect/gsm8k"]["id"] = "inspect/gsm9k"
    benchmarks["inspect/mmlu"]["dataset_size"] = 14042
    benchmarks["inspect/quickstart-choices"]["dataset_size"] = 17
    benchmarks["inspect/mask"]["judge"] = False
    benchmarks["inspect/arc"].pop("agent")
    benchmarks["inspect/bbh"]["primary_score"]["metric"] = "match/accuracy"
    doctored = tmp_path / "provider.yaml"
    doctored.write_text(yaml.safe_dump(original), encoding="utf-8")

    done = check(doctored)

    assert done.returncode == 1, done.stderr[-2000:]
    assert sorted(line.rpartition(": ")[0] for line in done.stdout.splitlines()) == [
        "inspect/arc: unverified",
        "inspect/bbh: primary_score",
        "inspect/gsm8k: id",
        "inspect/gsm9k: id",
        "inspect/mask: judge",
        "inspect/mmlu: dataset_size",
        "inspect/quickstart-choices: dataset_size",
    ]


def test_every_benchmark_of_evalhub_is_there_with_a_direction_and_a_threshold_in_its_range() -> None:
    provider = Provider.model_validate(yaml.safe_load(PROVIDER_YAML.read_text(encoding="utf-8")))
    own = [name for name in (each.id for each in provider.benchmarks) if "quickstart" in name]
    assert {each.id for each in provider.benchmarks} == {*own, *(f"inspect/{name}" for name in CATALOGUE)}
    found = {}
    for benchmark in provider.benchmarks:
        score, criteria = benchmark.primary_score, benchmark.pass_criteria
        assert score is not None
        assert score.range is not None
        assert criteria is not None
        assert score.lower_is_better is not None
        assert score.range[0] < criteria.threshold < score.range[1], benchmark.id
        assert benchmark.description, benchmark.id
        found[benchmark.id] = (score.metric, criteria.threshold)
    assert found.items() >= TELECOM.items()
