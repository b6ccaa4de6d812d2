"""`evalhub-kfp config`: profiles of Kubeflow installations."""

from __future__ import annotations

import re

import click

from evalhub_pipelines.cli import options, output

KEYS = "endpoint, namespace, token_env, token_file, cookies_env, cookies_file, ca_file, dashboard, timeout"


@click.group()
def config() -> None:
    """keep profiles of Kubeflow installations: where they are, and where their tokens are"""


@config.command("set")
@click.argument("profile")
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE...")
def set_values(profile: str, values: tuple[str, ...]) -> None:
    """set keys of PROFILE, and make it when there is none

    KEY= takes a key away. Keys: endpoint, namespace, token_env, token_file, cookies_env, cookies_file, ca_file,
    dashboard, timeout. Tokens and cookies stay where they are: name the environment variable or the file that holds
    them.
    """
    from evalhub_pipelines.client import profiles

    given = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not (equals and re.fullmatch(r"\s*[a-z_-]{1,30}\s*", key)):
            # the text is not repeated: it may be a token, and some end in "="
            raise click.UsageError(f"every value must be KEY=VALUE (keys: {KEYS})")
        given[key.strip().replace("-", "_")] = value.strip()
    with profiles.changing():
        before = profiles.read()
        after = profiles.changed(before, profile, given)
        file = profiles.write(after)
    note = ", now the current one" if after.current == profile != before.current else ""
    click.echo(f"{output.near(file)}: profile {profile} written{note}")


@config.command("get")
@click.argument("profile", required=False)
@options.output_format
def get_values(profile: str | None, form: str) -> None:
    """show the keys of PROFILE, the current one by default"""
    from evalhub_components.errors import EvalHubError
    from evalhub_pipelines.client import profiles

    found = profiles.read().named(profile, "config get")
    if found is None:
        raise EvalHubError(
            f"{profiles.path()}: there is no current profile (`config set` makes one, `config use` chooses)"
        )
    keys = found[1].as_yaml()
    if form != "table":
        output.emit({"name": found[0], **keys}, form)
        return
    output.table(["key", "value"], [["name", found[0]], *([key, value] for key, value in keys.items())])


@config.command("list")
@options.output_format
def list_profiles(form: str) -> None:
    """list the profiles"""
    from evalhub_pipelines.client import profiles

    kept = profiles.read()
    if form != "table":
        rows = [
            {"name": name, "current": name == kept.current, **kept.profiles[name].as_yaml()} for name in kept.profiles
        ]
        output.emit(rows, form)
        return
    columns = ["current", "name", "endpoint", "namespace"]
    output.table(
        columns,
        [
            ["*" if name == kept.current else "", name, p.endpoint, p.namespace or "-"]
            for name, p in kept.profiles.items()
        ],
    )


@config.command("use")
@click.argument("profile")
def use(profile: str) -> None:
    """make PROFILE the current one"""
    from evalhub_pipelines.client import profiles

    with profiles.changing():
        profiles.write(profiles.used(profiles.read(), profile))
    click.echo(f"profile {profile} is the current one")
