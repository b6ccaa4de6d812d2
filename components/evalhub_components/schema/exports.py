"""`exports` of eval.yaml: the registry that gets the evidence, what it is called there, and who signs it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from evalhub_components.schema.document import Digest, Document, Pairs, SecretName, matching

_RESERVED_TAGS = ("evalhub-", "evidence-", "run-", "sha256-")
_OURS = "io.github.eval-hub."
_OF_THE_ARTIFACT = (
    "org.opencontainers.image.created",
    "org.opencontainers.image.ref.name",
    "org.opencontainers.image.title",
)


def _free_tag(value: str) -> str:
    if value.startswith(_RESERVED_TAGS):
        raise ValueError(f"must not begin with {', '.join(_RESERVED_TAGS)}: such tags mean something here")
    return value


def _free_annotations(value: dict[str, str]) -> dict[str, str]:
    for name in value:
        if name.startswith(_OURS) or name in _OF_THE_ARTIFACT:
            raise ValueError(f"must not use {name}: the evidence says that itself")
    return value


OCIHost = Annotated[
    str,
    matching(
        r"^(https?://)?([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?\Z",
        "a registry's host, such as quay.io or registry.example:5000 (with http:// in front if it speaks nothing else)",
    ),
]
OCIRepository = Annotated[
    str,
    Field(max_length=200),
    matching(
        r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*\Z",
        "a repository such as team/evaluations (lower-case letters, digits, and . _ - between them)",
    ),
]
OCITag = Annotated[
    str,
    matching(r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,59}\Z", "a tag of letters, digits, '.', '_' and '-', at most 60"),
    AfterValidator(_free_tag),
]
"""Room is left for a benchmark's slug behind it: a registry takes 128 characters."""


class OCICoordinates(Document):
    """Where the evidence goes in a registry.

    Attributes:
        oci_host: host and port; `http://` in front asks for plain HTTP.
        oci_tag: an additional tag, which moves with every run.
        oci_subject: the model's image in the same repository: a tag, a digest, or a whole reference. The evidence
            refers to it, so that registries list the evidence with the model.
        annotations: of every manifest, beside the evidence's own.
    """

    oci_host: OCIHost
    oci_repository: OCIRepository
    oci_tag: OCITag | None = None
    oci_subject: str | None = Field(default=None, min_length=1, max_length=500)
    annotations: Annotated[Pairs, AfterValidator(_free_annotations)] = Field(default_factory=dict)


class ConnectionRef(Document):
    """The secret with the registry's credentials (key `.dockerconfigjson`)."""

    connection: SecretName | None = None


class SigningConfig(Document):
    """How the evidence is signed: by the key in a secret (keys `private.key`, `public.key`)."""

    type: Literal["key-pair"] = "key-pair"
    secret_ref: SecretName


class OCIExport(Document):
    """Evidence pushed to a registry."""

    coordinates: OCICoordinates
    k8s: ConnectionRef | None = None


class Exports(Document):
    """Where else the records of a run go, and who signs them; what is not pushed is signed in the run directory."""

    oci: OCIExport | None = None
    signing: SigningConfig | None = None


class Subject(Document):
    """The manifest of the model that the evidence refers to; `size` in bytes."""

    media_type: str
    digest: Digest
    size: int = Field(ge=0)
