"""Options of every command that talks to Kubeflow Pipelines: which installation, and whose namespace."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection


class Place(NamedTuple):
    """Which installation was named on the command line; None for what was not."""

    endpoint: str | None
    namespace: str | None
    profile: str | None

    def connection(self) -> Connection:
        """Return the connection that is meant.

        Raises:
            EvalHubError: nobody says where the installation is, or what is said is wrong.
        """
        from evalhub_pipelines.client.connection import resolve

        return resolve(**self._asdict())


def place(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--endpoint`, `--namespace` and `--profile`; the command gets a `place` of them, which is to be resolved."""

    @click.option("--endpoint", metavar="URL", help="address of Kubeflow Pipelines, else $KF_PIPELINES_ENDPOINT")
    @click.option("-n", "--namespace", metavar="NAME", help="namespace, where an installation has several users")
    @click.option("--profile", metavar="NAME", help="profile of `evalhub-kfp config`, else the current one")
    @functools.wraps(command)
    def placed(*arguments: Any, endpoint: str | None, namespace: str | None, profile: str | None, **named: Any) -> Any:
        return command(*arguments, place=Place(endpoint, namespace, profile), **named)

    return placed


def connection(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `place`; the command gets a `connection` of them."""

    @place
    @functools.wraps(command)
    def connected(*arguments: Any, place: Place, **named: Any) -> Any:
        return command(*arguments, connection=place.connection(), **named)

    return connected
