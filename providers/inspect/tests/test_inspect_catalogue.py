"""provider.yaml against EvalHub's catalogue, the adapter and the installed packages."""

from __future__ import annotations

from pathlib import Path

from evalhub_components.schema.provider import Provider
from evalhub_pipelines import documents
from evalhub_pipelines.provider_testing import check_catalogue, defaults_of, entries_of

FOLDER = Path(__file__).resolve().parents[1]
PROVIDER = documents.load(FOLDER / "provider.yaml", Provider)

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


def test_only_what_was_altered_is_found_wrong() -> None:
    benchmarks = entries_of(FOLDER)
    benchmarks["inspect/gsm8k"]["id"] = "inspect/gsm9k"
    benchmarks["inspect/mmlu"]["dataset_size"] = 14042
    benchmarks["inspect/quickstart-choices"]["dataset_size"] = 17
    benchmarks["inspect/mask"]["judge"] = False
    benchmarks["inspect/arc"].pop("agent")
    benchmarks["inspect/bbh"]["primary_score"]["metric"] = "match/accuracy"

    found = check_catalogue(FOLDER, benchmarks.values())

    assert found.status == 1
    assert found.kinds == [
        "inspect/arc: unverified",
        "inspect/bbh: primary_score",
        "inspect/gsm8k: id",
        "inspect/gsm9k: id",
        "inspect/mask: judge",
        "inspect/mmlu: dataset_size",
        "inspect/quickstart-choices: dataset_size",
    ]


def test_every_benchmark_of_evalhub_is_there_with_a_direction_and_a_threshold_in_its_range() -> None:
    own = [each.id for each in PROVIDER.benchmarks if "quickstart" in each.id]
    assert {each.id for each in PROVIDER.benchmarks} == {*own, *(f"inspect/{name}" for name in CATALOGUE)}
    assert all(each.description for each in PROVIDER.benchmarks)
    defaults = defaults_of(PROVIDER)
    for name, default in defaults.items():
        assert default.range[0] < default.threshold < default.range[1], name
    assert {name: (defaults[name].metric, defaults[name].threshold) for name in TELECOM} == TELECOM
