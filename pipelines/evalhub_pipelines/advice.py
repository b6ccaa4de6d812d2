"""What a reader of a plan should know before paying for it. Pure."""

from __future__ import annotations

import math
from statistics import NormalDist

from evalhub_components.schema.plan import BenchmarkTask, EvaluationPlan, effective_examples, is_limited


def detectable(plan: EvaluationPlan, num_examples: int | None = None) -> float | None:
    """Return the distance from the threshold, in [0, 1], within which the gate could not tell pass from fail.

    Taken at the worst case of a score of 0.5 on 0/1 samples; None when the size of a benchmark with weight is unknown.
    """
    total = math.fsum(task.weight for task in plan.tasks)
    variance = 0.0
    for task in plan.tasks:
        if task.weight > 0:
            size = examples(task, num_examples)
            if not size:
                return None
            variance += (task.weight / total) ** 2 * 0.25 / size
    return NormalDist().inv_cdf(plan.header.confidence) * math.sqrt(variance)


def examples(task: BenchmarkTask, num_examples: int | None) -> int | None:
    """Return how many examples a task will evaluate, None when nobody knows."""
    sizes = [size for size in (effective_examples(task, num_examples), task.dataset_size) if size]
    return min(sizes) if task.dataset_size or len(sizes) == 1 else None


def notes(plan: EvaluationPlan, num_examples: int | None = None) -> list[str]:
    """Return sentences about the plan: what it can detect, what is limited, unpinned, or decides nothing."""
    found = []
    smallest = detectable(plan, num_examples)
    if smallest is None:
        found.append("the sizes of some data sets are unknown, so what the plan can detect is too")
    else:
        found.append(f"scores within {smallest:.3f} of the threshold cannot be told from it at these sample sizes")
    limited = [task.slug for task in plan.tasks if is_limited(task, num_examples)]
    if limited:
        found.append(f"limited to {num_examples} examples, fewer than asked for: {_listed(limited)}")
    advisory = [task.slug for task in plan.tasks if task.weight == 0 and not task.required]
    if advisory:
        found.append(f"advisory, decides nothing: {_listed(advisory)}")
    judged = [task.slug for task in plan.tasks if task.judge]
    if judged:
        found.append(
            f"answers are judged by a model, which the run must name (judge: {{url, name}}): {_listed(judged)}"
        )
    untested = [task.slug for task in plan.tasks if task.threshold is None]
    if untested:
        found.append(f"without a threshold of its own: {_listed(untested)}")
    unpinned = [name for name, runtime in plan.header.runtimes.items() if runtime.image and "@" not in runtime.image]
    if unpinned:
        found.append(f"images not pinned by digest (on a cluster): {_listed(unpinned)}")
    for task in plan.tasks:
        git = task.test_data_ref.git if task.test_data_ref else None
        if git and not (len(git.ref) == 40 and all(digit in "0123456789abcdef" for digit in git.ref)):
            found.append(f"{task.slug}: git ref {git.ref!r} is no commit, so the data may change")
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
