"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def output_format(command: Command) -> Command:
    """Add `--format`: a machine format goes to standard output alone."""
    kinds = click.Choice(["table", "json", "yaml"])
    return click.option("--format", "form", type=kinds, default="table", help="form of the output")(command)


def catalog(command: Command) -> Command:
    """Add `--catalog`."""
    folder = click.Path(path_type=Path, exists=True, file_okay=False)
    text = "folder with collections/ and providers/ over the built-in ones"
    return click.option("--catalog", "catalog_dir", type=folder, metavar="DIR", help=text)(command)


def source(command: Command) -> Command:
    """Add what can be evaluated: an argument, or benchmarks of a provider, and the changes to it."""
    # help lists options in the order in which decorators stand, which is the reverse of their application
    for decorate in (
        click.option("--num-examples", type=click.IntRange(1), metavar="N", help="examples a benchmark at most"),
        click.option("-b", "--benchmark", "benchmarks", metavar="ID", multiple=True, help="benchmark of that provider"),
        click.option("--provider", metavar="ID", help="provider of the benchmarks given with -b"),
        click.argument("source", required=False),
    ):
        command = decorate(command)
    return command


def model(command: Command) -> Command:
    """Add the model's address, name and secret."""
    for decorate in (
        click.option("--model-secret", metavar="NAME", help="secret with the model's api-key and ca_cert"),
        click.option("--model-name", metavar="NAME", help="the model's name at that address"),
        click.option("--model-url", metavar="URL", help="base address of the model, ending in /v1"),
    ):
        command = decorate(command)
    return command


def model_keys(url: str | None, name: str | None, secret: str | None) -> dict[str, Any]:
    """Return the keys of `model` that the options give."""
    found: dict[str, Any] = {key: value for key, value in (("url", url), ("name", name)) if value}
    return found | ({"auth": {"secret_ref": secret}} if secret else {})
