"""The command line `evalhub-kfp`, a thin layer over the Python API. Only this package prints for people and exits."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from importlib.util import find_spec
from typing import Any

from evalhub_components.errors import Cancelled, EvalHubError, ExitStatus, MissingExtra

if not (find_spec("click") and find_spec("rich")):
    print(MissingExtra("cli", "the command line"), file=sys.stderr)
    sys.exit(MissingExtra.exit_status)

import click

import evalhub_components
from evalhub_pipelines.cli import (
    catalogue,
    comparing,
    compiling,
    configuration,
    demo,
    doctor,
    evidence,
    images,
    judging,
    keys,
    manifests,
    output,
    planning,
    reporting,
    results,
    running,
    runs,
    scheduling,
    status,
    submitting,
    workflow_commands,
)

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True}


class Commands(click.Group):
    """Commands whose output nobody reads any more end in an error: click's own status 1 would read as a failed gate."""

    def invoke(self, ctx: click.Context) -> Any:
        """Return the exit status of a command, None for success."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return ExitStatus.ERROR


@click.group(cls=Commands, context_settings=CONTEXT)
def cli() -> None:
    """Evaluate language models: plan, run and judge collections of benchmarks, and verify the evidence.

    Exit status: 0 pass, 1 gate failed, 2 error, 3 inconclusive, 124 waited too long, 130 interrupted.
    """


@cli.command()
def version() -> None:
    """print the version"""
    click.echo(evalhub_components.__version__)


for command in (
    running.run,
    planning.plan,
    judging.judge,
    reporting.report,
    comparing.compare,
    evidence.verify,
    evidence.pull,
    evidence.evidence,
    keys.keys,
    compiling.compile_pipelines,
    catalogue.providers,
    catalogue.collections,
    images.images,
    configuration.config,
    doctor.doctor,
    manifests.manifests,
    submitting.submit,
    status.status,
    runs.list_runs,
    runs.logs,
    runs.cancel,
    runs.retry,
    runs.delete,
    results.results,
    scheduling.schedule,
    demo.demo_model,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line and exit."""
    workflow_commands.guard(os.environ)
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
        click.echo(str(error) if isinstance(error, Cancelled) else f"error: {error}", err=True)
        status = error.exit_status
    except OSError as error:
        click.echo(f"error: {error.filename or 'a file'}: {error.strerror or error}", err=True)
        status = ExitStatus.ERROR
    except Exception:
        # Python's own status for a mistake in this program would read as a failed gate too
        traceback.print_exc()
        status = ExitStatus.ERROR
    output.flush()
    sys.exit(int(status))
