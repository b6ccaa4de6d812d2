"""Opens the evidence that a user names: a layout on this machine, or a reference to a registry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evalhub_components import credentials
from evalhub_components.errors import EvalHubError, MissingExtra
from evalhub_components.evidence.layout import Layout
from evalhub_components.evidence.reading import checksums
from evalhub_components.evidence.reading.tree import Named
from evalhub_components.evidence.reference import Reference, is_tag
from evalhub_components.evidence.store import Store, is_digest
from evalhub_components.evidence.vocabulary import INDEX_TYPE
from evalhub_pipelines import directories

_RUN_TAG = "run-"


@dataclass(frozen=True)
class Opened:
    """Where the evidence is, and which of what is there."""

    store: Store
    named: Named


def opened(name: str, *, registry_secret: str | None = None, ca: Path | None = None) -> Opened:
    """Return the evidence that `name` means.

    Args:
        name: a layout's folder or a run directory, `:tag` and `@sha256:...` behind it or not; or
            `host/repository:tag@digest`, where either the tag or the digest may be left out.
        registry_secret: name of the secret with `.dockerconfigjson`; by default Docker's own configuration is used.
        ca: file with the certificates that a registry's is checked with.

    Raises:
        EvalHubError: there is no such folder, or it is no reference, or does not say which of several is meant.
        MissingExtra: the OCI libraries are not installed.
    """
    path, at, digest = name.rpartition("@")
    if not (at and is_digest(digest)):
        path, digest = name, ""
    folder, tag = _folder_and_tag(path)
    if folder.is_dir():
        layout = Layout(_layout_in(folder))
        return Opened(layout, Named(tag or (None if digest else _tag_of(layout)), digest or None))
    if name.startswith((".", "/", "~")) or "/" not in name:
        raise EvalHubError(
            f"{folder}: there is no such folder (name a run directory, a layout, or host/repository:tag)"
        )
    return _in_registry(name, registry_secret, ca)


def _folder_and_tag(path: str) -> tuple[Path, str | None]:
    """Return the folder and the tag of `folder:tag`; a folder may have a colon in its name too."""
    before, colon, tag = path.rpartition(":")
    if colon and is_tag(tag) and not Path(path).exists():
        return Path(before), tag
    return Path(path), None


def _in_registry(name: str, registry_secret: str | None, ca: Path | None) -> Opened:
    reference = Reference.parse(name)
    if reference.tag is None and reference.digest is None:
        raise EvalHubError(f"{name}: which evidence? (name a tag or a digest: {reference.place}:run-RUN_ID)")
    secret = directories.secret(registry_secret, "--registry-secret") if registry_secret else None
    try:
        from evalhub_components.evidence.registry.remote_store import RemoteStore
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("evalhub"):
            raise
        raise MissingExtra("oci", "talking to a registry") from None
    registry = RemoteStore(reference, secret=secret, ca=ca or credentials.ca_bundle())
    return Opened(registry, Named(reference.tag, reference.digest))


def _layout_in(folder: Path) -> Path:
    """Return the layout that a folder is, or has as a run directory."""
    if not (folder / "index.json").exists() and (folder / "evidence").is_dir():
        return folder / "evidence"
    if not (folder / "index.json").exists() and (folder / checksums.TITLE).exists():
        cure = f"cd {folder} && sha256sum -c {checksums.TITLE}; `pull --layout` writes what can be verified"
        raise EvalHubError(f"{folder}: holds the files of a run, without its manifests ({cure})")
    return folder


def _tag_of(layout: Layout) -> str:
    """Return the tag of the only run in a layout.

    Raises:
        EvalHubError: there is none, or there are several.
    """
    tags: dict[str, list[str]] = {}
    for descriptor, tag in layout.manifests:
        # the index of a digest's referrers is an index too
        if descriptor.media_type == INDEX_TYPE and not tag.startswith("sha256-"):
            tags.setdefault(descriptor.digest, []).append(tag)
    if len(tags) != 1:
        what = f"holds {len(tags)} runs" if tags else "holds no run"
        which = "".join(f"\n  {layout.place}@{digest}" for digest in list(tags)[:20])
        raise EvalHubError(f"{layout.place}: {what}{f' (say which one):{which}' if tags else ''}")
    digest, names = next(iter(tags.items()))
    named = sorted((tag for tag in names if tag), key=lambda tag: not tag.startswith(_RUN_TAG))
    if not named:
        raise EvalHubError(f"{layout.place}: its run has no tag (name its digest: {layout.place}@{digest})")
    return named[0]
