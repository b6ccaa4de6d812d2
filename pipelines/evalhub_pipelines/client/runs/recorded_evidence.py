"""The evidence of a run in its registry: where it is, and whether it can be relied on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalhub_components.errors import EvalHubError, MissingExtra, NotFound, Tampered
from evalhub_pipelines.client.runs.run_state import RunState

if TYPE_CHECKING:
    from evalhub_components.evidence.reference import Reference
    from evalhub_components.evidence.signing.keys import PublicKey
    from evalhub_pipelines.run_source import RunSource


@dataclass(frozen=True)
class Access:
    """How evidence is read and checked.

    Attributes:
        registry_secret: name of the secret with `.dockerconfigjson`; None for Docker's own configuration.
        ca: certificates of the registry.
        signer: who must have signed it; None checks no signature.
    """

    registry_secret: str | None = None
    ca: Path | None = None
    signer: PublicKey | None = None

    @classmethod
    def of(cls, registry_secret: str | None, ca: Path | None, key: Path | None, secret: str = "") -> Access:
        """Return the access with these, each of which is there and can be used.

        Args:
            key: file with the public key of the signer.
            secret: the option that names the registry's secret, for messages.

        Raises:
            EvalHubError: one of them is not there, or is something else.
            MissingExtra: the libraries are not installed.
        """
        if registry_secret is not None:
            _check_secret(registry_secret, secret or f"secret {registry_secret!r} of the registry")
        if ca is not None:
            _check_certificates(ca)
        return cls(registry_secret, ca, _public_key(key) if key is not None else None)

    def registry(self) -> dict[str, Any]:
        """Return what opens a registry."""
        return {"registry_secret": self.registry_secret, "ca": self.ca}


def _check_secret(name: str, where: str) -> None:
    from evalhub_components.evidence.registry.docker_config import SECRET_FILES
    from evalhub_pipelines import directories

    folder = directories.secret(name, where)
    if not any((folder / file).is_file() for file in SECRET_FILES):
        raise EvalHubError(f"{where}: {folder}: has no {SECRET_FILES[0]}")


def _check_certificates(ca: Path) -> None:
    try:
        from evalhub_components.evidence.registry.transport import check_certificates
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("evalhub"):
            raise
        raise MissingExtra("oci", "talking to a registry") from None
    check_certificates(ca)


def _public_key(path: Path) -> PublicKey:
    from evalhub_components.evidence.signing.keys import PublicKey

    return PublicKey.load(path)


def repository_of(name: str) -> Reference:
    """Return the repository that somebody says the evidence is in.

    Raises:
        EvalHubError: it is none.
    """
    from evalhub_components.evidence.reference import Reference

    found = Reference.parse(name)
    if found.tag or found.digest:
        raise EvalHubError(f"--evidence: must be HOST/REPOSITORY, without a tag or digest, got {name!r}")
    return found


def reference(state: RunState, repository: str | None) -> Reference | None:
    """Return the run's tag in the repository that its evidence is in; None when it pushed it nowhere that is known.

    Raises:
        EvalHubError: `repository`, or what the run was told, is no repository.
    """
    from evalhub_components.evidence.reference import Reference, is_tag

    tag = f"run-{state.run_id}"
    if not is_tag(tag):
        raise EvalHubError(f"run {state.run_id[:100]!r}: is no id that evidence can have")
    if repository is not None:
        return replace(repository_of(repository), tag=tag)
    host, name = (str(state.parameters.get(key) or "").strip() for key in ("oci_host", "oci_repository"))
    return replace(Reference.parse(f"{host}/{name}"), tag=tag) if host and name else None


def resolved(tagged: Reference, access: Access) -> str:
    """Return the digest that a tag names.

    Raises:
        EvalHubError: there is none, or the registry does not tell.
        Tampered: what it names is not what the registry calls it.
        MissingExtra: the libraries are not installed.
    """
    from evalhub_components.evidence.reading import tree
    from evalhub_pipelines import evidence_store

    try:
        found = evidence_store.opened(tagged.address, **access.registry())
        return tree.resolved(found.store, found.named)
    except (MissingExtra, Tampered):
        raise
    except NotFound as error:
        raise NotFound(f"evidence {tagged}: is not there ({error})") from None
    except EvalHubError as error:
        cure = "log in with `docker login`, or name it as it is seen from here: --evidence HOST/REPOSITORY"
        raise EvalHubError(f"evidence {tagged}: cannot be read: {error} ({cure})") from None


@contextmanager
def opened(state: RunState, pinned: Reference, access: Access) -> Iterator[RunSource]:
    """Yield the run in the evidence of a run; its files are gone when the block ends.

    Args:
        pinned: the evidence by its digest.

    Raises:
        EvalHubError: the evidence is not whole, not this run's, does not come to its verdict, or the key that was asked
            for did not sign it. The exit status is 2 also where bytes were changed: nothing is known of the verdict.
        MissingExtra: the libraries are not installed.
    """
    from evalhub_pipelines import run_source

    with ExitStack() as stack:
        try:
            source = stack.enter_context(run_source.opened(pinned.address, **access.registry()))
            if source.run.record.run_id != state.run_id:
                raise EvalHubError(f"it is that of another run, {source.run.record.run_id[:100]!r}")
            if access.signer is not None:
                _check_signature(pinned, access, access.signer)
        except MissingExtra:
            raise
        except EvalHubError as error:
            raise EvalHubError(f"run {state.run_id}: its evidence {pinned} cannot be relied on: {error}") from None
        yield source


def _check_signature(pinned: Reference, access: Access, signer: PublicKey) -> None:
    from evalhub_components.evidence.verification import authorship
    from evalhub_pipelines import evidence_store

    store = evidence_store.opened(pinned.address, **access.registry()).store
    check = authorship.signature(store, str(pinned.digest), signer)
    if check.state != "ok":
        raise EvalHubError(check.detail)
