"""What people see of a run on Kubeflow Pipelines: its benchmarks while it goes on, then its recorded verdict."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalhub_components.errors import Cancelled, EvalHubError, ExitStatus
from evalhub_pipelines.cli import judging, output, run_display
from evalhub_pipelines.cli import options as shared

if TYPE_CHECKING:
    from evalhub_components.records.outputs import Output
    from evalhub_pipelines.client.connection import Connection
    from evalhub_pipelines.client.runs.run_record import RunRecord
    from evalhub_pipelines.client.runs.run_state import RunState
    from evalhub_pipelines.client.runs.waiting import Event
    from evalhub_pipelines.run_source import RunSource


@dataclass(frozen=True)
class Wanted:
    """What somebody who waits for a run wants.

    Attributes:
        timeout: seconds to wait at most; None for as long as it takes.
        record: where its record is read and how it is checked: keywords of `run_record.find`.
        reports: files that the verdict is written to.
    """

    timeout: float | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    reports: Sequence[Output] = ()


def _seconds(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    from pydantic import TypeAdapter, ValidationError

    from evalhub_components.schema.document import Seconds

    if value is None:
        return None
    try:
        return float(TypeAdapter[int](Seconds).validate_python(value))
    except ValidationError:
        raise click.BadParameter(f"must be a duration such as 90s, 30m or 2h, got {value!r}") from None


_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add how long to wait, where the record is read, and reports; the command gets `wanted`, a `Wanted`.

    What a run itself is given has other names (`--push-to`, `--registry-secret`, `--mlflow-uri`): a registry or MLflow
    may have one name in the cluster and another here.
    """

    @click.option("--timeout", metavar="DURATION", callback=_seconds, help="wait so long at most, such as 90m or 2h")
    @click.option("--evidence", metavar="HOST/REPOSITORY", help="where the evidence is seen from here, else as the run")
    @click.option("--key", type=_FILE, metavar="FILE", help="public key that must have signed the evidence")
    @click.option("--pull-secret", metavar="NAME", help="secret with .dockerconfigjson  [default: Docker's]")
    @click.option("--registry-ca", type=_FILE, metavar="FILE", help="certificates of the registry")
    @click.option("--tracking-uri", metavar="URI", help="MLflow as seen from here  [default: $MLFLOW_TRACKING_URI]")
    @shared.reports
    @functools.wraps(command)
    def waited(
        *arguments: Any,
        timeout: float | None,
        evidence: str | None,
        key: Path | None,
        pull_secret: str | None,
        registry_ca: Path | None,
        tracking_uri: str | None,
        reports: Sequence[Output],
        **named: Any,
    ) -> Any:
        record = {
            "repository": evidence,
            "key": key,
            "registry_secret": pull_secret,
            "ca": registry_ca,
            "mlflow_uri": tracking_uri,
        }
        return command(*arguments, wanted=Wanted(timeout, record, reports), **named)

    return waited


def follow(
    connection: Connection, run_id: str, wanted: Wanted, form: str = "table", *, is_new: bool = False
) -> ExitStatus:
    """Show a run until it is over, then its recorded verdict, and return the verdict's exit status.

    A pass whose reports cannot be written is an error, as with `run`.

    Args:
        form: `table`, or `json` and `yaml`, of which standard output gets one document at the end, also where the run
            goes on.
        is_new: whether the run was started just now, so that there is one and the server has answered.

    Raises:
        TimedOut, Cancelled: the run goes on.
        EvalHubError: there is no such run, or no verdict of it can be read.
    """
    from evalhub_components.records import outputs
    from evalhub_pipelines.client.runs import waiting

    outputs.prepare(wanted.reports)
    last: RunState | None = None

    def listen(event: Event) -> None:
        nonlocal last
        last = event.state
        show(event)

    with judging.errors_reported(wanted.reports, run_id):
        try:
            with run_display.progress() as show:
                state = waiting.wait(connection, run_id, timeout=wanted.timeout, answered=is_new, listener=listen)
        except KeyboardInterrupt:
            cancel = output.command("evalhub-kfp", "cancel", run_id)
            cures = f"cancel it: {cancel}; wait again: {output.command('evalhub-kfp', 'status', run_id, '--watch')}"
            raise Cancelled(f"interrupted; run {run_id} goes on ({cures})") from None
        except EvalHubError as error:
            timed_out = isinstance(error, waiting.TimedOut)
            if form != "table" and (timed_out or is_new or last is not None):
                with suppress(BrokenPipeError):
                    output.emit(_so_far(connection, run_id, last, str(error)) | {"timed_out": timed_out}, form)
            raise
        return _told(connection, state, wanted, form)


def _so_far(connection: Connection, run_id: str, last: RunState | None, problem: str) -> dict[str, Any]:
    """Return what is known of a run that is not waited for any more, None for what is not."""
    if last is not None:
        return run_display.as_json(connection, last, problem=problem)
    from evalhub_pipelines.client.runs import run_state

    known = run_display.as_json(connection, run_state.unknown(run_id), problem=problem)
    return known | dict.fromkeys(("name", "state", "kfp_state", "is_over"))


def _told(connection: Connection, state: RunState, wanted: Wanted, form: str) -> ExitStatus:
    """Print the recorded verdict of a run that is over, and return its exit status."""
    from evalhub_components import gate
    from evalhub_pipelines.client.runs import run_record

    try:
        with run_record.opened(connection, state, **wanted.record) as (record, source):
            # who reads a pipe may go early; the exit status stays the verdict's
            with suppress(BrokenPipeError):
                if form == "table":
                    click.echo(f"run       {state.run_id} {state.state}")
                    click.echo(f"dashboard {connection.run_page(state.run_id)}")
                    click.echo()
                    run_display.show_record(record, key=text(wanted.record.get("key")))
                else:
                    output.emit(run_display.as_json(connection, state, record) | {"timed_out": False}, form)
                run_display.show_notes(state, record)
            complete = _reported(record, source, wanted.reports, form)
    except EvalHubError as error:
        if form != "table":
            output.emit(run_display.as_json(connection, state, problem=str(error)) | {"timed_out": False}, form)
        raise
    status = gate.exit_status(record.verdict)
    return ExitStatus.ERROR if status is ExitStatus.PASS and not complete else status


def _reported(record: RunRecord, source: RunSource | None, reports: Sequence[Output], form: str) -> bool:
    """Write the reports; return whether all of them are there."""
    from evalhub_pipelines import judged_run

    if source is not None:
        judged = judged_run.JudgedRun(source.run, source.verdict, source.publication)
        return judging.write_reports(source.run.path, reports, form, judged)
    if not reports:
        return True
    what = f"the verdict is {record.verdict}, but reports are made of the evidence, which was not read"
    judged_run.write_error(f"{what}: {'; '.join(record.notes)}", reports, {}, record.run_id)
    click.echo(f"error: {what}", err=True)
    return False


def text(value: object) -> str | None:
    """Return `value` as text, None for none."""
    return None if value is None else str(value)
