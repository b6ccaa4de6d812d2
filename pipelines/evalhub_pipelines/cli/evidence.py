"""`evalhub-kfp verify`, `pull` and `evidence show`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalhub_pipelines.cli import options, output

if TYPE_CHECKING:
    from evalhub_components.evidence.signing.keys import PublicKey
    from evalhub_components.evidence.verification.outcome import Verification


def _seconds(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    from pydantic import TypeAdapter, ValidationError

    from evalhub_components.schema.document import Seconds

    if value is None:
        return None
    try:
        return TypeAdapter[int](Seconds).validate_python(value)
    except ValidationError:
        raise click.BadParameter(f"must be a duration such as 90m, 12h or 7d, got {value!r}") from None


_key = click.option(
    "--key", "key_file", type=click.Path(path_type=Path), metavar="FILE", help="public key of the signer"
)


@click.command(short_help="check that evidence is whole, signed, and comes to its verdict")
@click.argument("evidence", metavar="REFERENCE|LAYOUT")
@_key
@click.option("--model-digest", metavar="DIGEST", help="digest of the model that the evidence is to be about")
@click.option("--max-age", metavar="DURATION", callback=_seconds, help="how old the results may be, such as 12h or 7d")
@click.option("--require-pass", is_flag=True, help="fail unless the verdict is pass, and not limited")
@click.option("--mlflow-uri", metavar="URI", help="tracking server whose run is to name this evidence")
@options.registry
@options.output_format
def verify(
    evidence: str,
    key_file: Path | None,
    model_digest: str | None,
    max_age: int | None,
    require_pass: bool,
    mlflow_uri: str | None,
    registry_secret: str | None,
    ca: Path | None,
    form: str,
) -> None:
    """check that evidence is whole, signed, and comes to the verdict that it tells

    Exit status: 0 all checks hold, 1 a check failed, 2 something could not be checked. What is not asked for (a key, an
    age, ...) is not checked, and the last lines say what that leaves open.
    """
    from evalhub_pipelines import verification

    done = verification.verify(
        evidence,
        key=key_file,
        model_digest=model_digest,
        max_age=max_age,
        require_pass=require_pass,
        mlflow_uri=mlflow_uri,
        registry_secret=registry_secret,
        ca=ca,
    )
    # who reads a pipe may go early; the exit status stays that of the evidence
    with suppress(BrokenPipeError):
        if form == "table":
            _show_verification(done)
        else:
            output.emit(done.as_json(), form)
    click.get_current_context().exit(int(done.exit_status))


@click.command(short_help="write evidence as plain files")
@click.argument("evidence", metavar="REFERENCE|LAYOUT")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--layout", is_flag=True, help="write an OCI layout instead, with signatures, to verify it later")
@options.registry
def pull(evidence: str, folder: Path, layout: bool, registry_secret: str | None, ca: Path | None) -> None:
    """write the files of a run to FOLDER, which must be empty or absent, each checked by its digest"""
    from evalhub_components.evidence.reading import pull
    from evalhub_pipelines import evidence_store

    found = evidence_store.opened(evidence, registry_secret=registry_secret, ca=ca)
    write = pull.copy if layout else pull.pull
    done = write(found.store, found.named, folder)
    near = output.near(folder)
    what = "blobs" if layout else "files"
    click.echo(f"evidence  {near} ({done.files} {what}, {_in_bytes(done.size)})")
    click.echo(f"          its digest: {done.digest}")
    if layout:
        click.echo(f"          verify it: {output.command('evalhub-kfp', 'verify', f'{near}@{done.digest}')}")
    else:
        click.echo(f"          check it: {output.command('cd', near)} && sha256sum -c SHA256SUMS")
        click.echo(f"          judge it again: {output.command('evalhub-kfp', 'judge', near)}")


@click.group()
def evidence() -> None:
    """look into evidence"""


@evidence.command()
@click.argument("evidence", metavar="REFERENCE|LAYOUT")
@_key
@options.registry
@options.output_format
def show(evidence: str, key_file: Path | None, registry_secret: str | None, ca: Path | None, form: str) -> None:
    """print what evidence says of itself; `verify` checks whether it is so"""
    from evalhub_components.evidence.reading.summary import summarise
    from evalhub_pipelines import evidence_store

    found = evidence_store.opened(evidence, registry_secret=registry_secret, ca=ca)
    summary = summarise(found.store, found.named, _public_key(key_file))
    if form != "table":
        output.emit(summary.as_json(), form)
        return
    limited = " (limited: fewer examples than the collection asks for)" if summary.limited else ""
    output.headline(summary.verdict, limited)
    for reason in summary.reasons:
        click.echo(f"  {output.clean(reason)}")
    click.echo()
    rows = {
        "evidence": summary.reference,
        "score": f"{output.number(summary.score)} (threshold {output.number(summary.threshold)})",
        "collection": summary.collection,
        "model": f"{summary.model} at {summary.model_url}",
        "model digest": summary.model_digest or "-",
        "fingerprint": summary.fingerprint or "-",
        "plan": summary.plan,
        "run": summary.run_id,
        "job": summary.job_id,
        "created": summary.created,
        "contents": f"{summary.benchmarks} benchmarks, {summary.files} files, {_in_bytes(summary.size)} in all",
        "signed": _signed(summary.signed.signature, summary.signed.by, key_file),
        "attested": "yes" if summary.signed.attestations else "no",
    }
    for name, text in rows.items():
        click.echo(f"{name:<14}{output.clean(text)}")


def _public_key(path: Path | None) -> PublicKey | None:
    if path is None:
        return None
    from evalhub_components.evidence.signing.keys import PublicKey

    return PublicKey.load(path)


def _show_verification(done: Verification) -> None:
    for name, text in (("evidence", done.reference), ("pinned", done.pinned)):
        if text:
            click.echo(f"{name:<14}{output.clean(text)}")
    click.echo()
    output.table(["check", "result", "what was found"], [[each.name, each.state, each.detail] for each in done.checks])
    click.echo()
    if done.verdict and done.exit_status == 0:
        output.headline(done.verdict, "")
    elif done.verdict:
        click.echo(f"What is there comes to the verdict {done.verdict}; that proves nothing.")
    for statement in done.statements:
        click.echo(output.clean(statement))


def _signed(there: bool, by: str | None, key_file: Path | None) -> str:
    if not there:
        return "no"
    if key_file is None:
        return "yes (--key FILE tells whether by that key)"
    return f"by key {by}" if by else f"not by the key in {key_file}"


def _in_bytes(size: int) -> str:
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.4g} {unit}"
