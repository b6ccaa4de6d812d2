"""The command line `evalhub-kfp`, a thin layer over the Python API. Only this package prints for people and exits."""

from __future__ import annotations

import sys

from evalhub_components.errors import EvalHubError, MissingExtra

try:
    import click
except ImportError:
    print(MissingExtra("cli", "the command line"), file=sys.stderr)
    sys.exit(MissingExtra.exit_status)

import evalhub_components
from evalhub_pipelines.cli import catalogue, demo, judging, planning, running

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True}


@click.group(context_settings=CONTEXT)
def cli() -> None:
    """Evaluate language models: plan, run and judge collections of benchmarks.

    Exit status: 0 pass, 1 gate failed, 2 error, 3 inconclusive, 130 interrupted.
    """


@cli.command()
def version() -> None:
    """print the version"""
    click.echo(evalhub_components.__version__)


for command in (running.run, planning.plan, judging.judge, catalogue.providers, catalogue.collections, demo.demo_model):
    cli.add_command(command)


def main() -> None:
    """Run the command line and exit."""
    try:
        # click turns Ctrl-C into an exit status of its own otherwise
        status = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = 2
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        status = 130
    except EvalHubError as error:
        click.echo(f"error: {error}", err=True)
        status = int(error.exit_status)
    except BrokenPipeError:
        sys.stderr.close()
        status = 2
    sys.exit(status or 0)
