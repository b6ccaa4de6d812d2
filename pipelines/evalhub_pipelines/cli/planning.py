"""`evalhub-kfp plan`: what would be run, and what would decide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalhub_pipelines.cli import options, output

if TYPE_CHECKING:
    from evalhub_components.schema.plan import BenchmarkTask, EvaluationPlan
    from evalhub_pipelines.evaluation import Evaluation


@click.command()
@options.source
@options.catalog
@options.output_format
def plan(
    source: str | None,
    provider: str | None,
    benchmarks: tuple[str, ...],
    num_examples: int | None,
    catalog_dir: Path | None,
    form: str,
) -> None:
    """show the resolved plan of an eval.yaml, a collection file or a collection's id"""
    from evalhub_pipelines import advice

    found = evaluation_of(source, provider, benchmarks, catalog_dir, {}, {})
    limit = num_examples or (found.config.num_examples if found.config else None)
    notes = advice.notes(found.plan, limit)
    if form != "table":
        output.emit({"digest": found.plan.header.digest(), "plan": found.plan.as_json(), "notes": notes}, form)
        return
    show(found.plan, notes)


def show(plan: EvaluationPlan, notes: list[str]) -> None:
    """Print the plan for people."""
    header = plan.header
    output.table(
        ["#", "benchmark", "metric", "better", "range", "threshold", "from", ">weight", "required", ">examples"],
        [_row(task) for task in plan.tasks],
    )
    click.echo()
    click.echo(f"collection   {header.collection_id} {header.collection_version}")
    click.echo(f"passes when  the weighted score reaches {header.threshold:g} (from {header.threshold_source})")
    click.echo(f"gate         {header.gate_mode}, confidence {header.confidence:g}")
    click.echo(f"plan digest  {header.digest()}")
    for note in notes:
        click.echo(f"note         {note}")


def _row(task: BenchmarkTask) -> list[Any]:
    score, threshold = task.primary_score, task.threshold
    low, high = score.range
    return [
        f"{task.index:03d}",
        f"{task.provider_id}/{task.benchmark_id}",
        score.metric,
        "lower" if score.lower_is_better else "higher",
        f"[{low:g}, {high:g}]{' clip' if score.range_overflow == 'clip' else ''}",
        output.number(threshold.value) if threshold else "-",
        threshold.source if threshold else "-",
        f"{task.weight:g}",
        "yes" if task.required else "",
        task.num_examples or task.dataset_size or "?",
    ]


def evaluation_of(
    source: str | None,
    provider: str | None,
    benchmarks: tuple[str, ...],
    catalog_dir: Path | None,
    model: dict[str, Any],
    changes: dict[str, Any],
) -> Evaluation:
    """Return what the arguments of `plan` and `run` ask to evaluate."""
    from evalhub_pipelines import evaluation
    from evalhub_pipelines.catalog import Catalog

    catalog = Catalog.of(catalog_dir)
    if provider or benchmarks:
        if source or not (provider and benchmarks):
            raise click.UsageError("give either SOURCE, or --provider and at least one -b")
        return evaluation.of_benchmarks(provider, benchmarks, catalog, model=model, changes=changes)
    if not source:
        raise click.UsageError("nothing to evaluate (give an eval.yaml, a collection, or --provider and -b)")
    return evaluation.of(source, catalog, model=model, changes=changes)
