"""The secrets that an evaluation names, and what must be in them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from evalhub_components.schema.evaluation import ModelAuth
    from evalhub_pipelines.evaluation import Evaluation

Keys = tuple[tuple[str, ...], ...]
"""Sets of keys, of which one must be there whole."""

MODEL: Keys = (("api-key",), ("ca_cert",), ("hf-token",))
BESIDE_A_TOKEN: Keys = (("ca_cert",), ("hf-token",))
"""Of a model that is asked with a service account's token: a key as well would be refused."""

REGISTRY: Keys = ((".dockerconfigjson",),)
SIGNING: Keys = (("private.key",),)
MLFLOW: Keys = (("token",), ("username", "password"))
S3: Keys = (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),)
GIT: Keys = (("token",), ("password",), ("ca_cert",))
HUB: Keys = (("hf-token",),)
CA: Keys = (("ca-bundle.crt",),)

DOCKER_CONFIG = "kubernetes.io/dockerconfigjson"


class Wanted(NamedTuple):
    """A secret, or the config map with certificates.

    Attributes:
        named_by: the key or option that names it, for messages.
        type: the type that Kubernetes must know it by; None for any.
    """

    name: str
    named_by: str
    keys: Keys
    type: str | None = None


def of(found: Evaluation | None, mlflow_secret: str | None) -> Iterator[Wanted]:
    """Yield every secret that an evaluation and the options name, once, with all that names it."""
    named: dict[Wanted, list[str]] = {}
    for wanted in _named(found, mlflow_secret):
        users = named.setdefault(wanted._replace(named_by=""), [])
        users += [] if wanted.named_by in users else [wanted.named_by]
    for wanted, users in named.items():
        yield wanted._replace(named_by=" and ".join(users))


def _named(found: Evaluation | None, mlflow_secret: str | None) -> Iterator[Wanted]:
    config = found.config if found else None
    if config and config.model.auth and config.model.auth.secret_ref:
        yield Wanted(config.model.auth.secret_ref, "model.auth.secret_ref", _of_model(config.model.auth))
    if config and config.judge and config.judge.auth and config.judge.auth.secret_ref:
        yield Wanted(config.judge.auth.secret_ref, "judge.auth.secret_ref", _of_model(config.judge.auth))
    exports = config.exports if config else None
    if exports and exports.oci and exports.oci.k8s and exports.oci.k8s.connection:
        yield Wanted(exports.oci.k8s.connection, "exports.oci.k8s.connection", REGISTRY, DOCKER_CONFIG)
    if exports and exports.signing:
        yield Wanted(exports.signing.secret_ref, "exports.signing.secret_ref", SIGNING)
    if mlflow_secret:
        yield Wanted(mlflow_secret, "--mlflow-secret", MLFLOW)
    yield from _of_test_data(found)


def _of_model(auth: ModelAuth) -> Keys:
    return BESIDE_A_TOKEN if auth.service_account else MODEL


def _of_test_data(found: Evaluation | None) -> Iterator[Wanted]:
    for task in found.plan.tasks if found else ():
        ref = task.test_data_ref
        for kind, source, keys in (
            ("s3", ref and ref.s3, S3),
            ("git", ref and ref.git, GIT),
            ("hf", ref and ref.hf, HUB),
        ):
            if source and source.secret_ref:
                yield Wanted(source.secret_ref, f"test_data_ref.{kind}.secret_ref", keys)


def lacking(keys: Collection[str], wanted: Keys) -> str:
    """Return which keys are not there, in words; empty when one set is whole."""
    if any(set(alternative) <= set(keys) for alternative in wanted):
        return ""
    return " or ".join(" and ".join(alternative) for alternative in wanted)
