"""This machine: Python, optional parts, uv, the container engine, certificates, and the secrets that runs here use."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from evalhub_components import credentials
from evalhub_components.errors import EvalHubError
from evalhub_pipelines import directories, environments
from evalhub_pipelines.doctor import wanted_secrets
from evalhub_pipelines.doctor.checks import Check
from evalhub_pipelines.doctor.finding import Finding
from evalhub_pipelines.doctor.wanted_secrets import Wanted

if TYPE_CHECKING:
    from evalhub_pipelines.catalog import Catalog

_OLDEST_PYTHON = (3, 11)


class Extra(NamedTuple):
    """An optional part of the distribution: its modules, and which commands need it."""

    modules: tuple[str, ...]
    needed_by: str


EXTRAS = {
    "cli": Extra(("click", "jinja2", "rich"), "the command line"),
    "kfp": Extra(("kfp", "kfp_server_api", "kubernetes", "kfp.kubernetes"), "compile, and all that talks to Kubeflow"),
    "mlflow": Extra(("mlflow", "filelock"), "logging runs to MLflow"),
    "oci": Extra(("cryptography", "olot", "oras", "rfc8785", "tenacity"), "evidence: push, pull, sign, verify"),
    "data": Extra(("boto3", "huggingface_hub"), "test data from S3 and the Hugging Face hub"),
    "report": Extra(("jinja2",), "report.html"),
}


def python() -> Iterator[Finding]:
    """Yield which Python runs this."""
    if sys.version_info[:2] < _OLDEST_PYTHON:
        raise EvalHubError(f"{sys.version.split()[0]} is too old (install 3.11 or later)")
    yield Finding("python", "ok", f"{sys.version.split()[0]}, {sys.executable}")


def extra(name: str, is_needed: bool) -> Iterator[Finding]:
    """Yield whether an optional part is installed; one that nothing needs here is not missed."""
    part = EXTRAS[name]
    missing = [module for module in part.modules if not _is_there(module)]
    if not missing:
        yield Finding(f"extra {name}", "ok", f"for {part.needed_by}{_versions(part.modules)}")
        return
    found = f"not installed; for {part.needed_by} (pip install 'evalhub-kfp[{name}]')"
    yield Finding(f"extra {name}", "failed" if is_needed else "skipped", found)


def uv(timeout: float) -> Iterator[Finding]:
    """Yield whether uv, which makes the environments of providers, starts."""
    argv = [sys.executable, "-m", "uv"] if find_spec("uv") else [shutil.which("uv") or ""]
    if not argv[0]:
        raise EvalHubError("is not installed; it makes the environments of providers (pip install 'evalhub-kfp[cli]')")
    said = _called([*argv, "--version"], timeout, "reinstall it: pip install --force-reinstall uv")
    yield Finding("uv", "ok", said)


def provider_environments(catalog: Catalog, providers: Sequence[str]) -> Iterator[Finding]:
    """Yield which providers are ready to run; nothing is wrong with the others, which wait at their first run."""
    ready = {name for name in providers if environments.is_installed(catalog.provider_directory(name))}
    others = [name for name in providers if name not in ready]
    later = f"; made at the first run: {', '.join(others)} (evalhub-kfp providers install makes them now)"
    yield Finding("environments", "ok", f"{len(ready)} of {len(providers)} are ready{later if others else ''}")


def engine(command: str | None, timeout: float) -> Iterator[Finding]:
    """Yield whether the container engine answers; without a `command` Docker or Podman, which nobody has to have."""
    found = command or next((name for name in ("docker", "podman") if shutil.which(name)), None)
    if found is None:
        yield Finding("engine", "skipped", "there is no docker or podman; only `run --engine container` needs one")
        return
    if not shutil.which(found):
        raise EvalHubError(f"{found}: is not there (install it, or name another: --engine-command)")
    # unlike `info` it fails where no daemon answers
    try:
        _called([found, "version"], timeout, "start it, and see that you may use it: its group, or rootless")
    except EvalHubError as error:
        if command:
            raise
        yield Finding("engine", "skipped", f"{error}; only `run --engine container` needs it")
        return
    yield Finding("engine", "ok", f"{found} answers")


def certificates() -> Iterator[Finding]:
    """Yield whether the CA certificates that `$EVALHUB_CA` names can be used."""
    if not os.environ.get(credentials.CA):
        yield Finding("ca", "skipped", f"no certificates of your own ({credentials.CA} would name their folder)")
        return
    bundle = credentials.ca_bundle()
    if bundle is None:
        folder = os.environ[credentials.CA]
        raise EvalHubError(f"{credentials.CA}: there is no folder {folder} (it would hold ca-bundle.crt)")
    try:
        count = len(ssl.create_default_context(cafile=str(bundle)).get_ca_certs())
    except (OSError, ssl.SSLError):
        raise EvalHubError(f"{bundle}: holds no certificates that can be read (it would be PEM)") from None
    yield Finding("ca", "ok", f"{bundle}, {count} certificates")


def secret(wanted: Wanted, check: str) -> Iterator[Finding]:
    """Yield whether the folder of a secret is here with its keys, and that a signing key can sign."""
    folder = directories.secret(wanted.name, wanted.named_by)
    try:
        keys = {path.name for path in folder.iterdir() if path.is_file()}
    except OSError as error:
        raise EvalHubError(f"{folder}: {error.strerror} (it must be readable for this user)") from None
    if lacking := wanted_secrets.lacking(keys, wanted.keys):
        raise EvalHubError(
            f"{wanted.named_by}: {folder} has no file {lacking} (one file a key, as Kubernetes mounts it)"
        )
    unusable = [key for key in sorted(keys) if not _is_usable(folder / key)]
    if unusable:
        raise EvalHubError(
            f"{wanted.named_by}: {folder}: {', '.join(unusable)} is empty, or not readable for this user"
        )
    if wanted.keys == wanted_secrets.SIGNING:
        from evalhub_components.evidence.signing.keys import SigningKey

        SigningKey.load(folder)
    yield Finding(check, "ok", f"{wanted.named_by}: {folder}, keys {', '.join(sorted(keys))}")


def checks(
    catalog: Catalog, providers: Sequence[str], needed: Collection[str], command: str | None, timeout: float
) -> Iterator[Check]:
    """Yield what is looked at on every machine.

    Args:
        needed: the optional parts that something needs.
        command: of the container engine.
    """
    yield Check(["python"], python)
    for name in EXTRAS:
        yield Check([f"extra {name}"], partial(extra, name, name in needed))
    yield Check(["uv"], partial(uv, timeout))
    yield Check(["environments"], partial(provider_environments, catalog, providers))
    yield Check(["engine"], partial(engine, command, timeout))
    yield Check(["ca"], certificates)


def _is_there(module: str) -> bool:
    # the parent of a submodule is imported to find it, and kfp's takes a second
    parent, _, child = module.partition(".")
    found = find_spec(parent)
    if not child or found is None:
        return found is not None
    return any(os.path.isdir(os.path.join(place, child)) for place in found.submodule_search_locations or ())


def _versions(modules: Sequence[str]) -> str:
    known = []
    for module in modules[:1]:
        try:
            known.append(f"{module} {metadata.version(module)}")
        except metadata.PackageNotFoundError:
            continue
    return f" ({', '.join(known)})" if known else ""


def _is_usable(path: os.PathLike[str]) -> bool:
    return os.access(path, os.R_OK) and os.stat(path).st_size > 0


def _called(argv: Sequence[str], timeout: float, cure: str) -> str:
    """Return the first line that a program prints.

    Raises:
        EvalHubError: it fails or hangs.
    """
    name = argv[-2] if argv[0] == sys.executable else argv[0]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise EvalHubError(f"{name}: does not answer within {timeout:g} s ({cure})") from None
    except OSError as error:
        raise EvalHubError(f"{name}: cannot be started, {error.strerror} ({cure})") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-300:]
        raise EvalHubError(f"{name}: does not work: {said} ({cure})")
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else name
