"""`evalhub-kfp keys`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalhub_pipelines.cli import output

if TYPE_CHECKING:
    from evalhub_components.evidence.signing.keys import Kind


@click.group()
def keys() -> None:
    """make the key pair that signs evidence"""


@keys.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("evidence-keys"))
@click.option(
    "--kind",
    type=click.Choice(["ecdsa-p256", "ed25519"]),
    default="ecdsa-p256",
    help="algorithm of the signatures",
)
def generate(folder: Path, kind: Kind) -> None:
    """make a key pair in FOLDER (evidence-keys): private.key signs, public.key is for everybody"""
    import shlex

    from evalhub_components.evidence.signing import keys

    public = keys.generate(folder, kind)
    near = output.near(folder)
    click.echo(f"private  {near}/{keys.PRIVATE_KEY} (whoever has it signs in your name)")
    click.echo(f"public   {near}/{keys.PUBLIC_KEY} (give it to whoever verifies)")
    click.echo(f"key id   {public.key_id}")
    click.echo("use it   as a secret that `exports.signing.secret_ref` names:")
    secret = shlex.join(["kubectl", "create", "secret", "generic", "evidence-signing", f"--from-file={near}"])
    click.echo(f"         {secret}")
