"""`evalhub-kfp manifests`: accounts, rights and network policies of a namespace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from evalhub_pipelines.cli import output as printed
from evalhub_pipelines.manifests.tenant import DESTINATIONS, KFP_NAMESPACE, RUNNER, STORE_SECRET


def _network(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what pods may reach."""
    for name, what in reversed(DESTINATIONS.items()):
        # the API server runs on hosts, which no selector of namespaces finds
        for kind in ("cidr",) if name == "api" else ("namespace", "cidr"):
            text = f"{'network' if kind == 'cidr' else kind} of {what}; repeatable"
            command = click.option(f"--{name}-{kind}", metavar=f"{kind.upper()}[:PORT]", multiple=True, help=text)(
                command
            )
    return command


@click.command()
@click.option("--namespace", required=True, metavar="NAME", help="the tenant's namespace")
@click.option(
    "--subject",
    "subjects",
    multiple=True,
    metavar="KIND:NAME",
    help="who submits: User:NAME, Group:NAME or ServiceAccount:[NAMESPACE/]NAME; repeatable",
)
@click.option("--service-account", default=RUNNER, metavar="NAME", help="account that runs use")
@click.option(
    "--store-secret",
    default=STORE_SECRET,
    metavar="NAME",
    help="secret with the object store's credentials, the only one that runs may read",
)
@click.option("--no-store-secret", is_flag=True, help="runs may read none: KFP's launcher finds them elsewhere")
@click.option(
    "--kserve",
    multiple=True,
    metavar="NAMESPACE/NAME",
    help="model on KServe that runs ask with their account's token, which must be allowed to get it; repeatable",
)
@click.option("--kfp-namespace", default=KFP_NAMESPACE, metavar="NAME", help="namespace of Kubeflow Pipelines itself")
@_network
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default="-",
    help="file that gets it; - is standard output",
)
def manifests(
    namespace: str,
    subjects: tuple[str, ...],
    service_account: str,
    store_secret: str,
    no_store_secret: bool,
    kserve: tuple[str, ...],
    kfp_namespace: str,
    output: Path,
    **network: tuple[str, ...],
) -> None:
    """print what a namespace needs: accounts, least rights, network policies, templates of secrets

    Nothing is applied. Network policies need --model-namespace or --model-cidr, and --api-cidr.
    """
    from evalhub_components import atomic
    from evalhub_pipelines import manifests

    asked = manifests.tenant_of(
        namespace,
        subjects,
        runner=service_account,
        store_secret=None if no_store_secret else store_secret,
        kserve=kserve,
        kfp_namespace=kfp_namespace,
        cidrs={name: network[f"{name}_cidr"] for name in DESTINATIONS},
        namespaces={name: network.get(f"{name}_namespace", ()) for name in DESTINATIONS},
    )
    text = manifests.render(asked)
    if output == Path("-"):
        click.echo(text, nl=False)
    else:
        atomic.write_text(output, text)
        click.echo(f"{printed.near(output)}: written")
