"""Options of every command that talks to Kubeflow Pipelines: which installation, and whose namespace."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click


def connection(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--endpoint`, `--namespace` and `--profile`; the command gets a `connection` of them."""

    @click.option("--endpoint", metavar="URL", help="address of Kubeflow Pipelines, else $KF_PIPELINES_ENDPOINT")
    @click.option("-n", "--namespace", metavar="NAME", help="namespace, where an installation has several users")
    @click.option("--profile", metavar="NAME", help="profile of `evalhub-kfp config`, else the current one")
    @functools.wraps(command)
    def connected(
        *arguments: Any, endpoint: str | None, namespace: str | None, profile: str | None, **named: Any
    ) -> Any:
        from evalhub_pipelines.client.connection import resolve

        found = resolve(endpoint=endpoint, namespace=namespace, profile=profile)
        return command(*arguments, connection=found, **named)

    return connected
