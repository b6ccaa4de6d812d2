"""The registry and the key of a local run: tried before the benchmarks are paid for, given to `aggregate` alone."""

from __future__ import annotations

import os
from collections.abc import Mapping

from evalhub_components.credentials import REGISTRY_SECRET, SIGNING_SECRET
from evalhub_components.evidence import destination
from evalhub_components.schema.exports import Exports, Subject
from evalhub_pipelines import directories


def environment(exports: Exports | None) -> dict[str, str]:
    """Return the variables that name the folders of the secrets in `exports`.

    Raises:
        EvalHubError: there is no such folder.
    """
    oci, signing = (exports.oci, exports.signing) if exports else (None, None)
    named = {
        REGISTRY_SECRET: ("exports.oci.k8s.connection", oci.k8s.connection if oci and oci.k8s else None),
        SIGNING_SECRET: ("exports.signing.secret_ref", signing.secret_ref if signing else None),
    }
    return {variable: str(directories.secret(name, where)) for variable, (where, name) in named.items() if name}


def check(exports: Exports | None, environ: Mapping[str, str], model_digest: str | None) -> Subject | None:
    """Prove that the evidence can be signed and pushed, and return the model's manifest that it will refer to.

    Args:
        exports: of the run.
        environ: the variables of `environment`.
        model_digest: of the model's image, where somebody named it.

    Raises:
        EvalHubError: the key cannot be used, the registry refuses, or there is no such image, or it is another model
            than `model_digest`; with the cure.
    """
    goal = destination.of(exports, os.environ | environ)
    if exports is None or exports.oci is None or goal.registry is None:
        return None
    goal.registry.check_push()
    return goal.subject(exports.oci.coordinates, model_digest)
