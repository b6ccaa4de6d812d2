"""The images of this checkout: built by Docker or Podman, pushed, and kept by the digests a registry gave them."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from evalhub_components import __version__, atomic
from evalhub_components.errors import EvalHubError
from evalhub_pipelines import documents
from evalhub_pipelines.catalog import Catalog, built_in

COMPONENTS = "components"
COMPONENTS_IMAGE = f"quay.io/evalhub-kfp/components:{__version__}"
"""The image of every step but the benchmarks; a provider's is its `runtime.k8s.image`."""

_STDERR = 2


class Image(NamedTuple):
    """An image that can be built.

    Attributes:
        name: a provider's id, or `components`.
        reference: registry, repository and tag.
        containerfile: relative to the checkout, which is the build's context.
    """

    name: str
    reference: str
    containerfile: Path


def of_checkout(registry: str | None = None, names: Sequence[str] = ()) -> list[Image]:
    """Return the images that this checkout has a Containerfile for.

    Args:
        registry: registry and path that replace the ones in the catalogue, such as `registry.example/team`.
        names: only these.

    Raises:
        EvalHubError: this is no checkout, `registry` is an address, or a name is unknown.
    """
    if registry is not None and ("://" in registry or not registry.strip("/")):
        raise EvalHubError(f"registry {registry!r}: must be host and path, such as registry.example/team")
    root, catalog = built_in(), Catalog.of()
    if not (root / "components" / "Containerfile").is_file():
        raise EvalHubError("images are built from a checkout of the repository, and this is an installed package")
    found = [Image(COMPONENTS, _moved(COMPONENTS_IMAGE, registry), Path("components/Containerfile"))]
    for provider_id in catalog.provider_ids():
        containerfile = Path("providers") / provider_id / "Containerfile"
        if (root / containerfile).is_file():
            runtime = catalog.provider(provider_id).runtime.k8s
            if runtime is None or runtime.image is None:
                where = containerfile.with_name("provider.yaml")
                raise EvalHubError(f"{where}: runtime.k8s.image: is missing (name what {containerfile} builds)")
            found.append(Image(provider_id, _moved(runtime.image, registry), containerfile))
    known = [image.name for image in found]
    for name in names:
        if name not in known:
            raise EvalHubError(f"image {name!r}: there is no such Containerfile{documents.near(name, known)}")
    return [image for image in found if image.name in (names or known)]


def build(image: Image, engine: str, *, base_image: str | None = None, options: Sequence[str] = ()) -> None:
    """Build `image`; what the engine says goes to standard error.

    Args:
        engine: `docker`, `podman`, or the path of one.
        base_image: instead of the Containerfile's own.
        options: further options of `docker build`.

    Raises:
        EvalHubError: it cannot be built.
    """
    arguments = {"VERSION": __version__, "REVISION": _revision(), "IMAGE": image.reference}
    if base_image is not None:
        arguments["BASE_IMAGE"] = base_image
    argv = [engine, "build", "--file", str(built_in() / image.containerfile), "--tag", image.reference]
    for name, value in arguments.items():
        argv += ["--build-arg", f"{name}={value}"]
    try:
        done = subprocess.run([*argv, *options, str(built_in())], stdin=subprocess.DEVNULL, stdout=_STDERR)
    except OSError as error:
        raise _no_engine(engine, error) from None
    if done.returncode:
        raise EvalHubError(f"{image.containerfile}: {engine} build ended with status {done.returncode}, see above")


def push(image: Image, engine: str) -> str:
    """Push `image` and return `registry/repository@sha256:...`, by which the registry keeps it.

    Raises:
        EvalHubError: the engine or the registry refused.
    """
    with tempfile.TemporaryDirectory() as folder:
        digest_file = Path(folder) / "digest"
        # an image that Podman has here is compressed anew for a registry, so that only this file has the digest there
        where = ["--digestfile", str(digest_file)] if is_podman(engine) else []
        try:
            done = subprocess.run(
                [engine, "push", *where, image.reference], stdin=subprocess.DEVNULL, capture_output=True, text=True
            )
        except OSError as error:
            raise _no_engine(engine, error) from None
        if done.returncode:
            said = " ".join(done.stderr.split())[-500:]
            cure = f"build it first: evalhub-kfp images build {image.name}; log in: {engine} login"
            raise EvalHubError(f"{image.reference}: cannot be pushed: {said} ({cure})")
        answer = digest_file.read_text() if where else done.stdout
    found = re.findall(r"sha256:[0-9a-f]{64}" if where else r"digest: (sha256:[0-9a-f]{64})", answer)
    if not found:
        raise EvalHubError(f"{image.reference}: was pushed, but {engine} did not say by which digest")
    return f"{repository(image.reference)}@{found[-1]}"


def write_lock(path: Path, pushed: Mapping[str, str]) -> None:
    """Write the lock that `compile --image-lock` reads: `registry/repository@sha256:...` by name, as in `pushed`.

    Raises:
        EvalHubError: the components image is not among them.
    """
    if COMPONENTS not in pushed:
        raise EvalHubError(f"{path}: needs the image {COMPONENTS!r} too (push all images)")
    providers = {name: reference for name, reference in sorted(pushed.items()) if name != COMPONENTS}
    lock = {COMPONENTS: pushed[COMPONENTS], "providers": providers}
    atomic.write_text(path, json.dumps(lock, indent=2) + "\n")


def repository(reference: str) -> str:
    """Return `reference` without its tag or digest."""
    head, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def is_podman(engine: str) -> bool:
    """Return whether the command `engine` takes Podman's options where they differ from Docker's."""
    return Path(engine).name.startswith("podman")


def _moved(reference: str, registry: str | None) -> str:
    return f"{registry.rstrip('/')}/{reference.rpartition('/')[2]}" if registry else reference


def _revision() -> str:
    """Return the checkout's commit, with `-dirty` when it holds more than that; empty without git."""
    # --match with nothing to match: the commit, whatever tags there are
    command = ["git", "-C", str(built_in()), "describe", "--always", "--dirty", "--abbrev=40", "--match", ""]
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def _no_engine(engine: str, error: OSError) -> EvalHubError:
    return EvalHubError(f"{engine}: cannot be started ({error.strerror}; name docker, podman, or the path of one)")
