"""`evalhub-kfp compile`: collections as Kubeflow pipelines."""

from __future__ import annotations

from pathlib import Path

import click

from evalhub_pipelines.cli import options


@click.command("compile")
@click.argument("collections", nargs=-1, metavar="[COLLECTION]...")
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="an eval.yaml instead; the pipeline gets its name"
)
@click.option("--output", type=click.Path(path_type=Path), default=Path("compiled"), help="folder that gets the files")
@options.images
@click.option("--check", is_flag=True, help="write nothing; fail when a file is not what it should be")
@options.catalog
def compile_pipelines(
    collections: tuple[str, ...],
    config: Path | None,
    output: Path,
    image: tuple[str, ...],
    image_lock: Path | None,
    image_pull_secret: tuple[str, ...],
    private_host: tuple[str, ...],
    check: bool,
    catalog_dir: Path | None,
) -> None:
    """compile collections, all of them by default, into pipelines that Kubeflow runs"""
    from evalhub_components.errors import MissingExtra
    from evalhub_pipelines import chosen_images, evaluation
    from evalhub_pipelines.catalog import Catalog

    try:
        from evalhub_pipelines import compiled_files
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("kfp"):
            raise
        raise MissingExtra("kfp", "compiling pipelines") from None
    if config and collections:
        raise click.UsageError("give either collections or --config")
    catalog = Catalog.of(catalog_dir)
    chosen = chosen_images.of(image, image_lock, catalog)
    files = {}
    for source in [str(config)] if config else collections or catalog.collection_ids():
        found = evaluation.of(source, catalog)
        name = config.stem if config else found.plan.header.collection_id
        files[f"{name}.yaml"] = compiled_files.pipeline_of(found, chosen, image_pull_secret, private_host)
    if not (config or collections):
        files |= compiled_files.components(catalog, chosen)
    if check:
        compiled_files.check(files, output)
    else:
        compiled_files.write(files, output)
    for name in files:
        click.echo(f"{output / name}: {'is up to date' if check else 'written'}")
