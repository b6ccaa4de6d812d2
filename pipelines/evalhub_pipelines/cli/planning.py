"""`evalhub-kfp plan`: what would be run, and what would decide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalhub_pipelines.cli import options, output

if TYPE_CHECKING:
    from evalhub_components.schema.plan import BenchmarkTask, EvaluationPlan
    from evalhub_pipelines.evaluation import Evaluation


@click.command(short_help="show what would be run, and what decides")
@options.source
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN_DIR", help="what resuming this run would do")
@options.catalog
@options.output_format
def plan(
    source: str | None,
    provider: str | None,
    benchmarks: tuple[str, ...],
    num_examples: int | None,
    resume: Path | None,
    catalog_dir: Path | None,
    form: str,
) -> None:
    """show the resolved plan of an eval.yaml, a collection, or benchmarks of a provider

    SOURCE is an eval.yaml, a collection's file, or a collection's id as in `evalhub-kfp collections list`.
    """
    from evalhub_pipelines import advice

    if resume is not None:
        if any((source, provider, benchmarks, num_examples)):
            raise click.UsageError("--resume shows the plan of that run: give nothing else to evaluate")
        from evalhub_components import run_directory
        from evalhub_pipelines import resuming

        run = run_directory.load(resume)
        shown, limit = run.plan, run.record.num_examples
        left = [task.slug for task in resuming.remaining(run)]
        skipped = [task.slug for task in shown.tasks if task.slug not in left]
        notes = [f"resuming skips: {', '.join(skipped) or 'nothing'}", f"resuming runs: {', '.join(left) or 'nothing'}"]
    else:
        found = evaluation_of(source, provider, benchmarks, catalog_dir, {}, {})
        shown, limit = found.plan, num_examples or (found.config.num_examples if found.config else None)
        notes = []
    notes += advice.notes(shown, limit)
    if form == "table":
        show(shown, notes, limit)
    else:
        output.emit({"digest": shown.header.digest(), "plan": shown.as_json(), "notes": notes}, form)


def show(plan: EvaluationPlan, notes: list[str], limit: int | None = None) -> None:
    """Print the plan for people; `limit` is the run's own on examples."""
    header = plan.header
    output.table(
        ["#", "benchmark", "metric", "better", "range", "threshold", "from", ">weight", "required", ">examples"],
        [_row(task, limit) for task in plan.tasks],
    )
    click.echo()
    click.echo(f"collection   {header.collection_id} {header.collection_version}")
    click.echo(f"passes when  the weighted score reaches {header.threshold:g} (from {header.threshold_source})")
    click.echo(f"gate         {header.gate_mode}, confidence {header.confidence:g}")
    click.echo(f"plan digest  {header.digest()}")
    for note in notes:
        click.echo(f"note         {note}")


def _row(task: BenchmarkTask, limit: int | None) -> list[Any]:
    from evalhub_pipelines import advice

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
        advice.examples(task, limit) or "?",
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
