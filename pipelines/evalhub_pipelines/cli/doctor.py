"""`evalhub-kfp doctor`: what an evaluation needs, looked at before it is paid for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from evalhub_components.errors import ExitStatus
from evalhub_pipelines.cli import options, output
from evalhub_pipelines.manifests.tenant import RUNNER, STORE_SECRET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evalhub_pipelines.doctor import Finding, Scope


@click.command(short_help="look at what an evaluation needs")
@click.option("--config", "source", metavar="eval.yaml|COLLECTION", help="look at all that it names too")
@click.option(
    "--only",
    type=click.Choice(["laptop", "cluster"]),
    multiple=True,
    help="what runs there need; repeatable  [default: laptop, and cluster where Kubeflow is configured]",
)
@click.option("--allow-unknown", is_flag=True, help="exit with 0 although something could not be looked at")
@click.option("--endpoint", metavar="URL", help="address of Kubeflow Pipelines, else $KF_PIPELINES_ENDPOINT")
@click.option("-n", "--namespace", metavar="NAME", help="namespace that runs happen in")
@click.option("--profile", metavar="NAME", help="profile of `evalhub-kfp config`, else the current one")
@click.option("--service-account", default=RUNNER, metavar="NAME", help="account that runs use")
@click.option("--store-secret", default=STORE_SECRET, metavar="NAME", help="the one secret that runs may read")
@click.option("--no-store-secret", is_flag=True, help="runs may read none")
@click.option("--ca-config-map", metavar="NAME", help="config map with CA certificates")
@click.option("--mlflow-uri", metavar="URI", help="tracking server, else $MLFLOW_TRACKING_URI")
@click.option("--mlflow-secret", metavar="NAME", help="secret with MLflow's token, or username and password")
@click.option(
    "--engine-command", metavar="COMMAND", help="docker, podman, or the path of one  [default: what is there]"
)
@click.option("--timeout", type=click.FloatRange(1, 600), default=30.0, metavar="SECONDS", help="of each check")
@options.catalog
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="form of the output")
def doctor(
    source: str | None,
    only: tuple[str, ...],
    allow_unknown: bool,
    endpoint: str | None,
    namespace: str | None,
    profile: str | None,
    service_account: str,
    store_secret: str,
    no_store_secret: bool,
    ca_config_map: str | None,
    mlflow_uri: str | None,
    mlflow_secret: str | None,
    engine_command: str | None,
    timeout: float,
    catalog_dir: Path | None,
    form: str,
) -> None:
    """look at this machine, at Kubeflow, and at all that an eval.yaml names, by real calls that leave nothing behind

    A line a check: ok; failed, with the cure in brackets; unknown where it cannot be looked at from here, which is no
    success; skipped where nobody asked for it.

    Exit status: 0 all holds, 2 something failed, or could not be looked at without --allow-unknown.
    """
    from evalhub_pipelines.doctor import all_hold, check

    findings = check(
        source,
        only=cast("tuple[Scope, ...]", only),
        endpoint=endpoint,
        namespace=namespace,
        profile=profile,
        mlflow_uri=mlflow_uri,
        mlflow_secret=mlflow_secret,
        ca_config_map=ca_config_map,
        service_account=service_account,
        store_secret=None if no_store_secret else store_secret,
        engine=engine_command,
        catalog=catalog_dir,
        timeout=timeout,
    )
    holds = all_hold(findings, allow_unknown=allow_unknown)
    if form == "json":
        output.emit({"ok": holds, "findings": [finding.as_json() for finding in findings]}, form)
    else:
        _show(findings)
    click.get_current_context().exit(int(ExitStatus.PASS if holds else ExitStatus.ERROR))


def _show(findings: Sequence[Finding]) -> None:
    output.table(["", "check", "found"], [[finding.mark, finding.check, finding.found] for finding in findings])
    failed = sum(finding.mark == "failed" for finding in findings)
    unknown = sum(finding.mark == "unknown" for finding in findings)
    click.echo()
    click.echo(f"{failed} failed, {unknown} unknown" if failed or unknown else "all that was asked for holds")
