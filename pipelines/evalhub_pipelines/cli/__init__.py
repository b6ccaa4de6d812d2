"""The command line `evalhub-kfp`, a thin layer over the Python API. Only this package prints for people and exits."""

from __future__ import annotations

import signal
import sys
import traceback

from evalhub_components.errors import EvalHubError, ExitStatus, MissingExtra

try:
    import click
except ImportError:
    print(MissingExtra("cli", "the command line"), file=sys.stderr)
    sys.exit(MissingExtra.exit_status)

import evalhub_components
from evalhub_pipelines.cli import catalogue, demo, judging, output, planning, running

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
    # a job that is told to end does what it does on Ctrl-C: end its children, keep what is finished
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    status: int
    try:
        # click turns Ctrl-C into an exit status of its own otherwise
        status = cli.main(standalone_mode=False) or ExitStatus.PASS
    except click.ClickException as error:
        error.show()
        status = ExitStatus.ERROR
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        status = ExitStatus.INTERRUPTED
    except EvalHubError as error:
        click.echo(f"error: {error}", err=True)
        status = error.exit_status
    except OSError as error:
        click.echo(f"error: {error.filename or 'a file'}: {error.strerror or error}", err=True)
        status = ExitStatus.ERROR
    except SystemExit as error:
        # click ends with status 1 when a pipe's reader has gone, which would read as a failed gate
        left = isinstance(error.__context__, BrokenPipeError)
        status = ExitStatus.ERROR if left or not isinstance(error.code, int) else error.code
    except Exception:
        # so would Python's own status for a mistake in this program
        traceback.print_exc()
        status = ExitStatus.ERROR
    output.flush()
    sys.exit(int(status))
