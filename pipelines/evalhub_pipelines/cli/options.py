"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from evalhub_components.records.outputs import Output

Command = TypeVar("Command", bound=Callable[..., Any])


def output_format(command: Command) -> Command:
    """Add `--format`: a machine format goes to standard output alone."""
    kinds = click.Choice(["table", "json", "yaml"])
    return click.option("--format", "form", type=kinds, default="table", help="form of the output")(command)


def _parsed(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> Sequence[Output]:
    if not texts:
        return []
    from evalhub_components.records import outputs

    return outputs.parse(texts)


def reports(command: Command) -> Command:
    """Add `--report KIND=PATH`, as often as wanted."""
    text = "write a report: html, markdown, junit or json (a file), tekton (a folder of results); repeatable"
    add = click.option("--report", "reports", multiple=True, metavar="KIND=PATH", callback=_parsed, help=text)
    return add(command)


def catalog(command: Command) -> Command:
    """Add `--catalog`."""
    folder = click.Path(path_type=Path, exists=True, file_okay=False)
    text = "folder with collections/ and providers/ over the built-in ones"
    return click.option("--catalog", "catalog_dir", type=folder, metavar="DIR", help=text)(command)


def source(command: Command) -> Command:
    """Add what can be evaluated: an argument, or benchmarks of a provider, and the changes to it."""
    # help lists options in the order in which decorators stand, which is the reverse of their application
    for decorate in (
        click.option(
            "--num-examples", type=click.IntRange(1, 1_000_000_000), metavar="N", help="examples a benchmark at most"
        ),
        click.option("-b", "--benchmark", "benchmarks", metavar="ID", multiple=True, help="benchmark of that provider"),
        click.option("--provider", metavar="ID", help="provider of the benchmarks given with -b"),
        click.argument("source", required=False),
    ):
        command = decorate(command)
    return command


def model(command: Command) -> Command:
    """Add the model's address and name, and what it is asked with."""
    account = "ask with the token of the run's service account, as KServe wants it"
    for decorate in (
        click.option("--model-digest", metavar="DIGEST", help="digest of the model's own OCI image"),
        click.option("--model-service-account", is_flag=True, help=account),
        click.option("--model-secret", metavar="NAME", help="secret with the model's api-key and ca_cert"),
        click.option("--model-name", metavar="NAME", help="the model's name at that address"),
        click.option("--model-url", metavar="URL", help="base address of the model, ending in /v1"),
    ):
        command = decorate(command)
    return command


def judge(command: Command) -> Command:
    """Add the address and name of the model that judges answers, and what it is asked with."""
    for decorate in (
        click.option("--judge-service-account", is_flag=True, help="ask it with that token too"),
        click.option("--judge-secret", metavar="NAME", help="secret with the judge's api-key and ca_cert"),
        click.option("--judge-name", metavar="NAME", help="the judge's name at that address"),
        click.option("--judge-url", metavar="URL", help="base address of a model that judges answers"),
    ):
        command = decorate(command)
    return command


def model_keys(
    url: str | None, name: str | None, secret: str | None, digest: str | None = None, *, service_account: bool = False
) -> dict[str, Any]:
    """Return the keys of `model` that the options give."""
    given = {"url": url, "name": name, "digest": digest}
    found: dict[str, Any] = {key: value for key, value in given.items() if value}
    auth = {"secret_ref": secret, "service_account": service_account}
    auth = {key: value for key, value in auth.items() if value}
    return found | ({"auth": auth} if auth else {})


def registry(command: Command) -> Command:
    """Add what a registry asks for before it shows evidence."""
    for decorate in (
        click.option(
            "--ca", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="certificates of the registry"
        ),
        click.option("--registry-secret", metavar="NAME", help="secret with .dockerconfigjson  [default: Docker's]"),
    ):
        command = decorate(command)
    return command


def publishing(command: Command) -> Command:
    """Add where the evidence goes and who signs it."""
    for decorate in (
        click.option("--signing-secret", metavar="NAME", help="secret with the private.key that signs the evidence"),
        click.option("--registry-secret", metavar="NAME", help="secret with .dockerconfigjson  [default: Docker's]"),
        click.option("--push-to", metavar="HOST/REPOSITORY[:TAG]", help="where the evidence goes  [default: nowhere]"),
    ):
        command = decorate(command)
    return command


def images(command: Command) -> Command:
    """Add which images a pipeline is compiled with."""
    for decorate in (
        click.option(
            "--private-host", multiple=True, metavar="HOST", help="host here that test data may come from by git"
        ),
        click.option("--image-pull-secret", multiple=True, metavar="NAME", help="secret that images are pulled with"),
        click.option(
            "--image-lock", type=click.Path(path_type=Path), metavar="FILE", help="images pinned by make push-images"
        ),
        click.option("--image", multiple=True, metavar="PROVIDER=REF", help="image of a provider, or of components"),
    ):
        command = decorate(command)
    return command


def exports(push_to: str | None, registry_secret: str | None, signing_secret: str | None) -> dict[str, Any]:
    """Return `exports` of an eval.yaml as far as the options give it, empty without any."""
    oci: dict[str, Any] = {}
    if push_to:
        from evalhub_components.evidence.reference import Reference

        found = Reference.parse(push_to)
        scheme = "http://" if found.plain_http else ""
        oci["coordinates"] = {"oci_host": f"{scheme}{found.host}", "oci_repository": found.repository}
        if found.digest:
            raise click.UsageError("--push-to: the digest comes out of the run (give HOST/REPOSITORY[:TAG])")
        if found.tag:
            oci["coordinates"]["oci_tag"] = found.tag
    if registry_secret:
        oci["k8s"] = {"connection": registry_secret}
    exports: dict[str, Any] = {"oci": oci} if oci else {}
    if signing_secret:
        exports["signing"] = {"secret_ref": signing_secret}
    return {"exports": exports} if exports else {}
