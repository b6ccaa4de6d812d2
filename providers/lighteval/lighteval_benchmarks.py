"""The benchmarks that are not one task of LightEval's with the same name."""

from __future__ import annotations

OWN_TASKS = ("quickstart_arithmetic", "quickstart_comparison")
"""Tasks in this folder's `tasks/`, which bring their data."""

RUNS_CODE = ("lcb",)
"""Beginnings of the names of tasks that execute what the model wrote."""

GROUPS: dict[str, tuple[str, ...]] = {
    "commonsense_reasoning": ("hellaswag", "commonsenseqa", "siqa"),
    "scientific_reasoning": ("arc:easy", "arc:challenge", "sciq"),
    "physical_commonsense": ("piqa",),
    "truthfulness": ("truthfulqa:mc",),
    "knowledge": ("mmlu", "triviaqa"),
    "language_understanding": ("glue",),
}
"""EvalHub's names for several tasks at once; each of them counts the same, whatever its size."""


def tasks_of(benchmark_id: str, task: str | None) -> tuple[str, ...]:
    """Return LightEval's names of the tasks that a benchmark runs."""
    return (task,) if task else GROUPS.get(benchmark_id, (benchmark_id,))
