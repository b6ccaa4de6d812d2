"""Which task of inspect each benchmark is."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from inspect_parameters import Parameters

from evalhub_components.errors import EvalHubError

_HERE = Path(__file__).resolve().parent

PACKAGES = {
    "inspect_evals": "inspect-evals",
    "inspect_petri": "inspect-petri",
    "petri_bloom": "petri-bloom",
    "open_telco": "open-telco",
}
"""The distribution that brings the tasks of a package."""


@dataclass(frozen=True)
class Known:
    """A benchmark of the catalogue.

    Attributes:
        task: its name in the package, or a file of this provider's and the task in it; empty when the parameters say.
        package: the package with the task; None for a file.
        args: the task's arguments under those of the parameters.
        missing: what the parameters must say in `task_args`, because it is not known here.
        data: the bundled file that it reads.
        judge: whether a model judges.
    """

    task: str = ""
    package: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    missing: str | None = None
    data: str | None = None
    judge: bool = False


def _evals(name: str, judge: bool = False, **args: Any) -> Known:
    return Known(name, "inspect_evals", args, judge=judge)


_JUDGE = "{judge}"

# Which scenarios belong to which audit is the package's to say, and it was not at hand.
_AUDIT = Known("audit", "inspect_petri", missing="which scenarios to play: seed_instructions", judge=True)

_AUDITS = [
    "sycophancy",
    "deception",
    "alignment-faking",
    "jailbreak",
    "harmful-cooperation",
    "self-preservation",
    "power-seeking",
    "full",
    "lie-detector",
    "harm",
    "tool-abuse",
    "blackmail",
    "manipulation",
    "escalation",
    "leaking",
    "privacy-violation",
    "censorship",
    "delusional-user",
    "bias",
    "self-bias",
    "blame",
    "praise",
    "criticism",
    "oversight-subversion",
    "shutdown-avoidance",
    "self-exfiltration",
    "goal-preservation",
    "initiative",
    "whistleblowing",
    "goal-conflict",
    "debate",
    "reward-hacking",
    "monitoring",
    "multi-agent",
    "openended",
    "weird-ood",
]

TASKS: dict[str, Known] = {
    # our own, with data that is shipped
    "inspect/quickstart-arithmetic": Known("arithmetic.py@arithmetic", data="arithmetic.jsonl"),
    "inspect/quickstart-choices": Known("choices.py@choices", data="choices.jsonl"),
    **{f"inspect/petri-{name}": _AUDIT for name in _AUDITS},
    "inspect/bloom-sycophancy": Known(package="petri_bloom", judge=True),
    "inspect/bloom-custom": Known(package="petri_bloom", judge=True),
    "inspect/agentharm": _evals("agentharm", True, refusal_judge=_JUDGE, semantic_judge=_JUDGE),
    "inspect/agentic-misalignment": _evals("agentic_misalignment", True, grader_model=_JUDGE),
    "inspect/gdm-self-proliferation": _evals("gdm_sp01_e2e"),
    "inspect/gdm-stealth": _evals("gdm_classifier_evasion"),
    "inspect/gdm-self-reasoning": _evals("gdm_self_reasoning_approved_directories"),
    "inspect/strong-reject": _evals("strong_reject", True, judge_llm=_JUDGE),
    "inspect/wmdp": _evals("wmdp_bio"),
    "inspect/mask": _evals("mask", True, binary_judge_model=_JUDGE, numeric_judge_model=_JUDGE),
    "inspect/makemesay": _evals("makemesay", True),
    "inspect/make-me-pay": _evals("make_me_pay", True),
    "inspect/sycophancy-evals": _evals("sycophancy", True, scorer_model=_JUDGE),
    "inspect/instrumental-eval": _evals("instrumentaleval", True, grader_model=_JUDGE),
    "inspect/sad": _evals("sad_facts_llms"),
    "inspect/cybench": _evals("cybench"),
    "inspect/cyberseceval-2": _evals("cyse2_prompt_injection", True, judge_llm=_JUDGE),
    "inspect/cybergym": _evals("cybergym"),
    "inspect/humaneval": _evals("humaneval"),
    "inspect/swe-bench": _evals("swe_bench"),
    "inspect/bigcodebench": _evals("bigcodebench"),
    "inspect/mbpp": _evals("mbpp"),
    "inspect/gsm8k": _evals("gsm8k"),
    "inspect/math": _evals("math", True, grader_model=_JUDGE),
    "inspect/aime2024": _evals("aime2024"),
    "inspect/aime2025": _evals("aime2025"),
    "inspect/telemath": Known("telemath", "open_telco"),
    "inspect/teleqna": Known("teleqna", "open_telco"),
    "inspect/telelogs": Known("telelogs", "open_telco"),
    "inspect/3gpp-tsg": Known(package="open_telco"),
    "inspect/mmlu": _evals("mmlu_0_shot"),
    "inspect/mmlu-pro": _evals("mmlu_pro"),
    "inspect/gpqa": _evals("gpqa_diamond"),
    "inspect/bbh": _evals("bbh"),
    "inspect/arc": _evals("arc_challenge"),
    "inspect/hellaswag": _evals("hellaswag"),
    "inspect/winogrande": _evals("winogrande"),
    "inspect/truthfulqa": _evals("truthfulqa"),
    "inspect/simpleqa": _evals("simpleqa", True),
    "inspect/gaia": _evals("gaia"),
    "inspect/agentdojo": _evals("agentdojo"),
    "inspect/theagentcompany": _evals("theagentcompany", True),
    "inspect/custom": Known(),
}
"""The benchmarks by id: two of this provider, and the catalogue's."""


@dataclass(frozen=True)
class Chosen:
    """The task of one run.

    Attributes:
        spec: what inspect is asked to run.
        args: its arguments, `{judge}` still in them.
        judge: whether it cannot do without one.
        installed: whether it is a package's, and in no file.
        facts: what is recorded of it.
        digests: `sha256:` digest of each file this provider knows of, by name.
    """

    spec: str
    args: dict[str, Any]
    judge: bool
    installed: bool
    facts: dict[str, Any]
    digests: dict[str, str]


def choose(benchmark_id: str, parameters: Parameters, test_data: Path | None) -> Chosen:
    """Return the task that a benchmark runs: the one its parameters name, or the catalogue's.

    Raises:
        EvalHubError: there is none, or its file or package is missing.
    """
    known = TASKS.get(benchmark_id, Known())
    if parameters.task:
        # what the catalogue says belongs to its own task
        known = Known()
    elif known.package:
        _package(benchmark_id, known.package)
    if not (parameters.task or known.task):
        near = difflib.get_close_matches(benchmark_id, TASKS, n=1)
        hint = f"did you mean {near[0]}?" if near and near[0] != benchmark_id else "which one to run"
        raise EvalHubError(f"{benchmark_id}: parameters.task must name a task of inspect ({hint})")
    if known.missing and not parameters.task_args:
        raise EvalHubError(f"{benchmark_id}: parameters.task_args must say {known.missing}")
    name = parameters.task or (f"{known.package}/{known.task}" if known.package else known.task)
    args = {**known.args, **parameters.task_args}
    file, _, task = name.partition("@")
    if not file.endswith(".py"):
        package = _package(benchmark_id, name.partition("/")[0])
        return Chosen(name, args, known.judge, True, {"name": name, "package": package}, {})
    if not task:
        raise EvalHubError(f"{benchmark_id}: parameters.task must say which task of {file} ({file}@NAME)")
    path = _own_file(benchmark_id, file, test_data) if parameters.task else _HERE / "tasks" / file
    files = [path, *([_HERE / "data" / known.data] if known.data else [])]
    digests = {each.name: f"sha256:{hashlib.sha256(each.read_bytes()).hexdigest()}" for each in files}
    return Chosen(f"{path}@{task}", args, known.judge, False, {"name": task, "file": digests[path.name]}, digests)


def _own_file(where: str, name: str, test_data: Path | None) -> Path:
    path = Path(name)
    if not path.is_absolute():
        if test_data is None:
            raise EvalHubError(f"{where}: parameters.task: {name} is relative, and there is no test_data_ref")
        path = test_data / path
    if not path.is_file():
        raise EvalHubError(f"{where}: parameters.task: {path}: there is no such file")
    return path


def _package(where: str, package: str) -> dict[str, str]:
    distribution = PACKAGES.get(package, package)
    try:
        return {"name": distribution, "version": metadata.version(distribution)}
    except metadata.PackageNotFoundError:
        what = f"its task is in the package {distribution}, which this environment does not have"
        raise EvalHubError(f"{where}: {what} (add it to requirements.in, and lock again)") from None
