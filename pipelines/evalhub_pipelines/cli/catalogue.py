"""`evalhub-kfp providers` and `evalhub-kfp collections`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalhub_pipelines.cli import options, output

if TYPE_CHECKING:
    from evalhub_components.errors import Problem
    from evalhub_components.schema.provider import Benchmark

TEMPLATE = """\
id: {id}
name: {id}
version: "1.0.0"
description: What this collection decides, in a sentence.
pass_criteria:
  threshold: 0.7 # of the weighted score, in [0, 1]; say here why
benchmarks:
  - id: quickstart_arithmetic # evalhub-kfp providers describe lm_evaluation_harness
    provider_id: lm_evaluation_harness
    weight: 2
    pass_criteria:
      threshold: 0.6 # in the metric's units; say here why
  - id: quickstart_refusal
    provider_id: lm_evaluation_harness
    required: true # must pass its own threshold, whatever the others score
    pass_criteria:
      threshold: 0.7
"""


@click.group()
def providers() -> None:
    """list, describe, install or begin providers"""


@providers.command("list")
@options.catalog
@options.output_format
def list_providers(catalog_dir: Path | None, form: str) -> None:
    """list the providers"""
    from evalhub_pipelines import environments
    from evalhub_pipelines.catalog import Catalog

    catalog = Catalog.of(catalog_dir)
    found = []
    for provider_id in catalog.provider_ids():
        provider = catalog.provider(provider_id)
        folder = catalog.provider_directory(provider_id)
        installed = environments.is_installed(folder)
        found.append(
            {
                "id": provider.id,
                "title": provider.title or provider.name or provider.id,
                "benchmarks": len(provider.benchmarks),
                "installed": installed,
                "description": provider.description or "",
            }
        )
    if form != "table":
        output.emit(found, form)
        return
    rows = [[p["id"], p["benchmarks"], "yes" if p["installed"] else "no", p["description"]] for p in found]
    output.table(["id", ">benchmarks", "installed", "description"], rows)


@providers.command("describe")
@click.argument("provider_id")
@click.option("-b", "--benchmark", metavar="ID", help="only this benchmark, with all that is known")
@options.catalog
@options.output_format
def describe_provider(provider_id: str, benchmark: str | None, catalog_dir: Path | None, form: str) -> None:
    """show a provider's benchmarks"""
    from evalhub_components.errors import EvalHubError
    from evalhub_pipelines.catalog import Catalog
    from evalhub_pipelines.documents import near

    provider = Catalog.of(catalog_dir).provider(provider_id)
    if benchmark is not None:
        found = provider.benchmark(benchmark)
        if found is None:
            hint = near(benchmark, [b.id for b in provider.benchmarks])
            raise EvalHubError(f"provider {provider_id}: has no benchmark {benchmark!r}{hint}")
        output.emit(found.model_dump(mode="json", exclude_defaults=True), "yaml" if form == "table" else form)
        return
    if form != "table":
        output.emit(provider.model_dump(mode="json", exclude_defaults=True), form)
        return
    click.echo(f"{provider.title or provider.id}: {provider.description or ''}\n")
    columns = ["benchmark", "category", "primary metric", "better", ">threshold", ">examples", "description"]
    output.table(columns, [_benchmark_row(b) for b in provider.benchmarks])


def _benchmark_row(benchmark: Benchmark) -> list[object]:
    score, criteria = benchmark.primary_score, benchmark.pass_criteria
    mark = " (needs a judge)" if benchmark.judge else ""
    mark += " (unverified)" if benchmark.agent and "unverified" in benchmark.agent else ""
    return [
        benchmark.id,
        benchmark.category,
        score.metric if score else "-",
        ("lower" if score.lower_is_better else "higher") if score else "-",
        output.number(criteria.threshold if criteria else None),
        benchmark.dataset_size or "?",
        (benchmark.description or "") + mark,
    ]


@providers.command("new")
@click.argument("name")
@click.option(
    "--catalog",
    "catalog_dir",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="folder that gets providers/NAME  [default: this one]",
)
def new_provider(name: str, catalog_dir: Path) -> None:
    """write a folder with a provider that works, to put a framework into"""
    from evalhub_pipelines import new_provider

    folder = new_provider.write(name, catalog_dir)
    click.echo(f"{folder}: written; next:")
    click.echo(f"  python -m pytest {folder}")
    click.echo(f"  evalhub-kfp providers describe {name} --catalog {catalog_dir}")


@providers.command("install")
@click.argument("provider_ids", nargs=-1, metavar="[PROVIDER]...")
@options.catalog
def install_providers(provider_ids: tuple[str, ...], catalog_dir: Path | None) -> None:
    """make the environments of providers; of all without an argument"""
    from evalhub_pipelines import environments
    from evalhub_pipelines.catalog import Catalog

    catalog = Catalog.of(catalog_dir)
    folders = [catalog.provider_directory(name) for name in provider_ids or catalog.provider_ids()]
    for folder in folders:
        python = environments.python_of(folder, lambda sentence: click.echo(sentence, err=True))
        click.echo(f"{folder.name} {python}")


@click.group()
def collections() -> None:
    """list, describe, validate or begin collections"""


@collections.command("list")
@options.catalog
@options.output_format
def list_collections(catalog_dir: Path | None, form: str) -> None:
    """list the collections"""
    from evalhub_pipelines.catalog import Catalog

    found = [
        {
            "id": c.id,
            "version": c.version,
            "category": c.category or "",
            "benchmarks": len(c.benchmarks),
            "description": " ".join((c.description or "").split()),
        }
        for c in Catalog.of(catalog_dir).collections()
    ]
    if form != "table":
        output.emit(found, form)
        return
    columns = ["id", "version", "category", ">benchmarks", "description"]
    output.table(columns, [list(c.values()) for c in found])


@collections.command("describe")
@click.argument("collection")
@options.catalog
@options.output_format
def describe_collection(collection: str, catalog_dir: Path | None, form: str) -> None:
    """show a collection and the criteria that decide"""
    from evalhub_pipelines import advice, evaluation
    from evalhub_pipelines.catalog import Catalog
    from evalhub_pipelines.cli import planning

    found = evaluation.of(collection, Catalog.of(catalog_dir))
    if form == "table":
        planning.show(found.plan, advice.notes(found.plan))
    else:
        output.emit(found.collection.model_dump(mode="json", exclude_defaults=True), form)


@collections.command("validate")
@click.argument("sources", nargs=-1, required=True, metavar="ID|FILE...")
@options.catalog
def validate_collections(sources: tuple[str, ...], catalog_dir: Path | None) -> None:
    """check collections, eval.yaml files included, and report every problem"""
    from evalhub_components.errors import InvalidDocument
    from evalhub_pipelines import evaluation
    from evalhub_pipelines.catalog import Catalog

    problems: list[Problem] = []
    for source in sources:
        try:
            plan = evaluation.of(source, Catalog.of(catalog_dir)).plan
            click.echo(f"{source}: valid, {len(plan.tasks)} benchmarks, plan {plan.header.digest()}")
        except InvalidDocument as error:
            problems += error.problems
    if problems:
        raise InvalidDocument(problems)


@collections.command("init")
@click.argument("collection_id")
@click.option("--directory", type=click.Path(path_type=Path), default=Path("collections"), help="folder that gets it")
def init_collection(collection_id: str, directory: Path) -> None:
    """write a small collection to start from"""
    from evalhub_components import atomic
    from evalhub_components.errors import EvalHubError
    from evalhub_pipelines.resolution import slug_text

    if slug_text(collection_id) != collection_id:
        raise EvalHubError(f"{collection_id!r}: is no id for a collection (letters a-z, digits, '.' and '-')")
    path = directory / f"{collection_id}.yaml"
    if path.exists():
        raise EvalHubError(f"{path}: exists already (choose another id, or edit it)")
    atomic.write_text(path, TEMPLATE.format(id=collection_id))
    click.echo(f"wrote {path}; check it: evalhub-kfp collections validate {path}")
