"""`evalhub-kfp images`."""

from __future__ import annotations

import time
from pathlib import Path

import click

LOCK = Path("compiled/images.lock.json")

_ENGINE = click.option("--engine", default="docker", metavar="COMMAND", help="docker, podman, or the path of one")
_REGISTRY = click.option("--registry", metavar="HOST/PATH", help="where the images belong  [default: the catalogue's]")


@click.group()
def images() -> None:
    """build, push and pin the images that tasks run in"""


@images.command("build")
@click.argument("names", nargs=-1, metavar="[components|PROVIDER]...")
@_ENGINE
@_REGISTRY
@click.option("--base-image", metavar="REFERENCE", help="built on this  [default: the Containerfile's own]")
@click.option("--option", "build_options", multiple=True, metavar="OPTION", help="further option of the engine's build")
def build_images(
    names: tuple[str, ...], engine: str, registry: str | None, base_image: str | None, build_options: tuple[str, ...]
) -> None:
    """build images from this checkout; all of them without an argument"""
    from evalhub_pipelines import images

    for image in images.of_checkout(registry, names):
        started = time.monotonic()
        images.build(image, engine, base_image=base_image, options=build_options)
        click.echo(f"{image.name} {image.reference}")
        click.echo(f"built in {time.monotonic() - started:.0f} s", err=True)


@images.command("push")
@_ENGINE
@_REGISTRY
@click.option("--lock", type=click.Path(path_type=Path), default=LOCK, help="file that gets the digests")
def push_images(engine: str, registry: str | None, lock: Path) -> None:
    """push all images and write the lock of their digests, which `compile --image-lock` reads"""
    from evalhub_pipelines import images

    pushed = {}
    for image in images.of_checkout(registry):
        pushed[image.name] = images.push(image, engine)
        click.echo(f"{image.name} {pushed[image.name]}")
    images.write_lock(lock, pushed)
    click.echo(f"wrote {lock}", err=True)
