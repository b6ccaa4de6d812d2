"""What the suite is told by environment variables."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ENDPOINT = "KF_PIPELINES_ENDPOINT"
"""Without it the suite does not run; the commands read it too."""


class Wrong(Exception):
    """What is missing, or cannot be."""


@dataclass(frozen=True)
class Settings:
    """Where images, registry and model are, and how patient to be.

    Attributes:
        images: lock of images that `make push-images` wrote.
        registry: `host/repository` of the evidence as pods see it.
        registry_here: the same as this machine sees it.
        registry_auth: Docker's configuration file with logins for both, and for the images.
        ca: certificates of the registry's and the model's CA.
        namespace: one that is there; None for a new one, which needs an installation with several users.
        subject: who the token belongs to, as `manifests --subject` takes it.
        manifests: further options of `manifests`.
        model_url: as pods see it; None for the demo model in the namespace.
        model_key: file with its API key.
        timeout: seconds that a run may take.
        hold: seconds that a benchmark takes which is to be interrupted.
    """

    images: Path
    registry: str
    registry_here: str
    registry_auth: Path | None
    ca: Path | None
    namespace: str | None
    subject: str | None
    manifests: tuple[str, ...]
    model_url: str | None
    model_name: str
    model_key: Path | None
    timeout: int
    hold: int


def read(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings.

    Raises:
        Wrong: with everything that is.
    """
    problems: list[str] = []

    def text(name: str, what: str = "") -> str | None:
        value = environ.get(f"EVALHUB_CLUSTER_{name}")
        if what and not value:
            problems.append(f"EVALHUB_CLUSTER_{name}: is missing ({what})")
        return value or None

    def file(name: str, what: str = "") -> Path | None:
        value = text(name, what)
        if value and not Path(value).is_file():
            problems.append(f"EVALHUB_CLUSTER_{name}: there is no file {value}")
        return Path(value).resolve() if value else None

    def seconds(name: str, default: int) -> int:
        value = text(name)
        if value and not (value.isdigit() and int(value)):
            problems.append(f"EVALHUB_CLUSTER_{name}: must be a number of seconds, got {value!r}")
            return default
        return int(value or default)

    images = file("IMAGES", "the images.lock.json that `make push-images` wrote")
    registry = text("REGISTRY", "HOST/REPOSITORY that gets the evidence, as pods see it")
    settings = Settings(
        images=images or Path(),
        registry=registry or "",
        registry_here=text("REGISTRY_HERE") or registry or "",
        registry_auth=file("REGISTRY_AUTH"),
        ca=file("CA"),
        namespace=text("NAMESPACE"),
        subject=text("SUBJECT"),
        manifests=tuple(shlex.split(text("MANIFESTS") or "")),
        model_url=text("MODEL_URL"),
        model_name=text("MODEL_NAME") or "demo-model",
        model_key=file("MODEL_KEY"),
        timeout=seconds("TIMEOUT", 1200),
        hold=seconds("HOLD", 120),
    )
    if problems:
        raise Wrong("\n".join(["tests/cluster/README.md says what these are:", *problems]))
    return settings
